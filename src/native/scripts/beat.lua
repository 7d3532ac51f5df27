#!lua flags=allow-oom
-- One sign of life of a session; tells it what it no longer holds, and what it holds and doesn't know.
-- KEYS    the queue's fixed keys
-- ARGV    format, session, number of the beat, then for each pair that it runs, or whose completion, failure or release
--         is unanswered: id, token, mark ('' nothing more, '+' the task itself is alive, 'c…' alive, with a checkpoint)
-- RETURNS go_on | drain | superseded | lost, ms to the next beat, ms of silence to stop the work at (-1: never) and
--         others may get it at, drain mode ('' wait release), {id, token, gone|revoked|cancelled, …} to stop, {id, token, …} held and not listed
-- GUARD   a superseded or forgotten session writes nothing
-- REPEAT  an older number writes the heartbeat and nothing else: no checkpoint is rolled back
-- COST    8 µs, and 2 µs a pair
--! include head policy
local session, nth = ARGV[2], tonumber(ARGV[3])
local key = agent_key(session)
local agent = call('HMGET', key, 'session', 'beat', 'state', 'draining')
local now = server_time()
local word = 'go_on'
if agent[1] and agent[1] ~= session then
  word = 'superseded'
elseif not agent[1] or not call('ZSCORE', agents, session) then
  word = 'lost'
end
call('ZCARD', due)
local mine = running_key(session)
local holds = call('ZCARD', mine)
local fresh = word == 'go_on' and nth > (number(agent[2]) or 0)
if word == 'go_on' then
  call('ZADD', agents, now, session)
  if fresh then call('HSET', key, 'beat', nth) end
  if agent[3] ~= 'active' then
    -- Declared lost, and alive: the state is undone, what was moved stays moved.
    call('HSET', key, 'state', 'active')
    count('refuted')
    event(now, 'what', 'refuted', 'session', session)
  end
end
local stop, listed, known = {}, {}, 0
for i = 4, #ARGV, 3 do
  local id, token, mark = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local t = fields(task_key(id), 'token', 'session', 'revoked_at', 'cancelled', 'taken_at', 'limit', 'deadline',
    'type')
  if t[1] ~= token or t[2] ~= session then
    stop[#stop + 1] = id
    stop[#stop + 1] = token
    stop[#stop + 1] = 'gone'
  else
    if not listed[id] then known = known + 1 end
    listed[id] = true
    -- Also of a run that is told to stop: the next attempt is glad of it.
    if fresh and string.sub(mark, 1, 1) == 'c' then call('SET', base .. 'checkpoint:' .. id, string.sub(mark, 2)) end
    if t[3] then
      stop[#stop + 1] = id
      stop[#stop + 1] = token
      stop[#stop + 1] = t[4] and 'cancelled' or 'revoked'
    elseif fresh and mark ~= '' then
      local heartbeat = limits_of(t[8]).heartbeat
      local alive = heartbeat >= 0 and now + heartbeat or nil
      if alive then call('HSET', task_key(id), 'alive_until', alive) end
      -- What its type need not show any more must not let it be called silent.
      if alive or call('HDEL', task_key(id), 'alive_until') == 1 then
        local score = earliest(number(t[5]) or now, t[6], alive, t[7])
        call('ZADD', mine, 'XX', score, id)
        call('ZADD', due, 'LT', score, session)
      end
    end
  end
end
local unlisted = {}
if holds > known then
  for _, id in ipairs(call('ZRANGE', mine, 0, 255)) do
    if not listed[id] then
      local t = fields(task_key(id), 'token', 'session')
      if t[1] and t[2] == session then
        unlisted[#unlisted + 1] = id
        unlisted[#unlisted + 1] = t[1]
      end
    end
  end
end
local mode = ''
if word == 'go_on' then
  mode = agent[4] or ''
  if mode == '' then mode = call('HGET', control, 'draining') or '' end
  if mode ~= '' then word = 'drain' end
end
write_counts()
local every, stop_at, lost_at = rhythm()
return { word, every, stop_at, lost_at, mode, stop, unlisted }
