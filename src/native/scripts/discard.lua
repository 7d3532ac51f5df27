#!lua flags=allow-oom
-- Discards dead letters.
-- KEYS    the queue's fixed keys
-- ARGV    format, who, then for each: id, token or '', time of death ms
-- RETURNS for each: discarded | changed (it is not that death any more)
-- GUARD   it is dead, by the token and at the time that the person saw
-- REPEAT  changed
-- COST    12 µs a task
--! include head policy move
local now = server_time()
local keep = setting('keep_done')
local answers, moved = {}, {}
for i = 3, #ARGV, 3 do
  local id = ARGV[i]
  local t = fields(task_key(id), 'type', 'token')
  local died = call('ZSCORE', dead, id)
  local answer = 'changed'
  if t[1] and died and (t[2] or '') == ARGV[i + 1] and tonumber(died) == tonumber(ARGV[i + 2]) then
    call('ZREM', dead, id)
    disown(id, now)
    finish(id, 'discarded:' .. (t[2] or ''), keep)
    moved[#moved + 1] = id
    answer = 'discarded'
  end
  answers[#answers + 1] = answer
end
if #moved > 0 then
  count('discarded', #moved)
  write_counts()
  event(now, 'what', 'discarded', 'by', ARGV[2], 'tasks', table.concat(moved, ' '))
end
return answers
