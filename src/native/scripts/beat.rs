//! Heartbeats.

use crate::core::id::Session;
use crate::core::liveness::Rhythm;
use crate::native::Command;
use crate::store::{Args, Reply, Script, Shape, StoreError};

/// What a beat says of one task beyond that it runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Mark {
    /// Nothing.
    #[default]
    None,
    /// The task itself showed that it is alive.
    Alive,
    /// It did, and left a checkpoint.
    Checkpoint(Vec<u8>),
}

/// One heartbeat: at most 256 pairs.
#[derive(Debug, Clone)]
pub struct Beat {
    /// Whose.
    pub session: Session,
    /// Counts up from 1 in a session.
    pub number: u64,
    /// Id, token and mark of each task that runs, or whose completion, failure or release is unanswered.
    pub pairs: Vec<(String, String, Mark)>,
}

words!(
    /// How a session goes on.
    BeatWord {
        /// As before.
        GoOn = "go_on",
        /// Take nothing more.
        Drain = "drain",
        /// A newer session acts under this identity: end.
        Superseded = "superseded",
        /// The sweeper gave this session up: stop the work, register anew.
        Lost = "lost",
    }
);

words!(
    /// Why a task must stop.
    StopWhy {
        /// The session no longer holds it.
        Gone = "gone",
        /// One of its limits has passed: give it back.
        Revoked = "revoked",
        /// A person cancelled it: give it back.
        Cancelled = "cancelled",
    }
);

/// What a drain asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// Take nothing new, finish what runs.
    Wait,
    /// Give back what runs.
    Release,
}

impl Drain {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Release => "release",
        }
    }
}

/// What `beat` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeatAnswer {
    /// How to go on.
    pub word: BeatWord,
    /// How to live from here.
    pub rhythm: Rhythm,
    /// What kind of drain is asked for, if any.
    pub drain: Option<Drain>,
    /// Id, token and reason of each listed pair that must stop.
    pub stop: Vec<(String, String, StopWhy)>,
    /// Id and token of each task that is held and wasn't listed.
    pub unlisted: Vec<(String, String)>,
}

impl Command for Beat {
    type Answer = BeatAnswer;

    fn script(&self) -> &'static Script {
        script!("beat")
    }

    fn args(&self, args: &mut Args) {
        args.push(self.session.as_str()).int(i64::try_from(self.number).unwrap_or(i64::MAX));
        for (id, token, mark) in &self.pairs {
            args.push(id).push(token);
            match mark {
                Mark::None => args.push(""),
                Mark::Alive => args.push("+"),
                Mark::Checkpoint(bytes) => args.push([b"c", bytes.as_slice()].concat()),
            };
        }
    }

    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<BeatAnswer, StoreError> {
        let [word, next, stop_at, lost_at, drain, stop, unlisted] = shape.array(reply)?;
        let drain = match shape.text(drain.clone())?.as_str() {
            "" => None,
            "wait" => Some(Drain::Wait),
            "release" => Some(Drain::Release),
            _ => return Err(shape.unknown(&drain)),
        };
        let stop = shape
            .rows(stop)?
            .into_iter()
            .map(|[id, token, why]| Ok((shape.text(id)?, shape.text(token)?, StopWhy::read(shape, why)?)));
        Ok(BeatAnswer {
            word: BeatWord::read(shape, word)?,
            rhythm: super::rhythm(shape, next, stop_at, lost_at)?,
            drain,
            stop: stop.collect::<Result<_, StoreError>>()?,
            unlisted: super::pairs(shape, unlisted)?,
        })
    }
}
