//! How a queue is doing.

use serde::Serialize;

use super::number;
use crate::core::id::QueueName;
use crate::core::summary::running;
use crate::native::Queue;
use crate::native::scripts::census::Census;
use crate::store::{Store, StoreError};

/// How all queues are doing: the contract of `status --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Queue by queue, in order of name.
    pub queues: Vec<QueueStatus>,
    /// Queues that can't be read until a person mends them. They hide no other.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<Unreadable>,
}

/// A queue that can't be read: of another format, or with a key of the wrong type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// Its name.
    pub queue: String,
    /// Why, and what to do.
    pub error: String,
}

/// How one queue is doing. Times are milliseconds; ages are as of now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueStatus {
    /// Its name.
    pub queue: String,
    /// Whether it stands for somebody else's system; then what was enqueued and completed is unknown, and 0.
    pub foreign: bool,
    /// Tasks that wait.
    pub pending: u64,
    /// Tasks that wait for their time.
    pub delayed: u64,
    /// Tasks that run.
    pub running: u64,
    /// Dead letters.
    pub dead: u64,
    /// Tasks that were ever enqueued.
    pub enqueued: u64,
    /// Tasks that were completed.
    pub completed: u64,
    /// Tasks that were discarded.
    pub discarded: u64,
    /// Tasks that agents gave back, or a person took from them, since the queue exists.
    pub released: u64,
    /// Tasks that were reset, since the queue exists.
    pub reset: u64,
    /// Resets that a result of the first run proved to have been wrong.
    pub false_resets: u64,
    /// Sessions by what their silence makes them.
    pub agents: Agents,
    /// Whether takes are paused.
    pub paused: bool,
    /// `wait` or `release` while the queue is drained.
    pub draining: Option<String>,
    /// Age of the longest-running task.
    pub oldest_running_ms: Option<i64>,
    /// Age of that figure: the sweeper walks over all sessions bit by bit.
    pub oldest_running_age_ms: Option<i64>,
    /// For how long the task that was abandoned first, and isn't moved, has been abandoned.
    pub oldest_abandoned_ms: Option<i64>,
    /// Abandoned tasks that guards hold.
    pub held: u64,
    /// Guards that were open in the last pass, each with its reason.
    pub guards: Vec<String>,
    /// How long ago the last pass was.
    pub last_pass_ms: Option<i64>,
    /// Whether that pass only observed: nothing is moved.
    pub observed_only: bool,
    /// Who made it.
    pub last_pass_by: Option<String>,
}

/// Sessions by what their silence makes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Agents {
    /// They beat.
    pub active: u64,
    /// Silent for `heartbeat_timeout`.
    pub suspect: u64,
    /// Silent for `lost_after` longer, and not forgotten yet.
    pub lost: u64,
}

/// Reads how these queues are doing; writes nothing.
///
/// # Errors
/// [`StoreError`], unless it is one queue's own.
pub async fn read(store: &Store, queues: &[QueueName]) -> Result<Status, StoreError> {
    let mut status = Status { queues: Vec::with_capacity(queues.len()), unreadable: Vec::new() };
    for name in queues {
        match of(&Queue::new(store.clone(), name.clone())).await {
            Err(error) if error.is_wrong_type() || error.is_format() => {
                status.unreadable.push(Unreadable { queue: name.to_string(), error: error.to_string() });
            }
            read => status.queues.push(read?),
        }
    }
    Ok(status)
}

/// Reads how one queue is doing; writes nothing.
///
/// # Errors
/// [`StoreError`].
pub async fn of(queue: &Queue) -> Result<QueueStatus, StoreError> {
    let store = queue.store();
    let count = queue.run(&Census { sessions: Vec::new() }).await?;
    let control = store.hash(&queue.keys().named("control")).await?;
    let policy = store.hash(&queue.keys().named("policy")).await?;
    let total = |name: &str| count.totals.get(name).and_then(|n| u64::try_from(*n).ok()).unwrap_or(0);
    let totals = |prefix: &str| -> u64 {
        let own = count.totals.iter().filter(|(name, _)| name.starts_with(prefix));
        own.filter_map(|(_, n)| u64::try_from(*n).ok()).sum()
    };
    let (enqueued, completed, discarded) = (total("enqueued"), total("completed"), total("discarded"));
    let runs = running(total, count.pending + count.delayed + count.dead);
    let text = |field: &str| control.get(field).filter(|value| !value.is_empty()).cloned();
    let age =
        |field: &str| text(field).and_then(|at| at.parse::<i64>().ok()).map(|at| (count.now_ms - at).max(0));
    let limit = |field: &str, default: i64| policy.get(field).and_then(|n| n.parse().ok()).unwrap_or(default);
    let suspect_at = count.now_ms - limit("_heartbeat_timeout", 15_000);
    let lost_at = suspect_at - limit("_lost_after", 15_000);
    let agents = queue.keys().named("agents");
    let silent_since = async |at: i64| number(store, &["ZCOUNT", &agents, "-inf", &at.to_string()]).await;
    let all = number(store, &["ZCARD", &agents]).await?;
    let (suspect, lost) = (silent_since(suspect_at).await?, silent_since(lost_at).await?);
    let figure = |n: i64| u64::try_from(n).unwrap_or(0);
    let mut agents =
        Agents { active: figure(all - suspect), suspect: figure(suspect - lost), lost: figure(lost) };
    let (mut pending, mut running, mut dead) = (count.pending, runs, count.dead);
    // Of somebody else's system its sweeper leaves the figures here.
    let foreign =
        text("foreign").map(|all| all.split(' ').map_while(|n| n.parse().ok()).collect::<Vec<u64>>());
    if let Some(&[waits, runs, aside, sessions, suspect, lost]) = foreign.as_deref() {
        (pending, running, dead) = (waits, runs, aside);
        agents = Agents { active: sessions.saturating_sub(suspect + lost), suspect, lost };
    }
    Ok(QueueStatus {
        queue: queue.name().to_string(),
        foreign: foreign.is_some(),
        pending,
        delayed: count.delayed,
        running,
        dead,
        enqueued,
        completed,
        discarded,
        released: total("released"),
        reset: totals("reset:"),
        false_resets: total("false_resets") + total("late"),
        agents,
        paused: text("paused").is_some(),
        draining: text("draining"),
        oldest_running_ms: age("oldest_running"),
        oldest_running_age_ms: age("oldest_running_as_of"),
        oldest_abandoned_ms: age("oldest_abandoned"),
        held: text("held").and_then(|n| n.parse().ok()).unwrap_or(0),
        guards: text("guards").map(|all| all.lines().map(str::to_owned).collect()).unwrap_or_default(),
        last_pass_ms: age("last_pass"),
        observed_only: text("mode").as_deref() == Some("observe"),
        last_pass_by: text("last_by"),
    })
}
