#!lua flags=allow-oom
-- One page of what the sweeper must judge: silent sessions and overdue ones with their tasks, pending tasks past their
-- deadline. Knows the server again, or opens the grace.
-- KEYS    the queue's fixed keys
-- ARGV    format, owner of the lease ('': none is asked for), lease ms, silence after which a session is listed ms,
--         silence after which it is suspect ms, grace after a change of server ms, most tasks (1 to 100),
--         then what stayed where it is so far in this pass: silent sessions, tasks of the first of them, overdue sessions,
--         tasks of the first of them, expired pending tasks; whether external handles are read (0|1)
-- RETURNS standby + the holder (another replica sweeps), or
--         page, now ms, grace until ms, {sessions, silent, suspect, pending, delayed, dead, paused, uptime s, known (0|1),
--         tasks of the suspects (of 50 of them), unwanted handles},
--         silent and overdue, each {session, beat ms, running, current (0|1), beats, state, {id, {facts}, …}, …},
--         expired {id, deadline, …}, more (0|1)
--         facts: token, type, abandonments; of due tasks also taken_at, deadline, cancelled, limit, revoked_at,
--         alive_until; the tenth: the handle, where it is read. A record that is gone has none
-- GUARD   writes only what can't lose anything: lease, run id with its grace, heartbeats from the future, raised `due`
-- REPEAT  the same page
-- COST    25 µs for nothing, 2.5 µs a task
--! include head evidence
local owner, lease_ms, cutoff, suspect_after = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local grace, most = tonumber(ARGV[6]), tonumber(ARGV[7])
local skip_silent, skip_tasks = tonumber(ARGV[8]), tonumber(ARGV[9])
local skip_due, skip_due_tasks, skip_expired = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])
local handles = ARGV[13] == '1'
local now = server_time()
for _, index in ipairs({ pending, delayed, expiring, agents, due, dead }) do call('ZCARD', index) end
if owner ~= '' then
  local holder = call('GET', lease)
  if holder and holder ~= owner then return { 'standby', holder } end
  call('SET', lease, owner, 'PX', lease_ms)
end
local server = call('INFO', 'server')
local id_now = string.match(server, 'run_id:(%x+)')
local uptime = tonumber(string.match(server, 'uptime_in_seconds:(%d+)')) or 0
local state = call('HMGET', control, 'run_id', 'grace_until', 'paused')
local until_ms = tonumber(state[2]) or 0
local known = state[1] == id_now
if not known then
  -- A first look at a server that has been up for long opens no grace: its agents had their time to beat.
  if state[1] or uptime * 1000 < grace then
    until_ms = lengthen('redis_changed', now + grace, now)
  end
  -- In this very step, so that nobody sees the new server without its grace.
  call('HSET', control, 'run_id', id_now)
end
for _, session in ipairs(call('ZRANGEBYSCORE', agents, '(' .. string.format('%.0f', now), '+inf', 'LIMIT', 0, 100)) do
  call('ZADD', agents, now, session)
end

local room, more = most, 0
local listed = {}

-- A session's tasks are a list of its own, cut where the page is full. The first `due_now` of them are due: what isn't
-- due yet is neither cancelled nor past a limit, and of that only what a verdict by silence needs is read.
local function entry(session, ids, due_now)
  local tasks = {}
  for i, id in ipairs(ids) do
    local facts
    if i > due_now then
      -- A first attempt was never abandoned; looking for a field that isn't there costs more than the others.
      facts = fields(task_key(id), 'token', 'type')
      if facts[1] and string.sub(facts[1], 1, 2) ~= '1-' then facts[3] = call('HGET', task_key(id), 'abandonments') end
    else
      facts = fields(task_key(id), 'token', 'type', 'abandonments', 'taken_at', 'deadline', 'cancelled', 'limit',
        'revoked_at', 'alive_until')
    end
    local handle = handles and facts[1] and try('GET', base .. 'external:' .. id)
    if handle then
      for n = 3, 9 do facts[n] = facts[n] or false end
      facts[10] = handle
    end
    tasks[i * 2 - 1], tasks[i * 2] = id, facts
  end
  room = room - #ids
  local a = fields(agent_key(session), 'session', 'beat', 'state')
  local current = a[1] == session
  return { session, call('ZSCORE', agents, session) or '', (try('ZCARD', running_key(session)) or 0), current and 1 or 0,
    current and a[2] or '', a[3] or '', tasks }
end

local silent = {}
local before = string.format('%.0f', now - cutoff)
local names = call('ZRANGEBYSCORE', agents, '-inf', before, 'LIMIT', skip_silent, 51)
for i, session in ipairs(names) do
  if i > 50 or room <= 0 then
    more = 1
    break
  end
  local from = i == 1 and skip_tasks or 0
  local set = running_key(session)
  local ids = try('ZRANGE', set, from, from + room - 1) or {}
  if from + #ids < (try('ZCARD', set) or 0) then more = 1 end
  -- In the order of their scores, so that counting tells which are due; reading each score costs more.
  silent[#silent + 1] = entry(session, ids, (try('ZCOUNT', set, '-inf', now) or 0) - from)
  listed[session] = true
end

local overdue = {}
names = call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', skip_due, 51)
local seen = 0
for i, session in ipairs(names) do
  if i > 50 or room <= 0 then
    more = 1
    break
  end
  local first = try('ZRANGE', running_key(session), 0, 0, 'WITHSCORES') or {}
  if not first[1] then
    call('ZREM', due, session)
  elseif tonumber(first[2]) > now then
    call('ZADD', due, first[2], session)
  else
    local beat = call('ZSCORE', agents, session)
    seen = seen + 1
    -- A silent one's tasks are judged by its silence.
    if not listed[session] and not (beat and tonumber(beat) <= now - cutoff) then
      local from = seen == 1 and skip_due_tasks or 0
      local ids = call('ZRANGEBYSCORE', running_key(session), '-inf', now, 'LIMIT', from, room)
      if #ids == room then more = 1 end
      overdue[#overdue + 1] = entry(session, ids, #ids)
    else
      overdue[#overdue + 1] = { session, beat or '', 0, 0, '', '', {} }
    end
  end
end

local expired = {}
if room > 0 then
  local ids = call('ZRANGEBYSCORE', expiring, '-inf', now, 'WITHSCORES', 'LIMIT', skip_expired, room)
  if #ids / 2 == room then more = 1 end
  expired = ids
end

local suspects = 0
for _, session in ipairs(call('ZRANGEBYSCORE', agents, '(' .. before, now - suspect_after, 'LIMIT', 0, 50)) do
  suspects = suspects + (try('ZCARD', running_key(session)) or 0)
end
local counts = { call('ZCARD', agents), call('ZCOUNT', agents, '-inf', before),
  call('ZCOUNT', agents, '(' .. before, string.format('%.0f', now - suspect_after)), call('ZCARD', pending),
  call('ZCARD', delayed), call('ZCARD', dead), (state[3] or '') ~= '' and 1 or 0, uptime, known and 1 or 0,
  suspects, (try('ZCARD', unwanted) or 0) }
return { 'page', now, until_ms, counts, silent, overdue, expired, more }
