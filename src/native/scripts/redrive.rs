//! Bringing dead letters back.

use std::time::Duration;

use super::millis;
use crate::native::Command;
use crate::store::{Args, Reply, Script, Shape, StoreError};

/// A dead letter as a person saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenDead {
    /// The task.
    pub id: String,
    /// The token of its last attempt; empty if there was none.
    pub token: String,
    /// When it died, ms, server clock.
    pub died_at_ms: i64,
}

/// Puts dead letters back to pending: at most 50 a call.
#[derive(Debug, Clone)]
pub struct Redrive {
    /// A new deadline, from now.
    pub deadline: Option<Duration>,
    /// Who.
    pub by: String,
    /// Which.
    pub dead: Vec<SeenDead>,
}

words!(
    /// What became of a dead letter.
    Redriven {
        /// It waits again, its counters at zero.
        Redriven = "redriven",
        /// Its deadline has passed: give it a new one.
        DeadlinePassed = "deadline_passed",
        /// It isn't that death any more.
        Changed = "changed",
    }
);

pub(super) fn push_dead(args: &mut Args, dead: &[SeenDead]) {
    for one in dead {
        args.push(&one.id).push(&one.token).int(one.died_at_ms);
    }
}

impl Command for Redrive {
    type Answer = Vec<Redriven>;

    fn script(&self) -> &'static Script {
        script!("redrive")
    }

    fn args(&self, args: &mut Args) {
        args.int(self.deadline.map_or(-1, millis)).push(&self.by);
        push_dead(args, &self.dead);
    }

    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<Self::Answer, StoreError> {
        shape.list(reply)?.into_iter().map(|word| Redriven::read(shape, word)).collect()
    }
}
