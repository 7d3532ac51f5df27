#!lua flags=allow-oom
-- Carries out up to 50 verdicts about the tasks of one session, each re-checked here.
-- KEYS    the queue's fixed keys
-- ARGV    format, session, the heartbeat that was seen (ms; '': the verdicts are about the tasks' own limits),
--         cause, delay before a reset task is ready ms, then for each verdict: id, token,
--         action (reset | dead_letter | expire | discard | revoke | alert), revoke grace ms
-- RETURNS held, or for each: reset | dead | expired | discarded | revoked | alerted | skipped (not so any more)
-- GUARD   this is the server that was known, no grace is open; the session is still as silent, or the task's own limit
--         has still passed; the task still runs under the same session and token; a cancelled one is discarded, and
--         only such a one; the deadline of one that expires has still passed
-- REPEAT  skipped
-- COST    20 µs, and 4.5 µs a task
--! include head policy move charge evidence
local session, seen, cause, delay = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local now = server_time()
if held(now) then return { 'held' } end
local by_silence = seen ~= ''
local silent = by_silence and still_silent(session, seen)
local mine = running_key(session)
for _, index in ipairs({ pending, delayed, expiring, dead, due, mine }) do call('ZCARD', index) end

local answers, out, back, later, ends, moved = {}, {}, {}, {}, {}, {}
local resets = 0

-- Tasks that come back together are spread over the delay.
local n = (#ARGV - 5) / 4
local function ready_at(i) return delay > 0 and now + math.floor(delay * i / n) or 0 end

local function alive(id, token, action, grace)
  local t = call('HMGET', task_key(id), 'token', 'session', 'limit', 'deadline', 'alive_until', 'revoked_at', 'taken_at')
  if t[1] ~= token or t[2] ~= session then return 'skipped' end
  -- Re-read: its place in the running set is the earliest of its limits.
  local score = call('ZSCORE', mine, id)
  if not score or tonumber(score) > now then return 'skipped' end
  -- Told to stop already: its fence stands, whatever the sweeper saw before.
  if t[6] then return 'skipped' end
  if action == 'revoke' then
    call('HSET', task_key(id), 'revoked_at', now, 'reason', 'revoked:' .. cause)
    call('ZADD', mine, now + grace, id)
    count('revoked:' .. cause)
    return 'revoked'
  elseif action == 'alert' then
    -- Said once, though another limit may have passed meanwhile: from here on those count, then its age alone.
    if not t[3] or tonumber(t[3]) > now then return 'skipped' end
    call('HDEL', task_key(id), 'limit')
    call('HSET', task_key(id), 'alerted', t[3])
    call('ZADD', mine, earliest(tonumber(t[7]) or now, t[4], t[5]), id)
    count('alerted:' .. cause)
    return 'alerted'
  end
end

for i = 1, n do
  local at = 2 + i * 4
  local id, token, action, grace = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  local answer = 'skipped'
  if action == 'revoke' or action == 'alert' then
    if not by_silence then answer = alive(id, token, action, grace) end
  else
    local t = call('HMGET', task_key(id), 'token', 'session', 'seq', 'abandonments', 'deadline', 'revoked_at', 'cancelled')
    local still = silent
    if not by_silence then
      local score = call('ZSCORE', mine, id)
      still = score and tonumber(score) <= now
    end
    -- What a person asked for since the sweeper looked comes before its verdict.
    if t[7] then
      action = 'discard'
    elseif action == 'discard' or action == 'expire' and not (t[5] and tonumber(t[5]) <= now) then
      still = false
    end
    if still and t[1] == token and t[2] == session then
      out[#out + 1] = id
      if action == 'reset' then
        -- The common one, written with the page's own batches.
        call('HSET', task_key(id), 'session', '', 'reason', 'reset:' .. cause, 'abandonments', (tonumber(t[4]) or 0) + 1)
        local ready = ready_at(i)
        local list = ready > now and later or back
        list[#list + 1] = ready > now and ready or t[3]
        list[#list + 1] = id
        if t[5] then
          ends[#ends + 1] = t[5]
          ends[#ends + 1] = id
        end
        resets = resets + 1
        answer = 'reset'
      else
        answer = give_up(id, { token = token, seq = t[3], abandonments = t[4], deadline = t[5] }, cause, action, now, now)
      end
      if t[6] and answer ~= 'discarded' then call('HDEL', task_key(id), 'revoked_at') end
    end
  end
  if answer ~= 'skipped' then moved[#moved + 1] = id end
  answers[i] = answer
end
if #out > 0 then call('ZREM', mine, unpack(out)) end
if #back > 0 then call('ZADD', pending, unpack(back)) end
if #later > 0 then call('ZADD', delayed, unpack(later)) end
if #ends > 0 then call('ZADD', expiring, unpack(ends)) end
if resets > 0 then
  count('reset:' .. cause, resets)
  count('abandoned:' .. cause, resets)
  wake()
end
write_counts()
if #moved > 0 then
  event(now, 'what', 'applied', 'why', cause, 'session', session, 'seen', seen, 'tasks', table.concat(moved, ' '))
end
return answers
