#!lua flags=allow-oom
-- Says what became of work elsewhere that nobody waits for: forgets its handles, and hands out tasks that waited for its end.
-- KEYS    the queue's fixed keys
-- ARGV    format, who, how (ended | succeeded | failed: it is over there | cannot: it runs and can't be cancelled, and stays
--         remembered | unasked: nobody can be asked | by_hand), jitter (0 to 1000), then the entries as `unwanted` has them
-- RETURNS for each: dismissed | kept | gone (it isn't there any more)
-- GUARD   the entry is there. A task waits for this very handle, and nobody has taken it since: one that succeeded completes
--         it by its last token, unless late results are refused; one that failed is its failure; else it is handed out when
--         it could have been without the work
-- REPEAT  gone, or kept; a task that is ready is ready
-- COST    5 µs, and 4 µs an entry
--! include head policy move charge
local who, how, jitter = ARGV[2], ARGV[3], tonumber(ARGV[4])
local now = server_time()
-- Whether the handle is forgotten though nobody knows that its work is over.
local blindly = how == 'unasked' or how == 'by_hand'
for _, index in ipairs({ pending, delayed, expiring, dead, unwanted }) do call('ZCARD', index) end

local function hand_out(id, handle)
  local t = read_task(id)
  local digest, ready_at = string.match(t.ending or '', '^(%x+) (%d+)$')
  if not t.type or not t.token or digest ~= redis.sha1hex(handle) then return end
  if string.sub(t.session or '', 1, 7) ~= '!reset:' or not call('ZSCORE', delayed, id) then return end
  call('HDEL', task_key(id), 'ending')
  call('ZREM', delayed, id)
  if how == 'succeeded' and not t.cancelled and limits_of(t.type).accept_late then
    -- As a late result of the run that hung: its replacement has not begun.
    collect(id, t.token)
    count('withdrawn')
    event(now, 'what', 'withdrawn', 'task', id, 'token', t.token, 'was', string.sub(t.session, 2), 'external', handle)
  elseif how == 'failed' and not t.cancelled then
    fail(id, t, 'its work elsewhere failed: ' .. handle, jitter, now)
  else
    requeue(id, t.seq, t.deadline, tonumber(ready_at), string.sub(t.session, 2), now)
  end
end

local answers = {}
for i = 5, #ARGV do
  local entry = ARGV[i]
  local id, handle = string.match(entry, '^%S* (%S*) (.*)$')
  local answer = 'gone'
  if call('ZSCORE', unwanted, entry) then
    if id then hand_out(id, handle) end
    answer = 'kept'
    if how ~= 'cannot' then
      call('ZREM', unwanted, entry)
      count('external_' .. (blindly and how or 'ended'))
      answer = 'dismissed'
      if blindly then event(now, 'what', 'dismissed', 'how', how, 'by', who, 'entry', entry) end
    end
  end
  answers[#answers + 1] = answer
end
write_counts()
wake()
return answers
