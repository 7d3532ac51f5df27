//! What became of work elsewhere that nobody waits for.

use crate::native::Command;
use crate::store::{Args, Reply, Script, Shape, StoreError};

/// Says what became of entries of the queue's `unwanted`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dismiss {
    /// Who.
    pub by: String,
    /// What became of them.
    pub how: How,
    /// 0 to 1000: how much of the backoff a task waits that failed there, from half to all.
    pub jitter: u32,
    /// The entries, as they stand there.
    pub entries: Vec<String>,
}

/// What became of work elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// It is over without a result.
    Ended,
    /// It is over and has its result.
    Succeeded,
    /// It is over and failed.
    Failed,
    /// It runs and can't be cancelled: it stays remembered, and its task waits no longer.
    Cannot,
    /// Nobody can be asked: its type has no hook.
    Unasked,
    /// A person said so.
    ByHand,
}

impl How {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cannot => "cannot",
            Self::Unasked => "unasked",
            Self::ByHand => "by_hand",
        }
    }
}

/// What an entry of `unwanted` names: the task's type, the task, the handle. `None`: somebody else wrote it.
#[must_use]
pub fn read_entry(entry: &str) -> Option<[&str; 3]> {
    let mut parts = entry.splitn(3, ' ');
    Some([parts.next()?, parts.next()?, parts.next()?])
}

words!(
    /// What became of an entry.
    Dismissed {
        /// It is forgotten.
        Dismissed = "dismissed",
        /// It is remembered still.
        Kept = "kept",
        /// It wasn't there any more.
        Gone = "gone",
    }
);

impl Command for Dismiss {
    type Answer = Vec<Dismissed>;

    fn script(&self) -> &'static Script {
        script!("dismiss")
    }

    fn args(&self, args: &mut Args) {
        args.push(&self.by).push(self.how.as_str()).int(self.jitter.min(1000));
        for entry in &self.entries {
            args.push(entry);
        }
    }

    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<Self::Answer, StoreError> {
        shape.list(reply)?.into_iter().map(|word| Dismissed::read(shape, word)).collect()
    }
}
