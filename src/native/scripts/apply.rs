//! Carrying out verdicts.

use std::time::Duration;

use super::{millis, push_pairs};
use crate::core::words::{Action, Cause};
use crate::native::Command;
use crate::store::{Args, Reply, Script, Shape, StoreError};

/// Carries out one kind of verdict on up to 100 tasks of one session, for one cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Apply {
    /// Who holds the tasks.
    pub session: String,
    /// The heartbeat that was seen, ms; `None`: the tasks' own limits have passed.
    pub seen_beat_ms: Option<i64>,
    /// Why.
    pub cause: Cause,
    /// What is to be done.
    pub action: Action,
    /// The abandonments that were seen, the same for all.
    pub abandonments: u32,
    /// How long reset tasks wait before anyone may take them.
    pub delay: Duration,
    /// What a revoked task's agent is given to stop.
    pub revoke_grace: Duration,
    /// Id and the token that was seen.
    pub pairs: Vec<(String, String)>,
}

/// What `apply` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplyAnswer {
    /// Nothing was done: another server answers than the one that was known, or a grace stands open.
    Held,
    /// For each pair, in order, whether it was done; the others aren't so any more.
    Done(Vec<bool>),
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
        args.push(self.cause.as_str()).push(self.action.as_str()).int(self.abandonments);
        args.int(millis(self.delay)).int(millis(self.revoke_grace));
        push_pairs(args, &self.pairs);
    }

    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<ApplyAnswer, StoreError> {
        let whole = reply.clone();
        let mut items = shape.list(reply)?.into_iter();
        let word = shape.text(items.next().unwrap_or(Reply::Nil))?;
        match (word.as_str(), items.next()) {
            ("held", None) => Ok(ApplyAnswer::Held),
            ("done", Some(skipped)) => {
                let mut done = vec![true; self.pairs.len()];
                for number in shape.list(skipped)? {
                    let index = usize::try_from(shape.int(number)?).unwrap_or(0).wrapping_sub(1);
                    *done.get_mut(index).ok_or_else(|| shape.unknown(&whole))? = false;
                }
                Ok(ApplyAnswer::Done(done))
            }
            _ => Err(shape.unknown(&whole)),
        }
    }
}
