//! Lists of tasks, a page at a time.

use serde::Serialize;

use crate::native::Queue;
use crate::store::StoreError;

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
    let mut listed = Vec::with_capacity(entries.len());
    for (id, at) in entries {
        let record = store.hash(&queue.keys().task(&id)).await?;
        let text = |field: &str| record.get(field).filter(|value| !value.is_empty());
        let number = |field: &str| text(field).and_then(|n| n.parse::<i64>().ok());
        let holder = text("session").map(String::as_str).unwrap_or_default();
        listed.push(Listed {
            task_type: text("type").cloned().unwrap_or_else(|| "(no record)".to_owned()),
            attempt: number("attempt").and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
            enqueued_at_ms: number("enqueued_at"),
            session: Some(holder.to_owned()).filter(|name| !name.is_empty() && !name.starts_with('!')),
            taken_at_ms: number("taken_at"),
            reason: holder.strip_prefix('!').map(str::to_owned),
            at_ms: matches!(state, State::Delayed | State::Dead).then_some(at),
            id,
        });
    }
    Ok(listed)
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
