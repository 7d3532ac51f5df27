//! Taking tasks.

use crate::core::id::{Nonce, Session};
use crate::native::Command;
use crate::store::{Args, Reply, Script, Shape, StoreError};
use std::time::Duration;

/// Takes tasks for a session.
#[derive(Debug, Clone)]
pub struct Take {
    /// Who takes.
    pub session: Session,
    /// Fresh for each call: it makes the tokens.
    pub nonce: Nonce,
    /// How many can start now, 1 to 50.
    pub most: u32,
}

/// A task as its holder gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Its name.
    pub id: String,
    /// What completes it.
    pub token: String,
    /// Its type.
    pub task_type: String,
    /// Which attempt this is, from 1.
    pub attempt: u64,
    /// The bytes that were enqueued.
    pub payload: Vec<u8>,
    /// When it was enqueued, ms, server clock.
    pub enqueued_at_ms: i64,
    /// When nobody wants its result any more, ms, server clock.
    pub deadline_ms: Option<i64>,
    /// How often an agent lost it.
    pub abandonments: u32,
    /// How often it failed.
    pub failures: u32,
    /// What the last attempt left behind; empty if nothing.
    pub checkpoint: Vec<u8>,
    /// Where else it is being worked on, as an earlier attempt recorded it.
    pub external: Option<String>,
}

impl Taken {
    pub(super) fn read(shape: &Shape<'_>, row: Reply) -> Result<Self, StoreError> {
        let [
            id,
            token,
            kind,
            attempt,
            payload,
            enqueued,
            deadline,
            abandonments,
            failures,
            checkpoint,
            external,
        ] = shape.array(row)?;
        // A number that somebody edited by hand must not cost the others of the answer: it counts as absent.
        let number = |reply| shape.maybe_int(reply).ok().flatten();
        let small = |reply| number(reply).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        Ok(Self {
            id: shape.text(id)?,
            token: shape.text(token)?,
            task_type: shape.text(kind)?,
            attempt: number(attempt).and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
            payload: shape.bytes(payload)?,
            enqueued_at_ms: number(enqueued).unwrap_or(0),
            deadline_ms: number(deadline),
            abandonments: small(abandonments),
            failures: small(failures),
            checkpoint: shape.bytes(checkpoint)?,
            external: super::external::handle(shape, external)?,
        })
    }
}

/// What `take` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TakeAnswer {
    /// These; possibly none, when what was found had expired.
    Took(Vec<Taken>),
    /// Nothing is ready, and when the next delayed task will be.
    Empty(Option<Duration>),
    /// A person paused the queue.
    Paused,
    /// The queue or this agent is being drained.
    Draining,
    /// A newer session acts under this identity: end.
    Superseded,
    /// The sweeper gave this session up: stop the work, register anew.
    Lost,
}

impl Command for Take {
    type Answer = TakeAnswer;

    fn script(&self) -> &'static Script {
        script!("take")
    }

    fn args(&self, args: &mut Args) {
        args.push(self.session.as_str()).push(self.nonce.as_str()).int(self.most).int(1024 * 1024);
    }

    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<TakeAnswer, StoreError> {
        let whole = reply.clone();
        let mut items = shape.list(reply)?.into_iter();
        let word = shape.text(items.next().unwrap_or(Reply::Nil))?;
        let rest = items.next();
        match (word.as_str(), rest) {
            ("took", Some(rows)) => {
                let rows = shape.list(rows)?;
                Ok(TakeAnswer::Took(
                    rows.into_iter().map(|row| Taken::read(shape, row)).collect::<Result<_, _>>()?,
                ))
            }
            ("empty", Some(next)) => {
                Ok(TakeAnswer::Empty(u64::try_from(shape.int(next)?).ok().map(Duration::from_millis)))
            }
            ("paused", None) => Ok(TakeAnswer::Paused),
            ("draining", None) => Ok(TakeAnswer::Draining),
            ("superseded", None) => Ok(TakeAnswer::Superseded),
            ("lost", None) => Ok(TakeAnswer::Lost),
            _ => Err(shape.unknown(&whole)),
        }
    }
}
