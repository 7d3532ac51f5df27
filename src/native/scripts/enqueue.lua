#!lua
-- Adds tasks: record, payload, and a place in pending or delayed.
-- KEYS    the queue's fixed keys
-- ARGV    format, then for each task: id, type, delay ms (0: none), time to deadline ms (-1: none), payload
-- RETURNS enqueued | exists, for each task
-- GUARD   an id that is in the system, or was done within keep_done, is not added again
-- REPEAT  finds the id, or its stub: exists
-- COST    5 µs a task
--! include head policy move
local now = server_time()
call('ZCARD', pending) call('ZCARD', delayed) call('ZCARD', expiring)
local answers, ready, later, ends = {}, {}, {}, {}
local fresh, seq = 0, nil
if not format then call('HSET', control, 'format', ARGV[1]) end
local waiting = 0
for i = 2, #ARGV, 5 do if tonumber(ARGV[i + 2]) == 0 then waiting = waiting + 1 end end
-- Numbers for all that may be ready, in one step: gaps are harmless.
if waiting > 0 then seq = call('HINCRBY', control, 'seq', waiting) - waiting end
for i = 2, #ARGV, 5 do
  local id, kind, delay, ends_in, payload = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]), ARGV[i + 4]
  local key = task_key(id)
  if call('EXISTS', key, base .. 'done:' .. id) > 0 then
    answers[#answers + 1] = 'exists'
  else
    if ends_in < 0 then ends_in = limits_of(kind).schedule_to_close end
    local record = { 'type', kind, 'enqueued_at', now }
    if ends_in >= 0 then
      record[#record + 1] = 'deadline'
      record[#record + 1] = now + ends_in
      ends[#ends + 1] = now + ends_in
      ends[#ends + 1] = id
    end
    if delay > 0 then
      later[#later + 1] = now + delay
      later[#later + 1] = id
    else
      seq = seq + 1
      ready[#ready + 1] = seq
      ready[#ready + 1] = id
      record[#record + 1] = 'seq'
      record[#record + 1] = seq
    end
    -- One value over 64 bytes would turn the record's compact encoding into a hash table.
    if #payload <= 64 then
      record[#record + 1] = 'payload'
      record[#record + 1] = payload
    else
      call('SET', base .. 'payload:' .. id, payload)
    end
    call('HSET', key, unpack(record))
    fresh = fresh + 1
    answers[#answers + 1] = 'enqueued'
  end
end
if #ready > 0 then call('ZADD', pending, unpack(ready)) end
if #later > 0 then call('ZADD', delayed, unpack(later)) end
if #ends > 0 then call('ZADD', expiring, unpack(ends)) end
if fresh > 0 then
  count('enqueued', fresh)
  write_counts()
  wake()
end
return answers
