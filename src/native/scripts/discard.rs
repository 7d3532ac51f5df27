//! Discarding dead letters.

use super::redrive::{SeenDead, push_dead};
use crate::native::Command;
use crate::store::{Args, Reply, Script, Shape, StoreError};

/// Discards dead letters: at most 50 a call.
#[derive(Debug, Clone)]
pub struct Discard {
    /// Who.
    pub by: String,
    /// Which.
    pub dead: Vec<SeenDead>,
}

words!(
    /// What became of a dead letter.
    Discarded {
        /// It is out of the system.
        Discarded = "discarded",
        /// It isn't that death any more.
        Changed = "changed",
    }
);

impl Command for Discard {
    type Answer = Vec<Discarded>;

    fn script(&self) -> &'static Script {
        script!("discard")
    }

    fn args(&self, args: &mut Args) {
        args.push(&self.by);
        push_dead(args, &self.dead);
    }

    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<Self::Answer, StoreError> {
        shape.list(reply)?.into_iter().map(|word| Discarded::read(shape, word)).collect()
    }
}
