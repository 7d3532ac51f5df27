#!lua flags=allow-oom
-- Carries out one kind of verdict on up to 100 tasks of one session, each re-checked here.
-- KEYS    the queue's fixed keys
-- ARGV    format, session, the heartbeat that was seen (ms; '': the verdicts are about the tasks' own limits), cause,
--         action (reset | dead_letter | expire | discard | revoke | alert), abandonments that were seen (the same for
--         all), delay before reset tasks are ready ms, revoke grace ms, then for each: id, the token that was seen
-- RETURNS held, or done + numbers of those that were skipped (not so any more), from 1
-- GUARD   this is the server that was known, no grace is open; the session is still as silent, or the task's own limit
--         has still passed; the task still runs under the same session and token (which fixes its abandonments). A cancelled
--         one is only discarded (take does it, should it be reset), the deadline of one that expires has still passed
-- REPEAT  skips all
-- COST    25 µs, and 4 µs a task
--! include head policy move charge evidence
local session, seen, cause, action = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local abandonments, delay, grace = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local now = server_time()
if held(now) then return { 'held' } end
local by_silence = seen ~= ''
local silent = by_silence and still_silent(session, seen)
local mine = running_key(session)
for _, index in ipairs({ pending, delayed, expiring, dead, due, mine }) do call('ZCARD', index) end
local n = (#ARGV - 8) / 2

-- Whether the evidence still stands, apart from the token.
local function evident(id)
  if by_silence then return silent end
  local score = call('ZSCORE', mine, id)
  return score and tonumber(score) <= now
end

local out, back, later = {}, {}, {}
-- Written once, not for each task.
local mark, charged = '!reset:' .. cause, tostring(abandonments + 1)
local soonest = now + delay
-- Each of these answers true if it did it.
local carry_out = {}

-- The common one: one read and one write a task, the rest in the page's own batches.
function carry_out.reset(id, token)
  local key = task_key(id)
  local t = fields(key, 'session', 'token', 'seq')
  if t[1] ~= session or t[2] ~= token or not evident(id) then return end
  call('HSET', key, 'session', mark, 'abandonments', charged)
  out[#out + 1] = id
  local ready_at = let_go(id, cause, soonest, now)
  if ready_at > now then
    later[#later + 1] = string.format('%.0f', ready_at)
    later[#later + 1] = id
  else
    back[#back + 1] = place(id, t[3])
    back[#back + 1] = id
  end
  return true
end

local function give_up_on(id, token)
  local t = fields(task_key(id), 'session', 'token', 'seq', 'deadline', 'cancelled')
  if t[1] ~= session or t[2] ~= token or not evident(id) then return end
  -- What a person asked for since the sweeper looked comes before its verdict.
  if (t[5] and true or false) ~= (action == 'discard') then return end
  if action == 'expire' and not passed(t[4], now) then return end
  give_up(id, { token = token, seq = t[3], abandonments = abandonments, deadline = t[4] }, cause, action, now, now)
  out[#out + 1] = id
  return true
end
carry_out.dead_letter, carry_out.expire, carry_out.discard = give_up_on, give_up_on, give_up_on

function carry_out.revoke(id, token)
  local t = fields(task_key(id), 'session', 'token', 'revoked_at')
  if t[1] ~= session or t[2] ~= token or t[3] or not evident(id) then return end
  call('HSET', task_key(id), 'revoked_at', now, 'reason', 'revoked:' .. cause)
  call('ZADD', mine, now + grace, id)
  return true
end

-- Said once: from here on its other limits count, then its age alone.
function carry_out.alert(id, token)
  local t = fields(task_key(id), 'session', 'token', 'limit', 'taken_at', 'deadline', 'alive_until',
    'revoked_at')
  -- An order to stop that stands is not to be forgotten for an alert.
  if t[1] ~= session or t[2] ~= token or t[7] or not evident(id) then return end
  if not passed(t[3], now) then return end
  call('HDEL', task_key(id), 'limit')
  call('HSET', task_key(id), 'alerted', t[3])
  call('ZADD', mine, earliest(number(t[4]) or now, t[5], t[6]), id)
  return true
end

local skipped, moved = {}, {}
local act = carry_out[action]
for i = 1, n do
  local id = ARGV[7 + i * 2]
  if act(id, ARGV[8 + i * 2]) then moved[#moved + 1] = id else skipped[#skipped + 1] = i end
end
if #moved > 0 then
  if #out > 0 then call('ZREM', mine, unpack(out)) end
  if #back > 0 then call('ZADD', pending, unpack(back)) end
  if #later > 0 then call('ZADD', delayed, unpack(later)) end
  if action == 'reset' then
    count('reset:' .. cause, #moved)
    count('abandoned:' .. cause, #moved)
    wake()
  elseif action == 'revoke' or action == 'alert' then
    count(action .. ':' .. cause, #moved)
  end
  write_counts()
  event(now, 'what', action, 'why', cause, 'session', session, 'seen', seen, 'tasks', table.concat(moved, ' '))
end
return { 'done', skipped }
