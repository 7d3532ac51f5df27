#!lua flags=allow-oom
-- Takes a silent session that holds nothing out of agents and due.
-- KEYS    the queue's fixed keys
-- ARGV    format, session, the heartbeat that was seen (ms)
-- RETURNS forgotten | holds | alive | held
-- GUARD   this is the server that was known, no grace is open; the heartbeat is still the one seen; the running set is
--         empty. The identity becomes lost only if this is still its session
-- REPEAT  alive (it is no longer there)
-- COST    25 µs
--! include head evidence
local session, seen = ARGV[2], ARGV[3]
local now = server_time()
if held(now) then return 'held' end
if not still_silent(session, seen) then return 'alive' end
if (try('ZCARD', running_key(session)) or 1) > 0 then return 'holds' end
call('ZCARD', due)
call('ZREM', agents, session)
call('ZREM', due, session)
local key = agent_key(session)
local a = fields(key, 'session', 'state')
if a[1] == session then
  if a[2] == 'active' then
    call('HSET', key, 'state', 'lost')
    count('lost')
  end
  call('PEXPIRE', key, 2592000000)
end
write_counts()
event(now, 'what', 'forgotten', 'session', session)
return 'forgotten'
