#!lua flags=allow-oom
-- Counts the queue as it is at one moment, and what some sessions run, for gauges; a session that holds tasks and that nobody watches gets its time from now.
-- KEYS    the queue's fixed keys
-- ARGV    format, then sessions (100 at most)
-- RETURNS now ms, {pending, delayed, dead}, {name of a durable total, its value, …}, then for each:
--         {running, oldest taken at ms or '', heartbeat ms or ''}
-- GUARD   writes a heartbeat only for a session that has tasks and stands in no index
-- REPEAT  the same
-- COST    20 µs, and 3 µs a session
--! include head
local now = server_time()
local rows = { now, { call('ZCARD', pending), call('ZCARD', delayed), call('ZCARD', dead) }, call('HGETALL', stats) }
for i = 2, #ARGV do
  local session = ARGV[i]
  local set = running_key(session)
  local n = try('ZCARD', set) or 0
  local oldest
  if n > 0 then
    local first = call('ZRANGE', set, 0, 0, 'WITHSCORES')
    oldest = tonumber(fields(task_key(first[1]), 'taken_at')[1] or nil)
    -- Those without a limit come last, by age.
    local unlimited = call('ZRANGEBYSCORE', set, string.format('%.0f', NO_LIMIT), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if unlimited[2] then oldest = math.min(oldest or now, tonumber(unlimited[2]) - NO_LIMIT) end
    if not call('ZSCORE', agents, session) then
      call('ZADD', agents, now, session)
      count('mended:unwatched')
    end
  end
  rows[#rows + 1] = { n, oldest and string.format('%.0f', oldest) or '', call('ZSCORE', agents, session) or '' }
end
write_counts()
return rows
