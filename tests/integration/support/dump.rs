//! All that stands in a Redis, read in one step.

use std::collections::BTreeMap;

use backstop::store::{Reply, Store};

/// Reads every key with its type; log entries of streams by their number only.
const READ: &str = "
local all = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind = redis.call('TYPE', key).ok
  local value
  if kind == 'hash' then value = redis.call('HGETALL', key)
  elseif kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif kind == 'string' then value = { redis.call('GET', key) }
  elseif kind == 'list' then value = redis.call('LRANGE', key, 0, -1)
  elseif kind == 'set' then
    value = redis.call('SMEMBERS', key)
    table.sort(value)
  else value = { tostring(redis.call('XLEN', key)) } end
  all[#all + 1] = { key, kind, value }
end
return all";

/// One key's content.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Hash(BTreeMap<String, Vec<u8>>),
    Zset(BTreeMap<String, f64>),
    Other(Vec<Vec<u8>>),
}

/// Every key's content.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Dump {
    pub(crate) keys: BTreeMap<String, Value>,
}

impl Dump {
    /// Reads it.
    pub(crate) async fn read(store: &Store) -> Self {
        let Reply::List(all) = store.command(&["EVAL", READ, "0"]).await.unwrap() else { panic!("no list") };
        let keys = all.into_iter().map(|one| match one {
            Reply::List(parts) => entry(&parts),
            other => panic!("{other:?}"),
        });
        Self { keys: keys.collect() }
    }

    /// A hash; empty if it isn't there.
    pub(crate) fn hash(&self, key: &str) -> BTreeMap<String, String> {
        match self.keys.get(key) {
            Some(Value::Hash(fields)) => fields
                .iter()
                .map(|(field, value)| (field.clone(), String::from_utf8_lossy(value).into_owned()))
                .collect(),
            _ => BTreeMap::new(),
        }
    }

    /// A sorted set; empty if it isn't there.
    pub(crate) fn zset(&self, key: &str) -> BTreeMap<String, f64> {
        match self.keys.get(key) {
            Some(Value::Zset(members)) => members.clone(),
            _ => BTreeMap::new(),
        }
    }

    /// A string.
    pub(crate) fn string(&self, key: &str) -> Option<String> {
        match self.keys.get(key) {
            Some(Value::Other(parts)) => parts.first().map(|text| String::from_utf8_lossy(text).into_owned()),
            _ => None,
        }
    }

    /// What follows `prefix` in the names of keys that begin with it.
    pub(crate) fn after<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.keys.keys().filter_map(move |key| key.strip_prefix(prefix))
    }
}

fn bytes(reply: &Reply) -> Vec<u8> {
    match reply {
        Reply::Bytes(bytes) => bytes.clone(),
        other => panic!("{other:?}"),
    }
}

fn text(reply: &Reply) -> String {
    String::from_utf8(bytes(reply)).unwrap()
}

fn entry(parts: &[Reply]) -> (String, Value) {
    let [key, kind, Reply::List(content)] = parts else { panic!("{parts:?}") };
    let pairs = || content.chunks_exact(2);
    let value = match text(kind).as_str() {
        "hash" => Value::Hash(pairs().map(|pair| (text(&pair[0]), bytes(&pair[1]))).collect()),
        "zset" => {
            Value::Zset(pairs().map(|pair| (text(&pair[0]), text(&pair[1]).parse().unwrap())).collect())
        }
        _ => Value::Other(content.iter().map(bytes).collect()),
    };
    (text(key), value)
}
