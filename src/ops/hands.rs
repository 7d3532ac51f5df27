//! What a person does to tasks by hand. Each act names what the person saw, so that it hits nothing else.

use super::BATCH;
use super::tasks::Listed;
use crate::native::Queue;
use crate::native::scripts::cancel::{Cancel, Cancelled};
use crate::native::scripts::reset::{Reset, ResetByHand};
use crate::store::StoreError;

/// Takes running tasks from their agents, in batches; what became of each, in order. `told` hears how many are done.
///
/// # Errors
/// [`StoreError`]; what was done before stays done.
pub async fn reset(
    queue: &Queue,
    tasks: &[Listed],
    by: &str,
    told: impl Fn(u64),
) -> Result<Vec<ResetByHand>, StoreError> {
    let mut answers = Vec::with_capacity(tasks.len());
    for tasks in tasks.chunks(BATCH) {
        let pairs = tasks.iter().map(|task| (task.id.clone(), task.token.clone())).collect();
        answers.extend(queue.run(&Reset { by: by.to_owned(), pairs }).await?);
        told(tasks.len() as u64);
    }
    Ok(answers)
}

/// Discards tasks that wait and tells the agents of those that run to stop; what became of each, in order.
///
/// # Errors
/// [`StoreError`]; what was done before stays done.
pub async fn cancel(
    queue: &Queue,
    tasks: &[Listed],
    by: &str,
    told: impl Fn(u64),
) -> Result<Vec<Cancelled>, StoreError> {
    let mut answers = Vec::with_capacity(tasks.len());
    for task in tasks {
        let enqueued_at = || task.enqueued_at_ms.map(|at| at.to_string()).unwrap_or_default();
        let seen = if task.session.is_some() { task.token.clone() } else { enqueued_at() };
        answers.push(queue.run(&Cancel { id: task.id.clone(), seen, by: by.to_owned() }).await?);
        told(1);
    }
    Ok(answers)
}
