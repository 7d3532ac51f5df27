//! What the script must know of a layout, made once.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::page::WEEK;
use crate::core::layout::{
    COMMANDS, Collection, Command, End, Envelope, Heartbeat, Layout, Life, Order, Paused, Position,
};
use crate::core::pattern::{Pattern, Values};

/// The fixed keys of our own queue come first; then the system's, from this number on: heartbeat, running, record,
/// pending, dead, dead record, pause mark, and our two hashes of returns.
const FIRST_OF_SYSTEM: usize = 14;

/// A layout as the script reads it.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    text: String,
    names: bool,
    record: bool,
}

impl Plan {
    /// `patience`: how long a task of a stream may be idle.
    pub(super) fn new(layout: &Layout, position: Position, patience: Duration) -> Self {
        let mut text = Map::new();
        let mut say = |name: &str, value: Value| drop(text.insert(name.to_owned(), value));
        let push = |end| if end == End::Left { "LPUSH" } else { "RPUSH" };
        let read_end = read_end(layout, position);
        let by = match layout.heartbeat {
            Heartbeat::Key(_) => "key",
            Heartbeat::Score { .. } => "score",
            Heartbeat::Idle => "idle",
        };
        say("heartbeat", json!(by));
        say("of_task", if layout.life == Life::Tasks { json!(by) } else { json!(false) });
        if let Heartbeat::Key(pattern) = &layout.heartbeat {
            say("heartbeat_key", template(pattern));
        }
        say("idle", json!(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX)));
        say("group", json!(layout.running.group));
        say("copies", json!(layout.running.copies));
        say("envelope", json!(layout.running.envelope != Envelope::None));
        say("running", json!(kind(layout.running.kind)));
        // LREM looks from the end at which the page was read, so it finds each at once.
        say("from", json!(if read_end == End::Left { 1 } else { -1 }));
        say("oldest_right", json!(layout.running.oldest == End::Right));
        say("record", json!(layout.record.field_of.is_some()));
        say("own", layout.record.own.as_ref().map_or(json!(false), template));
        say("member_of", layout.record.member_of.as_ref().map_or(json!(false), template));
        let pair = |pair: &Option<(String, String)>| {
            pair.as_ref().map_or(json!(false), |(field, value)| json!([field, value]))
        };
        say("begun", pair(&layout.running.begun));
        say("runs", pair(&layout.record.runs));
        say("needs", layout.record.needs.as_ref().map_or(json!(false), |field| json!(field)));
        say("fields", json!(fields(layout)));
        let (pending, order) = match &layout.pending.order {
            Order::List(take) => ("list", json!(push(Layout::push_end(*take, position)))),
            Order::Score(score) => ("zset", json!(score)),
            Order::Field(field) => ("field", json!(field)),
            Order::Stream => ("stream", json!("XADD")),
        };
        say("pending", json!(pending));
        say("order", order);
        say("waiting", if waits_apart(layout) { template(&layout.pending.key) } else { json!(false) });
        say("dead", json!(kind(layout.dead.kind)));
        say("dead_push", json!(push(layout.dead.end)));
        say("unit", json!(layout.dead.unit.millis()));
        say("keep", json!(layout.dead.keep.as_millis() as u64 / layout.dead.unit.millis().unsigned_abs()));
        let (paused, field) = match &layout.paused {
            None => ("", ""),
            Some(Paused::Key(_)) => ("key", ""),
            Some(Paused::Member(_)) => ("member", ""),
            Some(Paused::Field(_, field)) => ("field", field.as_str()),
        };
        say("paused", json!(paused));
        say("paused_field", json!(field));
        say("record_to", json!(layout.dead.record_to.is_some()));
        say("on_reset", commands(&layout.on_reset));
        say("on_dead", commands(&layout.on_dead));
        say("remember", json!(WEEK.as_millis() as u64 * 2));
        say("checks", checks(layout));
        let record = layout.record.field_of.is_some() || layout.record.own.is_some();
        let names = record || layout.running.kind != Collection::List;
        Self { text: Value::Object(text).to_string(), names, record }
    }

    /// Whether an entry of a running collection is the task's name.
    pub(super) fn entries_are_names(&self) -> bool {
        self.names
    }

    /// Whether a task without a name can't be looked up.
    pub(super) fn needs_names(&self) -> bool {
        self.record
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// The end of a running list from which pages are read. What goes to the head of a list goes there one by one, so it is
/// read newest first, and the oldest is at the head in the end.
pub(super) fn read_end(layout: &Layout, position: Position) -> End {
    let oldest = layout.running.oldest;
    let to_head = position == Position::Head && matches!(layout.pending.order, Order::List(_));
    if to_head { oldest.other() } else { oldest }
}

/// The keys that follow the fixed ones; `None` if a name has a hole without a value.
pub(super) fn keys(layout: &Layout, values: &Values, counts: [String; 2]) -> Option<Vec<Vec<u8>>> {
    // A key that the layout doesn't have: rights on an empty name nobody would grant.
    let none = counts[0].clone().into_bytes();
    let maybe =
        |pattern: Option<&Pattern>| pattern.map_or(Some(none.clone()), |pattern| pattern.fill(values));
    let heartbeat = match &layout.heartbeat {
        Heartbeat::Key(pattern) => Some(pattern).filter(|_| layout.life == Life::Agents),
        Heartbeat::Score { key, .. } => Some(key),
        Heartbeat::Idle => None,
    };
    let pause = match &layout.paused {
        Some(Paused::Key(pattern) | Paused::Member(pattern) | Paused::Field(pattern, _)) => Some(pattern),
        None => None,
    };
    let [now, before] = counts;
    Some(vec![
        maybe(heartbeat)?,
        layout.running.key.fill(values)?,
        maybe(layout.record.field_of.as_ref())?,
        maybe(Some(&layout.pending.key).filter(|_| !waits_apart(layout)))?,
        layout.dead.key.fill(values)?,
        maybe(layout.dead.record_to.as_ref())?,
        maybe(pause)?,
        now.into_bytes(),
        before.into_bytes(),
    ])
}

/// Whether tasks of one queue wait in several places, of which the plan knows none beforehand.
pub(super) fn waits_apart(layout: &Layout) -> bool {
    layout.running.envelope != Envelope::None || of_each_task(&layout.pending.key)
}

/// Whether a name is another for each task.
fn of_each_task(pattern: &Pattern) -> bool {
    pattern.holes().any(|hole| hole == "id" || hole.trim_start_matches(':').starts_with("record."))
}

fn kind(kind: Collection) -> &'static str {
    match kind {
        Collection::List => "list",
        Collection::Set | Collection::Key => "set",
        Collection::SortedSet => "zset",
        Collection::Hash => "hash",
        Collection::Stream => "stream",
    }
}

/// A pattern for the script: texts, and holes in tables of one name.
fn template(pattern: &Pattern) -> Value {
    pattern.parts().map(|part| part.map_or_else(|hole| json!([hole]), |text| json!(text))).collect()
}

fn commands(all: &[Command]) -> Value {
    let one = |command: &Command| {
        let needs = COMMANDS.iter().find(|(name, _)| *name == command.name).map_or("", |(_, needs)| *needs);
        let arguments: Vec<_> = command.arguments.iter().map(template).collect();
        json!([command.name, needs, template(&command.key), arguments])
    };
    all.iter().map(one).collect()
}

/// The fields of the record that templates and scores name.
fn fields(layout: &Layout) -> Vec<String> {
    let of_commands = layout.on_reset.iter().chain(&layout.on_dead);
    let of_commands = of_commands.flat_map(|one| one.arguments.iter().chain([&one.key]));
    let all = of_commands.chain([&layout.pending.key]).chain(&layout.record.member_of);
    let holes = all.flat_map(|pattern| pattern.holes());
    let mut fields: Vec<_> = holes
        .filter_map(|hole| hole.trim_start_matches(':').strip_prefix("record."))
        .map(str::to_owned)
        .collect();
    if let Order::Field(field) = &layout.pending.order {
        fields.push(field.clone());
    }
    fields.extend(layout.running.begun.iter().chain(&layout.record.runs).map(|(field, _)| field.clone()));
    fields.sort();
    fields.dedup();
    fields
}

/// Reads that raise WRONGTYPE before the first entry is taken out.
fn checks(layout: &Layout) -> Value {
    let size = |kind| match kind {
        Collection::List => "LLEN",
        Collection::Set => "SCARD",
        Collection::SortedSet => "ZCARD",
        Collection::Hash => "HLEN",
        Collection::Stream => "XLEN",
        Collection::Key => "EXISTS",
    };
    let waiting = size(layout.pending.order.collection());
    let mut checks = vec![
        json!([size(layout.running.kind), FIRST_OF_SYSTEM + 1]),
        json!([size(layout.dead.kind), FIRST_OF_SYSTEM + 4]),
        json!(["HLEN", FIRST_OF_SYSTEM + 7]),
        json!(["HLEN", FIRST_OF_SYSTEM + 8]),
    ];
    let mut also = |wanted: bool, command: &str, number: usize| {
        if wanted {
            checks.push(json!([command, FIRST_OF_SYSTEM + number]));
        }
    };
    also(!waits_apart(layout), waiting, 3);
    also(layout.life == Life::Tasks && matches!(layout.heartbeat, Heartbeat::Score { .. }), "ZCARD", 0);
    also(layout.record.field_of.is_some(), "HLEN", 2);
    also(layout.dead.record_to.is_some(), "HLEN", 5);
    Value::Array(checks)
}
