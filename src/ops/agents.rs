//! Who works on a queue.

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use super::{AHEAD, number};
use crate::native::Queue;
use crate::store::StoreError;

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Agent {
    /// Its name.
    pub session: String,
    /// The name under which at most one session acts at any time.
    pub identity: String,
    /// The number of this life of it, by the queue's count.
    pub incarnation: u64,
    /// What its identity says of it: `active`, `lost`, or `superseded` by a newer session.
    pub state: String,
    /// How long it has been silent, ms.
    pub silent_ms: i64,
    /// How many tasks it runs.
    pub running: i64,
    /// Former sessions of its identity that hold tasks still.
    pub held: Vec<String>,
    /// `wait` or `release`, if it is to take nothing more.
    pub draining: Option<String>,
    /// How long ago it began, ms.
    pub registered_ms: Option<i64>,
    /// Where its process runs.
    pub host: String,
    /// Its process id.
    pub pid: String,
    /// Its version.
    pub version: String,
}

/// The sessions that may hold tasks, the longest silent first, from the `after`-th on.
///
/// # Errors
/// [`StoreError`].
pub async fn list(queue: &Queue, after: usize, most: usize) -> Result<Vec<Agent>, StoreError> {
    let store = queue.store();
    let now = store.server_time().await?;
    let sessions = store.range(&queue.keys().named("agents"), after, most).await?;
    stream::iter(sessions)
        .map(|(session, beat)| one(queue, session, now, beat))
        .buffered(AHEAD)
        .try_collect()
        .await
}

async fn one(queue: &Queue, session: String, now: i64, beat: i64) -> Result<Agent, StoreError> {
    let store = queue.store();
    let (identity, life) = session.split_once('.').unwrap_or((&session, ""));
    let about = store.hash(&queue.keys().agent(identity)).await?;
    let running = number(store, &["ZCARD", &queue.keys().running(&session)]).await?;
    // What the hash says is about the identity's current session alone.
    let current = about.get("session") == Some(&session);
    let text = |field: &str| about.get(field).filter(|_| current).cloned().unwrap_or_default();
    Ok(Agent {
        identity: identity.to_owned(),
        incarnation: life.split('-').next().and_then(|n| n.parse().ok()).unwrap_or(0),
        state: if current { text("state") } else { "superseded".to_owned() },
        silent_ms: (now - beat).max(0),
        running,
        held: text("held").split_whitespace().map(str::to_owned).collect(),
        draining: Some(text("draining")).filter(|mode| !mode.is_empty()),
        registered_ms: text("registered_at").parse::<i64>().ok().map(|at| (now - at).max(0)),
        host: text("host"),
        pid: text("pid"),
        version: text("version"),
        session,
    })
}
