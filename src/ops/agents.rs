//! Who works on a queue.

use serde::Serialize;

use super::number;
use crate::native::Queue;
use crate::store::StoreError;

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Agent {
    /// Its name.
    pub session: String,
    /// What its identity says of it: `active`, `lost`, or `superseded` by a newer session.
    pub state: String,
    /// How long it has been silent, ms.
    pub silent_ms: i64,
    /// How many tasks it runs.
    pub running: i64,
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
    let mut agents = Vec::new();
    for (session, beat) in store.range(&queue.keys().named("agents"), after, most).await? {
        let identity = session.split('.').next().unwrap_or_default();
        let about = store.hash(&queue.keys().agent(identity)).await?;
        let current = about.get("session") == Some(&session);
        let text = |field: &str| about.get(field).filter(|_| current).cloned().unwrap_or_default();
        let running = number(store, &["ZCARD", &queue.keys().running(&session)]).await?;
        agents.push(Agent {
            state: if current { text("state") } else { "superseded".to_owned() },
            silent_ms: (now - beat).max(0),
            running,
            host: text("host"),
            pid: text("pid"),
            version: text("version"),
            session,
        });
    }
    Ok(agents)
}
