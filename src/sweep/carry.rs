//! Carrying a plan out: what each script says it did is what counts.

use std::time::Duration;

use super::cursor::{Left, over_overdue, over_silent};
use super::pass::{PAGE, Pass, Progress, QueueState};
use crate::core::guard::Moves;
use crate::core::liveness::SilenceLimits;
use crate::core::plan::{Batch, Plan, SessionPlan};
use crate::core::policy::Mode;
use crate::core::words::{Action, Cause, Guard, Skip};
use crate::native::scripts::apply::{Apply, ApplyAnswer};
use crate::native::scripts::declare::{Declare, Declared};
use crate::native::scripts::expire::{Expire, ExpireAnswer, Expired};
use crate::native::scripts::forget::{Forget, Forgotten};
use crate::native::scripts::observe::{Cursor, Page};
use crate::native::scripts::reconcile::{Reconcile, Reconciled};
use crate::store::StoreError;

/// From this many returned tasks on, the others of a pass are spread, so that they don't all start in one moment.
const SPREAD_FROM: u64 = 100;
const SPREAD_OVER: Duration = Duration::from_secs(5);
/// In how many steps, a call each.
const SPREAD_STEPS: u64 = 20;

impl Pass<'_> {
    pub(super) async fn carry_out(
        &self,
        state: &mut QueueState,
        page: &Page,
        limits: &SilenceLimits,
        progress: &mut Progress,
        cursor: &mut Cursor,
    ) -> Result<(), StoreError> {
        let plan = Plan::new(&page.facts, self.policy, limits, progress.moves);
        progress.summary.sessions += (page.facts.silent.len() + page.facts.overdue.len()) as u64;
        let mut lost = plan.lost.iter();
        let mut left = Vec::with_capacity(page.facts.silent.len());
        for session in &page.facts.silent {
            progress.summary.tasks += session.tasks.len() as u64;
            let planned = lost.as_slice().first().filter(|one| one.session == session.session);
            let Some(one) = planned else {
                // Silent, and not lost yet.
                left.push(Left { gone: false, tasks: session.tasks.len() });
                continue;
            };
            lost.next();
            left.push(self.carry_out_lost(state, one, session.running, page, progress).await?);
        }
        over_silent(cursor, &page.facts.silent, &left);
        let mut left = Vec::with_capacity(plan.overdue.len());
        for one in &plan.overdue {
            let tasks = one.verdicts() + one.left + one.no_record.len();
            progress.summary.tasks += tasks as u64;
            let stay = self.carry_out_session(state, one, progress).await?;
            left.push(Left { gone: false, tasks: stay });
        }
        over_overdue(cursor, &page.facts.overdue, &left, page.more);
        cursor.expired += self.expire(state, plan.expire, progress).await?;
        Ok(())
    }

    async fn carry_out_lost(
        &self,
        state: &mut QueueState,
        one: &SessionPlan,
        running: u64,
        page: &Page,
        progress: &mut Progress,
    ) -> Result<Left, StoreError> {
        let seen_beat_ms = one.seen_beat_ms.unwrap_or(0);
        if one.declare && progress.blocked.is_none() {
            let declare = Declare { session: one.session.clone(), seen_beat_ms };
            if state.queue.run(&declare).await? == Declared::Lost {
                progress.summary.declared += 1;
                tracing::warn!(
                    queue = %state.queue.name(), session = %one.session, tasks = running,
                    silence_s = one.silence.as_secs(), "agent lost"
                );
            }
        }
        let tasks = one.verdicts() + one.no_record.len();
        let stays = Left { gone: false, tasks };
        if tasks > 0 && (one.held || progress.blocked.is_some()) {
            match progress.blocked.or((progress.moves != Moves::All).then_some(Guard::MassLoss)) {
                Some(guard) => *progress.summary.held.entry(guard).or_default() += tasks as u64,
                None => progress.summary.reconnecting += tasks as u64,
            }
            progress.note_stuck(page.facts.now_ms, one.late_by, tasks);
            return Ok(stays);
        }
        let done_before = progress.summary.done.clone();
        let stay = self.carry_out_session(state, one, progress).await?;
        if progress.summary.done != done_before && matches!(progress.moves, Moves::Paced(_)) {
            progress.paced = true;
            if one.forget {
                // All of this one agent's tasks have moved; one that fills several pages goes on.
                progress.moves = Moves::Paced(0);
            }
        }
        if stay > 0 || tasks > 0 && self.policy.mode == Mode::Observe {
            progress.note_stuck(page.facts.now_ms, one.late_by, stay);
            return Ok(Left { gone: false, tasks: stay });
        }
        let counts_still = match progress.moves {
            Moves::Paced(_) if tasks > 0 => false,
            moves => self.counts_still(moves, one.late_by),
        };
        if !one.forget || progress.blocked.is_some() || counts_still {
            return Ok(Left { gone: false, tasks: 0 });
        }
        let forget = Forget { session: one.session.clone(), seen_beat_ms };
        match state.queue.run(&forget).await? {
            Forgotten::Forgotten => {
                progress.summary.forgotten += 1;
                state.mass_loss.forgot(self.started.elapsed(), 1);
                Ok(Left { gone: true, tasks: 0 })
            }
            Forgotten::Alive => Ok(Left { gone: true, tasks: 0 }),
            Forgotten::Holds | Forgotten::Held => Ok(Left { gone: false, tasks: 0 }),
        }
    }

    /// Whether one that is lost and idle stays in the fleet: while the guard is open, what fell silent is still to be seen.
    pub(super) fn counts_still(&self, moves: Moves, late_by: Duration) -> bool {
        match moves {
            Moves::All => false,
            Moves::Paced(_) => late_by < self.settings.mass_loss.window,
            Moves::None => true,
        }
    }

    /// Carries out one session's verdicts; how many of its listed tasks stay where they are.
    async fn carry_out_session(
        &self,
        state: &mut QueueState,
        one: &SessionPlan,
        progress: &mut Progress,
    ) -> Result<usize, StoreError> {
        let mut stay = one.left;
        if let Some(guard) = progress.blocked {
            let tasks = one.verdicts();
            if tasks > 0 {
                *progress.summary.held.entry(guard).or_default() += tasks as u64;
            }
            return Ok(stay + tasks + one.no_record.len());
        }
        if self.policy.mode == Mode::Observe {
            self.count_observed(state, one, progress);
            return Ok(stay + one.verdicts() + one.no_record.len());
        }
        if !one.no_record.is_empty() {
            stay += self.mend(state, one, progress).await?;
        }
        for batch in &one.batches {
            for pairs in batch.pairs.chunks(PAGE) {
                stay += self.apply(state, one, batch, pairs, progress).await?;
            }
        }
        stay += self.carry_out_elsewhere(state, one, progress).await?;
        Ok(stay)
    }

    pub(super) async fn apply(
        &self,
        state: &QueueState,
        one: &SessionPlan,
        batch: &Batch,
        pairs: &[(String, String)],
        progress: &mut Progress,
    ) -> Result<usize, StoreError> {
        let queue = state.queue.name();
        let step = u32::try_from(progress.returned / PAGE as u64 % SPREAD_STEPS + 1).unwrap_or(1);
        let spread = SPREAD_OVER * step / SPREAD_STEPS as u32;
        let spread = if progress.returned >= SPREAD_FROM { spread } else { Duration::ZERO };
        let apply = Apply {
            session: one.session.clone(),
            seen_beat_ms: one.seen_beat_ms,
            cause: batch.cause,
            action: batch.action,
            abandonments: batch.abandonments,
            delay: batch.reset_delay.max(spread),
            revoke_grace: batch.revoke_grace,
            pairs: pairs.to_vec(),
        };
        let done = match state.queue.run(&apply).await? {
            ApplyAnswer::Held => {
                progress.blocked = Some(Guard::RedisChanged);
                *progress.summary.held.entry(Guard::RedisChanged).or_default() += pairs.len() as u64;
                return Ok(pairs.len());
            }
            ApplyAnswer::Done(done) => done.iter().filter(|done| **done).count() as u64,
        };
        let skipped = pairs.len() as u64 - done;
        if done > 0 {
            *progress.summary.done.entry((batch.cause, batch.action)).or_default() += done;
            self.observer.done(queue, batch.cause, batch.action, done);
            if batch.action.ends_the_attempt() {
                progress.returned += done;
                if batch.cause == Cause::AgentLost {
                    self.observer.found(queue, one.late_by, one.silence, done);
                }
            }
            tracing::info!(
                %queue, session = %one.session, cause = batch.cause.as_str(), action = batch.action.as_str(),
                tasks = done, silence_s = one.silence.as_secs(), late_ms = one.late_by.as_millis() as u64,
                first = pairs.first().map(|(id, _)| id.as_str()), "abandoned tasks dealt with"
            );
        }
        self.skip(state, progress, Skip::NotAnyMore, skipped);
        Ok(0)
    }

    /// Entries whose record is gone: evicted, or deleted by hand. They are taken out of the running set, or the session
    /// could never be forgotten.
    async fn mend(
        &self,
        state: &QueueState,
        one: &SessionPlan,
        progress: &mut Progress,
    ) -> Result<usize, StoreError> {
        let ids = one.no_record.clone();
        let n = ids.len() as u64;
        let reconcile = Reconcile { repair: true, session: Some(one.session.clone()), ids };
        let answers = state.queue.run(&reconcile).await?;
        let stay = answers.iter().filter(|answer| **answer == Reconciled::WrongType).count() as u64;
        let removed = n.saturating_sub(stay);
        if removed > 0 {
            tracing::error!(
                queue = %state.queue.name(), session = %one.session, tasks = removed, first = one.no_record.first(),
                "running tasks have no record: something evicted or deleted it; their entries are removed"
            );
        }
        if stay > 0 {
            tracing::warn!(
                queue = %state.queue.name(), session = %one.session, tasks = stay,
                "records of running tasks are of the wrong type: run backstop fsck, and remove what isn't a record"
            );
        }
        progress.summary.mended += removed;
        self.skip(state, progress, Skip::NoRecord, n);
        Ok(usize::try_from(stay).unwrap_or(usize::MAX))
    }

    pub(super) fn count_observed(&self, state: &mut QueueState, one: &SessionPlan, progress: &mut Progress) {
        for batch in &one.batches {
            let counted = |(id, token): &(String, String)| (id.clone(), token.clone(), batch.cause);
            let fresh = batch.pairs.iter().filter(|pair| state.counted.insert(counted(pair))).count() as u64;
            if fresh > 0 {
                *progress.summary.observed.entry((batch.cause, batch.action)).or_default() += fresh;
                if batch.action.ends_the_attempt() {
                    self.observer.observed(state.queue.name(), batch.cause, fresh);
                }
                tracing::info!(
                    queue = %state.queue.name(), session = %one.session, cause = batch.cause.as_str(),
                    would = batch.action.as_str(), tasks = fresh, silence_s = one.silence.as_secs(),
                    "observe mode: abandoned tasks are left where they are"
                );
            }
        }
    }

    fn count_observed_expiry(&self, state: &mut QueueState, ids: &[String], progress: &mut Progress) {
        let counted = |id: &String| (id.clone(), String::new(), Cause::ScheduleToClose);
        let fresh = ids.iter().filter(|id| state.counted.insert(counted(id))).count() as u64;
        if fresh > 0 {
            let kind = (Cause::ScheduleToClose, Action::Expire);
            *progress.summary.observed.entry(kind).or_default() += fresh;
            tracing::info!(
                queue = %state.queue.name(), tasks = fresh,
                "observe mode: waiting tasks past their deadline are left where they are"
            );
        }
    }

    /// Expires waiting tasks; how many stay in the index.
    async fn expire(
        &self,
        state: &mut QueueState,
        ids: Vec<String>,
        progress: &mut Progress,
    ) -> Result<usize, StoreError> {
        if ids.is_empty() {
            return Ok(0);
        }
        progress.summary.tasks += ids.len() as u64;
        let held = progress.blocked;
        if held.is_some() || self.policy.mode == Mode::Observe {
            if let Some(guard) = held {
                *progress.summary.held.entry(guard).or_default() += ids.len() as u64;
            } else {
                self.count_observed_expiry(state, &ids, progress);
            }
            return Ok(ids.len());
        }
        let all = ids.len();
        let done = match state.queue.run(&Expire { ids }).await? {
            ExpireAnswer::Held => return Ok(all),
            ExpireAnswer::Done(done) => done.iter().filter(|one| **one == Expired::Expired).count() as u64,
        };
        progress.summary.expired += done;
        if done > 0 {
            self.observer.expired(state.queue.name(), done);
            tracing::info!(queue = %state.queue.name(), tasks = done, "waiting tasks passed their deadline");
        }
        // Those that run stay in the index: they are judged as running tasks.
        Ok(all - usize::try_from(done).unwrap_or(all))
    }
}
