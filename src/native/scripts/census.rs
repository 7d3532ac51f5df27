//! Counting a queue, and what its sessions run.

use std::collections::BTreeMap;

use crate::native::Command;
use crate::store::{Args, Reply, Script, Shape, StoreError};

/// Counts the queue as it is at one moment, and what up to 100 sessions run.
#[derive(Debug, Clone)]
pub struct Census {
    /// The sessions.
    pub sessions: Vec<String>,
}

/// One session's share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// How many tasks it runs.
    pub running: u64,
    /// When the oldest of them was taken, ms, server clock; of several types with different limits, the oldest among
    /// the first to reach its limit and those without one.
    pub oldest_taken_at_ms: Option<i64>,
    /// Its last heartbeat, ms; `None`: nobody watches it.
    pub beat_ms: Option<i64>,
}

/// What `census` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CensusAnswer {
    /// The server's clock, ms.
    pub now_ms: i64,
    /// Tasks that wait.
    pub pending: u64,
    /// Tasks that wait for their time.
    pub delayed: u64,
    /// Dead letters.
    pub dead: u64,
    /// The scripts' durable totals, of the same moment.
    pub totals: BTreeMap<String, i64>,
    /// The shares, in order.
    pub counted: Vec<Counted>,
}

impl Command for Census {
    type Answer = CensusAnswer;

    fn script(&self) -> &'static Script {
        script!("census")
    }

    fn args(&self, args: &mut Args) {
        for session in &self.sessions {
            args.push(session);
        }
    }

    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<CensusAnswer, StoreError> {
        let mut items = shape.list(reply)?.into_iter();
        let now_ms = shape.int(items.next().unwrap_or(Reply::Nil))?;
        let [pending, delayed, dead] = shape.array(items.next().unwrap_or(Reply::Nil))?;
        let size = |reply| Ok::<_, StoreError>(u64::try_from(shape.int(reply)?).unwrap_or(0));
        let totals = shape.rows(items.next().unwrap_or(Reply::Nil))?.into_iter();
        let totals = totals.map(|[name, n]| Ok((shape.text(name)?, shape.int(n)?)));
        let totals = totals.collect::<Result<_, StoreError>>()?;
        let counted = items.map(|row| {
            let [running, oldest, beat] = shape.array(row)?;
            Ok(Counted {
                running: u64::try_from(shape.int(running)?).unwrap_or(0),
                oldest_taken_at_ms: shape.maybe_int(oldest)?,
                beat_ms: shape.maybe_int(beat)?,
            })
        });
        let counted = counted.collect::<Result<_, StoreError>>()?;
        Ok(CensusAnswer {
            now_ms,
            pending: size(pending)?,
            delayed: size(delayed)?,
            dead: size(dead)?,
            totals,
            counted,
        })
    }
}
