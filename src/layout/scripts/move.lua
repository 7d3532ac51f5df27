#!lua flags=allow-oom
-- Moves a page of abandoned tasks, in somebody else's system, each back to where it waits or aside: one silent agent's, or
-- tasks of one queue that show life for themselves.
-- KEYS    the fixed keys that our own queue of the system's name has; then of the system: heartbeat, running, the hash of
--         records, pending, dead, the hash of dead records, pause mark (our own hash where it has none, or one a task);
--         then ours: returns counted now, and before
-- ARGV    format, plan (JSON), agent, queue, the queue that it belongs to, what was seen of the agent's heartbeat ('' nothing),
--         cause, now (ISO 8601), of a list that all share: how many older entries stand before the first and the last of
--         these, then for each task: its entry, its name ('' nobody knows it), reset | dead_letter, what was
--         seen of its own heartbeat ('' nothing), what is put back ('' its entry), where ('' where the plan says), what its
--         entry has beside the name
-- RETURNS held | alive | paused | others (groups of this stream would see copies) | done + for each: reset | dead_letter
--         | skipped (it was gone) | alive | no_record | wrong_type (of a key of this task's, or its name is unknown; it
--         stays) | not_running (as its record says; it stays) | later (the page has enough bytes)
-- GUARD   no grace is open; the agent, or each task, shows what was seen and no more; all keys are of their types; each
--         entry was still there, and is taken out before anything is put anywhere
-- REPEAT  finds no entry: skipped
-- COST    6 µs a task, and what the layout's own commands cost
--! include head evidence
local plan, agent, queue, belongs, seen, cause = cjson.decode(ARGV[2]), ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local FIRST, EACH, MOST_BYTES = 11, 7, 262144
local heartbeat, running, records, waiting, aside, aside_records, pause = unpack(KEYS, 14, 20)
local counts, counts_before = KEYS[21], KEYS[22]
local now = server_time()
if held(now) then return { 'held' } end
if not plan.of_task then
  if plan.heartbeat == 'key' then
    if call('EXISTS', heartbeat) == 1 then return { 'alive' } end
  elseif (call('ZSCORE', heartbeat, agent) or '') ~= seen then
    return { 'alive' }
  end
end
if plan.paused == 'key' and call('EXISTS', pause) == 1 then return { 'paused' } end
if plan.paused == 'field' and call('HEXISTS', pause, plan.paused_field) == 1 then return { 'paused' } end
if plan.paused == 'member' and call('SISMEMBER', pause, queue) == 1 then return { 'paused' } end
for _, check in ipairs(plan.checks) do call(check[1], KEYS[check[2]]) end
if plan.running == 'stream' and not plan.copies and #call('XINFO', 'GROUPS', running) > 1 then return { 'others' } end

-- Redis doesn't roll back: a right that is missing must show before the first entry is taken out.
local function may(...)
  if not redis.acl_check_cmd(...) then
    local words = { ... }
    error({ err = 'NOPERM this user may not ' .. words[1] .. ' ' .. words[2] })
  end
end
local removal = { set = 'SREM', zset = 'ZREM', hash = 'HDEL' }
if plan.running == 'list' then
  may('LREM', running, 1, 'x')
  if plan.of_task then may('LSET', running, 0, 'x') end
elseif plan.running == 'stream' then may('XACK', running, plan.group, '0-1')
else may(removal[plan.running], running, 'x') end
if plan.of_task == 'score' and heartbeat ~= running then may('ZREM', heartbeat, 'x') end
if plan.dead == 'list' then may(plan.dead_push, aside, 'x')
elseif plan.dead == 'set' then may('SADD', aside, 'x')
elseif plan.dead == 'stream' then may('XADD', aside, '*', 'x', 'x')
else may('ZADD', aside, 1, 'x') end
if plan.record_to then
  may('HSET', aside_records, 'x', 'x')
  may('HGET', records, 'x')
  may('HDEL', records, 'x')
end
may('HINCRBY', counts, 'x', 1)
may('HDEL', counts_before, 'x')
may('PEXPIRE', counts, 1)
local function may_wait(key)
  if plan.pending == 'list' then may(plan.order, key, 'x')
  elseif plan.pending == 'stream' then may('XADD', key, '*', 'x', 'x')
  else may('ZADD', key, 1, 'x') end
end
if not plan.waiting then may_wait(waiting) end
local waits = {}

-- A name or an argument, of its texts and holes.
local function fill(parts, task)
  -- Most arguments are one text.
  if #parts == 1 and type(parts[1]) == 'string' then return parts[1] end
  local filled = {}
  for i, part in ipairs(parts) do
    if type(part) == 'table' then
      local hole = part[1]
      local colon = string.sub(hole, 1, 1) == ':'
      if colon then hole = string.sub(hole, 2) end
      part = task[hole] or ''
      if colon and part ~= '' then part = ':' .. part end
    end
    filled[i] = part
  end
  return table.concat(filled)
end

-- Of each key once: many tasks share some.
local types = {}
local function of_type(key, wanted)
  if wanted == '' then return end
  local is = types[key]
  if not is then
    is = call('TYPE', key).ok
    types[key] = is
  end
  if is ~= 'none' and is ~= wanted then error({ err = 'WRONGTYPE ' .. key .. ' is a ' .. is }) end
end

-- Of commands whose keys differ by the task's name alone, the first one's right stands for all.
local asked = {}
local function may_once(command, filled)
  local by = filled[2]
  if command.plain == nil then
    command.plain = true
    for _, part in ipairs(command[3]) do
      if type(part) == 'table' and string.find(part[1], 'record.', 1, true) then command.plain = false end
    end
  end
  if command.plain then by = command end
  if asked[by] == filled[1] then return end
  may(unpack(filled))
  asked[by] = filled[1]
end

-- Whether a task shows life for itself; of a stream, who has it and how often it was given out.
local function lives(task)
  if plan.running == 'stream' then
    local now_pending = call('XPENDING', running, plan.group, task.entry, task.entry, 1)[1]
    if not now_pending then return false end
    task.agent = now_pending[2]
    if now_pending[2] .. ' ' .. now_pending[4] ~= task.seen then return true end
    if plan.of_task == 'idle' then return now_pending[3] < plan.idle end
  end
  if plan.of_task == 'key' then return call('EXISTS', fill(plan.heartbeat_key, task)) == 1 end
  return (call('ZSCORE', heartbeat, task.entry) or '') ~= task.seen
end

-- What templates may name and is the same for all tasks of a page.
local now_ms = string.format('%.0f', now)
local of_all = { __index = { queue = queue, base = belongs, agent = agent, now_iso = ARGV[8], now_ms = now_ms,
  now = string.format('%.0f', math.floor(now / 1000)), now_ns = now_ms .. '000000' } }

local read_bytes = 0
-- All that is read of a task, before anything is written for any.
local function read(at)
  local id = ARGV[at + 1]
  local task = setmetatable({ entry = ARGV[at], id = id, action = ARGV[at + 2], seen = ARGV[at + 3],
    put = ARGV[at + 4], waiting = ARGV[at + 5], rest = ARGV[at + 6], sound = true }, of_all)
  if id == '' then
    task.broken = true
    return task
  end
  if plan.of_task and lives(task) then
    task.alive = true
    return task
  end
  if task.put == '' then task.put = task.entry end
  if plan.running == 'stream' then
    -- What is read of a stream is all of it, so enough is enough before.
    if read_bytes > MOST_BYTES then
      task.later = true
      return task
    end
    local found = call('XRANGE', running, task.entry, task.entry)[1]
    task.put = found and found[2]
    task.sound = found ~= nil
    -- More than Lua can hand on in one call: a person must look at it.
    task.broken = found and #found[2] > 4000
    for _, text in ipairs(found and found[2] or {}) do read_bytes = read_bytes + #text end
  elseif plan.envelope then
    task.sound = call('HEXISTS', running, task.entry) == 1
    -- It came back under its old index: what it holds wasn't read.
    task.broken = task.sound and ARGV[at + 4] == ''
  end
  if plan.record and call('HEXISTS', records, id) == 0 then task.sound = false end
  if plan.own then
    task.own = fill(plan.own, task)
    if call('HLEN', task.own) == 0 then task.sound = false end
    if plan.needs and call('HEXISTS', task.own, plan.needs) == 0 then task.sound = false end
    if task.sound and #plan.fields > 0 then
      for i, value in ipairs(call('HMGET', task.own, unpack(plan.fields))) do
        task['record.' .. plan.fields[i]] = value or ''
      end
    end
  end
  if not task.sound then return task end
  if plan.member_of and call('SISMEMBER', fill(plan.member_of, task), id) == 0
    or plan.runs and task['record.' .. plan.runs[1]] ~= plan.runs[2] then
    -- It failed, was paused, or another has it: its name is none of ours to take away.
    task.idle = true
    return task
  end
  -- What was only fetched does not pay for its agent's death.
  -- What waits in a queue for later was only fetched, too.
  task.begun = queue == belongs and (not plan.begun or task['record.' .. plan.begun[1]] == plan.begun[2])
  if not task.begun then task.action = 'reset' end
  if task.waiting == '' then task.waiting = plan.waiting and fill(plan.waiting, task) or waiting end
  if task.waiting ~= waiting then
    of_type(task.waiting, plan.pending == 'field' and 'zset' or plan.pending)
    -- Tasks of one queue wait in few places.
    if not waits[task.waiting] then may_wait(task.waiting) end
    waits[task.waiting] = true
  end
  task.commands = {}
  for i, command in ipairs(task.action == 'reset' and plan.on_reset or plan.on_dead) do
    local filled = { command[1], fill(command[3], task) }
    of_type(filled[2], command[2])
    for _, argument in ipairs(command[4]) do filled[#filled + 1] = fill(argument, task) end
    may_once(command, filled)
    task.commands[i] = filled
  end
  return task
end

local take_out = {
  list = function(entry) return call('LREM', running, plan.from, entry) end,
  set = function(entry) return call('SREM', running, entry) end,
  zset = function(entry) return call('ZREM', running, entry) end,
  hash = function(entry)
    -- kombu keeps the time of delivery beside it.
    if plan.envelope then call('ZREM', heartbeat, entry) end
    return call('HDEL', running, entry)
  end,
  stream = function(entry) return call('XACK', running, plan.group, entry) end,
}
take_out = take_out[plan.running]

-- Of a stream the copy has a name of its own.
local function put_back(task)
  if plan.pending == 'list' then
    call(plan.order, task.waiting, task.put)
  elseif plan.pending == 'stream' then
    task.again = call('XADD', task.waiting, '*', unpack(task.put))
  else
    local score = tonumber(plan.pending == 'zset' and plan.order or task['record.' .. plan.order])
    -- What is no number, NaN included, is 0.
    if not score or score ~= score then score = 0 end
    call('ZADD', task.waiting, score, task.put)
  end
end

local function set_aside(task)
  if plan.dead == 'list' then
    call(plan.dead_push, aside, task.put)
  elseif plan.dead == 'set' then
    call('SADD', aside, task.put)
  elseif plan.dead == 'stream' then
    call('XADD', aside, '*', unpack(task.put))
  else
    call('ZADD', aside, math.floor(now / plan.unit) + plan.keep, task.put)
  end
  if plan.record_to then
    call('HSET', aside_records, task.id, call('HGET', records, task.id))
    call('HDEL', records, task.id)
  end
end

-- Of a list that all share, the entries of a page are found in one read, overwritten, and taken out in one go: LREM would look
-- at half the list for each. Nobody sees the list between.
local SLACK, GONE = 200, base .. 'gone'
local function take_out_together(tasks)
  local length = call('LLEN', running)
  local first, last = tonumber(ARGV[9]), tonumber(ARGV[10])
  -- Older ones may have been finished since: then these stand nearer to the old end.
  first = math.max(first - SLACK, 0)
  local found, from, until_ = {}, first, last
  if plan.oldest_right then from, until_ = -(last + 1), -(first + 1) end
  -- Of the index -5 on a list of 3, LRANGE begins with the first.
  if from < -length then from = -length end
  for i, entry in ipairs(call('LRANGE', running, from, until_)) do found[entry] = from + i - 1 end
  local n = 0
  for _, task in ipairs(tasks) do
    local at = not (task.idle or task.alive or task.broken) and found[task.entry]
    if at then
      call('LSET', running, at, GONE)
      task.out, n = true, n + 1
    end
  end
  if n == 0 then return end
  local near = plan.oldest_right == (last < length / 2)
  if call('LREM', running, near and -n or n, GONE) ~= n then error('the list changed under the script') end
end

local tasks = {}
for i = FIRST, #ARGV, EACH do
  local ok, task = pcall(read, i)
  if not ok then
    local why = type(task) == 'table' and task.err or tostring(task)
    if not string.find(why, 'WRONGTYPE', 1, true) then error(task) end
    task = { broken = true }
  end
  tasks[#tasks + 1] = task
end
if plan.of_task and plan.running == 'list' then
  take_out_together(tasks)
  take_out = function(_, task) return task.out and 1 or 0 end
end
local answers, moved, back = {}, {}, 0
-- Counts are kept by the task's name, which a copy in a stream gets anew.
local function charge(task)
  local name = belongs .. ':' .. task.id
  -- A count that is no number must not keep what was taken out from being put back.
  if not task.again then return redis.pcall('HINCRBY', counts, name, 1) end
  local before = (tonumber(call('HGET', counts, name)) or 0) + (tonumber(call('HGET', counts_before, name)) or 0)
  call('HDEL', counts, name)
  call('HDEL', counts_before, name)
  call('HSET', counts, belongs .. ':' .. task.again, before + 1)
end
for i, task in ipairs(tasks) do
  local answer = 'skipped'
  if task.idle then
    answer = 'not_running'
  elseif task.alive then
    answer = 'alive'
  elseif task.later then
    answer = 'later'
  elseif task.broken then
    -- One task's key of another type must not cost the others their turn; a person must look at it.
    answer = 'wrong_type'
  elseif take_out(task.entry, task) == 1 or plan.envelope and not task.sound then
    if not task.sound then
      answer = 'no_record'
      count('skipped:no_record')
      -- A lease of nothing would be found again for ever.
      if plan.of_task == 'score' and heartbeat ~= running then call('ZREM', heartbeat, task.entry) end
    else
      answer = task.action
      moved[#moved + 1] = task.id
      count('abandoned:' .. cause)
      if answer == 'reset' then
        put_back(task)
        if task.begun then charge(task) end
        back = back + 1
        count('reset:' .. cause)
      else
        set_aside(task)
        call('HDEL', counts, belongs .. ':' .. task.id)
        call('HDEL', counts_before, belongs .. ':' .. task.id)
        count('abandoned_dead')
        count('dead:poison')
      end
      for _, command in ipairs(task.commands) do
        -- Types and rights were looked at; what fails still must not leave the page half counted.
        local r = redis.pcall(unpack(command))
        if type(r) == 'table' and r.err then count('skipped:command_failed') end
      end
    end
  end
  answers[i] = answer
end
if back > 0 then call('PEXPIRE', counts, plan.remember) end
write_counts()
if #moved > 0 then
  event(now, 'what', 'moved', 'why', cause, 'session', agent, 'tasks', table.concat(moved, ' '))
end
return { 'done', answers }
