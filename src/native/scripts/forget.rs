//! Forgetting a session.

use crate::native::Command;
use crate::store::{Args, Reply, Script, Shape, StoreError};

/// Takes a silent session that holds nothing out of the indices.
#[derive(Debug, Clone)]
pub struct Forget {
    /// The session.
    pub session: String,
    /// The heartbeat that was seen, ms.
    pub seen_beat_ms: i64,
}

words!(
    /// What `forget` answers.
    Forgotten {
        /// It is gone.
        Forgotten = "forgotten",
        /// It holds tasks still.
        Holds = "holds",
        /// It beat meanwhile, or is gone already.
        Alive = "alive",
        /// Nothing was done: another server answers than the one that was known, or a grace stands open.
        Held = "held",
    }
);

impl Command for Forget {
    type Answer = Forgotten;

    fn script(&self) -> &'static Script {
        script!("forget")
    }

    fn args(&self, args: &mut Args) {
        args.push(&self.session).int(self.seen_beat_ms);
    }

    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<Forgotten, StoreError> {
        Forgotten::read(shape, reply)
    }
}
