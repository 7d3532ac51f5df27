//! Lists of tasks, a page at a time, and which of them are meant.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use super::AHEAD;
use crate::native::Queue;
use crate::native::scripts::inspect::Inspected;
use crate::store::StoreError;

/// Tasks that are read in one go where all of them are looked at.
const PAGE: usize = 500;

/// Where tasks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// They wait.
    Pending,
    /// They wait for their time.
    Delayed,
    /// Agents have them.
    Running,
    /// Dead letters.
    Dead,
}

impl State {
    /// Where this one is; `None`: in no index.
    #[must_use]
    pub fn of(task: &Inspected) -> Option<Self> {
        match () {
            () if task.dead.is_some() => Some(Self::Dead),
            () if task.running.is_some() => Some(Self::Running),
            () if task.pending.is_some() => Some(Self::Pending),
            () if task.delayed.is_some() => Some(Self::Delayed),
            () => None,
        }
    }

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delayed => "delayed",
            Self::Running => "running",
            Self::Dead => "dead",
        }
    }
}

/// A task in a list. Times are ms, clock of Redis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its name.
    pub id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub task_type: String,
    /// Attempts so far.
    pub attempt: u64,
    /// When it was enqueued.
    pub enqueued_at_ms: Option<i64>,
    /// Who runs it.
    pub session: Option<String>,
    /// When that began.
    pub taken_at_ms: Option<i64>,
    /// Why nobody runs it: what brought it where it is.
    pub reason: Option<String>,
    /// When it will be ready (delayed), or died (dead).
    pub at_ms: Option<i64>,
    /// The token of its last attempt, empty before the first: what a person saw, so that an act hits nothing else.
    #[serde(skip)]
    pub token: String,
}

impl Listed {
    /// A task by its record.
    #[must_use]
    pub fn of(id: String, record: &BTreeMap<String, String>, at_ms: Option<i64>) -> Self {
        let text = |field: &str| record.get(field).filter(|value| !value.is_empty());
        let number = |field: &str| text(field).and_then(|n| n.parse::<i64>().ok());
        let holder = text("session").map(String::as_str).unwrap_or_default();
        Self {
            id,
            task_type: text("type").cloned().unwrap_or_else(|| "(no record)".to_owned()),
            attempt: number("attempt").and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
            enqueued_at_ms: number("enqueued_at"),
            session: Some(holder.to_owned()).filter(|name| !name.is_empty() && !name.starts_with('!')),
            taken_at_ms: number("taken_at"),
            reason: holder.strip_prefix('!').map(str::to_owned),
            at_ms,
            token: text("token").cloned().unwrap_or_default(),
        }
    }

    /// Since when it has been dead, has run, or has waited.
    fn since_ms(&self, state: State) -> Option<i64> {
        match state {
            State::Dead => self.at_ms,
            State::Running => self.taken_at_ms,
            State::Pending | State::Delayed => self.enqueued_at_ms,
        }
    }
}

/// Which tasks of a list are meant; by default all.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only those that this brought where they are.
    pub reason: Option<String>,
    /// Only those that have been dead, have run, or have waited since they were enqueued for longer.
    pub older_than: Option<Duration>,
}

/// The tasks in a state that are meant, as they stand now, the first `most` of them.
///
/// # Errors
/// [`StoreError`].
pub async fn select(
    queue: &Queue,
    state: State,
    selection: &Selection,
    most: usize,
) -> Result<Vec<Listed>, StoreError> {
    let now = queue.store().server_time().await?;
    let oldest = selection
        .older_than
        .map(|age| now.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)));
    let means = |task: &Listed| {
        selection.reason.as_ref().is_none_or(|reason| task.reason.as_ref() == Some(reason))
            && oldest.is_none_or(|oldest| task.since_ms(state).is_some_and(|since| since <= oldest))
    };
    let (mut meant, mut known, mut at) = (Vec::new(), BTreeSet::new(), 0);
    while meant.len() < most {
        let page = list(queue, state, at, PAGE).await?;
        if page.is_empty() {
            break;
        }
        at += page.len();
        // What moved while the pages were read may stand on two of them.
        meant.extend(page.into_iter().filter(|task| means(task) && known.insert(task.id.clone())));
    }
    meant.truncate(most);
    Ok(meant)
}

/// A page of tasks in a state, from the `after`-th on; of running ones, agent by agent.
///
/// # Errors
/// [`StoreError`].
pub async fn list(queue: &Queue, state: State, after: usize, most: usize) -> Result<Vec<Listed>, StoreError> {
    let store = queue.store();
    let entries = match state {
        State::Pending => store.range(&queue.keys().named("pending"), after, most).await?,
        State::Delayed => store.range(&queue.keys().named("delayed"), after, most).await?,
        State::Dead => store.range(&queue.keys().named("dead"), after, most).await?,
        State::Running => running(queue, after, most).await?,
    };
    let timed = matches!(state, State::Delayed | State::Dead);
    stream::iter(entries)
        .map(|(id, at)| async move {
            let record = store.hash(&queue.keys().task(&id)).await?;
            Ok(Listed::of(id, &record, timed.then_some(at)))
        })
        .buffered(AHEAD)
        .try_collect()
        .await
}

/// Running tasks stand in a set for each session; every session that has some stands in `due`.
async fn running(queue: &Queue, after: usize, most: usize) -> Result<Vec<(String, i64)>, StoreError> {
    let store = queue.store();
    let (mut skip, mut found, mut at) = (after, Vec::new(), 0);
    while found.len() < most {
        let sessions = store.range(&queue.keys().named("due"), at, 100).await?;
        if sessions.is_empty() {
            break;
        }
        at += sessions.len();
        for (session, _) in sessions {
            let tasks = store.range(&queue.keys().running(&session), 0, 256).await?;
            let passed = skip.min(tasks.len());
            skip -= passed;
            found.extend(tasks.into_iter().skip(passed));
            if found.len() >= most {
                break;
            }
        }
    }
    found.truncate(most);
    Ok(found)
}
