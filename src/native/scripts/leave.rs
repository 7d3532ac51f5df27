//! Ending a session.

use crate::core::id::Session;
use crate::native::Command;
use crate::store::{Args, Reply, Script, Shape, StoreError};

/// Ends a session that holds nothing.
#[derive(Debug, Clone)]
pub struct Leave {
    /// Which.
    pub session: Session,
}

/// What `leave` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaveAnswer {
    /// It has ended.
    Left,
    /// It holds these still: give them back first.
    Holds(Vec<(String, String)>),
}

impl Command for Leave {
    type Answer = LeaveAnswer;

    fn script(&self) -> &'static Script {
        script!("leave")
    }

    fn args(&self, args: &mut Args) {
        args.push(self.session.as_str());
    }

    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<LeaveAnswer, StoreError> {
        let whole = reply.clone();
        let mut items = shape.list(reply)?.into_iter();
        let word = shape.text(items.next().unwrap_or(Reply::Nil))?;
        match (word.as_str(), items.next()) {
            ("left", None) => Ok(LeaveAnswer::Left),
            ("holds", Some(list)) => Ok(LeaveAnswer::Holds(super::pairs(shape, list)?)),
            _ => Err(shape.unknown(&whole)),
        }
    }
}
