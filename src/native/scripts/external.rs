//! Recording where else a task is being worked on.

use crate::native::Command;
use crate::store::{Args, Reply, Script, Shape, StoreError};

/// The longest handle, in bytes.
pub const MAX_HANDLE: usize = 1024;

/// Records a handle: the id of a job on a cluster, an address.
#[derive(Debug, Clone)]
pub struct External {
    /// The task.
    pub id: String,
    /// What its attempt holds it by.
    pub token: String,
    /// Its type.
    pub task_type: String,
    /// 1 to [`MAX_HANDLE`] bytes.
    pub handle: String,
    /// Counts up from 1 in an attempt, so that a late copy of an earlier one is known as such.
    pub number: u64,
}

words!(
    /// What became of a handle.
    Recorded {
        /// It is the task's: its next attempt, should there be one, gets it.
        Recorded = "recorded",
        /// The attempt doesn't hold the task any more. Whoever takes it next has the handle; or somebody took it already, and
        /// the handle is remembered as unwanted.
        Late = "late",
        /// Nothing is known of the task; the handle is remembered as unwanted.
        Gone = "gone",
    }
);

impl Command for External {
    type Answer = Recorded;

    fn script(&self) -> &'static Script {
        script!("external")
    }

    fn args(&self, args: &mut Args) {
        args.push(&self.id).push(&self.token).push(&self.task_type).push(&self.handle);
        args.int(i64::try_from(self.number).unwrap_or(i64::MAX));
    }

    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<Recorded, StoreError> {
        Recorded::read(shape, reply)
    }
}

/// A handle as scripts answer it, empty where there is none.
pub(super) fn handle(shape: &Shape<'_>, reply: Reply) -> Result<Option<String>, StoreError> {
    Ok(Some(shape.text(reply)?).filter(|handle| !handle.is_empty()))
}
