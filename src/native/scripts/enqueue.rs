//! Adding tasks.

use std::time::Duration;

use super::millis;
use crate::core::id::{TaskId, TaskType};
use crate::native::Command;
use crate::store::{Args, Reply, Script, Shape, StoreError};

/// The largest payload, in bytes.
pub const MAX_PAYLOAD: usize = 1024 * 1024;

/// A task to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTask {
    /// Its name; adding it again within `keep_done` of its end is answered `exists`.
    pub id: TaskId,
    /// Its type.
    pub task_type: TaskType,
    /// How long it waits before anyone may take it.
    pub delay: Duration,
    /// When nobody wants its result any more, from now; `None`: as the queue's policy says.
    pub deadline: Option<Duration>,
    /// Opaque bytes, at most [`MAX_PAYLOAD`].
    pub payload: Vec<u8>,
}

/// Adds tasks: at most 50, and 1 MiB of payloads, a call.
#[derive(Debug, Clone)]
pub struct Enqueue {
    /// The tasks, in the order in which they will be taken.
    pub tasks: Vec<NewTask>,
}

words!(
    /// What became of a task that was to be added.
    Enqueued {
        /// It is in the system now.
        Enqueued = "enqueued",
        /// It was there already, or was done a moment ago.
        Exists = "exists",
    }
);

impl Command for Enqueue {
    type Answer = Vec<Enqueued>;

    fn script(&self) -> &'static Script {
        script!("enqueue")
    }

    fn args(&self, args: &mut Args) {
        for task in &self.tasks {
            args.push(task.id.as_str()).push(task.task_type.as_str()).int(millis(task.delay));
            args.int(task.deadline.map_or(-1, millis)).push(&task.payload);
        }
    }

    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<Self::Answer, StoreError> {
        shape.list(reply)?.into_iter().map(|word| Enqueued::read(shape, word)).collect()
    }
}
