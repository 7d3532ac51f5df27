-- Whether the sweeper may trust what it saw: this is the server that it knows, and no grace stands open.
-- One script (observe) writes the run id and the grace together, so nobody sees the one without the other.
local function run_id() return string.match(call('INFO', 'server'), 'run_id:(%x+)') end

local function held(now)
  local known = call('HMGET', control, 'run_id', 'grace_until', 'grace_by')
  if known[1] ~= run_id() then return true end
  if (tonumber(known[2]) or 0) <= now then return false end
  -- An override that was ended stands there empty.
  return (tonumber(call('HGET', control, 'override:' .. (known[3] or ''))) or 0) <= now
end

-- Silent still: the heartbeat that the verdict was made of is the one that stands there.
local function still_silent(session, seen)
  local beat = call('ZSCORE', agents, session)
  return beat and tonumber(beat) <= tonumber(seen)
end
