//! Failing a task.

use std::time::Duration;

use crate::native::Command;
use crate::store::{Args, Reply, Script, Shape, StoreError};

/// The most of an error's text that is kept, in bytes.
pub const MAX_ERROR: usize = 1024;

/// Records a failure.
#[derive(Debug, Clone)]
pub struct Fail {
    /// The task.
    pub id: String,
    /// What holds it.
    pub token: String,
    /// What went wrong; the last [`MAX_ERROR`] bytes are kept.
    pub error: Vec<u8>,
    /// Random, 0 to 1000: spreads what failed together.
    pub jitter: u32,
    /// No further attempt, whatever is left.
    pub is_final: bool,
}

/// What became of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// It will be tried again, after this long.
    Retried(Duration),
    /// It was one too many: a dead letter now.
    Dead,
    /// A person had cancelled the task; it is gone.
    Discarded,
    /// Another attempt has it, or this was a repeat.
    Late,
    /// Nothing is known of the task.
    Gone,
}

impl Command for Fail {
    type Answer = Failed;

    fn script(&self) -> &'static Script {
        script!("fail")
    }

    fn args(&self, args: &mut Args) {
        let kept = self.error.get(self.error.len().saturating_sub(MAX_ERROR)..).unwrap_or_default();
        args.push(&self.id).push(&self.token).push(kept).int(self.jitter.min(1000));
        args.int(i32::from(self.is_final));
    }

    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<Failed, StoreError> {
        let whole = reply.clone();
        let mut items = shape.list(reply)?.into_iter();
        let word = shape.text(items.next().unwrap_or(Reply::Nil))?;
        match (word.as_str(), items.next()) {
            ("retried", Some(wait)) => {
                Ok(Failed::Retried(Duration::from_millis(u64::try_from(shape.int(wait)?).unwrap_or(0))))
            }
            ("dead", None) => Ok(Failed::Dead),
            ("discarded", None) => Ok(Failed::Discarded),
            ("late", None) => Ok(Failed::Late),
            ("gone", None) => Ok(Failed::Gone),
            _ => Err(shape.unknown(&whole)),
        }
    }
}
