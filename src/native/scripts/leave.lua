#!lua flags=allow-oom
-- Deregisters a session that holds nothing.
-- KEYS    the queue's fixed keys
-- ARGV    format, session
-- RETURNS left | holds + {id, token, …} for release
-- GUARD   the running set is empty; an older session's leaving touches nothing
-- REPEAT  left
-- COST    10 µs
--! include head
local session = ARGV[2]
local mine = running_key(session)
local holds, strays = {}, {}
for _, id in ipairs(call('ZRANGE', mine, 0, 255)) do
  local t = fields(task_key(id), 'token', 'session')
  if t[1] and t[2] == session then
    holds[#holds + 1] = id
    holds[#holds + 1] = t[1]
  else
    strays[#strays + 1] = id
    if not t[1] then count('skipped:no_record') end
  end
end
if #holds > 0 then return { 'holds', holds } end
call('ZCARD', due)
-- Entries that no record stands for would be all that is left of the session.
if #strays > 0 then
  call('ZREM', mine, unpack(strays))
  write_counts()
end
call('ZREM', agents, session)
call('ZREM', due, session)
local key = agent_key(session)
if call('HGET', key, 'session') == session and call('HGET', key, 'state') ~= 'left' then
  call('HSET', key, 'state', 'left')
  call('PEXPIRE', key, 2592000000)
  event(server_time(), 'what', 'left', 'session', session)
end
return { 'left' }
