//! One pass over one queue.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::SweepSettings;
use super::report::{OpenGuard, QueueReport};
use super::walk::Walk;
use crate::core::guard::{MassLoss, Moves};
use crate::core::liveness::SilenceLimits;
use crate::core::observer::Observer;
use crate::core::policy::{Mode, QueuePolicy, SessionPolicy};
use crate::core::summary::Summary;
use crate::core::words::{Cause, Guard, Skip};
use crate::hooks::Asker;
use crate::layout::{System, Tasks};
use crate::native::Queue;
use crate::native::scripts::note::Note;
use crate::native::scripts::observe::{Cursor, Figures, Observe, ObserveAnswer, Page};
use crate::native::scripts::publish::{Publish, PublishedLimits, published_as};
use crate::store::StoreError;

/// Tasks on a page, and verdicts in a call: what blocks Redis for about half a millisecond.
pub(super) const PAGE: usize = 100;
/// Pages after which a pass ends, so that one queue's disaster doesn't keep the others waiting for ever.
const MAX_PAGES: u64 = 2000;
/// Pages of a pass that moves nothing: what it counts, it counts again in the next one.
const MAX_IDLE_PAGES: u64 = 50;
/// What is remembered of a queue between passes.
pub(super) struct QueueState {
    pub(super) queue: Queue,
    pub(super) mass_loss: MassLoss,
    sessions: u64,
    pub(super) leads: bool,
    /// Since when this queue alone could not be swept for a reason that may pass.
    pub(super) away_since: Option<Duration>,
    /// A grace that is due and could not be written yet.
    pub(super) owed: Option<Guard>,
    /// What observe mode has counted already, so that each abandonment counts once.
    pub(super) counted: HashSet<(String, String, Cause)>,
    /// Where a pass that moves nothing goes on.
    resume_at: Cursor,
    pub(super) open: Vec<Guard>,
    walk: Walk,
    /// Queues of that system of which it was said that their tasks can't be moved.
    pub(super) told: HashSet<Vec<u8>>,
    /// The system of another kind that this queue stands for.
    pub(super) foreign: Option<System>,
    /// Whoever asks about work elsewhere.
    pub(super) asker: Asker,
    /// Where the next pass goes on with what nobody waits for.
    pub(super) unwanted_from: usize,
    /// What its hook said can't be cancelled.
    pub(super) uncancellable: HashSet<String>,
}

impl QueueState {
    pub(super) fn new(queue: Queue, mass_loss: MassLoss, asker: Asker) -> Self {
        Self {
            queue,
            mass_loss,
            sessions: 0,
            leads: false,
            away_since: None,
            owed: None,
            counted: HashSet::new(),
            resume_at: Cursor::default(),
            open: Vec::new(),
            walk: Walk::default(),
            told: HashSet::new(),
            foreign: None,
            asker,
            unwanted_from: 0,
            uncancellable: HashSet::new(),
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
pub(super) struct Progress {
    pub(super) summary: Summary,
    pub(super) guards: Vec<OpenGuard>,
    /// Which guard keeps everything where it is.
    pub(super) blocked: Option<Guard>,
    pub(super) moves: Moves,
    pub(super) returned: u64,
    pub(super) lost_running: u64,
    pub(super) oldest_abandoned_ms: Option<i64>,
    pub(super) paced: bool,
    /// The server's clock when the pass began, ms.
    pub(super) now_ms: i64,
}

impl Progress {
    /// What keeps the next lost ones where they are.
    pub(super) fn held_by(&self) -> Option<Guard> {
        self.blocked.or_else(|| match self.moves {
            Moves::All => None,
            Moves::Paced(n) => (n == 0).then_some(Guard::MassLoss),
            Moves::None => Some(Guard::MassLoss),
        })
    }

    /// Remembers what stays abandoned after this pass: so many tasks of one that, at `now_ms`, is lost for `late_by`.
    pub(super) fn note_stuck(&mut self, now_ms: i64, late_by: Duration, tasks: usize) {
        let since = now_ms.saturating_sub(i64::try_from(late_by.as_millis()).unwrap_or(i64::MAX));
        self.lost_running += tasks as u64;
        self.oldest_abandoned_ms = Some(self.oldest_abandoned_ms.map_or(since, |oldest| oldest.min(since)));
    }
}

impl Pass<'_> {
    /// Opens the grace if there is reason to, and sweeps.
    pub(super) async fn begin(&self, state: &mut QueueState) -> Result<QueueReport, StoreError> {
        if let Some(guard) = state.owed {
            let note = Note { grace: Some((guard, self.settings.failover_grace)), fields: Vec::new() };
            state.queue.run(&note).await?;
            state.owed = None;
        }
        self.run(state).await
    }

    async fn run(&self, state: &mut QueueState) -> Result<QueueReport, StoreError> {
        let told = state.queue.store().hash(&state.queue.keys().named("policy")).await?;
        if self.settings.publishes || state.foreign.is_some() {
            return self.sweep(state, told).await;
        }
        // A pass by hand asks no hook. What the daemon would ask about is left to it.
        let probed = |text: &String| PublishedLimits::read(text).is_some_and(|limits| limits.probed);
        let own =
            self.policy.types.values().chain([&self.policy.task]).any(|task| task.external.probe.is_some());
        let left = own || told.values().any(probed);
        let mut policy = self.policy.clone();
        for task in policy.types.values_mut().chain([&mut policy.task]) {
            task.external.left_to_daemon = left;
        }
        Pass { policy: &policy, ..*self }.sweep(state, told).await
    }

    async fn sweep(
        &self,
        state: &mut QueueState,
        told: BTreeMap<String, String>,
    ) -> Result<QueueReport, StoreError> {
        let session = slower(&self.policy.session, &told);
        let mut limits = SilenceLimits::new(&session, state.sessions);
        let mut cursor = std::mem::take(&mut state.resume_at);
        let mut first = match self.observe(state, &limits, cursor).await? {
            ObserveAnswer::Page(page) => page,
            ObserveAnswer::Standby(holder) => return Ok(self.stand_by(state, holder)),
        };
        // Whoever leads publishes, also where another has published something else meanwhile: agents must be told what
        // they are judged by.
        let publish = self.settings.publishes && told != published_as(self.policy);
        if publish {
            state.queue.run(&Publish { policy: self.policy.clone() }).await?;
        }
        let fleet = SilenceLimits::new(&session, first.figures.sessions);
        if publish || fleet.lost > limits.lost {
            // A large fleet beats less often than this pass thought, and shorter clocks open a grace: look again.
            limits = fleet;
            first = match self.observe(state, &limits, cursor).await? {
                ObserveAnswer::Page(page) => page,
                ObserveAnswer::Standby(holder) => return Ok(self.stand_by(state, holder)),
            };
        }
        let control = state.queue.store().hash(&state.queue.keys().named("control")).await?;
        self.lead(state, true);
        state.sessions = first.figures.sessions;
        if let Some(mut system) = state.foreign.take() {
            let report = self.run_foreign(state, &mut system, &mut first, &control).await;
            state.foreign = Some(system);
            return report;
        }
        let (now_ms, figures) = (first.facts.now_ms, first.figures);
        let mut progress = self.open_guards(state, &first, &control, None);
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
        if let Err(error) = self.end_unwanted(state, figures.unwanted, &mut progress).await {
            // What was done to tasks is told all the same.
            tracing::error!(queue = %state.queue.name(), %error, "could not see to work elsewhere; the next pass tries again");
        }
        self.report(state, now_ms, figures, progress, None).await
    }

    /// A pass over somebody else's system; our own indices of that name are empty.
    async fn run_foreign(
        &self,
        state: &mut QueueState,
        system: &mut System,
        first: &mut Page,
        control: &BTreeMap<String, String>,
    ) -> Result<QueueReport, StoreError> {
        let foreign = self.look_at(system, first).await?;
        let mut progress = self.open_guards(state, first, control, Some(&foreign));
        self.carry_out_foreign(state, system, &mut progress).await?;
        // They take their time, which is no pause of this process.
        progress.summary.pages += system.steps();
        let (now_ms, figures) = (first.facts.now_ms, first.figures);
        self.report(state, now_ms, figures, progress, Some(foreign.tasks)).await
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
            handles: self.policy.mode == Mode::Enforce && self.policy.has_hooks(),
        };
        state.queue.run(&observe).await
    }

    /// Books so many that were lost and are dealt with. At once: whatever ends this pass, the next one knows of it.
    pub(super) fn book(&self, state: &mut QueueState, progress: &mut Progress, n: u64) {
        state.mass_loss.forgot(self.started.elapsed(), n);
        if let Moves::Paced(n) = progress.moves {
            progress.paced = true;
            progress.moves = Moves::Paced(n.saturating_sub(1));
        }
    }

    /// Books tasks that were left alone, and why.
    pub(super) fn skip(&self, state: &QueueState, progress: &mut Progress, why: Skip, n: u64) {
        if n > 0 {
            *progress.summary.skipped.entry(why).or_default() += n;
            self.observer.skipped(state.queue.name(), why, n);
        }
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
            counted_running: None,
            oldest_running_ms: None,
            oldest_running_as_of_ms: None,
            oldest_abandoned_ms: None,
            oldest_dead_ms: None,
        }
    }

    async fn report(
        &self,
        state: &mut QueueState,
        now_ms: i64,
        mut figures: Figures,
        mut progress: Progress,
        foreign: Option<Tasks>,
    ) -> Result<QueueReport, StoreError> {
        let queue = state.queue.clone();
        let census = state.walk.census(&queue).await?;
        if foreign.is_none() {
            (figures.pending, figures.delayed, figures.dead) = (census.pending, census.delayed, census.dead);
        }
        let repair = self.policy.mode == Mode::Enforce && progress.blocked.is_none();
        let found = state.walk.reconcile(&queue, repair).await?;
        if found.wrong > 0 {
            progress.summary.mended += found.mended;
            self.skip(state, &mut progress, Skip::NoRecord, found.wrong);
        }
        let maybe = |ms: Option<i64>| ms.map(|ms| ms.to_string()).unwrap_or_default();
        let open = progress.guards.iter().map(|open| format!("{} {}", open.guard.as_str(), open.reason));
        let oldest = state.walk.oldest;
        // For people who look at Redis instead of at this process.
        let mut fields = vec![
            ("last_pass", now_ms.to_string()),
            ("last_by", self.settings.owner.clone()),
            ("mode", if self.policy.mode == Mode::Observe { "observe" } else { "enforce" }.to_owned()),
            ("oldest_running", maybe(oldest.and_then(|(taken, _)| taken))),
            ("oldest_running_as_of", maybe(oldest.map(|(_, as_of)| as_of))),
            ("oldest_abandoned", maybe(progress.oldest_abandoned_ms)),
            ("held", progress.summary.held().to_string()),
            ("guards", open.collect::<Vec<_>>().join("\n")),
        ];
        if foreign.is_none() {
            fields.push(("foreign", String::new()));
        }
        if let Some(tasks) = foreign {
            // For whoever asks Redis: our own indices of this name are empty.
            fields.push((
                "foreign",
                [tasks.pending, tasks.running, tasks.dead, figures.sessions, figures.suspect, figures.silent]
                    .map(|n| n.to_string())
                    .join(" "),
            ));
        }
        if progress.paced {
            fields.push(("paced_at", now_ms.to_string()));
        }
        queue.run(&Note { grace: None, fields }).await?;
        if state.counted.len() > 1_000_000 {
            // A bound on memory in a week of observing; what is counted again then is counted twice.
            state.counted.clear();
        }
        let oldest_dead = queue.store().range(&queue.keys().named("dead"), 0, 1).await?;
        Ok(QueueReport {
            mode: self.policy.mode,
            standby_of: None,
            now_ms,
            figures,
            summary: progress.summary,
            guards: progress.guards,
            lost_running: progress.lost_running,
            totals: census.totals,
            counted_running: foreign.map(|tasks| tasks.running),
            oldest_running_ms: oldest.and_then(|(taken, _)| taken),
            oldest_running_as_of_ms: oldest.map(|(_, as_of)| as_of),
            oldest_abandoned_ms: progress.oldest_abandoned_ms,
            oldest_dead_ms: oldest_dead.into_iter().next().map(|(_, died)| died),
        })
    }
}

/// What the agents were told, and what this sweeper goes by: the more patient of the two. Where nothing was published,
/// agents go by the defaults.
fn slower(own: &SessionPolicy, told: &BTreeMap<String, String>) -> SessionPolicy {
    let default = SessionPolicy::default();
    let told = |field: &str, default: Duration| {
        told.get(field).and_then(|ms| ms.parse().ok()).map_or(default, Duration::from_millis)
    };
    SessionPolicy {
        heartbeat_interval: own
            .heartbeat_interval
            .max(told("_heartbeat_interval", default.heartbeat_interval)),
        heartbeat_timeout: own.heartbeat_timeout.max(told("_heartbeat_timeout", default.heartbeat_timeout)),
        lost_after: own.lost_after.max(told("_lost_after", default.lost_after)),
        ..own.clone()
    }
}
