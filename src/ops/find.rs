//! Where a task is, when nobody said in which queue.

use crate::core::id::{QueueName, TaskId};
use crate::native::Queue;
use crate::native::scripts::inspect::{Inspect, InspectAnswer, Inspected};
use crate::store::{Store, StoreError};

/// Why a task was not found.
#[derive(Debug, thiserror::Error)]
pub enum NotFound {
    /// Nowhere.
    #[error(
        "task {id} is in none of {n} queues: was it completed more than keep_done ago, or never enqueued?"
    )]
    Nowhere {
        /// What was asked for.
        id: TaskId,
        /// How many queues were looked at.
        n: usize,
    },
    /// It is over.
    #[error("task {id} of queue {queue} is over: {stub}")]
    Over {
        /// What was asked for.
        id: TaskId,
        /// Where it was.
        queue: QueueName,
        /// What its stub says.
        stub: String,
    },
    /// In several queues.
    #[error("task {id} is in several queues ({queues}): say which one with --queue")]
    Ambiguous {
        /// What was asked for.
        id: TaskId,
        /// Where it is.
        queues: String,
    },
    /// Redis refuses, or is away.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Finds a task in one of these queues.
///
/// # Errors
/// [`NotFound`].
pub async fn find(
    store: &Store,
    queues: &[QueueName],
    id: &TaskId,
) -> Result<(Queue, Box<Inspected>), NotFound> {
    let mut found = Vec::new();
    let mut over = None;
    for name in queues {
        let queue = Queue::new(store.clone(), name.clone());
        match queue.run(&Inspect { id: id.to_string() }).await? {
            InspectAnswer::Found(task) => found.push((queue, task)),
            InspectAnswer::Gone(stub) if !stub.is_empty() => over = Some((name.clone(), stub)),
            InspectAnswer::Gone(_) => {}
        }
    }
    if found.len() > 1 {
        let queues: Vec<&str> = found.iter().map(|(queue, _)| queue.name().as_str()).collect();
        return Err(NotFound::Ambiguous { id: id.clone(), queues: queues.join(", ") });
    }
    match (found.pop(), over) {
        (Some(found), _) => Ok(found),
        (None, Some((queue, stub))) => Err(NotFound::Over { id: id.clone(), queue, stub }),
        (None, None) => Err(NotFound::Nowhere { id: id.clone(), n: queues.len() }),
    }
}
