-- An abandonment is charged to the task that it hits, and is one of reset, dead-lettered, expired, adopted:
-- both are counted here, so the sums agree. The caller has checked that the task runs, and takes it out of the set.
-- `t` = { abandonments, seq, deadline, type }
local function give_up(id, t, cause, action, ready_at, now)
  if action == 'discard' then
    -- A person had cancelled it: that it ends is no abandonment.
    call('ZREM', expiring, id)
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
  call('HSET', task_key(id), 'abandonments', (tonumber(t.abandonments) or 0) + 1)
  if action == 'dead_letter' then
    bury(id, 'poison', now)
    count('abandoned_dead')
    return 'dead'
  end
  requeue(id, t.seq, t.deadline, ready_at, 'reset:' .. cause, now)
  count('reset:' .. cause)
  return 'reset'
end

-- What becomes of a task that is given up on outside the sweeper's judgement: the same order of questions.
local function action_for(t, now)
  if t.cancelled then return 'discard' end
  if t.deadline and tonumber(t.deadline) <= now then return 'expire' end
  if (tonumber(t.abandonments) or 0) >= limits_of(t.type).max_abandonments then return 'dead_letter' end
  return 'reset'
end

local function read_task(id)
  local r = fields(task_key(id), 'token', 'session', 'seq', 'deadline', 'abandonments', 'type', 'revoked_at',
    'cancelled', 'reason', 'attempt')
  return { token = r[1], session = r[2], seq = r[3], deadline = r[4], abandonments = r[5], type = r[6],
    revoked_at = r[7], cancelled = r[8], reason = r[9] or '', attempt = r[10] }
end

-- The cause of a revocation stands in the running task's reason: 'revoked:<cause>'.
local function cause_of(t, otherwise) return string.match(t.reason, '^revoked:(.*)') or otherwise end
