#!lua flags=allow-oom
-- What the sweeper must remember beyond its own life, for whichever replica sweeps next.
-- KEYS    the queue's fixed keys
-- ARGV    format, guard that opens a grace or '', grace ms, then fields of control and their values
-- RETURNS noted
-- GUARD   a grace is lengthened, never shortened
-- REPEAT  the same values again
-- COST    6 µs
--! include head
local guard, grace = ARGV[2], tonumber(ARGV[3])
local now = server_time()
if guard ~= '' then
  lengthen(guard, now + grace, now)
end
if #ARGV > 3 then call('HSET', control, unpack(ARGV, 4)) end
return 'noted'
