#!lua
-- Puts dead letters back to pending, their counters at zero.
-- KEYS    the queue's fixed keys
-- ARGV    format, time to a new deadline ms (-1: keep the old one), who, then for each: id, token or '', time of death ms
-- RETURNS for each: redriven | deadline_passed (give a new one) | changed (it is not that death any more)
-- GUARD   it is dead, by the token and at the time that the person saw
-- REPEAT  changed
-- COST    15 µs a task
--! include head move
local ends_in = tonumber(ARGV[2])
local now = server_time()
call('ZCARD', pending) call('ZCARD', expiring)
local answers, moved = {}, {}
for i = 4, #ARGV, 3 do
  local id = ARGV[i]
  local key = task_key(id)
  local t = fields(key, 'type', 'token', 'seq', 'deadline')
  local died = call('ZSCORE', dead, id)
  local answer = 'changed'
  if t[1] and died and (t[2] or '') == ARGV[i + 1] and tonumber(died) == tonumber(ARGV[i + 2]) then
    local deadline = t[4]
    if ends_in >= 0 then deadline = now + ends_in end
    if passed(deadline, now) then
      answer = 'deadline_passed'
    else
      local seq = place(id, t[3])
      if deadline then call('HSET', key, 'deadline', deadline) end
      call('HDEL', key, 'failures', 'abandonments', 'revoked_at', 'reason', 'cancelled')
      requeue(id, seq, deadline, 0, 'redriven', now)
      call('ZREM', dead, id)
      moved[#moved + 1] = id
      answer = 'redriven'
    end
  end
  answers[#answers + 1] = answer
end
if #moved > 0 then
  count('redriven', #moved)
  write_counts()
  event(now, 'what', 'redriven', 'by', ARGV[3], 'tasks', table.concat(moved, ' '))
  wake()
end
return answers
