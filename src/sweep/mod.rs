//! The sweep: one pass reads what must be judged, plans, carries the plan out, and counts what the scripts said.
//!
//! `Sweeper::new -> run_once -> PassReport`. [`schedule`] adds only *when*, the daemon only *until when*. A pass takes no
//! input, does no retries and never overlaps itself; the next one is the retry. What goes wrong in one queue doesn't
//! cost the others their pass.

mod carry;
mod cursor;
mod guards;
mod pass;
pub mod report;
pub mod schedule;
mod walk;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::core::guard::{ClockWatch, MassLoss, MassLossLimits, OwnPause};
use crate::core::id::QueueName;
use crate::core::observer::Observer;
use crate::core::policy::QueuePolicy;
use crate::core::words::Guard;
use crate::native::Queue;
use crate::native::scripts::note::Note;
use crate::native::scripts::publish::Publish;
use crate::store::{Reply, Shape, Store, StoreError};
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
}

/// Sweeps queues, pass by pass.
pub struct Sweeper {
    store: Store,
    settings: SweepSettings,
    observer: Arc<dyn Observer>,
    started: Instant,
    pause: OwnPause,
    clock: ClockWatch,
    /// Since when commands have been failing.
    failing_since: Option<Duration>,
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
            clock: ClockWatch::default(),
            failing_since: None,
            queues: BTreeMap::new(),
        }
    }

    /// Takes new settings over, from the next pass on.
    pub fn reconfigure(&mut self, settings: SweepSettings) {
        for state in self.queues.values_mut() {
            state.mass_loss = MassLoss::new(settings.mass_loss);
        }
        self.settings = settings;
    }

    /// One pass over these queues. `stop` ends it between two pages.
    pub async fn run_once(
        &mut self,
        queues: &[(QueueName, QueuePolicy)],
        stop: &CancellationToken,
    ) -> PassReport {
        let began = self.started.elapsed();
        let quiet =
            queues.iter().map(|(_, policy)| policy.session.heartbeat_timeout).max().unwrap_or_default();
        let paused = self.pause.check(began, self.settings.interval, quiet);
        let grace = match self.look_at_server(began, quiet).await {
            Ok(grace) => grace,
            Err(error) => {
                self.failing_since.get_or_insert(began);
                self.pause.ended(self.started.elapsed());
                return PassReport::failed(self.started.elapsed() - began, error);
            }
        };
        self.queues.retain(|name, _| queues.iter().any(|(wanted, _)| wanted == name));
        let mut reports = Vec::with_capacity(queues.len());
        for (name, policy) in queues {
            if stop.is_cancelled() {
                break;
            }
            let report = self.sweep_queue(name, policy, grace, paused, stop).await;
            if report.is_err() {
                self.failing_since.get_or_insert(self.started.elapsed());
            }
            reports.push((name.clone(), report));
        }
        if reports.iter().all(|(_, report)| report.is_ok()) {
            self.failing_since = None;
        }
        self.pause.ended(self.started.elapsed());
        PassReport { took: self.started.elapsed() - began, queues: reports, failed: None }
    }

    /// Whether the server's clock jumped, or was away for so long that beats can have been missed.
    async fn look_at_server(&mut self, now: Duration, quiet: Duration) -> Result<Option<Guard>, StoreError> {
        let server_ms = server_time(&self.store).await?;
        if let Some(jump_ms) = self.clock.jumped(self.started.elapsed(), server_ms) {
            tracing::warn!(
                jump_ms,
                "the clock of Redis jumped: nothing is reset until every agent could beat again"
            );
            return Ok(Some(Guard::ClockJumped));
        }
        // A spell of a third of the time-out can't make a session suspect by itself: time-outs are three intervals.
        let away = self.failing_since.filter(|since| now.saturating_sub(*since) > quiet / 3);
        Ok(away.map(|_| Guard::RedisChanged))
    }

    async fn sweep_queue(
        &mut self,
        name: &QueueName,
        policy: &QueuePolicy,
        grace: Option<Guard>,
        paused: bool,
        stop: &CancellationToken,
    ) -> Result<QueueReport, StoreError> {
        let state = self.queues.entry(name.clone()).or_insert_with(|| {
            QueueState::new(
                Queue::new(self.store.clone(), name.clone()),
                MassLoss::new(self.settings.mass_loss),
            )
        });
        if let Some(guard) = grace {
            let note = Note { grace: Some((guard, self.settings.failover_grace)), fields: Vec::new() };
            state.queue.run(&note).await?;
        }
        if state.published.as_ref() != Some(policy) {
            state.queue.run(&Publish { policy: policy.clone() }).await?;
            state.published = Some(policy.clone());
        }
        let pass = pass::Pass {
            settings: &self.settings,
            observer: self.observer.as_ref(),
            policy,
            paused,
            started: self.started,
            stop,
        };
        pass.run(state).await
    }
}

/// The server's clock, ms.
///
/// # Errors
/// [`StoreError`].
pub async fn server_time(store: &Store) -> Result<i64, StoreError> {
    let shape = Shape::of("TIME");
    let [seconds, micros] = shape.array::<2>(store.command(&["TIME"]).await?)?;
    Ok(shape.int(seconds)? * 1000 + shape.int(micros)? / 1000)
}

/// A hash, field by field; a value that is no text is read as well as it can be.
async fn hash(store: &Store, key: &str) -> Result<BTreeMap<String, String>, StoreError> {
    let shape = Shape::of("HGETALL");
    let pairs: Vec<[Reply; 2]> = shape.rows(store.command(&["HGETALL", key]).await?)?;
    pairs.into_iter().map(|[field, value]| Ok((shape.text(field)?, shape.text(value)?))).collect()
}

/// The lowest score of a sorted set, if it holds anything.
async fn oldest_score(store: &Store, key: &str) -> Result<Option<i64>, StoreError> {
    let shape = Shape::of("ZRANGE");
    let rows: Vec<[Reply; 2]> = shape.rows(store.command(&["ZRANGE", key, "0", "0", "WITHSCORES"]).await?)?;
    rows.into_iter().next().map(|[_, score]| shape.int(score)).transpose()
}
