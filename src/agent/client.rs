//! Enqueueing.

use std::time::Duration;

use crate::core::id::{QueueName, TaskId, TaskType};
use crate::native::Queue;
use crate::native::scripts::enqueue::{Enqueue, Enqueued, MAX_PAYLOAD, NewTask};
use crate::store::{Failure, Store, StoreError};

/// Tasks, and bytes of payloads, that one call adds.
const BATCH: usize = 50;
/// How often a batch whose fate is unknown is sent again; the ids make that harmless.
const ATTEMPTS: u32 = 5;

/// Why tasks were not added.
#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    /// The payload is over [`MAX_PAYLOAD`].
    #[error(
        "task {id}: its payload has {bytes} bytes, the most is {MAX_PAYLOAD}: store it elsewhere and enqueue its address"
    )]
    TooLarge {
        /// The task.
        id: TaskId,
        /// Its size.
        bytes: usize,
    },
    /// Redis didn't take them.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operating system has no randomness to make ids of.
    #[error("no randomness to make a task id of")]
    Random(#[from] getrandom::Error),
}

/// Adds tasks to a queue.
#[derive(Debug, Clone)]
pub struct Client {
    queue: Queue,
    announced: bool,
}

impl Client {
    /// A client of this queue; nothing is sent.
    #[must_use]
    pub fn new(store: Store, queue: QueueName) -> Self {
        Self { queue: Queue::new(store, queue), announced: false }
    }

    /// Adds one task, and says under which id.
    ///
    /// # Errors
    /// [`EnqueueError`].
    pub async fn enqueue(&mut self, payload: impl Into<Vec<u8>>) -> Result<TaskId, EnqueueError> {
        let task = new_task(payload)?;
        let id = task.id.clone();
        self.enqueue_all(vec![task]).await?;
        Ok(id)
    }

    /// Adds tasks in batches, in order; what became of each.
    ///
    /// # Errors
    /// [`EnqueueError`]. Batches before the one that failed are in; adding all of them again is harmless.
    pub async fn enqueue_all(&mut self, tasks: Vec<NewTask>) -> Result<Vec<Enqueued>, EnqueueError> {
        if let Some(large) = tasks.iter().find(|task| task.payload.len() > MAX_PAYLOAD) {
            return Err(EnqueueError::TooLarge { id: large.id.clone(), bytes: large.payload.len() });
        }
        if !self.announced {
            self.queue.announce().await?;
            self.announced = true;
        }
        let mut answers = Vec::with_capacity(tasks.len());
        for batch in batches(tasks) {
            answers.extend(self.send(&Enqueue { tasks: batch }).await?);
        }
        Ok(answers)
    }

    async fn send(&self, batch: &Enqueue) -> Result<Vec<Enqueued>, StoreError> {
        let mut attempt = 0;
        loop {
            match self.queue.run(batch).await {
                Err(error) if error.failure() == Failure::Unknown && attempt < ATTEMPTS => {
                    attempt += 1;
                    tokio::time::sleep(Duration::from_millis(100) * attempt).await;
                }
                other => return other,
            }
        }
    }
}

/// A task with a fresh id, the default type, and nothing else.
///
/// # Errors
/// If the operating system has no randomness to make the id of.
pub fn new_task(payload: impl Into<Vec<u8>>) -> Result<NewTask, getrandom::Error> {
    Ok(NewTask {
        id: fresh_id()?,
        task_type: TaskType::default_type(),
        delay: Duration::ZERO,
        deadline: None,
        payload: payload.into(),
    })
}

/// 128 random bits as 32 hex digits.
///
/// # Errors
/// If the operating system has no randomness to give.
pub fn fresh_id() -> Result<TaskId, getrandom::Error> {
    let text = format!("{:016x}{:016x}", getrandom::u64()?, getrandom::u64()?);
    TaskId::new(text).map_err(|_| getrandom::Error::UNEXPECTED)
}

fn batches(tasks: Vec<NewTask>) -> Vec<Vec<NewTask>> {
    let mut batches: Vec<Vec<NewTask>> = Vec::new();
    let mut bytes = 0;
    for task in tasks {
        bytes += task.payload.len();
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH && bytes <= MAX_PAYLOAD => batch.push(task),
            _ => {
                bytes = task.payload.len();
                batches.push(vec![task]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_bounded_in_tasks_and_bytes_and_keep_the_order() {
        let sized = |bytes| new_task(vec![0; bytes]).unwrap();
        let sizes = |tasks| batches(tasks).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes((0..101).map(|_| sized(1)).collect()), [50, 50, 1]);
        assert_eq!(sizes(vec![sized(MAX_PAYLOAD), sized(1), sized(MAX_PAYLOAD)]), [1, 1, 1]);
        assert_eq!(sizes(Vec::new()), [0; 0]);
        let tasks: Vec<_> = (0..60).map(|_| sized(1)).collect();
        let ids: Vec<_> = tasks.iter().map(|task| task.id.clone()).collect();
        assert!(batches(tasks).concat().into_iter().map(|task| task.id).eq(ids));
    }
}
