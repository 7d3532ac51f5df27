-- A run that hangs is not one to go on with; one whose agent died is. Where its work elsewhere can be cancelled, the task is
-- not handed out before that is known to have ended, or the time for it is over. When it may be, ms.
local function let_go(id, cause, ready_at, now)
  local handle = cause ~= 'agent_lost' and disown(id, now)
  if not handle then return ready_at end
  local wait = limits_of(call('HGET', task_key(id), 'type') or '').cancel_wait
  if wait < 0 then return ready_at end
  -- The record's values stay short, so it names the handle by its digest; and when it could have been handed out else.
  call('HSET', task_key(id), 'ending', redis.sha1hex(handle) .. string.format(' %.0f', ready_at))
  return math.max(ready_at, now + wait)
end

-- An abandonment is charged to the task that it hits, and is one of reset, dead-lettered, expired, adopted:
-- both are counted here, so the sums agree. The caller has checked that the task runs, and takes it out of the set.
-- `t` = { abandonments, seq, deadline, type }
local function give_up(id, t, cause, action, ready_at, now)
  if action == 'discard' then
    -- A person had cancelled it: that it ends is no abandonment.
    call('ZREM', expiring, id)
    disown(id, now)
    finish(id, 'discarded:' .. t.token, 86400000)
    count('discarded')
    return 'discarded'
  end
  count('abandoned:' .. cause)
  if action == 'expire' then
    bury(id, 'expired', now)
    count('abandoned_expired')
    count('expired')
    return 'expired'
  end
  call('HSET', task_key(id), 'abandonments', (number(t.abandonments) or 0) + 1)
  if action == 'dead_letter' then
    bury(id, 'poison', now)
    count('abandoned_dead')
    return 'dead'
  end
  requeue(id, t.seq, t.deadline, let_go(id, cause, ready_at, now), 'reset:' .. cause, now)
  count('reset:' .. cause)
  return 'reset'
end

-- What becomes of a task that is given up on outside the sweeper's judgement: the same order of questions.
local function action_for(t, now)
  if t.cancelled then return 'discard' end
  if passed(t.deadline, now) then return 'expire' end
  if (number(t.abandonments) or 0) >= limits_of(t.type).max_abandonments then return 'dead_letter' end
  return 'reset'
end

local function read_task(id)
  local r = fields(task_key(id), 'token', 'session', 'seq', 'deadline', 'abandonments', 'type', 'revoked_at',
    'cancelled', 'reason', 'attempt', 'ending')
  return { token = r[1], session = r[2], seq = r[3], deadline = r[4], abandonments = r[5], type = r[6],
    revoked_at = r[7], cancelled = r[8], reason = r[9] or '', attempt = r[10], ending = r[11] }
end

-- The cause of a revocation stands in the running task's reason: 'revoked:<cause>'.
local function cause_of(t, otherwise) return string.match(t.reason, '^revoked:(.*)') or otherwise end

-- One failure more: to delayed with backoff, or dead. What failed is not gone on with: should it run elsewhere still,
-- nobody waits for it.
local function fail(id, t, text, jitter, now, final)
  local key = task_key(id)
  local limits = limits_of(t.type)
  local failures = (number(call('HGET', key, 'failures')) or 0) + 1
  count('failed')
  disown(id, now)
  call('HSET', key, 'failures', failures)
  call('HDEL', key, 'revoked_at', 'reason')
  call('SET', base .. 'error:' .. id, text)
  if final or failures > limits.max_failures then
    bury(id, 'failed', now)
    return 'dead'
  end
  local wait = limits.backoff_first * limits.backoff_factor ^ (failures - 1)
  -- Between half and the whole of it, so that tasks that failed together don't come back together.
  wait = math.floor(math.min(wait, limits.backoff_max) * (0.5 + jitter / 2000))
  requeue(id, t.seq, t.deadline, now + wait, 'failed', now)
  return 'retried', wait
end

-- Complete without its agent's word: its work elsewhere succeeded. Remembered for a day at least, as whatever was abandoned,
-- with whose late result was counted.
local function collect(id, token)
  local late = call('HGET', task_key(id), 'late')
  call('ZREM', expiring, id)
  finish(id, 'completed:' .. token .. (late and ' late:' .. late or ''), math.max(setting('keep_done'), 86400000))
  count('completed')
  count('recovered')
end
