#!lua flags=allow-oom
-- Takes running tasks from their agents by hand, back to pending at their place; nothing is charged.
-- KEYS    the queue's fixed keys
-- ARGV    format, who, then for each: id, the token that the person saw
-- RETURNS for each: reset | discarded (it was cancelled) | changed (another attempt has it, or it does not run)
-- GUARD   the token holds the task, and it runs
-- REPEAT  changed
-- COST    12 µs a task
--! include head policy move charge
local now = server_time()
for _, index in ipairs({ pending, delayed, expiring }) do call('ZCARD', index) end
local answers, moved = {}, {}
for i = 3, #ARGV, 2 do
  local id, token = ARGV[i], ARGV[i + 1]
  local t = read_task(id)
  local answer = 'changed'
  if t.type and t.token == token and runs(t.session) then
    local set = running_key(t.session)
    if t.cancelled then
      answer = give_up(id, t, 'agent_lost', 'discard', now, now)
    else
      call('HDEL', task_key(id), 'revoked_at', 'reason')
      requeue(id, t.seq, t.deadline, now, 'released', now)
      count('released')
      answer = 'reset'
    end
    try('ZREM', set, id)
    moved[#moved + 1] = id
  end
  answers[#answers + 1] = answer
end
write_counts()
if #moved > 0 then
  event(now, 'what', 'reset', 'by', ARGV[2], 'tasks', table.concat(moved, ' '))
  wake()
end
return answers
