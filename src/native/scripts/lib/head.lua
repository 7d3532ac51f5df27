-- The head of every script: names for the queue's fixed keys, the format check, and small helpers.
local call = redis.call
local control, pending, delayed, expiring = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local agents, due, dead, policy = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local stats, events, lease, unwanted = KEYS[9], KEYS[10], KEYS[11], KEYS[12]
-- 'backstop:{Q}:', so that every key made from it lies in the queue's slot.
local base = string.sub(control, 1, -8)

-- A task without a limit has NO_LIMIT + the time of taking as its score in the running set: after all that have one,
-- oldest first. Whole numbers stay exact in a double up to 9e15.
local NO_LIMIT = 4e15

local task_base = base .. 'task:'
local function task_key(id) return task_base .. id end
local function running_key(session) return base .. 'running:' .. session end
-- A record's session names who runs the task; '!' and a reason is why nobody does.
local function runs(session) return session and string.sub(session, 1, 1) ~= '!' end
local function agent_key(session) return base .. 'agent:' .. string.match(session, '^[^.]*') end

local function server_time()
  local t = call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- What stands under the name of one task or one agent may be another's doing. Of the wrong type, it is as if there was
-- nothing: that must not cost the others their turn. Any other error is raised: it says nothing about what is there.
local pcall_redis = redis.pcall
local function only_wrong_type(r)
  if string.sub(r.err, 1, 9) ~= 'WRONGTYPE' then error(r) end
end

local function try(...)
  local r = pcall_redis(...)
  if type(r) ~= 'table' or not r.err then return r end
  only_wrong_type(r)
  return false
end

local function fields(key, ...)
  local r = pcall_redis('HMGET', key, ...)
  if not r.err then return r end
  only_wrong_type(r)
  r = {}
  for i = 1, select('#', ...) do r[i] = false end
  return r
end

-- A number of a record. One that somebody edited and that is none counts as absent: it must not stop a script midway.
local function number(text)
  if type(text) == 'number' then return text end
  -- As scripts write them. What Lua takes for a number and Redis doesn't (' 5') must not reach a sorted set.
  if text and string.find(text, '^%-?%d+$') and #text < 17 then return tonumber(text) end
end

-- Whether a time of a record has passed.
local function passed(at, now)
  at = number(at)
  return at and at <= now
end

-- Counts are gathered and written once a call. HLEN here raises WRONGTYPE before anything was written.
local counted = {}
local function count(what, by) counted[what] = (counted[what] or 0) + (by or 1) end
local function write_counts()
  for what, by in pairs(counted) do call('HINCRBY', stats, what, by) end
end

-- The log is not the truth: a key of the wrong type there must not stop what it tells of.
local function event(now, ...)
  redis.pcall('XADD', events, 'MAXLEN', '~', 10000, '*', 'at', now, ...)
end

-- A grace in which nothing moves is lengthened, never shortened, and goes by the name of what made it so long.
local function lengthen(guard, until_ms, now)
  local open = tonumber(call('HGET', control, 'grace_until') or 0)
  event(now, 'what', 'guard', 'guard', guard, 'until', until_ms)
  if until_ms <= math.max(open, now) then return open end
  call('HSET', control, 'grace_until', string.format('%.0f', until_ms), 'grace_by', guard)
  return until_ms
end

local format = call('HGET', control, 'format')
if format and format ~= ARGV[1] then
  return redis.error_reply('BACKSTOP_FORMAT the queue has format ' .. format .. ', this program writes ' .. ARGV[1])
end
call('HLEN', stats)
