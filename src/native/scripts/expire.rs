//! Setting aside what waits past its deadline.

use crate::native::Command;
use crate::store::{Args, Reply, Script, Shape, StoreError};

/// Expires waiting tasks: at most 100 a call.
#[derive(Debug, Clone)]
pub struct Expire {
    /// Their ids.
    pub ids: Vec<String>,
}

words!(
    /// What was done with a task.
    Expired {
        /// It is a dead letter now.
        Expired = "expired",
        /// A person had cancelled it; it is gone.
        Discarded = "discarded",
        /// Nothing: it isn't so any more.
        Skipped = "skipped",
    }
);

/// What `expire` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExpireAnswer {
    /// Nothing: another server answers than the one that was known, or a grace stands open.
    Held,
    /// What was done, in order.
    Done(Vec<Expired>),
}

impl Command for Expire {
    type Answer = ExpireAnswer;

    fn script(&self) -> &'static Script {
        script!("expire")
    }

    fn args(&self, args: &mut Args) {
        for id in &self.ids {
            args.push(id);
        }
    }

    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<ExpireAnswer, StoreError> {
        let items = shape.list(reply)?;
        if items == [Reply::Bytes(b"held".to_vec())] {
            return Ok(ExpireAnswer::Held);
        }
        Ok(ExpireAnswer::Done(
            items.into_iter().map(|word| Expired::read(shape, word)).collect::<Result<_, _>>()?,
        ))
    }
}
