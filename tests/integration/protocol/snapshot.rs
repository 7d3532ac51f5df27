//! A queue as plain commands show it, read at one moment, and time that passes at will.

use std::collections::BTreeMap;

use backstop::native::Queue;
use backstop::store::Reply;

/// What stands under one key.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Text(Vec<u8>),
    Hash(BTreeMap<String, Vec<u8>>),
    Zset(BTreeMap<String, f64>),
    Other,
}

/// All keys of a queue, by their names without the queue's prefix.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub keys: BTreeMap<String, Value>,
    pub now: i64,
}

/// Independent of the scripts under test: it knows types of keys and nothing of tasks.
const READ: &str = "
local out = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  local kind, value = redis.call('TYPE', key).ok, {}
  if kind == 'string' then value = { redis.call('GET', key) }
  elseif kind == 'hash' then value = redis.call('HGETALL', key)
  elseif kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') end
  out[#out + 1] = { string.sub(key, #ARGV[1] + 1), kind, value }
end
local time = redis.call('TIME')
return { time[1] * 1000 + math.floor(time[2] / 1000), out }";

/// Everything that stands for a time is moved into the past together. What a person may have seen (`enqueued_at`, times
/// of death) is a name too, and stays.
const AGE: &str = "
local base, by = ARGV[1], tonumber(ARGV[2])
local function whole(n) return string.format('%.0f', n) end
for _, key in ipairs(redis.call('KEYS', base .. '*')) do
  local name = string.sub(key, #base + 1)
  if name == 'agents' or name == 'due' or name == 'delayed' or name == 'expiring'
      or string.sub(name, 1, 8) == 'running:' then
    local all = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    for i = 1, #all, 2 do redis.call('ZADD', key, whole(tonumber(all[i + 1]) - by), all[i]) end
  elseif string.sub(name, 1, 5) == 'task:' then
    for _, field in ipairs({ 'taken_at', 'deadline', 'limit', 'revoked_at', 'alive_until', 'alerted' }) do
      local at = redis.call('HGET', key, field)
      if at then redis.call('HSET', key, field, whole(tonumber(at) - by)) end
    end
  elseif name == 'control' then
    local open = redis.call('HGET', key, 'grace_until')
    if open then redis.call('HSET', key, 'grace_until', whole(tonumber(open) - by)) end
  end
end";

fn bytes(reply: &Reply) -> Vec<u8> {
    match reply {
        Reply::Bytes(bytes) => bytes.clone(),
        Reply::Int(n) => n.to_string().into_bytes(),
        other => panic!("not bytes: {other:?}"),
    }
}

fn text(reply: &Reply) -> String {
    String::from_utf8_lossy(&bytes(reply)).into_owned()
}

fn list(reply: Reply) -> Vec<Reply> {
    match reply {
        Reply::List(items) => items,
        other => panic!("not a list: {other:?}"),
    }
}

fn value(kind: &str, items: &[Reply]) -> Value {
    match kind {
        "string" => Value::Text(bytes(&items[0])),
        "hash" => Value::Hash(items.chunks(2).map(|pair| (text(&pair[0]), bytes(&pair[1]))).collect()),
        "zset" => Value::Zset(
            items.chunks(2).map(|pair| (text(&pair[0]), text(&pair[1]).parse().unwrap())).collect(),
        ),
        _ => Value::Other,
    }
}

impl Snapshot {
    pub async fn of(queue: &Queue) -> Self {
        let base = queue.keys().named("");
        let mut reply = list(queue.store().command(&["EVAL", READ, "0", &base]).await.unwrap());
        let keys = list(reply.pop().unwrap()).into_iter().map(|row| {
            let row = list(row);
            let items = list(row[2].clone());
            (text(&row[0]), value(&text(&row[1]), &items))
        });
        Self { keys: keys.collect(), now: text(&reply[0]).parse().unwrap() }
    }

    /// Without what tells of a moment or counts calls: what must be the same after a repeat.
    pub fn essence(&self) -> BTreeMap<String, Value> {
        let mut keys = self.keys.clone();
        keys.retain(|name, _| name != "events");
        if let Some(Value::Hash(control)) = keys.get_mut("control") {
            // Numbers are given in advance: gaps are harmless.
            control.remove("seq");
        }
        keys
    }

    pub fn zset(&self, name: &str) -> BTreeMap<String, f64> {
        match self.keys.get(name) {
            Some(Value::Zset(set)) => set.clone(),
            None => BTreeMap::new(),
            other => panic!("{name} is {other:?}"),
        }
    }

    pub fn hash(&self, name: &str) -> BTreeMap<String, String> {
        match self.keys.get(name) {
            Some(Value::Hash(hash)) => {
                hash.iter().map(|(k, v)| (k.clone(), String::from_utf8_lossy(v).into_owned())).collect()
            }
            None => BTreeMap::new(),
            other => panic!("{name} is {other:?}"),
        }
    }

    pub fn text(&self, name: &str) -> Option<String> {
        match self.keys.get(name) {
            Some(Value::Text(bytes)) => Some(String::from_utf8_lossy(bytes).into_owned()),
            None => None,
            other => panic!("{name} is {other:?}"),
        }
    }

    /// A field of a task's record.
    pub fn field(&self, id: &str, name: &str) -> Option<String> {
        self.hash(&format!("task:{id}")).remove(name)
    }

    pub fn figure(&self, id: &str, name: &str) -> i64 {
        self.field(id, name).map_or(0, |n| n.parse().unwrap())
    }

    /// Who runs the task under which token, if anyone does.
    pub fn holder(&self, id: &str) -> Option<(String, String)> {
        let record = self.hash(&format!("task:{id}"));
        let session = record.get("session").filter(|session| !session.starts_with('!'))?;
        Some((session.clone(), record["token"].clone()))
    }

    pub fn stat(&self, name: &str) -> i64 {
        self.hash("stats").get(name).map_or(0, |n| n.parse().unwrap())
    }

    /// The sum of all totals that begin so.
    pub fn stats(&self, prefix: &str) -> i64 {
        let all = self.hash("stats").into_iter();
        all.filter(|(name, _)| name.starts_with(prefix)).map(|(_, n)| n.parse::<i64>().unwrap()).sum()
    }
}

/// Lets time pass for a queue.
pub async fn age(queue: &Queue, ms: i64) {
    let base = queue.keys().named("");
    queue.store().command(&["EVAL", AGE, "0", &base, &ms.to_string()]).await.unwrap();
}
