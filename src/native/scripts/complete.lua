#!lua flags=allow-oom
-- Completes tasks, each at most once, by the token that holds it or held it last.
-- KEYS    the queue's fixed keys
-- ARGV    format, then for each task: id, token
-- RETURNS for each: completed | already (it was completed with this very token)
--         | withdrawn (accepted late: it had been given up and not taken since; the replacement is withdrawn)
--         | late (refused: another attempt has it, or has completed it) | gone (nothing is known of it under this token)
-- GUARD   the record's token is the one shown
-- REPEAT  the stub carries the token: already
-- COST    9 µs
--! include head policy move
local now = server_time()
local keep = setting('keep_done')
local answers, left, ended, lasted = {}, {}, {}, {}
call('ZCARD', pending) call('ZCARD', delayed) call('ZCARD', expiring) call('ZCARD', dead)

-- 2 % wide buckets from 10 ms on: exact counts that merge and that any language's agents feed.
local function bucket(ms)
  if ms <= 10 then return 0 end
  return math.min(820, math.floor(math.log(ms / 10) / 0.01980262729617973))
end
-- What learning needs is not the truth: a key of the wrong type there must not stop a completion.
local function remember(kind, lengths)
  local key = base .. 'runs:' .. kind
  if call('EXISTS', key) == 0 and call('HINCRBY', control, 'types', 1) > 1000 then key = base .. 'runs:_other' end
  for edge, n in pairs(lengths) do redis.pcall('HINCRBY', key, edge, n) end
end

-- A late result is the measured proof that a reset was false; each token proves it once.
local function late(id, token, where, seen)
  if seen ~= token then
    count('late')
    if where == 'record' then
      call('HSET', task_key(id), 'late', token)
    else
      call('SET', base .. 'done:' .. id, where .. ' late:' .. token, 'KEEPTTL')
    end
    event(now, 'what', 'late', 'task', id, 'token', token)
  end
  return 'late'
end

local function seq_of(token) return string.match(token, '^%d+%-(%d+)%-') end

local function complete(id, token)
  local t = fields(task_key(id), 'token', 'session', 'type', 'taken_at')
  if not t[3] then
    local stub = try('GET', base .. 'done:' .. id)
    if not stub then return 'gone' end
    local how, by, seen = string.match(stub, '^(%a+):(%S*)%s?l?a?t?e?:?(%S*)')
    if how == 'completed' and by == token then return 'already' end
    if how == 'completed' and seq_of(by) == seq_of(token) then return late(id, token, how .. ':' .. by, seen) end
    return 'gone'
  end
  -- A first attempt that runs was never abandoned; looking for a field that isn't there is what costs most.
  local holder, past = t[2], {}
  if not (runs(holder) and string.sub(t[1], 1, 2) == '1-') then past = fields(task_key(id), 'abandonments', 'late') end
  local abandonments = number(past[1]) or 0
  if t[1] ~= token then
    if t[1] and seq_of(t[1]) == seq_of(token) and abandonments > 0 then return late(id, token, 'record', past[2]) end
    return 'gone'
  end
  if runs(holder) then
    local set = running_key(holder)
    local ids = left[set] or {}
    left[set] = ids
    ids[#ids + 1] = id
  else
    -- A failure was this token's own word; only what others did to it can be withdrawn.
    local why = string.sub(holder or '', 2)
    if why == 'failed' then return 'gone' end
    local given_up = string.sub(why, 1, 6) == 'reset:' or why == 'poison'
    if not limits_of(t[3]).accept_late then
      return given_up and late(id, token, 'record', past[2]) or 'late'
    end
    call('ZREM', pending, id)
    call('ZREM', delayed, id)
    call('ZREM', dead, id)
    count('withdrawn')
    if given_up then count('false_resets') end
    event(now, 'what', 'withdrawn', 'task', id, 'token', token, 'was', why)
  end
  if abandonments > 0 then count('recovered') end
  local lengths, edge = lasted[t[3]] or {}, bucket(now - (number(t[4]) or now))
  lengths[edge] = (lengths[edge] or 0) + 1
  lasted[t[3]] = lengths
  ended[#ended + 1] = id
  -- The stub remembers whose late result was counted, as the record did.
  local seen = past[2] and ' late:' .. past[2] or ''
  finish(id, 'completed:' .. token .. seen, abandonments > 0 and math.max(keep, 86400000) or keep)
  count('completed')
  return runs(holder) and 'completed' or 'withdrawn'
end

for i = 2, #ARGV, 2 do answers[#answers + 1] = complete(ARGV[i], ARGV[i + 1]) end
for set, ids in pairs(left) do try('ZREM', set, unpack(ids)) end
if #ended > 0 then call('ZREM', expiring, unpack(ended)) end
for kind, lengths in pairs(lasted) do remember(kind, lengths) end
write_counts()
return answers
