//! A pass over somebody else's system: the same questions as for our own, with another's keys.

use std::time::Duration;

use super::pass::{Pass, Progress, QueueState};
use crate::core::layout::Life;
use crate::core::plan::{Batch, SessionPlan};
use crate::core::policy::Mode;
use crate::core::words::{Action, Cause, Guard, Skip};
use crate::layout::transfer::{Moved, Transfer};
use crate::layout::{Cursor, Entry, Page, System, Tasks};
use crate::native::scripts::observe;
use crate::store::StoreError;

/// Pages after which a pass ends, and those of one that moves nothing.
const MAX_PAGES: u64 = 4000;
const MAX_IDLE_PAGES: u64 = 100;

/// What a look at a system adds to the figures of its queue.
#[derive(Debug, Clone)]
pub(super) struct Foreign {
    pub(super) tasks: Tasks,
    /// Who shows life.
    pub(super) life: Life,
    /// A version that its layout doesn't know.
    pub(super) strange_version: Option<String>,
    /// Whether any agent was seen to live.
    pub(super) proven: bool,
}

impl Pass<'_> {
    /// Looks at the system, and puts what it saw into the page's figures, where the guards read them.
    pub(super) async fn look_at(
        &self,
        system: &mut System,
        page: &mut observe::Page,
    ) -> Result<Foreign, StoreError> {
        let fleet = system.look(|| self.started.elapsed(), self.settings.interval).await?;
        // Where tasks show life for themselves, each stands for an agent.
        page.figures.sessions = fleet.agents;
        page.figures.suspect = fleet.suspect;
        page.figures.silent = fleet.lost;
        let tasks = system.count().await?;
        (page.figures.pending, page.figures.dead) = (tasks.pending, tasks.dead);
        let strange_version = system.strange_version().map(str::to_owned);
        Ok(Foreign { tasks, proven: fleet.proven, life: system.life(), strange_version })
    }

    /// Deals with what its lost agents hold.
    pub(super) async fn carry_out_foreign(
        &self,
        state: &mut QueueState,
        system: &mut System,
        progress: &mut Progress,
    ) -> Result<(), StoreError> {
        if system.life() == Life::Tasks {
            return self.carry_out_tasks(state, system, progress).await;
        }
        let empty = system.empty().await?;
        for (agent, late_by) in system.lost() {
            if empty.contains(&agent) {
                if progress.blocked.is_none() && !self.counts_still(progress.moves, late_by) {
                    system.settle(&agent);
                    state.mass_loss.forgot(self.started.elapsed(), 1);
                }
                continue;
            }
            progress.summary.sessions += 1;
            let held_by = progress.held_by();
            let (mut left, mut moved, mut ended) = (0, 0, false);
            for queue in system.queues_of(&agent).await? {
                let silence = system.silence(&agent);
                let one = Agent { agent: &agent, queue: &queue, silence, late_by, held_by };
                let (stay, went) = self.one_queue(state, system, &one, progress).await?;
                if went > 0 && moved == 0 {
                    self.book(state, progress, 1);
                }
                left += stay;
                moved += went;
                ended = self.stop.is_cancelled() || self.full(progress);
                if ended {
                    break;
                }
            }
            if ended {
                return Ok(());
            }
            if left == 0 {
                system.settle(&agent);
            }
        }
        Ok(())
    }

    pub(super) fn full(&self, progress: &mut Progress) -> bool {
        let idle = self.policy.mode == Mode::Observe || progress.blocked.is_some();
        let full = progress.summary.pages >= if idle { MAX_IDLE_PAGES } else { MAX_PAGES };
        progress.summary.truncated |= full;
        full
    }

    /// One agent's tasks in one queue; how many stay where they are, and how many moved.
    async fn one_queue(
        &self,
        state: &mut QueueState,
        system: &System,
        one: &Agent<'_>,
        progress: &mut Progress,
    ) -> Result<(usize, usize), StoreError> {
        let (mut left, mut moved) = (0, 0);
        let mut cursor = Cursor::default();
        loop {
            let page = system.page(one.agent, one.queue, &cursor).await?;
            progress.summary.pages += 1;
            progress.summary.tasks += page.entries.len() as u64;
            let Page { entries, next } = page;
            if entries.is_empty() && next.is_none() {
                break;
            }
            let verdicts = self.verdicts(entries);
            let outcome = self.carry_out_page(state, system, one, &verdicts, progress).await?;
            left += outcome.left;
            moved += outcome.moved;
            if outcome.ends {
                break;
            }
            let Some(next) = next.filter(|_| !self.stop.is_cancelled() && !self.full(progress)) else {
                break;
            };
            cursor = next.over(outcome.in_place);
        }
        if left > 0 {
            progress.note_stuck(progress.now_ms, one.late_by, left);
        }
        Ok((left, moved))
    }

    pub(super) fn verdicts(&self, entries: Vec<Entry>) -> Vec<(Entry, Action)> {
        let judge = |entry: Entry| {
            let action = entry.verdict(&self.policy.task);
            (entry, action)
        };
        entries.into_iter().map(judge).collect()
    }

    /// Moves a page, or counts why not.
    pub(super) async fn carry_out_page(
        &self,
        state: &mut QueueState,
        system: &System,
        one: &Agent<'_>,
        verdicts: &[(Entry, Action)],
        progress: &mut Progress,
    ) -> Result<Outcome, StoreError> {
        let all = verdicts.len();
        if let Some(guard) = one.held_by.or(progress.blocked) {
            *progress.summary.held.entry(guard).or_default() += all as u64;
            return Ok(Outcome { ends: self.policy.mode == Mode::Enforce, ..Outcome::all_stay(all) });
        }
        let session = String::from_utf8_lossy(one.agent).into_owned();
        if self.policy.mode == Mode::Observe {
            self.count_observed(state, &plan(&session, one, verdicts), progress);
            return Ok(Outcome { ends: false, ..Outcome::all_stay(all) });
        }
        let answer = match system.carry_out(one.agent, one.queue, Cause::AgentLost, verdicts).await {
            Err(error) if error.is_wrong_type() => {
                tracing::error!(
                    queue = %state.queue.name(), %session, of = %String::from_utf8_lossy(one.queue), tasks = all, %error,
                    "a key of this system is of another type than its layout says: its tasks stay where they are"
                );
                return Ok(Outcome::all_stay(all));
            }
            other => other?,
        };
        let done = match answer {
            Transfer::Held => {
                progress.blocked = Some(Guard::RedisChanged);
                *progress.summary.held.entry(Guard::RedisChanged).or_default() += all as u64;
                return Ok(Outcome::all_stay(all));
            }
            Transfer::Alive => {
                self.skip(state, progress, Skip::NotAnyMore, all as u64);
                return Ok(Outcome { ends: true, ..Outcome::default() });
            }
            Transfer::Paused => return Ok(Outcome::all_stay(all)),
            Transfer::Others => {
                if !state.told.insert(one.queue.to_vec()) {
                    return Ok(Outcome::all_stay(all));
                }
                tracing::error!(
                    queue = %state.queue.name(), of = %String::from_utf8_lossy(one.queue), tasks = all,
                    "other groups read this stream and would see what is put back once more: its tasks stay where they are. \
                     If that does no harm there, say layout.running.copies = true"
                );
                return Ok(Outcome::all_stay(all));
            }
            Transfer::Done(done) => done,
        };
        let queue = state.queue.name().clone();
        let count = |wanted: Moved| done.iter().filter(|one| **one == wanted).count() as u64;
        for (moved, action) in [(Moved::Reset, Action::Reset), (Moved::DeadLetter, Action::DeadLetter)] {
            let n = count(moved);
            if n == 0 {
                continue;
            }
            *progress.summary.done.entry((Cause::AgentLost, action)).or_default() += n;
            self.observer.done(&queue, Cause::AgentLost, action, n);
            self.observer.found(&queue, one.late_by, one.silence, n);
            let first = verdicts.iter().zip(&done).find(|(_, one)| **one == moved);
            tracing::warn!(
                %queue, session = %session, of = %String::from_utf8_lossy(one.queue), cause = Cause::AgentLost.as_str(),
                action = action.as_str(), tasks = n, silence_s = one.silence.as_secs(),
                late_ms = one.late_by.as_millis() as u64,
                first = first.map(|((entry, _), _)| String::from_utf8_lossy(&entry.id).into_owned()),
                "abandoned tasks dealt with"
            );
        }
        self.skip(state, progress, Skip::NoRecord, count(Moved::NoRecord));
        self.skip(state, progress, Skip::NotAnyMore, count(Moved::Skipped) + count(Moved::Alive));
        let moved = count(Moved::Reset) + count(Moved::DeadLetter);
        progress.returned += moved;
        let no_record = count(Moved::NoRecord);
        if no_record > 0 {
            let first = verdicts.iter().zip(&done).find(|(_, one)| **one == Moved::NoRecord);
            tracing::error!(
                %queue, session = %session, of = %String::from_utf8_lossy(one.queue), tasks = no_record,
                first = first.map(|((entry, _), _)| String::from_utf8_lossy(&entry.id).into_owned()),
                "running tasks have no record: their entries are removed; if all look so, the layout's record is wrong"
            );
        }
        let left = done.iter().filter(|one| **one == Moved::WrongType).count();
        if left > 0 {
            tracing::error!(
                %queue, session = %session, of = %String::from_utf8_lossy(one.queue), tasks = left,
                first = verdicts.iter().zip(&done).find(|(_, one)| **one == Moved::WrongType)
                    .map(|((entry, _), _)| String::from_utf8_lossy(&entry.bytes).chars().take(120).collect::<String>()),
                "these tasks have keys of another type than their layout says, or can't be read: they stay where they are"
            );
        }
        let not_running = done.iter().filter(|one| **one == Moved::NotRunning).count();
        let moved = usize::try_from(moved).unwrap_or(usize::MAX);
        Ok(Outcome { left, in_place: left + not_running, moved, ends: false, done })
    }
}

/// What became of a page of an agent's tasks.
#[derive(Debug, Clone, Default)]
pub(super) struct Outcome {
    /// Tasks that stay abandoned.
    pub(super) left: usize,
    /// Entries that stay where they are: those, and such as don't run.
    in_place: usize,
    pub(super) moved: usize,
    /// Held, paused, alive, or a collection of another type: the next page would fare no better.
    pub(super) ends: bool,
    /// For each task, what became of it; empty if nothing was tried.
    pub(super) done: Vec<Moved>,
}

impl Outcome {
    fn all_stay(all: usize) -> Self {
        Self { left: all, in_place: all, moved: 0, ends: true, done: Vec::new() }
    }
}

/// One lost agent in one queue; where tasks show life for themselves, some lost tasks of it.
pub(super) struct Agent<'a> {
    pub(super) agent: &'a [u8],
    pub(super) queue: &'a [u8],
    pub(super) silence: Duration,
    pub(super) late_by: Duration,
    pub(super) held_by: Option<Guard>,
}

/// A page as observe mode counts it.
fn plan(session: &str, one: &Agent<'_>, verdicts: &[(Entry, Action)]) -> SessionPlan {
    let batch = |action: Action| Batch {
        cause: Cause::AgentLost,
        action,
        abandonments: 0,
        revoke_grace: Duration::ZERO,
        reset_delay: Duration::ZERO,
        pairs: verdicts
            .iter()
            .filter(|(_, verdict)| *verdict == action)
            .map(|(entry, _)| (String::from_utf8_lossy(&entry.id).into_owned(), entry.run(session)))
            .collect(),
    };
    SessionPlan {
        session: session.to_owned(),
        seen_beat_ms: None,
        silence: one.silence,
        late_by: one.late_by,
        declare: false,
        forget: false,
        held: false,
        batches: vec![batch(Action::Reset), batch(Action::DeadLetter)],
        elsewhere: Vec::new(),
        left: 0,
        no_record: Vec::new(),
    }
}
