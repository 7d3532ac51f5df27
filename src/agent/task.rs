//! A task in its handler's hands.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::running::Running;
use super::tries::until_answered;
use crate::core::id::QueueName;
use crate::native::Queue;
use crate::native::scripts::beat::Mark;
pub use crate::native::scripts::external::MAX_HANDLE;
use crate::native::scripts::external::{External, Recorded};
use crate::native::scripts::take::Taken;
use crate::store::StoreError;

/// The largest checkpoint, in bytes.
pub const MAX_CHECKPOINT: usize = 64 * 1024;

/// Why a handle was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum ExternalError {
    /// This attempt doesn't hold the task any more: stop. There is nothing to cancel elsewhere, for whoever takes the task next
    /// gets the handle, or it is remembered as unwanted.
    #[error("this attempt doesn't hold the task any more")]
    Fenced,
    /// It is empty, or over [`MAX_HANDLE`] bytes.
    #[error("a handle of {0} bytes; it has 1 to {MAX_HANDLE}")]
    BadHandle(usize),
    /// Redis refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a task must stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// This agent no longer holds it: what it does counts for nothing.
    Fenced,
    /// One of its limits has passed: end, and it is given back.
    Revoked,
    /// A person cancelled it: end, and it is discarded.
    Cancelled,
    /// No heartbeat was answered for so long that others may have been given the task.
    OutOfTouch,
    /// The agent ends, or its queue is being drained: end, and the task is given back.
    Stopping,
}

/// How a handler ends when it doesn't succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It failed; tried again after a backoff, as long as the policy allows.
    Retry(String),
    /// It failed, and trying again would be in vain: a dead letter.
    Fatal(String),
    /// It gives the task back unfinished; nothing is charged. It waits this long, or `release_delay` of its type.
    GiveBack(Option<Duration>),
}

impl Failure {
    /// A failure that is worth another attempt.
    pub fn retry(why: impl ToString) -> Self {
        Self::Retry(why.to_string())
    }

    /// A failure that another attempt can't mend.
    pub fn fatal(why: impl ToString) -> Self {
        Self::Fatal(why.to_string())
    }
}

/// A checkpoint that is too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the checkpoint has {0} bytes, the most is {MAX_CHECKPOINT}: store it elsewhere and keep its address here"
)]
pub struct CheckpointTooLarge(pub usize);

/// A task that runs.
#[derive(Debug, Clone)]
pub struct Task {
    pub(super) queue: Queue,
    pub(super) taken: Arc<Taken>,
    pub(super) stop: CancellationToken,
    pub(super) running: Running,
    /// How many handles it has recorded.
    pub(super) recorded: Arc<AtomicU64>,
}

impl Task {
    /// The queue that it came from.
    #[must_use]
    pub fn queue(&self) -> &QueueName {
        self.queue.name()
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.taken.id
    }

    /// Its type.
    #[must_use]
    pub fn task_type(&self) -> &str {
        &self.taken.task_type
    }

    /// The bytes that were enqueued.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.taken.payload
    }

    /// Which attempt this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u64 {
        self.taken.attempt
    }

    /// What holds it: hand it to whatever is changed outside Redis, so that an older attempt can be told from a newer.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.taken.token
    }

    /// When nobody wants its result any more, ms, clock of Redis.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<i64> {
        self.taken.deadline_ms
    }

    /// What the last attempt left behind.
    #[must_use]
    pub fn checkpoint(&self) -> Option<&[u8]> {
        Some(self.taken.checkpoint.as_slice()).filter(|bytes| !bytes.is_empty())
    }

    /// Leaves bytes for the next attempt, should there be one. They go with the next heartbeat, and are a sign of life.
    ///
    /// # Errors
    /// [`CheckpointTooLarge`].
    pub fn save_checkpoint(&self, bytes: &[u8]) -> Result<(), CheckpointTooLarge> {
        if bytes.len() > MAX_CHECKPOINT {
            return Err(CheckpointTooLarge(bytes.len()));
        }
        self.running.mark(self.id(), self.token(), Mark::Checkpoint(bytes.to_vec()));
        Ok(())
    }

    /// Where else it is being worked on, as an earlier attempt recorded it: ask there before anything is begun anew.
    #[must_use]
    pub fn external(&self) -> Option<&str> {
        self.taken.external.as_deref()
    }

    /// Records where else this task is being worked on: the id of a job on a cluster, an address. To be called right after
    /// something was begun elsewhere, or before where its name is known, and before anything is waited for: what is recorded
    /// when this returns, no later attempt begins a second time. Tried until it is answered.
    ///
    /// # Errors
    /// [`ExternalError`].
    pub async fn record_external(&self, handle: &str) -> Result<(), ExternalError> {
        if handle.is_empty() || handle.len() > MAX_HANDLE {
            return Err(ExternalError::BadHandle(handle.len()));
        }
        let external = External {
            id: self.taken.id.clone(),
            token: self.taken.token.clone(),
            task_type: self.taken.task_type.clone(),
            handle: handle.to_owned(),
            number: self.recorded.fetch_add(1, Ordering::Relaxed) + 1,
        };
        let told =
            |error: &StoreError| tracing::warn!(task = self.id(), %error, "a handle is not recorded yet");
        match until_answered(&self.queue, &external, told).await? {
            Recorded::Recorded => Ok(()),
            Recorded::Late | Recorded::Gone => Err(ExternalError::Fenced),
        }
    }

    /// A sign of life of the task itself, for types that must show one.
    pub fn alive(&self) {
        self.running.mark(self.id(), self.token(), Mark::Alive);
    }

    /// Cancelled when the task must stop. A handler that doesn't end soon after is dropped where it waits.
    #[must_use]
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Why it must stop; `None`: it needn't.
    #[must_use]
    pub fn why(&self) -> Option<StopReason> {
        self.running.why(self.id(), self.token())
    }
}
