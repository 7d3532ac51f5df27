#!lua
-- Goes on with a predecessor's tasks under new tokens.
-- KEYS    the queue's fixed keys
-- ARGV    format, session, nonce (16 hex), then for each task: id, the predecessor's token
-- RETURNS for each: adopted + the row that take gives | dead | expired | discarded | not_yours | full | lost
-- GUARD   the session is current and in agents; the token holds the task, under this identity; the set stays within 256
-- REPEAT  the token was made of this nonce: adopted again; after dead: not_yours
-- COST    20 µs a task
--! include head policy move charge
-- It charges one abandonment, so that a task which kills its agent ends as a dead letter and not in a loop.
local session, nonce = ARGV[2], ARGV[3]
local identity = agent_key(session)
local current = call('HGET', identity, 'session') == session and call('ZSCORE', agents, session)
local now = server_time()
local mine = running_key(session)
local room = 256 - call('ZCARD', mine)
for _, index in ipairs({ pending, delayed, expiring, dead, due }) do call('ZCARD', index) end

local function row(id, token)
  local r = fields(task_key(id), 'type', 'attempt', 'payload', 'enqueued_at', 'deadline', 'abandonments', 'failures')
  return { 'adopted', { id, token, r[1], r[2], r[3] or try('GET', base .. 'payload:' .. id) or '', r[4], r[5] or '',
    r[6] or '0', r[7] or '0', try('GET', base .. 'checkpoint:' .. id) or '', try('GET', base .. 'external:' .. id) or '' } }
end

local function adopt(id, token)
  if not current then return { 'lost' } end
  local t = read_task(id)
  if not t.type or not runs(t.session) then return { 'not_yours' } end
  if t.session == session and string.sub(t.token or '', -#nonce - 1) == '-' .. nonce then return row(id, t.token) end
  if t.token ~= token or t.session == session or agent_key(t.session) ~= identity then return { 'not_yours' } end
  local old = running_key(t.session)
  local action = action_for(t, now)
  local cause = cause_of(t, 'agent_lost')
  if action ~= 'reset' then
    local answer = give_up(id, t, cause, action, now, now)
    try('ZREM', old, id)
    event(now, 'what', answer, 'why', cause, 'session', t.session, 'by', session, 'tasks', id)
    return { answer }
  end
  if room < 1 then return { 'full' } end
  room = room - 1
  local attempt = (number(t.attempt) or 0) + 1
  local fresh = attempt .. '-' .. place(id, t.seq) .. '-' .. nonce
  local limits = limits_of(t.type)
  local limit = limits.start_to_close >= 0 and now + limits.start_to_close or nil
  local alive = limits.heartbeat >= 0 and now + limits.heartbeat or nil
  call('HDEL', task_key(id), 'revoked_at', 'reason', 'limit', 'alive_until', 'alerted', 'recorded')
  call('HSET', task_key(id), 'session', session, 'token', fresh, 'attempt', attempt, 'taken_at', now,
    'abandonments', (number(t.abandonments) or 0) + 1)
  if limit then call('HSET', task_key(id), 'limit', limit) end
  if alive then call('HSET', task_key(id), 'alive_until', alive) end
  local score = earliest(now, limit, alive, t.deadline)
  try('ZREM', old, id)
  call('ZADD', mine, score, id)
  call('ZADD', due, 'LT', score, session)
  count('abandoned:' .. cause)
  count('adopted')
  event(now, 'what', 'adopted', 'why', cause, 'session', t.session, 'by', session, 'tasks', id)
  return row(id, fresh)
end

local answers = {}
for i = 4, #ARGV, 2 do answers[#answers + 1] = adopt(ARGV[i], ARGV[i + 1]) end
write_counts()
return answers
