//! Completing tasks.

use crate::native::Command;
use crate::store::{Args, Reply, Script, Shape, StoreError};

/// Completes tasks: at most 50 pairs of id and token a call.
#[derive(Debug, Clone)]
pub struct Complete {
    /// Id and token of each.
    pub pairs: Vec<(String, String)>,
}

words!(
    /// What became of a completion.
    Completed {
        /// It counts.
        Completed = "completed",
        /// It counted before; this was a repeat.
        Already = "already",
        /// It counts, though the task had been given up: its replacement, not started yet, is withdrawn.
        Withdrawn = "withdrawn",
        /// It doesn't count: another attempt has the task, or has completed it.
        Late = "late",
        /// Nothing is known of the task under this token.
        Gone = "gone",
    }
);

impl Command for Complete {
    type Answer = Vec<Completed>;

    fn script(&self) -> &'static Script {
        script!("complete")
    }

    fn args(&self, args: &mut Args) {
        super::push_pairs(args, &self.pairs);
    }

    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<Self::Answer, StoreError> {
        shape.list(reply)?.into_iter().map(|word| Completed::read(shape, word)).collect()
    }
}
