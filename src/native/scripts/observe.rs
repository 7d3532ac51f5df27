//! What the sweeper must judge, a page at a time.

use std::time::Duration;

use super::millis;
use crate::core::facts::{PageFacts, SessionFacts, TaskFacts};
use crate::native::Command;
use crate::store::{Args, Reply, Script, Shape, StoreError};

/// What stayed where it is so far in this pass, so that held entries don't hide the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// Silent sessions.
    pub silent: usize,
    /// Tasks of the first silent session after those.
    pub silent_tasks: usize,
    /// Overdue sessions.
    pub overdue: usize,
    /// Tasks of the first overdue session after those.
    pub overdue_tasks: usize,
    /// Expired pending tasks.
    pub expired: usize,
}

/// Asks for one page.
#[derive(Debug, Clone)]
pub struct Observe {
    /// Who asks for the lease, and for how long; `None`: whoever has it, look anyway.
    pub lease: Option<(String, Duration)>,
    /// Silence after which a session is listed.
    pub lost_after: Duration,
    /// Silence after which a session is suspect.
    pub suspect_after: Duration,
    /// Grace after a change of server.
    pub failover_grace: Duration,
    /// Most tasks on a page, 1 to 100.
    pub most: u32,
    /// Where the page begins.
    pub cursor: Cursor,
    /// Whether handles are read.
    pub handles: bool,
}

/// Figures of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Sessions that may hold tasks.
    pub sessions: u64,
    /// Those silent for longer than `lost_after`.
    pub silent: u64,
    /// Those silent for longer than `suspect_after` only.
    pub suspect: u64,
    /// Tasks that wait.
    pub pending: u64,
    /// Tasks that wait for their time.
    pub delayed: u64,
    /// Dead letters.
    pub dead: u64,
    /// Whether the queue is paused.
    pub paused: bool,
    /// How long the server has been up.
    pub uptime: Duration,
    /// Whether this is the server that was known before this page.
    pub known_server: bool,
    /// What suspects run; of 50 of them, if there are more.
    pub suspect_running: u64,
    /// Handles of work elsewhere that nobody waits for any more.
    pub unwanted: u64,
}

/// One page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Until when no verdict is carried out, ms; in the past: no grace is open.
    pub grace_until_ms: i64,
    /// Figures of the queue.
    pub figures: Figures,
    /// What must be judged.
    pub facts: PageFacts,
    /// Whether there is more than fits.
    pub more: bool,
}

/// What `observe` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObserveAnswer {
    /// Another replica sweeps this queue.
    Standby(String),
    /// A page.
    Page(Box<Page>),
}

impl Command for Observe {
    type Answer = ObserveAnswer;

    fn script(&self) -> &'static Script {
        script!("observe")
    }

    fn args(&self, args: &mut Args) {
        let size = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        match &self.lease {
            Some((owner, long)) => args.push(owner).int(millis(*long)),
            None => args.push("").int(0),
        };
        args.int(millis(self.lost_after)).int(millis(self.suspect_after)).int(millis(self.failover_grace));
        args.int(self.most).int(size(self.cursor.silent)).int(size(self.cursor.silent_tasks));
        args.int(size(self.cursor.overdue))
            .int(size(self.cursor.overdue_tasks))
            .int(size(self.cursor.expired))
            .int(i32::from(self.handles));
    }

    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<ObserveAnswer, StoreError> {
        let whole = reply.clone();
        let items = shape.list(reply)?;
        let word = shape.text(items.first().cloned().unwrap_or(Reply::Nil))?;
        if word == "standby" {
            return Ok(ObserveAnswer::Standby(shape.text(items.into_iter().nth(1).unwrap_or(Reply::Nil))?));
        }
        let Ok([_, now, grace, figures, silent, overdue, expired, more]) = <[Reply; 8]>::try_from(items)
        else {
            return Err(shape.unknown(&whole));
        };
        if word != "page" {
            return Err(shape.unknown(&whole));
        }
        let sessions =
            |list| shape.list(list)?.into_iter().map(|one| session(shape, one)).collect::<Result<_, _>>();
        let expired = shape.rows(expired)?.into_iter().map(|[id, at]| Ok((shape.text(id)?, shape.int(at)?)));
        Ok(ObserveAnswer::Page(Box::new(Page {
            grace_until_ms: shape.int(grace)?,
            figures: read_figures(shape, figures)?,
            facts: PageFacts {
                now_ms: shape.int(now)?,
                silent: sessions(silent)?,
                overdue: sessions(overdue)?,
                expired: expired.collect::<Result<_, StoreError>>()?,
            },
            more: shape.int(more)? == 1,
        })))
    }
}

fn count(shape: &Shape<'_>, reply: Reply) -> Result<u64, StoreError> {
    Ok(u64::try_from(shape.int(reply)?).unwrap_or(0))
}

fn read_figures(shape: &Shape<'_>, reply: Reply) -> Result<Figures, StoreError> {
    let [sessions, silent, suspect, pending, delayed, dead, paused, uptime, known, suspects, unwanted] =
        shape.array(reply)?;
    Ok(Figures {
        sessions: count(shape, sessions)?,
        silent: count(shape, silent)?,
        suspect: count(shape, suspect)?,
        pending: count(shape, pending)?,
        delayed: count(shape, delayed)?,
        dead: count(shape, dead)?,
        paused: shape.int(paused)? == 1,
        uptime: Duration::from_secs(count(shape, uptime)?),
        known_server: shape.int(known)? == 1,
        suspect_running: count(shape, suspects)?,
        unwanted: count(shape, unwanted)?,
    })
}

fn session(shape: &Shape<'_>, reply: Reply) -> Result<SessionFacts, StoreError> {
    let [name, beat, running, current, beats, state, tasks] = shape.array(reply)?;
    let tasks = shape.rows(tasks)?.into_iter().map(|[id, facts]| task(shape, shape.text(id)?, facts));
    Ok(SessionFacts {
        session: shape.text(name)?,
        beat_ms: shape.maybe_int(beat)?,
        running: count(shape, running)?,
        current: shape.int(current)? == 1,
        beats: u64::try_from(shape.maybe_int(beats)?.unwrap_or(0)).unwrap_or(0),
        state: shape.text(state)?,
        tasks: tasks.collect::<Result<_, _>>()?,
    })
}

fn task(shape: &Shape<'_>, id: String, facts: Reply) -> Result<TaskFacts, StoreError> {
    let mut facts = shape.list(facts)?.into_iter();
    let mut next = || facts.next().unwrap_or(Reply::Nil);
    // A figure that somebody edited by hand must not cost the pass: it counts as absent.
    let number = |reply| shape.maybe_int(reply).ok().flatten();
    Ok(TaskFacts {
        id,
        token: shape.text(next())?,
        task_type: shape.text(next())?,
        abandonments: number(next()).and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
        taken_at_ms: number(next()),
        deadline_ms: number(next()),
        cancelled: next() != Reply::Nil,
        limit_ms: number(next()),
        revoked_at_ms: number(next()),
        alive_until_ms: number(next()),
        external: super::external::handle(shape, next())?,
    })
}
