//! Moving a running task's limit.

use crate::native::Command;
use crate::store::{Args, Reply, Script, Shape, StoreError};

/// Moves the limit of a running task, and takes back an order to stop.
#[derive(Debug, Clone)]
pub struct Extend {
    /// The task.
    pub id: String,
    /// The token that the person saw.
    pub token: String,
    /// The new limit, ms, server clock.
    pub limit_ms: i64,
    /// Who.
    pub by: String,
}

words!(
    /// What `extend` answers.
    Extended {
        /// Done.
        Extended = "extended",
        /// Another attempt has it, it doesn't run, or it was cancelled.
        Changed = "changed",
        /// There is no such task.
        Gone = "gone",
        /// The new limit lies in the past.
        Past = "past",
    }
);

impl Command for Extend {
    type Answer = Extended;

    fn script(&self) -> &'static Script {
        script!("extend")
    }

    fn args(&self, args: &mut Args) {
        args.push(&self.id).push(&self.token).int(self.limit_ms).push(&self.by);
    }

    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<Extended, StoreError> {
        Extended::read(shape, reply)
    }
}
