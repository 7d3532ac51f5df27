#!lua flags=allow-oom
-- Pauses, resumes or drains the queue, or overrides a guard: what a person asks for.
-- KEYS    the queue's fixed keys
-- ARGV    format, number of the change that the person saw, who and why, then fields of control and their values
-- RETURNS switched + number of this change | changed + number (somebody was quicker, or this is a repeat)
-- GUARD   nothing was switched since the person looked
-- REPEAT  changed
-- COST    8 µs
--! include head
local change = tonumber(call('HGET', control, 'change') or 0)
if change ~= tonumber(ARGV[2]) then return { 'changed', change } end
call('HSET', control, 'change', change + 1, unpack(ARGV, 4))
event(server_time(), 'what', 'switched', 'by', ARGV[3], 'to', table.concat(ARGV, ' ', 4))
return { 'switched', change + 1 }
