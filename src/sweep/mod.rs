//! The sweep: one pass reads what must be judged, plans, carries the plan out, and counts what the scripts said.
//!
//! `Sweeper::new -> run_once -> PassReport`. [`schedule`] adds only *when*, the daemon only *until when*. A pass takes no
//! input, does no retries and never overlaps itself; the next one is the retry. What goes wrong in one queue doesn't
//! cost the others their pass.

mod carry;
mod cursor;
mod elsewhere;
mod foreign;
mod guards;
mod lost;
mod pass;
pub mod report;
pub mod schedule;
mod walk;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::config::Foreign;
use crate::core::guard::{ClockWatch, MassLoss, MassLossLimits, OwnPause};
use crate::core::id::QueueName;
use crate::core::observer::Observer;
use crate::core::policy::QueuePolicy;
use crate::core::words::Guard;
use crate::hooks::Asker;
use crate::layout::System;
use crate::native::Queue;
use crate::store::{Failure, Reply, Store, StoreError};
use pass::QueueState;
use report::{PassReport, QueueReport};

/// What a sweeper must know beyond each queue's policy.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepSettings {
    /// Who sweeps, in leases and in `status`.
    pub owner: String,
    /// For how long a queue is this replica's; `None`: it sweeps whoever holds the lease.
    pub lease: Option<Duration>,
    /// The time between two passes.
    pub interval: Duration,
    /// For how long nothing moves after the server changed.
    pub failover_grace: Duration,
    /// When a loss is a mass loss.
    pub mass_loss: MassLossLimits,
    /// Systems of another kind, by the name of the queue that stands for each.
    pub foreign: BTreeMap<QueueName, Foreign>,
    /// Whether the policy is made known to agents, as a daemon does. A pass by hand judges by what they were told.
    pub publishes: bool,
}

/// Sweeps queues, pass by pass.
pub struct Sweeper {
    store: Store,
    settings: SweepSettings,
    observer: Arc<dyn Observer>,
    started: Instant,
    pause: OwnPause,
    /// How often the loop around this means to turn; `None`: there is none.
    expected: Option<Duration>,
    clock: ClockWatch,
    /// Since when Redis has not been answering.
    away_since: Option<Duration>,
    /// By how much the server's clock last moved against ours.
    skew: Duration,
    queues: BTreeMap<QueueName, QueueState>,
}

impl Sweeper {
    /// A sweeper that has seen nothing yet; nothing is sent.
    #[must_use]
    pub fn new(store: Store, settings: SweepSettings, observer: Arc<dyn Observer>) -> Self {
        Self {
            store,
            settings,
            observer,
            started: Instant::now(),
            pause: OwnPause::default(),
            expected: None,
            clock: ClockWatch::default(),
            away_since: None,
            skew: Duration::ZERO,
            queues: BTreeMap::new(),
        }
    }

    /// Takes new settings over, from the next pass on.
    pub fn reconfigure(&mut self, settings: SweepSettings) {
        for state in self.queues.values_mut() {
            state.mass_loss.reconfigure(settings.mass_loss);
        }
        // What is watched in another way now is looked at as if for the first time.
        let before = std::mem::take(&mut self.settings.foreign);
        self.queues.retain(|name, _| settings.foreign.get(name) == before.get(name));
        self.settings = settings;
    }

    /// Whoever calls [`Self::run_once`] on a schedule also calls this, at least every `expected`: a call that is late tells
    /// that the process stood still.
    pub fn turned(&mut self, expected: Duration) {
        self.expected = Some(expected);
        self.pause.turned(self.started.elapsed(), expected);
    }

    /// Gives the leases up, so that another replica needn't wait for them to lapse. They only save work: one that another
    /// took over in this very moment, and that is given up here with ours, costs a double look and nothing else.
    pub async fn leave(&mut self) {
        for state in self.queues.values().filter(|state| state.leads) {
            let key = state.queue.keys().named("lease");
            let own = Reply::Bytes(self.settings.owner.clone().into_bytes());
            let given_up = match self.store.command(&["GET", &key]).await {
                Ok(holder) if holder == own => self.store.command(&["DEL", &key]).await.map(|_| ()),
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = given_up {
                tracing::debug!(%error, "could not give a lease up; it lapses");
                // A Redis that doesn't answer costs a time-out each: nobody waits for that at a shutdown.
                if error.failure() != Failure::Permanent {
                    return;
                }
            }
        }
    }

    /// One pass over these queues. `stop` ends it between two pages.
    pub async fn run_once(
        &mut self,
        queues: &[(QueueName, QueuePolicy)],
        stop: &CancellationToken,
    ) -> PassReport {
        let began = self.started.elapsed();
        let late = self.pause.late_for(began);
        let (jumped, away) = match self.look_at_server(began).await {
            Ok(seen) => seen,
            Err(error) => {
                self.away_since.get_or_insert(began);
                return PassReport::failed(self.started.elapsed() - began, error);
            }
        };
        self.queues.retain(|name, _| queues.iter().any(|(wanted, _)| wanted == name));
        // Each queue owes it, whether or not this pass comes to it.
        for (name, policy) in queues {
            // A spell of a third of the time-out can't make a session suspect by itself: time-outs are three intervals.
            let long = away.is_some_and(|away| away > policy.session.heartbeat_timeout / 3);
            let grace = long.then_some(Guard::RedisChanged).filter(|_| !jumped);
            let state = state_of(&mut self.queues, &self.store, &self.settings, &self.observer, name);
            state.owed = grace.or(jumped.then_some(Guard::ClockJumped)).or(state.owed);
        }
        let mut failed = None;
        let mut reports = Vec::with_capacity(queues.len());
        for (name, policy) in queues {
            if stop.is_cancelled() {
                break;
            }
            let paused = late.is_some_and(|ago| ago < policy.session.heartbeat_timeout);
            let report = self.sweep_queue(name, policy, paused, stop).await;
            let broken = report.as_ref().is_err_and(|error| error.failure() != Failure::Permanent);
            reports.push((name.clone(), report));
            // One queue's trouble is its own, unless it is Redis that doesn't answer: then each would wait its time.
            if broken && let Err(error) = self.store.server_time().await {
                self.away_since.get_or_insert(self.started.elapsed());
                failed = Some(error);
                break;
            }
        }
        let pages =
            reports.iter().filter_map(|(_, report)| report.as_ref().ok()).map(|one| one.summary.pages).sum();
        if let Some(expected) = self.expected {
            self.pause.ended(self.started.elapsed(), expected, pages);
        }
        PassReport { took: self.started.elapsed() - began, queues: reports, failed, skew: self.skew }
    }

    /// Whether the server's clock jumped, and for how long it had been away.
    async fn look_at_server(&mut self, now: Duration) -> Result<(bool, Option<Duration>), StoreError> {
        let asked = self.started.elapsed();
        let server_ms = self.store.server_time().await?;
        let answered = self.started.elapsed();
        let away = self.away_since.take().map(|since| now.saturating_sub(since));
        let mut jumped = false;
        // An answer that was long on its way says nothing about clocks.
        if answered.saturating_sub(asked) < Duration::from_secs(1) {
            let moved_ms = self.clock.moved(answered, server_ms).unwrap_or(0);
            self.skew = Duration::from_millis(moved_ms.unsigned_abs());
            jumped = ClockWatch::is_jump(moved_ms);
            if jumped {
                tracing::warn!(
                    jump_ms = moved_ms,
                    "the clock of Redis jumped: nothing is reset until every agent could beat again"
                );
            }
        }
        Ok((jumped, away))
    }

    async fn sweep_queue(
        &mut self,
        name: &QueueName,
        policy: &QueuePolicy,
        paused: bool,
        stop: &CancellationToken,
    ) -> Result<QueueReport, StoreError> {
        let now = self.started.elapsed();
        let state = state_of(&mut self.queues, &self.store, &self.settings, &self.observer, name);
        let pass = pass::Pass {
            settings: &self.settings,
            observer: self.observer.as_ref(),
            policy,
            paused,
            started: self.started,
            stop,
        };
        // Also after a spell in which this queue alone could not be swept: its agents may have fared no better.
        let third = policy.session.heartbeat_timeout / 3;
        let away = state.away_since.filter(|since| now.saturating_sub(*since) > third);
        state.owed = state.owed.or(away.map(|_| Guard::RedisChanged));
        let report = pass.begin(state).await;
        match &report {
            Ok(_) => state.away_since = None,
            // What a person must mend says nothing about whether agents can beat.
            Err(error) if error.failure() == Failure::Permanent => {}
            Err(_) => {
                state.away_since.get_or_insert(now);
            }
        }
        report
    }
}

/// What is remembered of a queue; of one that is met for the first time, nothing.
fn state_of<'a>(
    queues: &'a mut BTreeMap<QueueName, QueueState>,
    store: &Store,
    settings: &SweepSettings,
    observer: &Arc<dyn Observer>,
    name: &QueueName,
) -> &'a mut QueueState {
    queues.entry(name.clone()).or_insert_with(|| {
        let queue = Queue::new(store.clone(), name.clone());
        let asker = Asker::new(Arc::clone(observer));
        let mut state = QueueState::new(queue.clone(), MassLoss::new(settings.mass_loss), asker);
        state.foreign = settings.foreign.get(name).map(|foreign| System::new(queue, foreign.clone()));
        state
    })
}
