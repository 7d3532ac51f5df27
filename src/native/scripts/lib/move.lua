-- The ways out of a running set. Each takes a task that the caller has checked.

-- A task's place in pending; one whose record lost it, or has no number there, goes to the end.
local function place(id, seq)
  if number(seq) then return seq end
  seq = call('HINCRBY', control, 'seq', 1)
  call('HSET', task_key(id), 'seq', seq)
  return seq
end

-- Back to pending at its place, or to delayed. `why` says what brought it there: completions of the old token need it.
local function requeue(id, seq, deadline, ready_at, why, now)
  if ready_at > now then call('ZADD', delayed, ready_at, id) else call('ZADD', pending, place(id, seq), id) end
  if number(deadline) then call('ZADD', expiring, deadline, id) end
  call('HSET', task_key(id), 'session', '!' .. why)
end

-- Work that a task had begun elsewhere, known by its handle, and that nobody waits for any more: remembered until it is
-- known to have ended. What can't be remembered is counted: a key of the wrong type must not stop what is done to tasks.
local MOST_UNWANTED = 10000
local function unwanted_entry(kind, id, handle) return kind .. ' ' .. id .. ' ' .. handle end
local function dismiss_later(kind, id, handle, now)
  if (try('ZCARD', unwanted) or MOST_UNWANTED) >= MOST_UNWANTED then
    count('external_dropped')
    return false
  end
  if try('ZADD', unwanted, 'NX', now, unwanted_entry(kind, id, handle)) == 1 then count('external_unwanted') end
  return true
end

-- The task's handle is nobody's from here on. Returns it, if it will be remembered.
local function disown(id, now)
  local handle = try('GET', base .. 'external:' .. id)
  if not handle then return end
  local remembered = dismiss_later(call('HGET', task_key(id), 'type') or '', id, handle, now)
  call('DEL', base .. 'external:' .. id)
  return remembered and handle
end

-- Set aside, with the reason, for a person.
local function bury(id, why, now)
  disown(id, now)
  call('ZADD', dead, now, id)
  call('ZREM', expiring, id)
  call('HSET', task_key(id), 'session', '!' .. why)
  count('dead:' .. why)
end

-- Out of the system. The stub answers repeats and late copies; a task that was ever abandoned keeps it for a day, so
-- that a late result is known as one.
local function finish(id, stub, keep)
  call('DEL', task_key(id), base .. 'payload:' .. id, base .. 'checkpoint:' .. id, base .. 'error:' .. id,
    base .. 'external:' .. id)
  call('SET', base .. 'done:' .. id, stub, 'PX', math.max(keep, 1))
end

-- A hint that may be lost, so that a right that is missing costs a poll and not half a script.
local function wake() redis.pcall('PUBLISH', base .. 'wake', '') end
