#!lua flags=allow-oom
-- Records a failure: to delayed with backoff, or dead.
-- KEYS    the queue's fixed keys
-- ARGV    format, id, token, error (at most 1 KiB), jitter (0 to 1000), final (1: no retry, whatever is left)
-- RETURNS retried + ms until it is ready | dead | discarded (it was cancelled) | late | gone
-- GUARD   the token holds the task, and it runs
-- REPEAT  it no longer runs: late
-- COST    20 µs
--! include head policy move charge
local id, token, text, jitter, final = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6] == '1'
local t = read_task(id)
if not t.type then return { 'gone' } end
if t.token ~= token or not runs(t.session) then return { 'late' } end
local now = server_time()
local set, key = running_key(t.session), task_key(id)
for _, index in ipairs({ set, pending, delayed, expiring, dead }) do call('ZCARD', index) end
local limits = limits_of(t.type)
local failures = tonumber(call('HGET', key, 'failures') or 0) + 1
count('failed')
local answer
if t.cancelled then
  call('ZREM', expiring, id)
  finish(id, 'discarded:' .. token, setting('keep_done'))
  count('discarded')
  answer = { 'discarded' }
else
  call('HSET', key, 'failures', failures)
  call('HDEL', key, 'revoked_at', 'reason')
  call('SET', base .. 'error:' .. id, text)
  if final or failures > limits.max_failures then
    bury(id, 'failed', now)
    event(now, 'what', 'dead', 'why', 'failed', 'task', id, 'token', token, 'session', t.session)
    answer = { 'dead' }
  else
    local wait = limits.backoff_first * limits.backoff_factor ^ (failures - 1)
    -- Between half and the whole of it, so that tasks that failed together don't come back together.
    wait = math.floor(math.min(wait, limits.backoff_max) * (0.5 + jitter / 2000))
    requeue(id, t.seq, t.deadline, now + wait, 'failed', now)
    answer = { 'retried', wait }
  end
end
call('ZREM', set, id)
write_counts()
return answer
