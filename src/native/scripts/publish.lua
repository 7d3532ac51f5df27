#!lua
-- Publishes the policy that the scripts read, whole: operators own it, and agents in every language obey it.
-- KEYS    the queue's fixed keys
-- ARGV    format, then fields and values
-- RETURNS published
-- GUARD   one step: nobody reads half a policy
-- REPEAT  the same policy again
-- COST    10 µs
--! include head
local fields = {}
for i = 2, #ARGV do fields[#fields + 1] = ARGV[i] end
call('HLEN', policy)
call('DEL', policy)
call('HSET', policy, unpack(fields))
if not format then call('HSET', control, 'format', ARGV[1]) end
return 'published'
