//! What is left to tell of a task that is over, while its stub lasts.

use serde::Serialize;

use super::explain::{Happened, history};
use crate::native::Queue;
use crate::store::StoreError;

/// A task that left the system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Over {
    /// Its name.
    pub id: String,
    /// Its queue.
    pub queue: String,
    /// `completed` or `discarded`.
    pub how: String,
    /// The attempt that held it last; `None`: it never ran.
    pub attempt: Option<u64>,
    /// An earlier attempt whose result came later and was refused: what ended that attempt was wrong.
    pub late_attempt: Option<u64>,
    /// Its history, oldest first.
    pub history: Vec<Happened>,
    /// How long ago the recorded history begins, ms; `None`: there is none.
    pub history_begins_ms: Option<i64>,
}

/// Tells it from the stub: `completed:<token>` or `discarded:<token>`, perhaps followed by ` late:<token>`.
///
/// # Errors
/// [`StoreError`].
pub async fn over(queue: &Queue, id: &str, stub: &str) -> Result<Over, StoreError> {
    let now_ms = queue.store().server_time().await?;
    let (history, history_begins_ms) = history(queue, id, now_ms).await?;
    let (how, rest) = stub.split_once(':').unwrap_or((stub, ""));
    let (token, late) = rest.split_once(" late:").unwrap_or((rest, ""));
    Ok(Over {
        id: id.to_owned(),
        queue: queue.name().to_string(),
        how: how.to_owned(),
        attempt: attempt_of(token),
        late_attempt: attempt_of(late),
        history,
        history_begins_ms,
    })
}

/// The number with which a token begins.
pub(super) fn attempt_of(token: &str) -> Option<u64> {
    token.split('-').next().and_then(|n| n.parse().ok())
}
