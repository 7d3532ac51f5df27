-- Copies tasks: what a real client wrote for one running task, which stands in database 1, becomes many in database 0.
--
-- ARGV[1]: from, until: which copies to make now; running, lost: of how many in all;
--          ids: pairs of an id in the template and of how many copies in a row share it; group: copies in a row that die together;
--          old, new: what is added to the scores of the lost and of the others;
--          only_lost: a key whose entries belong to the lost alone; cap: the length of event streams.
--
-- The lost stand evenly among the others. They have no keys that expire, since those have lapsed; those of the others last an hour.
-- Keys and entries in which no id stands are copied once, but for those that expire.
local want = cjson.decode(ARGV[1])

local ids = {}
for _, pair in ipairs(want.ids) do
    ids[#ids + 1] = { old = pair[1]:gsub('%p', '%%%0'), head = pair[1]:sub(1, -13), each = pair[2] }
end
local function own(text)
    for _, id in ipairs(ids) do
        if text:find(id.old) then return true end
    end
    return false
end

-- Of each key: its name, type, whether it expires and whether it is one task's; and of the entries those that are copied with each
-- task and those that stand once.
local template = {}
redis.call('SELECT', 1)
for _, key in ipairs(redis.call('KEYS', '*')) do
    local kind, entries = redis.call('TYPE', key).ok, {}
    if kind == 'string' then
        entries[1] = { redis.call('GET', key) }
    elseif kind == 'hash' or kind == 'zset' then
        local flat = kind == 'hash' and redis.call('HGETALL', key) or redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
        for i = 1, #flat, 2 do entries[#entries + 1] = { flat[i], flat[i + 1] } end
    elseif kind == 'stream' then
        for _, entry in ipairs(redis.call('XRANGE', key, '-', '+')) do entries[#entries + 1] = entry[2] end
    else
        local members = kind == 'set' and redis.call('SMEMBERS', key) or redis.call('LRANGE', key, 0, -1)
        for i, member in ipairs(members) do entries[i] = { member } end
    end
    local part = { key = key, kind = kind, expires = redis.call('PTTL', key) > 0, mine = own(key), each = {}, once = {} }
    for _, entry in ipairs(entries) do
        local list = (part.mine or own(table.concat(entry, ' '))) and part.each or part.once
        -- An entry of a stream is a command of its own; of all else, one command has all entries.
        if kind == 'stream' or #list == 0 then list[#list + 1] = {} end
        for n, text in ipairs(entry) do
            local score = kind == 'zset' and n == 2
            table.insert(list[#list], { text = text, own = own(text), score = score })
        end
        if kind == 'zset' then
            local last = list[#list]
            last[#last - 1], last[#last] = last[#last], last[#last - 1]
        end
    end
    template[#template + 1] = part
end
redis.call('SELECT', 0)

-- As the last one that was taken stands in the clients' own lists, at the head.
local ADD = { string = 'SET', hash = 'HSET', zset = 'ZADD', set = 'SADD', list = 'LPUSH' }

local function write(part, key, texts)
    if part.kind == 'stream' then
        redis.call('XADD', key, 'MAXLEN', '~', want.cap, '*', unpack(texts))
    else
        redis.call(ADD[part.kind], key, unpack(texts))
    end
    if part.mine and part.expires then redis.call('PEXPIRE', key, 3600000) end
end

for i = want.from, want['until'] - 1 do
    local unit = math.floor(i / want.group)
    local lost = math.floor((unit + 1) * want.lost / want.running + 1e-9) > math.floor(unit * want.lost / want.running + 1e-9)
    for _, id in ipairs(ids) do id.new = id.head .. string.format('%012x', math.floor(i / id.each)) end
    local function new(text)
        for _, id in ipairs(ids) do text = text:gsub(id.old, id.new) end
        return text
    end
    for _, part in ipairs(template) do
        local lapsed = lost and part.mine and part.expires
        for _, entry in ipairs((lapsed or not lost and part.key == want.only_lost) and {} or part.each) do
            local texts = {}
            for n, field in ipairs(entry) do
                if field.score then
                    texts[n] = string.format('%.17g', field.text + (lost and want.old or want.new))
                else
                    texts[n] = field.own and new(field.text) or field.text
                end
            end
            write(part, part.mine and new(part.key) or part.key, texts)
        end
        if i == 0 and not part.expires then
            for _, entry in ipairs(part.once) do
                local texts = {}
                for n, field in ipairs(entry) do texts[n] = field.text end
                write(part, part.key, texts)
            end
        end
    end
end
