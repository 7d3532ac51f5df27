#!lua flags=allow-oom
-- Records where else a task is being worked on: a handle that its next attempt gets.
-- KEYS    the queue's fixed keys
-- ARGV    format, id, token, type, handle (1 to 1024 bytes of UTF-8; else the error
--         BACKSTOP_HANDLE), number of the recording within the attempt, from 1
-- RETURNS recorded | late (this token no longer runs it) | gone (nothing is known of it)
-- GUARD   the token holds the task. One that waits since because it was given back, or because its agent was lost, and that
--         nobody has taken, keeps the handle for its next attempt. A handle that is not the task's is remembered as unwanted,
--         so that what was begun is ended, or counted
-- REPEAT  its number is not above the last one's: the task's handle stays as it is
-- COST    10 µs
--! include head move
local id, token, kind, handle, nth = ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
-- People, hooks and other languages must all mean the same one.
local function is_text(s)
  if string.find(s, '\237[\160-\191]') or string.find(s, '\224[\128-\159]') or string.find(s, '\240[\128-\143]')
    or string.find(s, '\244[\144-\191]') then return false end
  s = string.gsub(s, '[\240-\244][\128-\191][\128-\191][\128-\191]', 'x')
  s = string.gsub(s, '[\224-\239][\128-\191][\128-\191]', 'x')
  s = string.gsub(s, '[\194-\223][\128-\191]', 'x')
  return not string.find(s, '[\128-\255]')
end
if handle == '' or #handle > 1024 or not is_text(handle) then
  return redis.error_reply('BACKSTOP_HANDLE a handle has 1 to 1024 bytes of UTF-8')
end
local key = base .. 'external:' .. id
local t = fields(task_key(id), 'token', 'session', 'type', 'recorded')
local known = try('GET', key)
local now = server_time()
local holder = t[2] or ''
local held = t[3] and t[1] == token and (runs(holder) or holder == '!released' or holder == '!reset:agent_lost')
local newer = nth > (number(t[4]) or 0)
if held and newer then
  call('HSET', task_key(id), 'recorded', nth)
  if known ~= handle then
    if known then disown(id, now) end
    call('SET', key, handle)
  end
  -- Wanted again, should an earlier attempt have had it.
  if try('ZREM', unwanted, unwanted_entry(t[3], id, handle)) == 1 then count('external_wanted') end
elseif known ~= handle then
  -- A copy of what this very token recorded before it completed the task is no news.
  local stub = not t[3] and try('GET', base .. 'done:' .. id)
  local over = stub and (stub == 'completed:' .. token or string.sub(stub, 1, #token + 11) == 'completed:' .. token .. ' ')
  if not over then dismiss_later(t[3] or kind, id, handle, now) end
end
write_counts()
if not t[3] then return 'gone' end
-- Of two that crossed on their way the later one counts.
return held and runs(holder) and (newer or known == handle) and 'recorded' or 'late'
