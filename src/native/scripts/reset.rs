//! Resetting by hand.

use super::push_pairs;
use crate::native::Command;
use crate::store::{Args, Reply, Script, Shape, StoreError};

/// Takes running tasks from their agents: at most 50 a call.
#[derive(Debug, Clone)]
pub struct Reset {
    /// Who.
    pub by: String,
    /// Id and the token that the person saw.
    pub pairs: Vec<(String, String)>,
}

words!(
    /// What became of a task.
    ResetByHand {
        /// It waits again, nothing was charged.
        Reset = "reset",
        /// A person had cancelled it; it is gone.
        Discarded = "discarded",
        /// Another attempt has it, or it doesn't run.
        Changed = "changed",
    }
);

impl Command for Reset {
    type Answer = Vec<ResetByHand>;

    fn script(&self) -> &'static Script {
        script!("reset")
    }

    fn args(&self, args: &mut Args) {
        args.push(&self.by);
        push_pairs(args, &self.pairs);
    }

    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<Self::Answer, StoreError> {
        shape.list(reply)?.into_iter().map(|word| ResetByHand::read(shape, word)).collect()
    }
}
