//! Cancelling a task.

use crate::native::Command;
use crate::store::{Args, Reply, Script, Shape, StoreError};

/// Discards a task that waits, or tells the agent of one that runs to stop.
#[derive(Debug, Clone)]
pub struct Cancel {
    /// The task.
    pub id: String,
    /// What the person saw: the token of a running task, `enqueued_at` of a waiting one.
    pub seen: String,
    /// Who.
    pub by: String,
}

words!(
    /// What `cancel` answers.
    Cancelled {
        /// It is out of the system.
        Discarded = "discarded",
        /// Its agent will be told; it is discarded when it is given back.
        Revoked = "revoked",
        /// It is a dead letter: discard it instead.
        Dead = "dead",
        /// It isn't what the person saw any more.
        Changed = "changed",
        /// There is no such task.
        Gone = "gone",
    }
);

impl Command for Cancel {
    type Answer = Cancelled;

    fn script(&self) -> &'static Script {
        script!("cancel")
    }

    fn args(&self, args: &mut Args) {
        args.push(&self.id).push(&self.seen).push(&self.by);
    }

    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<Cancelled, StoreError> {
        Cancelled::read(shape, reply)
    }
}
