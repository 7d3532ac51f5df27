-- The ways out of a running set. Each takes a task that the caller has checked.

-- A task's place in pending; one whose record lost it goes to the end.
local function place(id, seq)
  if seq then return seq end
  seq = call('HINCRBY', control, 'seq', 1)
  call('HSET', task_key(id), 'seq', seq)
  return seq
end

-- Back to pending at its place, or to delayed. `why` says what brought it there: completions of the old token need it.
local function requeue(id, seq, deadline, ready_at, why, now)
  if ready_at > now then call('ZADD', delayed, ready_at, id) else call('ZADD', pending, place(id, seq), id) end
  if deadline then call('ZADD', expiring, deadline, id) end
  call('HSET', task_key(id), 'session', '!' .. why)
end

-- Set aside, with the reason, for a person.
local function bury(id, why, now)
  call('ZADD', dead, now, id)
  call('ZREM', expiring, id)
  call('HSET', task_key(id), 'session', '!' .. why)
  count('dead:' .. why)
end

-- Out of the system. The stub answers repeats and late copies; a task that was ever abandoned keeps it for a day, so
-- that a late result is known as one.
local function finish(id, stub, keep)
  call('DEL', task_key(id), base .. 'payload:' .. id, base .. 'checkpoint:' .. id, base .. 'error:' .. id)
  call('SET', base .. 'done:' .. id, stub, 'PX', math.max(keep, 1))
end

-- A hint that may be lost, so that a right that is missing costs a poll and not half a script.
local function wake() redis.pcall('PUBLISH', base .. 'wake', '') end
