//! Work elsewhere that nobody waits for any more.

use serde::Serialize;

use crate::native::Queue;
use crate::native::scripts::dismiss::{Dismiss, Dismissed, How, read_entry};
use crate::store::StoreError;

/// Entries that are read in one go.
const PAGE: usize = 500;

/// A handle of which it isn't known that its work has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unwanted {
    /// The task that had begun it.
    pub id: String,
    /// The task's type.
    #[serde(rename = "type")]
    pub task_type: String,
    /// The handle.
    pub handle: String,
    /// For how long nobody has waited for it, ms.
    pub unwanted_ms: i64,
    #[serde(skip)]
    entry: String,
}

/// Lists it, what has been unwanted for longest first, from the `after`-th on.
///
/// # Errors
/// [`StoreError`].
pub async fn list(queue: &Queue, after: usize, most: usize) -> Result<Vec<Unwanted>, StoreError> {
    let now = queue.store().server_time().await?;
    let entries = queue.store().range(&queue.keys().named("unwanted"), after, most).await?;
    let read = |(entry, since): (String, i64)| {
        let [task_type, id, handle] = read_entry(&entry).unwrap_or_default().map(str::to_owned);
        Unwanted { id, task_type, handle, unwanted_ms: (now - since).max(0), entry }
    };
    Ok(entries.into_iter().map(read).collect())
}

/// Forgets what a task had begun; how many handles that were.
///
/// # Errors
/// [`StoreError`].
pub async fn forget(queue: &Queue, id: &str, by: &str) -> Result<usize, StoreError> {
    let mut meant = Vec::new();
    let mut after = 0;
    loop {
        let page = list(queue, after, PAGE).await?;
        after += page.len();
        let last = page.len() < PAGE;
        meant.extend(page.into_iter().filter(|one| one.id == id).map(|one| one.entry));
        if last {
            break;
        }
    }
    let mut forgotten = 0;
    for entries in meant.chunks(50) {
        let dismiss = Dismiss { by: by.to_owned(), how: How::ByHand, jitter: 0, entries: entries.to_vec() };
        let answers = queue.run(&dismiss).await?;
        forgotten += answers.iter().filter(|answer| **answer == Dismissed::Dismissed).count();
    }
    Ok(forgotten)
}
