#!lua flags=allow-oom
-- Gives tasks back, to pending at their place or to delayed.
-- KEYS    the queue's fixed keys
-- ARGV    format, the caller's session, delay ms (-1: as the type's policy says), then for each task: id, token
-- RETURNS for each: released | reset (charged) | dead (charged once too often) | expired | discarded (it was cancelled)
--         | late
-- GUARD   the token holds the task, it runs, and under the caller's identity
-- REPEAT  it no longer runs: late
-- COST    12 µs
--! include head policy move charge
-- The caller's own task costs it nothing, unless it was told to stop: a hung task must not come round for ever. A
-- predecessor's that won't be resumed is charged, whatever the caller says.
local caller, delay = ARGV[2], tonumber(ARGV[3])
local identity = agent_key(caller)
local now = server_time()
for _, index in ipairs({ pending, delayed, expiring, dead }) do call('ZCARD', index) end
local answers = {}
for i = 4, #ARGV, 2 do
  local id, token = ARGV[i], ARGV[i + 1]
  local t = read_task(id)
  local answer = 'late'
  if t.type and t.token == token and runs(t.session) and agent_key(t.session) == identity then
    local set = running_key(t.session)
    local own = t.session == caller
    if own and not t.revoked_at and not t.cancelled then
      local wait = delay >= 0 and delay or limits_of(t.type).release_delay
      requeue(id, t.seq, t.deadline, now + wait, 'released', now)
      count('released')
      answer = 'released'
    else
      local cause = cause_of(t, 'agent_lost')
      answer = give_up(id, t, cause, action_for(t, now), now + math.max(delay, 0), now)
      if t.revoked_at and answer ~= 'discarded' then call('HDEL', task_key(id), 'revoked_at', 'reason') end
      event(now, 'what', answer, 'why', cause, 'session', t.session, 'by', caller, 'tasks', id)
    end
    try('ZREM', set, id)
  end
  answers[#answers + 1] = answer
end
write_counts()
wake()
return answers
