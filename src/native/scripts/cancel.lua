#!lua flags=allow-oom
-- Discards a task that waits, tells the agent of one that runs to stop.
-- KEYS    the queue's fixed keys
-- ARGV    format, id, what the person saw: the token of a running task, or enqueued_at of a waiting one; who
-- RETURNS discarded | revoked (discarded when it is given back) | dead (discard it instead) | changed | gone
-- GUARD   it is still what the person saw
-- REPEAT  gone, or changed
-- COST    20 µs
--! include head policy move
local id, seen = ARGV[2], ARGV[3]
local t = fields(task_key(id), 'type', 'token', 'session', 'enqueued_at', 'revoked_at')
if not t[1] then return 'gone' end
local now = server_time()
local answer
if runs(t[3]) then
  if t[2] ~= seen then return 'changed' end
  local set = running_key(t[3])
  call('ZCARD', set) call('ZCARD', due)
  call('HSET', task_key(id), 'cancelled', 1, 'revoked_at', t[5] or now, 'reason', 'revoked:cancelled')
  -- Due at once, so that the sweeper reads its record: whatever isn't due is neither cancelled nor past a limit.
  call('ZADD', set, 'XX', now, id)
  call('ZADD', due, 'LT', now, t[3])
  answer = 'revoked'
else
  if call('ZSCORE', dead, id) then return 'dead' end
  if t[4] ~= seen then return 'changed' end
  call('ZCARD', pending) call('ZCARD', delayed) call('ZCARD', expiring)
  call('ZREM', pending, id)
  call('ZREM', delayed, id)
  call('ZREM', expiring, id)
  disown(id, now)
  finish(id, 'discarded:' .. (t[2] or ''), setting('keep_done'))
  count('discarded')
  write_counts()
  answer = 'discarded'
end
event(now, 'what', 'cancelled', 'by', ARGV[4], 'tasks', id)
return answer
