#!lua flags=allow-oom
-- Moves a page of one silent agent's tasks, in somebody else's system, each back to where it waits or aside.
-- KEYS    the fixed keys that our own queue of the system's name has; then of the system: heartbeat, running, the hash of
--         records, pending, dead, the hash of dead records, pause mark (our own hash where it has none, or one a task);
--         then ours: returns counted now, and before
-- ARGV    format, plan (JSON), agent, queue, the queue that it belongs to, what was seen of the agent's heartbeat ('' nothing),
--         cause, then for each task: its entry, its name, reset | dead_letter
-- RETURNS held | alive | paused | done + for each: reset | dead_letter | skipped (it was gone) | no_record
--         | wrong_type (of a key of this task's; it stays) | not_running (as its record says; it stays)
-- GUARD   no grace is open; the agent shows what was seen and no more; all keys are of their types; each entry was still
--         there, and is taken out before anything is put anywhere
-- REPEAT  finds no entry: skipped
-- COST    6 µs a task, and what the layout's own commands cost
--! include head evidence
local plan, agent, queue, belongs, seen, cause = cjson.decode(ARGV[2]), ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local heartbeat, running, records, waiting, aside, aside_records, pause = unpack(KEYS, 13, 19)
local counts, counts_before = KEYS[20], KEYS[21]
local now = server_time()
if held(now) then return { 'held' } end
if plan.heartbeat == 'key' then
  if call('EXISTS', heartbeat) == 1 then return { 'alive' } end
elseif (call('ZSCORE', heartbeat, agent) or '') ~= seen then
  return { 'alive' }
end
if plan.paused == 'key' and call('EXISTS', pause) == 1 then return { 'paused' } end
if plan.paused == 'member' and call('SISMEMBER', pause, queue) == 1 then return { 'paused' } end
for _, check in ipairs(plan.checks) do call(check[1], KEYS[check[2]]) end

-- Redis doesn't roll back: a right that is missing must show before the first entry is taken out.
local function may(...)
  if not redis.acl_check_cmd(...) then
    local words = { ... }
    error({ err = 'NOPERM this user may not ' .. words[1] .. ' ' .. words[2] })
  end
end
local removal = { list = 'LREM', set = 'SREM', zset = 'ZREM', hash = 'HDEL' }
if plan.running == 'list' then may('LREM', running, 1, 'x') else may(removal[plan.running], running, 'x') end
if plan.dead == 'list' then may(plan.dead_push, aside, 'x')
elseif plan.dead == 'set' then may('SADD', aside, 'x')
else may('ZADD', aside, 1, 'x') end
if plan.record_to then
  may('HSET', aside_records, 'x', 'x')
  may('HGET', records, 'x')
  may('HDEL', records, 'x')
end
may('HINCRBY', counts, 'x', 1)
may('HDEL', counts_before, 'x')
may('PEXPIRE', counts, 1)
if not plan.waiting then
  if plan.pending == 'list' then may(plan.order, waiting, 'x') else may('ZADD', waiting, 1, 'x') end
end

-- A name or an argument, of its texts and holes.
local function fill(parts, task)
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

local function of_type(key, wanted)
  local is = call('TYPE', key).ok
  if is ~= 'none' and wanted ~= '' and is ~= wanted then error({ err = 'WRONGTYPE ' .. key .. ' is a ' .. is }) end
end

-- All that is read of a task, before anything is written for any.
local function read(entry, id, action)
  local task = { entry = entry, id = id, queue = queue, base = belongs, agent = agent, action = action,
    now = string.format('%.0f', math.floor(now / 1000)), now_ms = string.format('%.0f', now), sound = true }
  if plan.record and call('HEXISTS', records, id) == 0 then task.sound = false end
  if plan.own then
    task.own = fill(plan.own, task)
    if call('HLEN', task.own) == 0 then task.sound = false end
    if task.sound and #plan.fields > 0 then
      for i, value in ipairs(call('HMGET', task.own, unpack(plan.fields))) do
        task['record.' .. plan.fields[i]] = value or ''
      end
    end
  end
  if not task.sound then return task end
  if plan.member_of and call('SISMEMBER', fill(plan.member_of, task), id) == 0 then
    -- It failed, was paused, or another has it: its name is none of ours to take away.
    task.idle = true
    return task
  end
  -- What was only fetched does not pay for its agent's death.
  -- What waits in a queue for later was only fetched, too.
  task.begun = queue == belongs and (not plan.begun or task['record.' .. plan.begun[1]] == plan.begun[2])
  if not task.begun then task.action = 'reset' end
  task.waiting = waiting
  if plan.waiting then
    task.waiting = fill(plan.waiting, task)
    of_type(task.waiting, plan.pending == 'list' and 'list' or 'zset')
    if plan.pending == 'list' then may(plan.order, task.waiting, 'x') else may('ZADD', task.waiting, 1, 'x') end
  end
  task.commands = {}
  for i, command in ipairs(task.action == 'reset' and plan.on_reset or plan.on_dead) do
    local filled = { command[1], fill(command[3], task) }
    of_type(filled[2], command[2])
    for _, argument in ipairs(command[4]) do filled[#filled + 1] = fill(argument, task) end
    may(unpack(filled))
    task.commands[i] = filled
  end
  return task
end

local take_out = {
  list = function(entry) return call('LREM', running, plan.from, entry) end,
  set = function(entry) return call('SREM', running, entry) end,
  zset = function(entry) return call('ZREM', running, entry) end,
  hash = function(entry) return call('HDEL', running, entry) end,
}
take_out = take_out[plan.running]

local function put_back(task)
  if plan.pending == 'list' then
    call(plan.order, task.waiting, task.entry)
  else
    local score = tonumber(plan.pending == 'zset' and plan.order or task['record.' .. plan.order])
    -- What is no number, NaN included, is 0.
    if not score or score ~= score then score = 0 end
    call('ZADD', task.waiting, score, task.entry)
  end
end

local function set_aside(task)
  if plan.dead == 'list' then
    call(plan.dead_push, aside, task.entry)
  elseif plan.dead == 'set' then
    call('SADD', aside, task.entry)
  else
    call('ZADD', aside, math.floor(now / plan.unit), task.entry)
  end
  if plan.record_to then
    call('HSET', aside_records, task.id, call('HGET', records, task.id))
    call('HDEL', records, task.id)
  end
end

local tasks = {}
for i = 8, #ARGV, 3 do
  local ok, task = pcall(read, ARGV[i], ARGV[i + 1], ARGV[i + 2])
  if not ok then
    local why = type(task) == 'table' and task.err or tostring(task)
    if not string.find(why, 'WRONGTYPE', 1, true) then error(task) end
    task = { broken = true }
  end
  tasks[#tasks + 1] = task
end
local answers, moved, back = {}, {}, 0
for i, task in ipairs(tasks) do
  local answer = 'skipped'
  if task.idle then
    answer = 'not_running'
  elseif task.broken then
    -- One task's key of another type must not cost the others their turn; a person must look at it.
    answer = 'wrong_type'
  elseif take_out(task.entry) == 1 then
    if not task.sound then
      answer = 'no_record'
      count('skipped:no_record')
    else
      answer = task.action
      moved[#moved + 1] = task.id
      count('abandoned:' .. cause)
      if answer == 'reset' then
        put_back(task)
        if task.begun then call('HINCRBY', counts, belongs .. ':' .. task.id, 1) end
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
