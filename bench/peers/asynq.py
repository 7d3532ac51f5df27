"""asynq 0.26 has no package here: what its recoverer does, replayed one round trip a task as in its source.

The scripts are those of its internal/rdb/rdb.go; Copyright 2020 Kentaro Hibino, MIT license.
"""

import time
import uuid

LIST_LEASE_EXPIRED = """
local res = {}
local ids = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", ARGV[1])
for _, id in ipairs(ids) do
	local key = ARGV[2] .. id
	local v = redis.call("HGET", key, "msg")
	if v then
		table.insert(res, v)
	end
end
return res
"""

RETRY = """
if redis.call("LREM", KEYS[2], 0, ARGV[1]) == 0 then
  return redis.error_reply("NOT FOUND")
end
if redis.call("ZREM", KEYS[3], ARGV[1]) == 0 then
  return redis.error_reply("NOT FOUND")
end
redis.call("ZADD", KEYS[4], ARGV[3], ARGV[1])
redis.call("HSET", KEYS[1], "msg", ARGV[2], "state", "retry")
if tonumber(ARGV[5]) == 1 then
	local n = redis.call("INCR", KEYS[5])
	if tonumber(n) == 1 then
		redis.call("EXPIREAT", KEYS[5], ARGV[4])
	end
	local m = redis.call("INCR", KEYS[6])
	if tonumber(m) == 1 then
		redis.call("EXPIREAT", KEYS[6], ARGV[4])
	end
    local total = redis.call("GET", KEYS[7])
    if tonumber(total) == tonumber(ARGV[6]) then
    	redis.call("SET", KEYS[7], 1)
    	redis.call("SET", KEYS[8], 1)
    else
    	redis.call("INCR", KEYS[7])
    	redis.call("INCR", KEYS[8])
    end
end
return redis.status_reply("OK")"""

FORWARD = """
local ids = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", ARGV[1], "LIMIT", 0, 100)
for _, id in ipairs(ids) do
	local taskKey = ARGV[2] .. id
	local group = redis.call("HGET", taskKey, "group")
	if group and group ~= '' then
	    redis.call("ZADD", ARGV[4] .. group, ARGV[1], id)
		redis.call("ZREM", KEYS[1], id)
		redis.call("HSET", taskKey,
				   "state", "aggregating")
	else
		redis.call("LPUSH", KEYS[2], id)
		redis.call("ZREM", KEYS[1], id)
		redis.call("HSET", taskKey,
				   "state", "pending",
				   "pending_since", ARGV[3])
	end
end
return table.getn(ids)"""

QUEUE = "asynq:{default}:"


def varint(n):
    return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + varint(n >> 7)


def field(number, value):
    """One field of internal/proto/asynq.proto, as protobuf has it."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


class Asynq:
    note = (
        "replayed: the recoverer's list in one call, then a script for each task, then the forwarder's pages of a hundred; "
        "without the 15 to 45 s that it waits between the two"
    )

    def __init__(self, client, clone):
        self.client, self.clone = client, clone

    def fill(self, running, lost):
        # What enqueueCmd and dequeueCmd leave. Retry is 25 and the timeout half an hour, as by default.
        id = str(uuid.uuid4())
        message = {1: b"sleep", 2: b'{"seconds":60}', 3: id.encode(), 4: b"default", 5: 25, 8: 1800}
        self.client.sadd("asynq:queues", "default")
        encoded = b"".join(field(*part) for part in message.items())
        self.client.hset(f"{QUEUE}t:{id}", mapping={"msg": encoded, "state": "active"})
        self.client.lpush(f"{QUEUE}active", id)
        self.client.zadd(f"{QUEUE}lease", {id: int(time.time()) + 30})
        self.clone(running, lost, [id], old=-3600, new=3600)

    def recover(self):
        listed, retry, forward = (self.client.register_script(text) for text in (LIST_LEASE_EXPIRED, RETRY, FORWARD))
        day = time.strftime("%Y-%m-%d", time.gmtime())
        counters = [f"{QUEUE}processed:{day}", f"{QUEUE}failed:{day}", f"{QUEUE}processed", f"{QUEUE}failed"]
        for message in listed([f"{QUEUE}lease"], [int(time.time()) - 30, f"{QUEUE}t:"]):
            now = int(time.time())
            # An id is the one text of 36 bytes. Of a field that comes twice, the last one counts.
            start = message.index(b"\x1a\x24") + 2
            id = message[start : start + 36].decode()
            modified = message + field(6, 1) + field(7, b"asynq: task lease expired") + field(11, now)
            keys = [f"{QUEUE}t:{id}", f"{QUEUE}active", f"{QUEUE}lease", f"{QUEUE}retry", *counters]
            retry(keys, [id, modified, now + 30, now + 90 * 86400, 1, 2**63 - 1])
        due, forwarded = int(time.time()) + 60, 1
        while forwarded:
            forwarded = forward([f"{QUEUE}retry", f"{QUEUE}pending"], [due, f"{QUEUE}t:", due * 10**9, f"{QUEUE}g:"])
        return self.client.llen(f"{QUEUE}pending")
