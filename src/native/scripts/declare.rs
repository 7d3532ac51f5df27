//! Declaring a session lost.

use crate::native::Command;
use crate::store::{Args, Reply, Script, Shape, StoreError};

/// Marks a silent session's identity as lost; its tasks are moved apart from it.
#[derive(Debug, Clone)]
pub struct Declare {
    /// The session.
    pub session: String,
    /// The heartbeat that was seen, ms.
    pub seen_beat_ms: i64,
}

words!(
    /// What `declare` answers.
    Declared {
        /// It is lost now.
        Lost = "lost",
        /// It was, or isn't its identity's current session.
        Already = "already",
        /// It beat meanwhile.
        Alive = "alive",
        /// Nothing was done: another server answers than the one that was known, or a grace stands open.
        Held = "held",
    }
);

impl Command for Declare {
    type Answer = Declared;

    fn script(&self) -> &'static Script {
        script!("declare")
    }

    fn args(&self, args: &mut Args) {
        args.push(&self.session).int(self.seen_beat_ms);
    }

    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<Declared, StoreError> {
        Declared::read(shape, reply)
    }
}
