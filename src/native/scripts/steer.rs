//! What a person asks of one agent.

use crate::core::id::Identity;
use crate::native::Command;
use crate::native::scripts::beat::Drain;
use crate::store::{Args, Reply, Script, Shape, StoreError};

/// Drains one agent, or ends that. It holds for whoever acts under the identity later, too.
#[derive(Debug, Clone)]
pub struct Steer {
    /// Who, and why.
    pub by: String,
    /// The identity.
    pub identity: Identity,
    /// The number of the last change that the person saw.
    pub seen_change: i64,
    /// What kind of drain; `None` ends it.
    pub drain: Option<Drain>,
}

words!(
    /// What became of it.
    Steered {
        /// It is written; the agent hears it with its next beat.
        Steered = "steered",
        /// Somebody was quicker, or this was a repeat.
        Changed = "changed",
        /// Nobody of that name is known.
        Gone = "gone",
    }
);

impl Command for Steer {
    type Answer = Steered;

    fn script(&self) -> &'static Script {
        script!("steer")
    }

    fn args(&self, args: &mut Args) {
        args.push(&self.by).push(self.identity.as_str()).int(self.seen_change);
        args.push(self.drain.map_or("", Drain::as_str));
    }

    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<Steered, StoreError> {
        Steered::read(shape, reply)
    }
}
