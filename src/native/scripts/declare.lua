#!lua flags=allow-oom
-- Marks a silent session's identity as lost. Apart from moving its tasks: what holds moves must not hold a pool's
-- identities, or a pool whose processes all died could not start again.
-- KEYS    the queue's fixed keys
-- ARGV    format, session, the heartbeat that was seen (ms)
-- RETURNS lost | already | alive | held
-- GUARD   this is the server that was known, no grace is open, the heartbeat is still the one seen, the session current
-- REPEAT  already
-- COST    20 µs
--! include head evidence
local session, seen = ARGV[2], ARGV[3]
local now = server_time()
if held(now) then return 'held' end
if not still_silent(session, seen) then return 'alive' end
local key = agent_key(session)
local a = fields(key, 'session', 'state')
if a[1] ~= session or a[2] ~= 'active' then return 'already' end
call('HSET', key, 'state', 'lost')
count('lost')
write_counts()
event(now, 'what', 'lost', 'session', session, 'silent_ms', now - tonumber(seen))
return 'lost'
