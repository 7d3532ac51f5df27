#!lua flags=allow-oom
-- Carries out what a hook said of one task that is worked on elsewhere.
-- KEYS    the queue's fixed keys
-- ARGV    format, session, the heartbeat that was seen (ms; '': the task's own limit has passed), cause, id, the token that
--         was seen, the handle that was asked about, action (collect | fail | reset | dead_letter), delay before a reset
--         task is ready ms, jitter (0 to 1000)
-- RETURNS held | done | dead (it had failed, or was abandoned, once too often) | skipped (not so any more)
-- GUARD   this is the server that was known, no grace is open; the session is still as silent, or the task's own limit has
--         still passed; the task still runs under this session and token, is not cancelled, and has this handle
-- REPEAT  skipped
-- COST    30 µs
--! include head policy move charge evidence
local session, seen, cause, id = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local token, handle, action, delay, jitter = ARGV[6], ARGV[7], ARGV[8], tonumber(ARGV[9]), tonumber(ARGV[10])
local now = server_time()
if held(now) then return 'held' end
local mine = running_key(session)
for _, index in ipairs({ pending, delayed, expiring, dead, mine }) do call('ZCARD', index) end
local t = read_task(id)
local score = call('ZSCORE', mine, id)
local evident
if seen ~= '' then evident = still_silent(session, seen) else evident = score and tonumber(score) <= now end
if not evident or t.session ~= session or t.token ~= token or not t.type or t.cancelled then return 'skipped' end
local key = base .. 'external:' .. id
if try('GET', key) ~= handle then return 'skipped' end
-- It is over there, whatever becomes of the task.
call('DEL', key)
local answer = 'done'
if action == 'collect' then
  collect(id, token)
  count('abandoned:' .. cause)
  count('collected')
elseif action == 'fail' then
  count('abandoned:' .. cause)
  count('abandoned_failed')
  if fail(id, t, 'its work elsewhere failed: ' .. handle, jitter, now) == 'dead' then answer = 'dead' end
elseif give_up(id, t, cause, action, now + delay, now) == 'dead' then
  answer = 'dead'
end
try('ZREM', mine, id)
write_counts()
event(now, 'what', action, 'why', cause, 'session', session, 'seen', seen, 'tasks', id, 'external', handle)
wake()
return answer
