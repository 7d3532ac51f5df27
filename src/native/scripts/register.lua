#!lua
-- A new session for an identity, or for a free one out of a pool.
-- KEYS    the queue's fixed keys
-- ARGV    format, nonce (16 hex), identity or pool prefix, pool size (0: no pool), session that was lost or '',
--         host, pid, version
-- RETURNS registered, session, ms to the first beat, ms of silence to stop the work at (-1: never) and others may get it
--         at, {session, id, token, type, checkpoint, external handle, …} what predecessors hold
--         (100 at most; adopt or release, then ask again)
--         | superseded | pool_full
-- GUARD   a client that was declared lost gets a session only while the identity's current one is the lost one; out of
--         a pool, any identity that is free
-- REPEAT  a known nonce gets the same session, or superseded if that is no longer the current one
-- COST    60 µs; 1.5 µs more for each identity of a pool that is passed over
--! include head policy
local nonce, name, size, lost = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local now = server_time()
call('ZCARD', agents) call('ZCARD', due)

local function split(list)
  local parts = {}
  for part in string.gmatch(list or '', '%S+') do parts[#parts + 1] = part end
  return parts
end

local function holds_some(session) return (try('ZCARD', running_key(session)) or 0) > 0 end

local function answer(session)
  local held = {}
  local former = split(call('HGET', agent_key(session), 'held'))
  for _, old in ipairs(former) do
    if #held >= 500 then break end
    for _, id in ipairs(try('ZRANGE', running_key(old), 0, 99) or {}) do
      local t = fields(task_key(id), 'token', 'session', 'type', 'attempt')
      if t[1] and t[2] == old and #held < 500 then
        held[#held + 1] = old
        held[#held + 1] = id
        held[#held + 1] = t[1]
        held[#held + 1] = t[3]
        held[#held + 1] = try('GET', base .. 'checkpoint:' .. id) or ''
        held[#held + 1] = try('GET', base .. 'external:' .. id) or ''
      end
    end
  end
  local every, stop, lost_at = rhythm()
  return { 'registered', session, every, stop, lost_at, held }
end

-- The pool's own memory of a nonce lapses after an hour; an identity's last eight don't.
local before = call('GET', base .. 'nonce:' .. nonce)
if not before and size == 0 then
  local known = call('HMGET', base .. 'agent:' .. name, 'nonces', 'session')
  for _, entry in ipairs(split(known[1])) do
    if string.sub(entry, 1, 16) == nonce then before = string.sub(entry, 18) end
  end
end
if before then
  if call('HGET', agent_key(before), 'session') == before then return answer(before) end
  return { 'superseded' }
end

local identity = name
if size > 0 then
  -- One that left tasks behind comes first, then one that is free; never one that is only silent.
  local free, drained
  identity = nil
  for i = 0, size - 1 do
    local candidate = name .. '-' .. i
    local a = try('HMGET', base .. 'agent:' .. candidate, 'session', 'state', 'held', 'draining')
    -- A name whose record is of the wrong type is nobody's until a person has looked at it.
    if a and a[2] ~= 'active' and (a[4] or '') ~= '' then
      -- It would be given nothing to do.
      drained = drained or candidate
    elseif a and a[2] ~= 'active' then
      local left_some = a[1] and holds_some(a[1])
      for _, old in ipairs(split(a[3])) do left_some = left_some or holds_some(old) end
      if left_some then
        identity = candidate
        break
      end
      free = free or candidate
    end
  end
  identity = identity or free or drained
  if not identity then return { 'pool_full' } end
end

local key = base .. 'agent:' .. identity
local a = call('HMGET', key, 'session', 'held', 'nonces')
local current = a[1]
-- What a pool gives out is free, whoever had it.
if size == 0 and lost ~= '' and current and current ~= lost then return { 'superseded' } end
if not format then call('HSET', control, 'format', ARGV[1]) end
local incarnation = call('HINCRBY', control, 'incarnation', 1)
local session = identity .. '.' .. incarnation .. '-' .. string.sub(nonce, 1, 8)

local held = {}
for _, old in ipairs(split(a[2])) do
  if holds_some(old) then held[#held + 1] = old end
end
if current then
  if holds_some(current) then
    held[#held + 1] = current
    -- Once, and only the direct predecessor's: a crash loop can't keep tasks for ever.
    local within = now - setting('heartbeat_timeout') - setting('lost_after') + setting('adopt_within')
    call('ZADD', agents, math.min(within, now), current)
  else
    call('ZREM', agents, current)
    call('ZREM', due, current)
  end
  event(now, 'what', 'superseded', 'session', current, 'by', session)
end
-- More than eight is a crash loop: the oldest are left to the sweeper, which knows them from agents.
while #held > 8 do table.remove(held, 1) end
local nonces = split(a[3])
nonces[#nonces + 1] = nonce .. '=' .. session
while #nonces > 8 do table.remove(nonces, 1) end
call('HSET', key, 'session', session, 'state', 'active', 'beat', 0, 'nonces', table.concat(nonces, ' '),
  'held', table.concat(held, ' '), 'host', ARGV[6], 'pid', ARGV[7], 'version', ARGV[8], 'registered_at', now)
call('PERSIST', key)
call('ZADD', agents, now, session)
call('SET', base .. 'nonce:' .. nonce, session, 'PX', 3600000)
count('registered')
write_counts()
event(now, 'what', 'registered', 'session', session, 'host', ARGV[6], 'pid', ARGV[7])
return answer(session)
