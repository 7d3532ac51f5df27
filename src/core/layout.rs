//! How somebody else's system lays its tasks out in Redis, seen from a sweeper.
//!
//! A layout is data: where the agents stand, how they show life, where each keeps what it runs, and how a task goes back
//! or is set aside. Names have the holes `{agent}`, `{queue}` and `{id}`, and holes of a layout's own (`{host}`) that
//! together make an agent. Where all agents share one collection, each task shows life for itself.

use std::time::Duration;

use super::pattern::{Pattern, Values};

/// A layout, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// What it is called: a preset, or `custom`.
    pub name: String,
    /// Who shows life.
    pub life: Life,
    /// Where agents are found.
    pub agents: Agents,
    /// Where queues are found.
    pub queues: Queues,
    /// What the names of queues begin with where they are listed: `rq:queue:default` is the queue `default`.
    pub prefix: String,
    /// What the names of some queues end with that belong to another: `default.DQ` to `default`, the hole `{base}`.
    pub suffix: String,
    /// How life is shown.
    pub heartbeat: Heartbeat,
    /// How long the system itself lets an agent be silent.
    pub timeout: Duration,
    /// Where an agent keeps what it runs.
    pub running: Running,
    /// Where a task's record is.
    pub record: Record,
    /// Where tasks wait.
    pub pending: Pending,
    /// Where tasks are set aside.
    pub dead: Dead,
    /// What else is done for a task that waits again.
    pub on_reset: Vec<Command>,
    /// What else is done for one that is set aside.
    pub on_dead: Vec<Command>,
    /// What says that a queue is paused: nothing is put back to it meanwhile.
    pub paused: Option<Paused>,
    /// Where the system says which version it is, and which ones are known.
    pub version: Option<Version>,
}

/// Who shows life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Each agent, for all that it holds.
    Agents,
    /// Each running task for itself: a lease, a lock, a time. All agents share one collection.
    Tasks,
}

/// Where a system says which version it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The hash.
    pub key: Pattern,
    /// Its field.
    pub field: String,
    /// What stands before the version: `bullmq:`.
    pub prefix: String,
    /// The first that is known, as `5.0`.
    pub from: Vec<u64>,
    /// The first that isn't known any more.
    pub until: Vec<u64>,
}

impl Version {
    /// Whether what stands in the field is a version that is known.
    #[must_use]
    pub fn knows(&self, text: &str) -> bool {
        let numbers = text.strip_prefix(&self.prefix).and_then(numbers);
        numbers.is_some_and(|version| self.from <= version && version < self.until)
    }
}

/// The numbers of a version, such as `5.81`; what follows the third is left out.
#[must_use]
pub fn numbers(version: &str) -> Option<Vec<u64>> {
    let release = version.split(['-', '+']).next().unwrap_or_default();
    release.split('.').take(3).map(|part| part.parse().ok()).collect()
}

/// A command of Redis: its name, a key, and arguments, each of which may have the holes `{id}`, `{queue}`, `{base}`,
/// `{agent}`, `{rest}`, `{now}` (s), `{now_ms}`, `{now_ns}`, `{now_iso}`, and `{record.FIELD}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// One of [`COMMANDS`].
    pub name: &'static str,
    /// The key.
    pub key: Pattern,
    /// What follows.
    pub arguments: Vec<Pattern>,
}

/// The commands that a layout may name, each with the type of key that it needs (`""`: any).
pub const COMMANDS: [(&str, &str); 15] = [
    ("SADD", "set"),
    ("SREM", "set"),
    ("ZADD", "zset"),
    ("ZREM", "zset"),
    ("HSET", "hash"),
    ("HDEL", "hash"),
    ("HINCRBY", "hash"),
    ("LPUSH", "list"),
    ("RPUSH", "list"),
    ("INCR", "string"),
    ("DECR", "string"),
    ("DEL", ""),
    ("EXPIRE", ""),
    ("PUBLISH", ""),
    ("XADD", "stream"),
];

/// A type of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collection {
    /// A list.
    List,
    /// A set.
    Set,
    /// A sorted set.
    SortedSet,
    /// A hash.
    Hash,
    /// A stream, read by a group.
    Stream,
    /// The key as a whole.
    Key,
}

/// Where agents are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agents {
    /// The members of a set.
    Set(Pattern),
    /// The members of a sorted set.
    SortedSet(Pattern),
    /// In the names of their running collections, by SCAN.
    Keys,
    /// Nowhere: tasks show life for themselves.
    None,
}

/// Where queues are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Queues {
    /// There is one place for all: names have no hole `{queue}`.
    One,
    /// The members of a set; it may be one for each agent.
    Set(Pattern),
    /// In the names of running collections, by SCAN.
    Keys,
    /// Those that the configuration lists, and no others.
    Listed,
}

/// How an agent or a task shows life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heartbeat {
    /// A key that lapses.
    Key(Pattern),
    /// Its score in a sorted set.
    Score {
        /// The set; the member is the agent, or the task's entry.
        key: Pattern,
        /// What the score says.
        means: Means,
        /// In what it counts.
        unit: Unit,
        /// Of a task's score that says until when it holds: how long before that it is looked at, because it should have been
        /// renewed by then.
        ahead: Duration,
    },
    /// How long ago a stream gave it out, by the server's clock.
    Idle,
}

/// What a score says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// When it last showed life.
    LastSeen,
    /// Until when it holds.
    Expires,
}

/// In what a time is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Millis,
}

impl Unit {
    /// Milliseconds in one.
    #[must_use]
    pub fn millis(self) -> i64 {
        match self {
            Self::Seconds => 1000,
            Self::Millis => 1,
        }
    }
}

/// An end of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Index 0.
    Left,
    /// Index -1.
    Right,
}

impl End {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

/// Where an agent keeps what it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// The type of the collection.
    pub kind: Collection,
    /// Its name.
    pub key: Pattern,
    /// Of a list: the end at which the oldest stand.
    pub oldest: End,
    /// Of a stream: the group that reads it.
    pub group: Option<String>,
    /// Of a stream: that other groups of it may see a task again.
    pub copies: bool,
    /// Where a task's name stands in an entry.
    pub id: Id,
    /// In what an entry wraps the task.
    pub envelope: Envelope,
    /// Field and value of the record by which a task that was begun is told from one that was only fetched. One that
    /// wasn't begun does not pay for its agent's death. `None`: nobody can tell, so all pay.
    pub begun: Option<(String, String)>,
}

/// Where a task's name stands in an entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Id {
    /// The entry is the name, or nobody knows one.
    #[default]
    Entry,
    /// In this field of an entry that is JSON.
    Json(String),
    /// Before the last of these: `job:execution`. What follows is the hole `{rest}`, and isn't put back.
    Before(String),
}

/// In what an entry wraps the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Envelope {
    /// Nothing: what was taken out is put back.
    #[default]
    None,
    /// The hash has `[message, exchange, routing key]` under a delivery tag, as kombu writes it. The message goes to the queues
    /// of its routing key, with a new tag.
    Kombu,
}

/// Where a task's record is; without either the entry itself is all. What is named must be there, or the task is not put
/// back: an agent that takes a name without a record may die of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// The hash of which it is a field, by the task's name.
    pub field_of: Option<Pattern>,
    /// The hash that is its own.
    pub own: Option<Pattern>,
    /// A field that its own hash must have, or it counts as missing.
    pub needs: Option<String>,
    /// A set in which it must be, or it doesn't run any more, whatever its agent's collection says.
    pub member_of: Option<Pattern>,
    /// Field and value that its own hash has while it runs: the same.
    pub runs: Option<(String, String)>,
}

/// Where tasks wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Its name.
    pub key: Pattern,
    /// In what order.
    pub order: Order,
}

/// In what order tasks wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// A list, of which agents take at this end.
    List(End),
    /// A sorted set, with a score that is the same for all.
    Score(String),
    /// A sorted set, with the score that stands in this field of the record.
    Field(String),
    /// A stream, with a new entry of the same fields.
    Stream,
}

impl Order {
    /// The type of the collection.
    #[must_use]
    pub fn collection(&self) -> Collection {
        match self {
            Self::List(_) => Collection::List,
            Self::Score(_) | Self::Field(_) => Collection::SortedSet,
            Self::Stream => Collection::Stream,
        }
    }
}

/// Where in a list a task goes back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Position {
    /// It is the next to be taken.
    #[default]
    Head,
    /// Behind all that wait.
    Tail,
}

/// Where tasks are set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// The type of the collection.
    pub kind: Collection,
    /// Its name.
    pub key: Pattern,
    /// Of a list: the end at which new ones go in.
    pub end: End,
    /// Of a sorted set by time: in what it counts.
    pub unit: Unit,
    /// Of a sorted set by time: how long after its death a task stands there; the score is that time.
    pub keep: Duration,
    /// The hash to which the record's field moves, if it doesn't stay.
    pub record_to: Option<Pattern>,
}

/// What says that a queue is paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Paused {
    /// The key is there.
    Key(Pattern),
    /// The queue is a member.
    Member(Pattern),
    /// The hash has this field.
    Field(Pattern, String),
}

impl Layout {
    /// The agent that these values name: the hole `{agent}`, or a layout's own holes, joined in their order.
    #[must_use]
    pub fn agent(&self, values: &Values) -> Vec<u8> {
        if let Some(agent) = values.get("agent") {
            return agent.clone();
        }
        let own =
            self.running.key.holes().filter(|hole| *hole != "queue").filter_map(|hole| values.get(hole));
        own.map(Vec::as_slice).collect::<Vec<_>>().join(&b':')
    }

    /// Whether age is all that is known of a task: nobody renews it.
    #[must_use]
    pub fn is_by_age(&self) -> bool {
        let by_time =
            matches!(self.heartbeat, Heartbeat::Score { means: Means::LastSeen, .. } | Heartbeat::Idle);
        self.life == Life::Tasks && by_time
    }

    /// The queue to which this one belongs.
    #[must_use]
    pub fn base<'q>(&self, queue: &'q [u8]) -> &'q [u8] {
        queue.strip_suffix(self.suffix.as_bytes()).unwrap_or(queue)
    }

    /// The end of the pending list at which a task goes in.
    #[must_use]
    pub fn push_end(take: End, position: Position) -> End {
        match position {
            Position::Head => take,
            Position::Tail => take.other(),
        }
    }
}
