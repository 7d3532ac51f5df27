#!lua
-- Exchanges tasks for identity: pops up to n and writes session, token, times and limits, in one transaction.
-- KEYS    the queue's fixed keys
-- ARGV    format, session, nonce (16 hex), most tasks (1 to 50), most payload bytes
-- RETURNS took + rows of {id, token, type, attempt, payload, enqueued at, deadline, abandonments, failures, checkpoint, external handle}
--         | empty + ms until the next delayed task (-1: none) | paused | draining | superseded | lost
-- GUARD   the session is its identity's current one, and in agents; the running set stays within 256
-- REPEAT  a take whose answer was lost gives tasks that nobody knows: beats show them, the client gives them back
-- COST    8 µs a task in batches of 10, 27 µs alone
--! include head policy move
local session, nonce, most, most_bytes = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local agent = call('HMGET', agent_key(session), 'session', 'draining')
-- An identity that nobody knows was lost with the data of a server: that is no younger twin.
if agent[1] and agent[1] ~= session then return { 'superseded' } end
if not agent[1] or not call('ZSCORE', agents, session) then return { 'lost' } end
local state = call('HMGET', control, 'paused', 'draining')
if (agent[2] or '') ~= '' or (state[2] or '') ~= '' then return { 'draining' } end
if (state[1] or '') ~= '' then return { 'paused' } end
local mine = running_key(session)
local room = 256 - call('ZCARD', mine)
if room < most then most = room end
for _, index in ipairs({ pending, delayed, expiring, due, dead }) do call('ZCARD', index) end
local now = server_time()

-- What has become ready gets its number now, at the first time, and keeps it.
local ready = call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, 50)
if #ready > 0 then
  local add = {}
  for _, id in ipairs(ready) do
    local known = fields(task_key(id), 'type', 'seq')
    if known[1] then
      add[#add + 1] = place(id, known[2])
      add[#add + 1] = id
    else
      count('skipped:no_record')
    end
  end
  call('ZREM', delayed, unpack(ready))
  if #add > 0 then call('ZADD', pending, unpack(add)) end
end

local ids = most > 0 and call('ZRANGE', pending, 0, most - 1) or {}
if #ids == 0 then
  write_counts()
  local next = call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
  return { 'empty', next[2] and math.max(0, tonumber(next[2]) - now) or -1 }
end
local rows, out, scores, bytes, first = {}, {}, {}, 0, nil
for _, id in ipairs(ids) do
  local key = task_key(id)
  local t = fields(key, 'type', 'attempt', 'seq', 'deadline', 'payload', 'enqueued_at', 'session')
  local payload = t[5] or (t[1] and try('GET', base .. 'payload:' .. id))
  if not t[1] then
    count('skipped:no_record')
  elseif t[2] and call('HEXISTS', key, 'cancelled') == 1 then
    -- A person cancelled it while it ran, and a reset was quicker than the order to stop.
    disown(id, now)
    finish(id, 'discarded:' .. (call('HGET', key, 'token') or ''), 86400000)
    call('ZREM', expiring, id)
    count('discarded')
  elseif passed(t[4], now) then
    bury(id, 'expired', now)
    count('expired')
  elseif not payload then
    bury(id, 'no_payload', now)
  else
    bytes = bytes + #payload
    if bytes > most_bytes and #rows > 0 then break end
    local limits = limits_of(t[1])
    local attempt = (number(t[2]) or 0) + 1
    local token = attempt .. '-' .. place(id, t[3]) .. '-' .. nonce
    local record = { 'session', session, 'token', token, 'attempt', attempt, 'taken_at', now }
    local limit, alive
    if limits.start_to_close >= 0 then
      limit = now + limits.start_to_close
      record[#record + 1] = 'limit'
      record[#record + 1] = limit
    end
    if limits.heartbeat >= 0 then
      alive = now + limits.heartbeat
      record[#record + 1] = 'alive_until'
      record[#record + 1] = alive
    end
    -- A first attempt has neither a past nor a checkpoint; looking for a field that isn't there is what costs most.
    local past, checkpoint, handle = {}, '', ''
    if t[7] then
      past = fields(key, 'abandonments', 'failures')
      checkpoint = try('GET', base .. 'checkpoint:' .. id) or ''
      handle = try('GET', base .. 'external:' .. id) or ''
      -- The limits are this attempt's own. Cleared here and not by the reset, whose page is the one that must be fast.
      call('HDEL', key, 'revoked_at', 'reason', 'limit', 'alive_until', 'alerted', 'recorded', 'ending')
      if string.sub(t[7] or '', 1, 7) == '!reset:' then count('reclaimed') end
    end
    call('HSET', key, unpack(record))
    local score = earliest(now, limit, alive, t[4])
    if not first or score < first then first = score end
    scores[#scores + 1] = score
    scores[#scores + 1] = id
    rows[#rows + 1] = { id, token, t[1], attempt, payload, t[6], t[4] or '', past[1] or '0', past[2] or '0', checkpoint,
      handle }
  end
  out[#out + 1] = id
end
call('ZREM', pending, unpack(out))
if #rows > 0 then
  call('ZADD', mine, unpack(scores))
  call('ZADD', due, 'LT', first, session)
  count('taken', #rows)
end
write_counts()
return { 'took', rows }
