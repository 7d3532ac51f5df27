//! Where a task is, and what will happen to it when.

use std::collections::BTreeMap;

use serde::Serialize;

use super::over::attempt_of;
use super::tasks::State;
use crate::core::policy::LimitAction;
use crate::native::Queue;
use crate::native::scripts::inspect::Inspected;
use crate::native::scripts::publish::PublishedLimits;
use crate::store::{Shape, StoreError};

/// Events that are read in one go: each may name fifty tasks, and nobody else is served meanwhile.
const EVENTS_AT_ONCE: &str = "500";

/// One of the clocks that run for a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Clock {
    /// `silence`, `age`, `life` (the task's own heartbeat), `value`, `delay`, `stop`.
    pub clock: &'static str,
    /// Time that is left, ms; negative: it has passed.
    pub left_ms: i64,
    /// The whole of it, ms, where there is such a limit.
    pub limit_ms: Option<i64>,
    /// What happens then.
    pub then: String,
}

/// Something that happened to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Happened {
    /// How long ago, ms.
    pub ago_ms: i64,
    /// What: the event's fields but for the time and the list of tasks.
    pub what: String,
}

/// Who runs a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// What its state says, or `superseded`.
    pub state: String,
    /// Where its process runs.
    pub host: String,
    /// The process there.
    pub pid: String,
}

/// All that can be told of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// Its name.
    pub id: String,
    /// Its queue.
    pub queue: String,
    /// Its type.
    #[serde(rename = "type")]
    pub task_type: String,
    /// `pending`, `delayed`, `running`, `dead`, or `nowhere` (see `fsck`).
    pub state: &'static str,
    /// Why nobody runs it: what brought it where it is.
    pub reason: Option<String>,
    /// Attempts so far.
    pub attempt: u64,
    /// How often it failed.
    pub failures: i64,
    /// How many failures are retried.
    pub max_failures: i64,
    /// How often an agent lost it.
    pub abandonments: i64,
    /// How many times are forgiven.
    pub max_abandonments: i64,
    /// Who runs it.
    pub session: Option<String>,
    /// What its identity says of that session, where it runs, its process id.
    pub agent: Option<Holder>,
    /// How long it has run, ms.
    pub running_ms: Option<i64>,
    /// Its age, ms.
    pub age_ms: Option<i64>,
    /// Size of the payload, bytes.
    pub payload_bytes: u64,
    /// Size of the checkpoint, bytes.
    pub checkpoint_bytes: u64,
    /// Where else it is being worked on.
    pub external: Option<String>,
    /// An earlier attempt whose result came late and was refused: what ended that attempt was wrong.
    pub late_attempt: Option<u64>,
    /// What the last failure said.
    pub error: String,
    /// What runs out when.
    pub clocks: Vec<Clock>,
    /// What holds it beyond its own clocks.
    pub held_by: Vec<String>,
    /// Its history, oldest first.
    pub history: Vec<Happened>,
    /// How long ago the recorded history begins, ms; `None`: there is none.
    pub history_begins_ms: Option<i64>,
}

/// Explains a task.
///
/// # Errors
/// [`StoreError`].
pub async fn explain(queue: &Queue, id: &str, task: &Inspected) -> Result<Explained, StoreError> {
    let policy = queue.store().hash(&queue.keys().named("policy")).await?;
    let text = |field: &str| task.record.get(field).filter(|value| !value.is_empty());
    let number = |field: &str| text(field).and_then(|n| n.parse::<i64>().ok());
    let kind = text("type").cloned().unwrap_or_default();
    let published = policy.get(&kind).or_else(|| policy.get("_task"));
    let limits =
        published.and_then(|text| PublishedLimits::read(text)).unwrap_or_else(PublishedLimits::unpublished);
    let holder = text("session").cloned().unwrap_or_default();
    let runs = !holder.is_empty() && !holder.starts_with('!');
    let state = State::of(task).map_or("nowhere", State::as_str);
    let (history, history_begins_ms) = history(queue, id, task.now_ms).await?;
    let agent = Holder {
        state: task.agent_state.clone(),
        host: task.agent_host.clone(),
        pid: task.agent_pid.clone(),
    };
    let mut held_by = Vec::new();
    if task.paused {
        held_by.push("the queue is paused: nothing is taken".to_owned());
    }
    let control = queue.store().hash(&queue.keys().named("control")).await?;
    if control.get("mode").is_some_and(|mode| mode == "observe") {
        held_by.push("observe mode: its sweeper counts and moves nothing".to_owned());
    }
    if task.grace_until_ms > task.now_ms {
        let left = task.grace_until_ms - task.now_ms;
        held_by.push(format!("a guard holds all moves for another {} s", left / 1000));
    }
    Ok(Explained {
        id: id.to_owned(),
        queue: queue.name().to_string(),
        clocks: clocks(task, &policy, limits, runs),
        state,
        reason: holder.strip_prefix('!').map(str::to_owned),
        attempt: number("attempt").and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
        failures: number("failures").unwrap_or(0),
        max_failures: limits.max_failures,
        abandonments: number("abandonments").unwrap_or(0),
        max_abandonments: limits.max_abandonments,
        session: runs.then_some(holder),
        agent: runs.then_some(agent),
        running_ms: number("taken_at").filter(|_| runs).map(|at| task.now_ms - at),
        age_ms: number("enqueued_at").map(|at| task.now_ms - at),
        payload_bytes: task.payload_bytes,
        checkpoint_bytes: task.checkpoint_bytes,
        external: task.external.clone(),
        late_attempt: text("late").and_then(|token| attempt_of(token)),
        error: String::from_utf8_lossy(&task.error).into_owned(),
        task_type: kind,
        held_by,
        history,
        history_begins_ms,
    })
}

fn clocks(
    task: &Inspected,
    policy: &BTreeMap<String, String>,
    limits: PublishedLimits,
    runs: bool,
) -> Vec<Clock> {
    let number = |field: &str| task.record.get(field).and_then(|n| n.parse::<i64>().ok());
    let setting =
        |field: &str, default: i64| policy.get(field).and_then(|n| n.parse().ok()).unwrap_or(default);
    let mut clocks = Vec::new();
    let mut add = |clock, at: Option<i64>, limit_ms: Option<i64>, then: &str| {
        if let Some(at) = at {
            clocks.push(Clock { clock, left_ms: at - task.now_ms, limit_ms, then: then.to_owned() });
        }
    };
    let since = |field: &str, at: Option<i64>| number(field).zip(at).map(|(began, at)| at - began);
    if !runs {
        let then = match task.record.contains_key("ending") {
            true => "it may be taken, or as soon as the end of its work elsewhere, which hung, is known",
            false => "it may be taken",
        };
        add("delay", task.delayed, None, then);
        add(
            "value",
            task.expiring,
            since("enqueued_at", task.expiring),
            "it becomes a dead letter, reason expired",
        );
        return clocks;
    }
    let given_up = if number("abandonments").unwrap_or(0) >= limits.max_abandonments {
        "it becomes a dead letter, reason poison"
    } else {
        "it is reset, and another agent may take it"
    };
    let given_up = if task.record.contains_key("cancelled") {
        "it is discarded: a person cancelled it"
    } else {
        given_up
    };
    let lost = setting("_heartbeat_timeout", 15_000) + setting("_lost_after", 15_000);
    add(
        "silence",
        task.agent_beat_ms.map(|beat| beat + lost),
        Some(lost),
        &format!("if its agent doesn't beat: {given_up}"),
    );
    let grace = limits.revoke_grace_ms;
    if let Some(at) = number("revoked_at") {
        add("stop", Some(at + grace), Some(grace), &format!("its agent was told to stop; {given_up}"));
        return clocks;
    }
    let aged = match limits.action {
        LimitAction::Revoke => "its agent is told to stop",
        LimitAction::Reset => given_up,
        LimitAction::Alert => "it is counted as overdue, and goes on",
    };
    add("age", number("limit"), since("taken_at", number("limit")), aged);
    let heartbeat = Some(limits.heartbeat_ms).filter(|ms| *ms >= 0);
    add("life", number("alive_until"), heartbeat, "if it shows no sign of life: its agent is told to stop");
    add(
        "value",
        number("deadline"),
        since("enqueued_at", number("deadline")),
        "its agent is told to stop; then it becomes a dead letter, reason expired",
    );
    clocks
}

/// The events that name the task, oldest first, and how long ago the recorded history begins, ms.
///
/// # Errors
/// [`StoreError`].
pub async fn history(
    queue: &Queue,
    id: &str,
    now_ms: i64,
) -> Result<(Vec<Happened>, Option<i64>), StoreError> {
    let shape = Shape::of("XREVRANGE");
    let events = queue.keys().named("events");
    let (mut found, mut begins, mut from) = (Vec::new(), None, "+".to_owned());
    loop {
        let command = ["XREVRANGE", &events, &from, "-", "COUNT", EVENTS_AT_ONCE];
        let page = shape.list(queue.store().command(&command).await?)?;
        if page.is_empty() {
            break;
        }
        for entry in page {
            let [entry_id, fields] = shape.array(entry)?;
            let mut texts = Vec::new();
            for [field, value] in shape.rows(fields)? {
                texts.push((shape.text(field)?, shape.text(value)?));
            }
            let at = texts.iter().find(|(field, _)| field == "at").and_then(|(_, at)| at.parse::<i64>().ok());
            begins = at.or(begins);
            found.extend(
                happened(&texts, id).map(|what| Happened { ago_ms: now_ms - at.unwrap_or(now_ms), what }),
            );
            from = format!("({}", shape.text(entry_id)?);
        }
    }
    found.reverse();
    Ok((found, begins.map(|at| now_ms - at)))
}

/// What an event tells, if it names the task.
fn happened(event: &[(String, String)], id: &str) -> Option<String> {
    let names = |(field, value): &(String, String)| {
        (field == "tasks" || field == "task") && value.split(' ').any(|one| one == id)
    };
    event.iter().any(names).then(|| {
        let told =
            event.iter().filter(|(field, _)| !matches!(field.as_str(), "at" | "tasks" | "task" | "seen"));
        told.map(|(field, value)| format!("{field} {value}")).collect::<Vec<_>>().join(", ")
    })
}
