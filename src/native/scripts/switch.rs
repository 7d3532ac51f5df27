//! What a person asks of a whole queue.

use crate::native::Command;
use crate::store::{Args, Reply, Script, Shape, StoreError};

/// Pauses, resumes or drains the queue, or overrides a guard.
#[derive(Debug, Clone)]
pub struct Switch {
    /// The number of the last change that the person saw.
    pub seen_change: i64,
    /// Who, and why.
    pub by: String,
    /// Fields of the queue's `control`: `paused`, `draining`, `override:<guard>`. Empty values end what they name.
    pub fields: Vec<(String, String)>,
}

/// What `switch` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwitchAnswer {
    /// Done, as this change.
    Switched(i64),
    /// Somebody was quicker, or this was a repeat; the number of the last change.
    Changed(i64),
}

impl Command for Switch {
    type Answer = SwitchAnswer;

    fn script(&self) -> &'static Script {
        script!("switch")
    }

    fn args(&self, args: &mut Args) {
        args.int(self.seen_change).push(&self.by);
        for (field, value) in &self.fields {
            args.push(field).push(value);
        }
    }

    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<SwitchAnswer, StoreError> {
        let whole = reply.clone();
        let [word, number] = shape.array(reply)?;
        match shape.text(word)?.as_str() {
            "switched" => Ok(SwitchAnswer::Switched(shape.int(number)?)),
            "changed" => Ok(SwitchAnswer::Changed(shape.int(number)?)),
            _ => Err(shape.unknown(&whole)),
        }
    }
}
