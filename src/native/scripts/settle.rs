//! Carrying out what a hook said.

use std::time::Duration;

use super::millis;
use crate::core::words::{Action, Cause};
use crate::native::Command;
use crate::store::{Args, Reply, Script, Shape, StoreError};

/// Carries out what a hook said of one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settle {
    /// Who holds the task.
    pub session: String,
    /// The heartbeat that was seen, ms; `None`: the task's own limit has passed.
    pub seen_beat_ms: Option<i64>,
    /// Why.
    pub cause: Cause,
    /// The task.
    pub id: String,
    /// The token that was seen.
    pub token: String,
    /// The handle that was asked about.
    pub handle: String,
    /// Collect, fail, reset or dead-letter.
    pub action: Action,
    /// How long a reset task waits before anyone may take it.
    pub delay: Duration,
    /// 0 to 1000: how much of the backoff a failed task waits, from half to all.
    pub jitter: u32,
}

words!(
    /// What became of it.
    Settled {
        /// Nothing: another server answers than the one that was known, or a grace stands open.
        Held = "held",
        /// It was done.
        Done = "done",
        /// The task had failed, or was abandoned, once too often: a dead letter.
        Dead = "dead",
        /// It isn't so any more.
        Skipped = "skipped",
    }
);

impl Command for Settle {
    type Answer = Settled;

    fn script(&self) -> &'static Script {
        script!("settle")
    }

    fn args(&self, args: &mut Args) {
        args.push(&self.session);
        match self.seen_beat_ms {
            Some(beat) => args.int(beat),
            None => args.push(""),
        };
        args.push(self.cause.as_str()).push(&self.id).push(&self.token).push(&self.handle);
        args.push(self.action.as_str()).int(millis(self.delay)).int(self.jitter.min(1000));
    }

    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<Settled, StoreError> {
        Settled::read(shape, reply)
    }
}
