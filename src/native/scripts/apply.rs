//! Carrying out verdicts.

use std::time::Duration;

use super::millis;
use crate::native::Command;
use crate::store::{Args, Reply, Script, Shape, StoreError};

/// What is to be done with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Do {
    /// Back to pending at its place, charged with an abandonment.
    Reset,
    /// Set aside: abandoned once too often.
    DeadLetter,
    /// Set aside: nobody wants the result any more.
    Expire,
    /// Out of the system: a person cancelled it.
    Discard,
    /// Its agent is told to stop.
    Revoke,
    /// Counted, once; it goes on.
    Alert,
}

impl Do {
    /// The word that the script reads.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::DeadLetter => "dead_letter",
            Self::Expire => "expire",
            Self::Discard => "discard",
            Self::Revoke => "revoke",
            Self::Alert => "alert",
        }
    }
}

words!(
    /// What was done with a task.
    Applied {
        /// Back to pending, or to delayed.
        Reset = "reset",
        /// A dead letter.
        Dead = "dead",
        /// A dead letter, for its deadline.
        Expired = "expired",
        /// Out of the system.
        Discarded = "discarded",
        /// Its agent will be told to stop.
        Revoked = "revoked",
        /// Counted.
        Alerted = "alerted",
        /// Nothing: it isn't so any more.
        Skipped = "skipped",
    }
);

/// One verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The task.
    pub id: String,
    /// The token that was seen.
    pub token: String,
    /// What is to be done.
    pub action: Do,
    /// What a revoked task's agent is given to stop.
    pub revoke_grace: Duration,
}

/// Carries out up to 50 verdicts about one session's tasks, for one cause.
#[derive(Debug, Clone)]
pub struct Apply {
    /// Who held the tasks.
    pub session: String,
    /// The heartbeat that was seen, ms; `None`: the tasks' own limits have passed.
    pub seen_beat_ms: Option<i64>,
    /// Why: one of the closed set of causes.
    pub cause: &'static str,
    /// Over how long reset tasks become ready; zero: at once.
    pub delay: Duration,
    /// The verdicts.
    pub verdicts: Vec<Verdict>,
}

/// What `apply` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplyAnswer {
    /// Nothing: another server answers than the one that was known, or a grace stands open.
    Held,
    /// What was done, in the order of the verdicts.
    Done(Vec<Applied>),
}

impl Command for Apply {
    type Answer = ApplyAnswer;

    fn script(&self) -> &'static Script {
        script!("apply")
    }

    fn args(&self, args: &mut Args) {
        args.push(&self.session);
        match self.seen_beat_ms {
            Some(beat) => args.int(beat),
            None => args.push(""),
        };
        args.push(self.cause).int(millis(self.delay));
        for verdict in &self.verdicts {
            args.push(&verdict.id).push(&verdict.token).push(verdict.action.as_str());
            args.int(millis(verdict.revoke_grace));
        }
    }

    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<ApplyAnswer, StoreError> {
        let items = shape.list(reply)?;
        if items == [Reply::Bytes(b"held".to_vec())] {
            return Ok(ApplyAnswer::Held);
        }
        Ok(ApplyAnswer::Done(
            items.into_iter().map(|word| Applied::read(shape, word)).collect::<Result<_, _>>()?,
        ))
    }
}
