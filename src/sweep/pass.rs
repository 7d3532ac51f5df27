//! One pass over one queue.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::cursor::{Left, over_overdue, over_silent};
use super::report::{OpenGuard, QueueReport};
use super::walk::Walk;
use super::{SweepSettings, hash};
use crate::core::guard::{MassLoss, Moves};
use crate::core::liveness::SilenceLimits;
use crate::core::observer::Observer;
use crate::core::plan::{Batch, Plan, SessionPlan};
use crate::core::policy::{Mode, QueuePolicy};
use crate::core::summary::Summary;
use crate::core::words::{Cause, Guard, Skip};
use crate::native::Queue;
use crate::native::scripts::apply::{Apply, ApplyAnswer};
use crate::native::scripts::declare::{Declare, Declared};
use crate::native::scripts::expire::{Expire, ExpireAnswer, Expired};
use crate::native::scripts::forget::{Forget, Forgotten};
use crate::native::scripts::note::Note;
use crate::native::scripts::observe::{Cursor, Figures, Observe, ObserveAnswer, Page};
use crate::native::scripts::reconcile::Reconcile;
use crate::store::StoreError;

/// Tasks on a page, and verdicts in a call: what blocks Redis for about half a millisecond.
const PAGE: usize = 100;
/// Pages after which a pass ends, so that one queue's disaster doesn't keep the others waiting for ever.
const MAX_PAGES: u64 = 2000;
/// Pages of a pass that moves nothing: what it counts, it counts again in the next one.
const MAX_IDLE_PAGES: u64 = 50;
/// From this many returned tasks on, the others of a pass are spread, so that they don't all start in one moment.
const SPREAD_FROM: u64 = 100;
const SPREAD_OVER: Duration = Duration::from_secs(5);

/// What is remembered of a queue between passes.
pub(super) struct QueueState {
    pub(super) queue: Queue,
    pub(super) published: Option<QueuePolicy>,
    pub(super) mass_loss: MassLoss,
    sessions: u64,
    leads: bool,
    /// What observe mode has counted already, so that each abandonment counts once.
    counted: HashSet<(String, String)>,
    /// Where a pass that moves nothing goes on.
    resume_at: Cursor,
    open: Vec<Guard>,
    walk: Walk,
}

impl QueueState {
    pub(super) fn new(queue: Queue, mass_loss: MassLoss) -> Self {
        Self {
            queue,
            published: None,
            mass_loss,
            sessions: 0,
            leads: false,
            counted: HashSet::new(),
            resume_at: Cursor::default(),
            open: Vec::new(),
            walk: Walk::default(),
        }
    }
}

/// What a pass goes by.
pub(super) struct Pass<'a> {
    pub(super) settings: &'a SweepSettings,
    pub(super) observer: &'a dyn Observer,
    pub(super) policy: &'a QueuePolicy,
    /// Whether this process stood still a moment ago.
    pub(super) paused: bool,
    pub(super) started: Instant,
    pub(super) stop: &'a CancellationToken,
}

/// What a pass has found so far.
struct Progress {
    summary: Summary,
    guards: Vec<OpenGuard>,
    /// Which guard keeps everything where it is.
    blocked: Option<Guard>,
    moves: Moves,
    returned: u64,
    lost_running: u64,
    oldest_abandoned_ms: Option<i64>,
    paced: bool,
}

impl Pass<'_> {
    pub(super) async fn run(&self, state: &mut QueueState) -> Result<QueueReport, StoreError> {
        let limits = SilenceLimits::new(&self.policy.session, state.sessions);
        let control = hash(state.queue.store(), &state.queue.keys().named("control")).await?;
        let mut cursor = std::mem::take(&mut state.resume_at);
        let first = match self.observe(state, &limits, cursor).await? {
            ObserveAnswer::Page(page) => page,
            ObserveAnswer::Standby(holder) => return Ok(self.stand_by(state, holder)),
        };
        self.lead(state, true);
        state.sessions = first.figures.sessions;
        let (now_ms, figures) = (first.facts.now_ms, first.figures);
        let mut progress = self.open_guards(state, &first, &control);
        let mut page = first;
        loop {
            let before = (cursor, progress.summary.clone());
            self.carry_out(state, &page, &limits, &mut progress, &mut cursor).await?;
            progress.summary.pages += 1;
            let idle = self.policy.mode == Mode::Observe || progress.blocked.is_some();
            let most = if idle { MAX_IDLE_PAGES } else { MAX_PAGES };
            if !page.more || self.stop.is_cancelled() {
                break;
            }
            if progress.summary.pages >= most {
                progress.summary.truncated = true;
                if idle {
                    state.resume_at = cursor;
                }
                break;
            }
            if before.0 == cursor
                && before.1.done == progress.summary.done
                && before.1.forgotten == progress.summary.forgotten
            {
                // Nothing moved and nothing was stepped over: the rest waits for the next pass.
                break;
            }
            page = match self.observe(state, &limits, cursor).await? {
                ObserveAnswer::Page(page) => page,
                ObserveAnswer::Standby(_) => break,
            };
        }
        self.report(state, now_ms, figures, progress).await
    }

    async fn observe(
        &self,
        state: &QueueState,
        limits: &SilenceLimits,
        cursor: Cursor,
    ) -> Result<ObserveAnswer, StoreError> {
        let observe = Observe {
            lease: self.settings.lease.map(|long| (self.settings.owner.clone(), long)),
            lost_after: limits.lost,
            suspect_after: limits.suspect,
            failover_grace: self.settings.failover_grace,
            most: PAGE as u32,
            cursor,
        };
        state.queue.run(&observe).await
    }

    fn lead(&self, state: &mut QueueState, leads: bool) {
        if state.leads != leads {
            state.leads = leads;
            self.observer.leader(state.queue.name(), leads);
        }
    }

    fn stand_by(&self, state: &mut QueueState, holder: String) -> QueueReport {
        self.lead(state, false);
        self.say_guards(state, &[]);
        QueueReport {
            mode: self.policy.mode,
            standby_of: Some(holder),
            now_ms: 0,
            figures: Figures::default(),
            summary: Summary::default(),
            guards: Vec::new(),
            lost_running: 0,
            totals: BTreeMap::new(),
            oldest_running_ms: None,
            oldest_running_as_of_ms: None,
            oldest_abandoned_ms: None,
            oldest_dead_ms: None,
        }
    }

    /// Which guards are open in this pass, and what they leave.
    fn open_guards(
        &self,
        state: &mut QueueState,
        page: &Page,
        control: &BTreeMap<String, String>,
    ) -> Progress {
        let now_ms = page.facts.now_ms;
        let number = |field: &str| control.get(field).and_then(|value| value.parse::<i64>().ok());
        let overridden = |guard: Guard| {
            number(&format!("override:{}", guard.as_str())).is_some_and(|until| until > now_ms)
        };
        let mut guards = Vec::new();
        let mut blocked = None;
        let mut open = |guard: Guard, reason: String| guards.push(OpenGuard { guard, reason });
        if page.grace_until_ms > now_ms {
            let by =
                control.get("grace_by").and_then(|by| Guard::parse(by)).filter(|_| page.figures.known_server);
            let guard = by.unwrap_or(Guard::RedisChanged);
            if !overridden(guard) {
                let left = (page.grace_until_ms - now_ms) / 1000;
                open(guard, format!("every agent gets time to beat again; {left} s left"));
                blocked = Some(guard);
            }
        }
        if self.paused && !overridden(Guard::OwnPause) {
            open(Guard::OwnPause, "this process stood still; what it knew is old".to_owned());
            blocked = blocked.or(Some(Guard::OwnPause));
        }
        let since_paced =
            number("paced_at").map(|at| Duration::from_millis(u64::try_from(now_ms - at).unwrap_or(0)));
        let Figures { sessions, silent, .. } = page.figures;
        let mut moves = state.mass_loss.assess(self.started.elapsed(), sessions, silent, since_paced);
        if overridden(Guard::MassLoss) {
            moves = Moves::All;
        }
        match moves {
            Moves::All => {}
            Moves::Paced(_) => {
                open(
                    Guard::MassLoss,
                    format!("{silent} of {sessions} agents fell silent; one is moved at a time"),
                );
            }
            Moves::None => {
                open(
                    Guard::MassLoss,
                    format!("all {sessions} agents fell silent; nothing moves until one beats"),
                );
            }
        }
        self.say_guards(state, &guards);
        Progress {
            summary: Summary::default(),
            guards,
            blocked,
            moves,
            returned: 0,
            lost_running: 0,
            oldest_abandoned_ms: None,
            paced: false,
        }
    }

    fn say_guards(&self, state: &mut QueueState, open: &[OpenGuard]) {
        let queue = state.queue.name();
        for one in open.iter().filter(|one| !state.open.contains(&one.guard)) {
            tracing::warn!(%queue, guard = one.guard.as_str(), reason = %one.reason, "guard opened: moves are held");
            self.observer.guard(queue, one.guard, true);
        }
        for guard in state.open.iter().filter(|guard| !open.iter().any(|one| one.guard == **guard)) {
            tracing::info!(%queue, guard = guard.as_str(), "guard closed");
            self.observer.guard(queue, *guard, false);
        }
        state.open = open.iter().map(|one| one.guard).collect();
    }

    async fn carry_out(
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
            self.note_stuck(one, page, tasks, progress);
            return Ok(stays);
        }
        let stay = self.carry_out_session(state, one, progress).await?;
        if stay > 0 || tasks > 0 && self.policy.mode == Mode::Observe {
            self.note_stuck(one, page, stay, progress);
            return Ok(Left { gone: false, tasks: stay });
        }
        if tasks > 0 && matches!(progress.moves, Moves::Paced(_)) {
            progress.paced = true;
            progress.moves = Moves::Paced(0);
        }
        if !one.forget || progress.blocked.is_some() {
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

    /// Remembers what stays abandoned after this pass.
    fn note_stuck(&self, one: &SessionPlan, page: &Page, tasks: usize, progress: &mut Progress) {
        let late = i64::try_from(one.late_by.as_millis()).unwrap_or(i64::MAX);
        let since = page.facts.now_ms.saturating_sub(late);
        progress.lost_running += tasks as u64;
        progress.oldest_abandoned_ms =
            Some(progress.oldest_abandoned_ms.map_or(since, |oldest| oldest.min(since)));
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
        Ok(stay)
    }

    async fn apply(
        &self,
        state: &QueueState,
        one: &SessionPlan,
        batch: &Batch,
        pairs: &[(String, String)],
        progress: &mut Progress,
    ) -> Result<usize, StoreError> {
        let queue = state.queue.name();
        let spread = if progress.returned >= SPREAD_FROM { SPREAD_OVER } else { Duration::ZERO };
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
        if skipped > 0 {
            *progress.summary.skipped.entry(Skip::NotAnyMore).or_default() += skipped;
            self.observer.skipped(queue, Skip::NotAnyMore, skipped);
        }
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
        tracing::error!(
            queue = %state.queue.name(), session = %one.session, tasks = n, first = one.no_record.first(),
            "running tasks have no record: something evicted or deleted it; their entries are removed"
        );
        let reconcile = Reconcile { repair: true, session: Some(one.session.clone()), ids };
        state.queue.run(&reconcile).await?;
        progress.summary.mended += n;
        *progress.summary.skipped.entry(Skip::NoRecord).or_default() += n;
        self.observer.skipped(state.queue.name(), Skip::NoRecord, n);
        Ok(0)
    }

    fn count_observed(&self, state: &mut QueueState, one: &SessionPlan, progress: &mut Progress) {
        for batch in &one.batches {
            let fresh =
                batch.pairs.iter().filter(|pair| state.counted.insert((*pair).clone())).count() as u64;
            if fresh > 0 {
                *progress.summary.observed.entry((batch.cause, batch.action)).or_default() += fresh;
                self.observer.observed(state.queue.name(), batch.cause, fresh);
                tracing::info!(
                    queue = %state.queue.name(), session = %one.session, cause = batch.cause.as_str(),
                    would = batch.action.as_str(), tasks = fresh, silence_s = one.silence.as_secs(),
                    "observe mode: abandoned tasks are left where they are"
                );
            }
        }
    }

    /// Expires waiting tasks; how many stay in the index.
    async fn expire(
        &self,
        state: &QueueState,
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
        Ok(0)
    }

    async fn report(
        &self,
        state: &mut QueueState,
        now_ms: i64,
        figures: Figures,
        mut progress: Progress,
    ) -> Result<QueueReport, StoreError> {
        let queue = state.queue.clone();
        let mut fields = vec![("last_pass", now_ms.to_string()), ("last_by", self.settings.owner.clone())];
        if progress.paced {
            fields.push(("paced_at", now_ms.to_string()));
        }
        queue.run(&Note { grace: None, fields }).await?;
        state.walk.census(&queue).await?;
        let repair = self.policy.mode == Mode::Enforce && progress.blocked.is_none();
        for (why, n) in state.walk.reconcile(&queue, repair).await? {
            *progress.summary.skipped.entry(why).or_default() += n;
            progress.summary.mended += if repair { n } else { 0 };
            self.observer.skipped(queue.name(), why, n);
        }
        if state.counted.len() > 1_000_000 {
            // A bound on memory in a week of observing; what is counted again then is counted twice.
            state.counted.clear();
        }
        let totals = hash(queue.store(), &queue.keys().named("stats")).await?;
        let totals = totals.into_iter().filter_map(|(name, n)| Some((name, n.parse().ok()?))).collect();
        let oldest = state.walk.oldest;
        Ok(QueueReport {
            mode: self.policy.mode,
            standby_of: None,
            now_ms,
            figures,
            summary: progress.summary,
            guards: progress.guards,
            lost_running: progress.lost_running,
            totals,
            oldest_running_ms: oldest.and_then(|(taken, _)| taken),
            oldest_running_as_of_ms: oldest.map(|(_, as_of)| as_of),
            oldest_abandoned_ms: progress.oldest_abandoned_ms,
            oldest_dead_ms: super::oldest_score(queue.store(), &queue.keys().named("dead")).await?,
        })
    }
}
