#!lua flags=allow-oom
-- Drains one agent, or ends that: it takes nothing new, and with `release` gives back what it runs.
-- KEYS    the queue's fixed keys
-- ARGV    format, who, identity, number of the change that the person saw, wait | release | '' (ends it)
-- RETURNS steered | changed (somebody was quicker, or this is a repeat) | gone (nobody of that name is known)
-- GUARD   nothing was asked of this identity since the person looked
-- REPEAT  changed
-- COST    8 µs
--! include head
local who, identity, seen, mode = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local key = base .. 'agent:' .. identity
local a = fields(key, 'session', 'change')
if not a[1] then return 'gone' end
local change = number(a[2]) or 0
if change ~= seen then return 'changed' end
call('HSET', key, 'draining', mode, 'change', change + 1)
event(server_time(), 'what', 'steered', 'by', who, 'session', a[1], 'to', mode == '' and 'resume' or mode)
return 'steered'
