#!lua flags=allow-oom
-- Publishes the policy that the scripts read, whole: operators own it, and agents in every language obey it.
-- KEYS    the queue's fixed keys
-- ARGV    format, then fields and values
-- RETURNS published
-- GUARD   one step: nobody reads half a policy. Where it shortens silence below the rhythm in which agents were last told
--         to beat, a grace opens until each has heard of the new one
-- REPEAT  the same policy again
-- COST    15 µs
--! include head policy
local fields = {}
for i = 2, #ARGV do fields[#fields + 1] = ARGV[i] end
call('HLEN', policy)
local rhythm = math.max(setting('heartbeat_interval'), math.floor(call('ZCARD', agents) / 1.5))
call('DEL', policy)
call('HSET', policy, unpack(fields))
-- The sweeper waits for three beats of the new rhythm, which the size of the fleet stretches as it did the old one.
local fresh = math.max(setting('heartbeat_interval'), math.floor(call('ZCARD', agents) / 1.5))
if math.max(setting('heartbeat_timeout'), 3 * fresh) < 3 * rhythm and call('ZCARD', agents) > 0 then
  local now = server_time()
  lengthen('policy_changed', now + math.floor(rhythm * 1.5), now)
end
if not format then call('HSET', control, 'format', ARGV[1]) end
return 'published'
