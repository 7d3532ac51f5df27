//! kombu's envelope: what Celery's workers keep of a message that they haven't acknowledged.
//!
//! Under its delivery tag stands `[message, exchange, routing key]`. The message goes back with a *new* tag, for its first
//! worker would delete the next one's entry with the old one. All else keeps its bytes: it is never read as numbers or
//! lists.

use std::fmt;

use chrono::{DateTime, NaiveDateTime};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// What stands between the parts of a binding.
const EDGE: &str = "\u{6}\u{16}";

/// A message that wasn't acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// The task's name, which stays the same over all deliveries.
    pub(super) id: String,
    /// Before this time of the server, ms, nobody is to run it; it stands with its worker meanwhile.
    pub(super) eta_ms: Option<i64>,
    /// Where it was sent to.
    pub(super) exchange: String,
    /// By what the exchange finds its queue.
    pub(super) routing_key: String,
    /// Its bytes, with a new tag.
    pub(super) put: Vec<u8>,
}

/// An object, field by field in its own order; the values are as they were written.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        from.deserialize_map(Read)
    }
}

impl<'a> Fields<'a> {
    fn of(raw: &'a RawValue) -> Option<Self> {
        serde_json::from_str(raw.get()).ok()
    }

    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| *value)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    /// The object again, with these fields of another value, or added.
    fn with(&self, changes: &[(&str, &str)]) -> String {
        let kept = self.0.iter().map(|(name, value)| {
            let change = changes.iter().find(|(changed, _)| changed == name);
            (name.as_str(), change.map_or(value.get(), |(_, value)| *value))
        });
        let added = changes.iter().filter(|(name, _)| self.get(name).is_none()).copied();
        let all: Vec<_> = kept
            .chain(added)
            .map(|(name, value)| format!("{}: {value}", serde_json::Value::from(name)))
            .collect();
        format!("{{{}}}", all.join(", "))
    }
}

impl Message {
    /// Reads what stands under a tag; `None` if it is no such message. `tag`: the one that it gets.
    pub(super) fn read(bytes: &[u8], tag: &str) -> Option<Self> {
        let (message, exchange, routing_key): (&RawValue, Option<String>, Option<String>) =
            serde_json::from_slice(bytes).ok()?;
        let message = Fields::of(message)?;
        let (headers, properties) =
            (Fields::of(message.get("headers")?)?, Fields::of(message.get("properties")?)?);
        // Without the old one this is nothing that a worker took.
        properties.text("delivery_tag")?;
        let id = headers.text("id").or_else(|| properties.text("correlation_id"))?;
        let info = properties.get("delivery_info").and_then(Fields::of);
        let info = info.map(|info| info.with(&[("redelivered", "true")]));
        let tag = serde_json::Value::from(tag).to_string();
        let mut changes = vec![("delivery_tag", tag.as_str())];
        changes.extend(info.as_deref().map(|info| ("delivery_info", info)));
        let put = message.with(&[
            ("headers", &headers.with(&[("redelivered", "true")])),
            ("properties", &properties.with(&changes)),
        ]);
        Some(Self {
            id,
            eta_ms: headers.text("eta").as_deref().and_then(millis),
            exchange: exchange.unwrap_or_default(),
            routing_key: routing_key.unwrap_or_default(),
            put: put.into_bytes(),
        })
    }

    /// The queue that it goes to by what is bound to its exchange. Its own list is meant, which every worker of the queue reads,
    /// and reads first: which priorities have lists of their own, and how those are called, is each installation's choice.
    ///
    /// `None` if that is none, or more than one: from which of them it came nobody can tell.
    pub(super) fn queue(&self, bound: &[Vec<u8>]) -> Option<String> {
        if self.exchange.is_empty() {
            return Some(self.routing_key.clone()).filter(|queue| !queue.is_empty());
        }
        let mut queues = bound.iter().filter_map(|member| {
            let member = std::str::from_utf8(member).ok()?;
            let mut parts = member.split(EDGE);
            let (key, queue) = (parts.next()?, parts.nth(1)?);
            (key == self.routing_key).then(|| queue.to_owned())
        });
        queues.next().filter(|_| queues.next().is_none())
    }
}

/// The task's name in a message that waits.
pub(super) fn waiting(bytes: &[u8]) -> Option<String> {
    let message: Fields<'_> = serde_json::from_slice(bytes).ok()?;
    let headers = message.get("headers").and_then(Fields::of);
    headers.and_then(|headers| headers.text("id"))
}

/// A moment as Python writes it, ms; one without an offset is of UTC, as Celery's default is.
fn millis(text: &str) -> Option<i64> {
    let with_offset = DateTime::parse_from_rfc3339(text).map(|moment| moment.timestamp_millis());
    let bare = || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f");
    with_offset.or_else(|_| bare().map(|moment| moment.and_utc().timestamp_millis())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKEN: &str = r#"[{"body": "W10=", "content-encoding": "utf-8", "headers": {"lang": "py", "id": "3c1f", "eta": null, "n": 12345678901234567890, "l": []}, "properties": {"correlation_id": "3c1f", "delivery_info": {"exchange": "", "routing_key": "mail"}, "priority": 4, "delivery_tag": "old"}}, "", "mail"]"#;

    #[test]
    fn a_message_gets_a_new_tag_and_keeps_all_other_bytes() {
        let message = Message::read(TAKEN.as_bytes(), "new").unwrap();
        let expected = r#"{"body": "W10=", "content-encoding": "utf-8", "headers": {"lang": "py", "id": "3c1f", "eta": null, "n": 12345678901234567890, "l": [], "redelivered": true}, "properties": {"correlation_id": "3c1f", "delivery_info": {"exchange": "", "routing_key": "mail", "redelivered": true}, "priority": 4, "delivery_tag": "new"}}"#;
        assert_eq!(String::from_utf8(message.put.clone()).unwrap(), expected);
        assert_eq!((message.id.as_str(), message.eta_ms), ("3c1f", None));
        assert_eq!(message.queue(&[]).as_deref(), Some("mail"));
    }

    #[test]
    fn an_exchange_finds_one_queue_or_none() {
        let message =
            Message::read(TAKEN.replace("\"\", \"mail\"]", "\"x\", \"mail\"]").as_bytes(), "new").unwrap();
        let bound = |queue: &str| format!("mail{EDGE}{EDGE}{queue}").into_bytes();
        assert_eq!(message.queue(&[bound("a")]).as_deref(), Some("a"));
        assert_eq!(message.queue(&[]), None);
        assert_eq!(message.queue(&[bound("a"), bound("b")]), None, "it came from one of them");
    }

    #[test]
    fn a_moment_has_an_offset_or_is_of_utc() {
        assert_eq!(millis("2026-11-24T12:00:00.250000+01:00"), Some(1_795_518_000_250));
        assert_eq!(millis("2026-11-24T11:00:00.25"), Some(1_795_518_000_250));
        assert_eq!(millis("soon"), None);
        let later = TAKEN.replace("\"eta\": null", "\"eta\": \"2026-11-24T11:00:00.25\"");
        assert_eq!(Message::read(later.as_bytes(), "t").unwrap().eta_ms, Some(1_795_518_000_250));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for bad in ["", "{}", "[1,\"\",\"q\"]", "[{\"headers\":{},\"properties\":{}},\"\",\"q\"]"] {
            assert_eq!(Message::read(bad.as_bytes(), "t"), None, "{bad}");
        }
    }
}
