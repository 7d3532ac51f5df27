#!lua flags=allow-oom
-- Sets aside pending and delayed tasks whose deadline has passed.
-- KEYS    the queue's fixed keys
-- ARGV    format, then ids (100 at most)
-- RETURNS held, or for each: expired | discarded (it was cancelled) | skipped (not so any more)
-- GUARD   this is the server that was known, no grace is open; the deadline has passed by the server's clock; the task
--         does not run
-- REPEAT  skipped
-- COST    20 µs, and 6 µs a task
--! include head move evidence
local now = server_time()
if held(now) then return { 'held' } end
for _, index in ipairs({ pending, delayed, expiring, dead }) do call('ZCARD', index) end
local answers, moved = {}, {}
for i = 2, #ARGV do
  local id = ARGV[i]
  local t = fields(task_key(id), 'type', 'session', 'deadline', 'cancelled', 'token')
  local answer = 'skipped'
  if not t[1] then
    call('ZREM', expiring, id)
  elseif runs(t[2]) then
    -- It is judged as a running task; should it be reset, its place here is what ends it.
    answer = 'skipped'
  elseif passed(t[3], now) and (call('ZREM', pending, id) == 1 or call('ZREM', delayed, id) == 1) then
    if t[4] then
      -- A person cancelled it while it ran, and a reset was quicker: nobody wants to see it again.
      call('ZREM', expiring, id)
      disown(id, now)
      finish(id, 'discarded:' .. t[5], 86400000)
      count('discarded')
      answer = 'discarded'
    else
      bury(id, 'expired', now)
      count('expired')
      moved[#moved + 1] = id
      answer = 'expired'
    end
  end
  answers[#answers + 1] = answer
end
write_counts()
if #moved > 0 then event(now, 'what', 'expired', 'why', 'schedule_to_close', 'tasks', table.concat(moved, ' ')) end
return answers
