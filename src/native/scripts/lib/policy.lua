-- What the daemon published, or what holds until one has: the same numbers as the program's defaults (a test compares).
local SESSION = { heartbeat_interval = 5000, heartbeat_timeout = 15000, lost_after = 15000, adopt_within = 30000,
  keep_done = 120000, stop_on_agent_after = 22500 }
local TASK = '3600000 0 -1 30000 -1 3 5 1000 2000 100000 5000 1 -1 0'

-- Most scripts read it in the midst of their writes: the wrong type must show before.
call('HLEN', policy)

-- A setting of the queue or its sessions, in ms; -1 is never.
local function setting(name)
  return tonumber(call('HGET', policy, '_' .. name) or nil) or SESSION[name]
end

-- How a session of a fleet this large lives: ms between its beats, ms of silence after which it stops its work (-1:
-- never), and after which others may get that. 1500 beats a second cost Redis some 2 % of a core, however large the
-- fleet is, and the sweeper waits for three of them.
local function rhythm()
  local p = call('HMGET', policy, '_heartbeat_interval', '_heartbeat_timeout', '_lost_after', '_stop_on_agent_after')
  local every = math.max(tonumber(p[1] or SESSION.heartbeat_interval), math.floor(call('ZCARD', agents) / 1.5))
  local stop = tonumber(p[4] or SESSION.stop_on_agent_after)
  return every, stop < 0 and -1 or math.max(stop, 3 * every),
    math.max(tonumber(p[2] or SESSION.heartbeat_timeout), 3 * every) + tonumber(p[3] or SESSION.lost_after)
end

-- The limits of one type, read once a call.
local by_type = {}
local function limits_of(kind)
  local known = by_type[kind]
  if known then return known end
  local both = call('HMGET', policy, kind, '_task')
  local n = {}
  for number in string.gmatch(both[1] or both[2] or TASK, '-?%d+') do n[#n + 1] = tonumber(number) end
  if #n < 14 then
    -- Published by an older daemon, or by hand: what is missing is as if nothing was published.
    local i = 0
    for number in string.gmatch(TASK, '-?%d+') do
      i = i + 1
      n[i] = n[i] or tonumber(number)
    end
  end
  known = { start_to_close = n[1], action = n[2], heartbeat = n[3], revoke_grace = n[4], schedule_to_close = n[5],
    max_abandonments = n[6], max_failures = n[7], backoff_first = n[8], backoff_factor = n[9] / 1000,
    backoff_max = n[10], release_delay = n[11], accept_late = n[12] == 1, cancel_wait = n[13] }
  by_type[kind] = known
  return known
end

-- When the sweeper must look at a task: its earliest limit, or its place among those without one.
local function earliest(taken_at, ...)
  local first = NO_LIMIT + taken_at
  for i = 1, select('#', ...) do
    local limit = number((select(i, ...)))
    if limit and limit < first then first = limit end
  end
  return first
end
