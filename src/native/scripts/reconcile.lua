#!lua flags=allow-oom
-- Compares the record of each task with the indices, and mends what can only be mended one way.
-- KEYS    the queue's fixed keys
-- ARGV    format, repair (0 | 1), session of the running set that the ids come from or '', then ids (100 at most)
-- RETURNS for each: sound | no_record (its entries are removed) | stray (an entry besides its one place is removed)
--         | homeless (it is missing from an index: put back to its running set, to pending, or to dead if it may have been
--         a dead letter, and its session among those that are watched)
--         | wrong_type (of the record, or of the running set that it names: a person must say what it was)
-- GUARD   a task that stands in its one place is not touched
-- REPEAT  sound
-- COST    6 µs a task
--! include head policy move
local repair, walked = ARGV[2] == '1', ARGV[3]
local answers, mended = {}, {}
for _, index in ipairs({ pending, delayed, expiring, dead, due, agents }) do call('ZCARD', index) end
local now = server_time()

local function compare(id)
  local key = task_key(id)
  local t = call('HMGET', key, 'type', 'session', 'seq', 'deadline', 'limit', 'alive_until', 'taken_at')
  local in_pending, in_delayed, in_dead = call('ZSCORE', pending, id), call('ZSCORE', delayed, id), call('ZSCORE', dead, id)
  local holder = runs(t[2]) and t[2] or ''
  local there = holder ~= '' and call('ZSCORE', running_key(holder), id)
  local strays = walked ~= '' and walked ~= holder and call('ZSCORE', running_key(walked), id)
  local answer = 'sound'
  -- Where the record says it is; what stands elsewhere is a stray.
  local wrong = {}
  local function stray(index, there) if there then wrong[#wrong + 1] = index end end
  if not t[1] then
    answer = 'no_record'
    stray(pending, in_pending) stray(delayed, in_delayed) stray(dead, in_dead)
    stray(expiring, call('ZSCORE', expiring, id))
    if walked ~= '' then stray(running_key(walked), call('ZSCORE', running_key(walked), id)) end
    if #wrong == 0 then answer = 'sound' end
  else
    if strays then stray(running_key(walked), true) end
    if holder ~= '' then
      stray(pending, in_pending) stray(delayed, in_delayed) stray(dead, in_dead)
      -- A session that nobody watches would keep it for ever.
      if not (there and call('ZSCORE', agents, holder) and call('ZSCORE', due, holder)) then answer = 'homeless' end
    elseif in_dead then
      stray(pending, in_pending) stray(delayed, in_delayed)
    elseif in_pending then
      stray(delayed, in_delayed)
    elseif not in_delayed then
      answer = 'homeless'
    end
    if number(t[4]) and not in_dead and not call('ZSCORE', expiring, id) then answer = 'homeless' end
    if answer == 'sound' and #wrong > 0 then answer = 'stray' end
  end
  if repair and answer ~= 'sound' then
    for _, index in ipairs(wrong) do call('ZREM', index, id) end
    if answer == 'homeless' and holder ~= '' then
      local score = earliest(number(t[7]) or now, t[5], t[6], t[4])
      call('ZADD', running_key(holder), score, id)
      call('ZADD', due, 'LT', score, holder)
      -- A session that nobody watches gets its time from now.
      call('ZADD', agents, 'NX', now, holder)
    elseif answer == 'homeless' and not in_pending and not in_delayed then
      -- What may have been a dead letter is not run again without a person's word.
      local why = string.sub(t[2] or '', 2)
      if why == 'poison' or why == 'expired' or why == 'no_payload' or why == 'failed' then
        call('ZADD', dead, now, id)
        count('dead:' .. why)
      else
        call('ZADD', pending, place(id, t[3]), id)
      end
    end
    if answer == 'homeless' and number(t[4]) and not call('ZSCORE', dead, id) then call('ZADD', expiring, t[4], id) end
    count('mended:' .. answer)
    mended[#mended + 1] = id
  end
  return answer
end

for i = 4, #ARGV do
  -- What is read shows its type before anything is mended.
  local ok, answer = pcall(compare, ARGV[i])
  if not ok then
    local why = type(answer) == 'table' and answer.err or tostring(answer)
    if not string.find(why, 'WRONGTYPE', 1, true) then error(answer) end
    answer = 'wrong_type'
  end
  answers[#answers + 1] = answer
end
write_counts()
if #mended > 0 then event(now, 'what', 'mended', 'tasks', table.concat(mended, ' ')) end
return answers
