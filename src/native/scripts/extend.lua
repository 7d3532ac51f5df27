#!lua flags=allow-oom
-- Moves the limit of a running task, and takes back an order to stop.
-- KEYS    the queue's fixed keys
-- ARGV    format, id, the token that the person saw, the new limit (ms, server clock), who
-- RETURNS extended | changed | gone | past (the new limit lies in the past)
-- GUARD   the token holds the task, and it runs
-- REPEAT  the same limit again
-- COST    15 µs
--! include head policy
local id, token, limit = ARGV[2], ARGV[3], tonumber(ARGV[4])
local key = task_key(id)
local t = fields(key, 'token', 'session', 'taken_at', 'deadline', 'alive_until', 'cancelled', 'reason')
if not t[1] then return 'gone' end
if t[1] ~= token or not runs(t[2]) or t[6] then return 'changed' end
local now = server_time()
if limit <= now then return 'past' end
local set = running_key(t[2])
call('ZCARD', set) call('ZCARD', due) call('ZCARD', expiring)
call('HDEL', key, 'revoked_at', 'alerted', 'reason')
call('HSET', key, 'limit', limit)
-- A deadline or a silence that has passed would only order it to stop again.
local alive = t[5]
if (number(alive) or limit) < limit then
  alive = limit
  call('HSET', key, 'alive_until', limit)
end
local deadline = t[4]
if (number(deadline) or limit) < limit then
  deadline = limit
  call('HSET', key, 'deadline', limit)
  call('ZADD', expiring, limit, id)
end
local score = earliest(number(t[3]) or now, limit, alive, deadline)
call('ZADD', set, 'XX', score, id)
call('ZADD', due, 'LT', score, t[2])
event(now, 'what', 'extended', 'by', ARGV[5], 'until', limit, 'tasks', id)
return 'extended'
