//! Giving tasks back.

use std::time::Duration;

use super::{millis, push_pairs};
use crate::core::id::Session;
use crate::native::Command;
use crate::store::{Args, Reply, Script, Shape, StoreError};

/// Gives tasks back: at most 50 pairs a call.
#[derive(Debug, Clone)]
pub struct Release {
    /// Who gives back. Tasks of its predecessors may be given back too, and are charged for it.
    pub session: Session,
    /// How long they wait before anyone may take them; `None`: `release_delay` of their type.
    pub delay: Option<Duration>,
    /// Id and token of each.
    pub pairs: Vec<(String, String)>,
}

words!(
    /// What became of a task that was given back.
    Released {
        /// It waits again, nothing was charged.
        Released = "released",
        /// It waits again, and an abandonment was charged.
        Reset = "reset",
        /// It was charged once too often: a dead letter now.
        Dead = "dead",
        /// Its deadline had passed: a dead letter now.
        Expired = "expired",
        /// A person had cancelled it; it is gone.
        Discarded = "discarded",
        /// Another attempt has it, or this was a repeat.
        Late = "late",
    }
);

impl Command for Release {
    type Answer = Vec<Released>;

    fn script(&self) -> &'static Script {
        script!("release")
    }

    fn args(&self, args: &mut Args) {
        args.push(self.session.as_str()).int(self.delay.map_or(-1, millis));
        push_pairs(args, &self.pairs);
    }

    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<Self::Answer, StoreError> {
        shape.list(reply)?.into_iter().map(|word| Released::read(shape, word)).collect()
    }
}
