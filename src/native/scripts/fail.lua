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
local set = running_key(t.session)
for _, index in ipairs({ set, pending, delayed, expiring, dead }) do call('ZCARD', index) end
local answer
if t.cancelled then
  count('failed')
  call('ZREM', expiring, id)
  disown(id, now)
  finish(id, 'discarded:' .. token, setting('keep_done'))
  count('discarded')
  answer = { 'discarded' }
else
  answer = { fail(id, t, text, jitter, now, final) }
  if answer[1] == 'dead' then
    event(now, 'what', 'dead', 'why', 'failed', 'task', id, 'token', token, 'session', t.session)
  end
end
call('ZREM', set, id)
write_counts()
return answer
