#!lua flags=no-writes
-- All that stands about one task, for a person.
-- KEYS    the queue's fixed keys
-- ARGV    format, id
-- RETURNS gone + the stub or '' | found, now ms, {field, value, …}, {pending, delayed, dead, expiring, running scores or ''},
--         payload bytes, checkpoint bytes, error, {heartbeat ms or '', state, host, pid} of its agent,
--         grace until ms, paused or '', external handle or ''
-- GUARD   writes nothing
-- REPEAT  the same
-- COST    20 µs
--! include head
local id = ARGV[2]
local key = task_key(id)
local record = try('HGETALL', key) or {}
if #record == 0 then return { 'gone', try('GET', base .. 'done:' .. id) or '' } end
local session = call('HGET', key, 'session')
local agent = { '', '', '', '' }
local running = ''
if runs(session) then
  local a = fields(agent_key(session), 'session', 'state', 'host', 'pid')
  local current = a[1] == session
  agent = { call('ZSCORE', agents, session) or '', current and a[2] or 'superseded', current and a[3] or '',
    current and a[4] or '' }
  running = try('ZSCORE', running_key(session), id) or ''
end
local size = try('STRLEN', base .. 'payload:' .. id) or 0
if size == 0 then size = #(call('HGET', key, 'payload') or '') end
local state = call('HMGET', control, 'grace_until', 'paused')
return { 'found', server_time(), record, { call('ZSCORE', pending, id) or '', call('ZSCORE', delayed, id) or '',
  call('ZSCORE', dead, id) or '', call('ZSCORE', expiring, id) or '', running }, size,
  try('STRLEN', base .. 'checkpoint:' .. id) or 0, try('GET', base .. 'error:' .. id) or '', agent, state[1] or '0',
  state[2] or '', try('GET', base .. 'external:' .. id) or '' }
