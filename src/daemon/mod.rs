//! The daemon: settings, store, sweeper, schedule, metrics and pages, put together.
//!
//! One loop sweeps, reloads and feeds the watchdog; what it finds is published as one snapshot, of which the pages and
//! the gauges are made. Shutdown is a token that somebody else owns, and the listener is bound outside.

mod snapshot;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::config::{self, ConfigError, Overrides, Settings};
use crate::core::guard::MassLossLimits;
use crate::core::health::Snapshot;
use crate::core::id::QueueName;
use crate::core::policy::QueuePolicy;
use crate::http::{self, Site};
use crate::native::known_queues;
use crate::store::engine::{self, Unfit};
use crate::store::{Failure, Options, Store, StoreError};
use crate::sweep::report::PassReport;
use crate::sweep::schedule::{InvalidCron, Schedule, check_cron};
use crate::sweep::{SweepSettings, Sweeper};
use crate::telemetry::clock::wall_ms;
use crate::telemetry::recorder::{Recorder, RecorderError};
use crate::telemetry::systemd::{self, Watchdog};

/// Why the daemon could not begin.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The metrics could not be set up.
    #[error(transparent)]
    Metrics(#[from] RecorderError),
    /// The schedule can't be understood.
    #[error(transparent)]
    Schedule(#[from] InvalidCron),
    /// The address of Redis can't be understood.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where settings come from, so that they can be read again.
#[derive(Clone, Default)]
pub struct Origin {
    /// The file, if there is one.
    pub path: Option<PathBuf>,
    /// What flags and environment said.
    pub overrides: Overrides,
}

impl Origin {
    /// Reads the settings.
    ///
    /// # Errors
    /// [`ConfigError`] with all that is wrong.
    pub fn load(&self) -> Result<Settings, ConfigError> {
        let check = |expression: &str| check_cron(expression).map_err(|error| error.to_string());
        Settings::load(self.path.as_deref(), &self.overrides, check)
    }
}

/// Runs until `shutdown`; `reload` makes it read its settings again.
///
/// # Errors
/// [`DaemonError`] if it can't begin. Later nothing ends it but `shutdown`: what goes wrong is shown, counted and tried
/// again.
pub async fn run(
    origin: Origin,
    settings: Settings,
    listener: TcpListener,
    owner: String,
    reload: Arc<Notify>,
    shutdown: CancellationToken,
) -> Result<(), DaemonError> {
    let recorder = Arc::new(Recorder::new(settings.sweep.queues.iter().map(QueueName::as_str))?);
    let schedule = schedule_of(&settings).await?;
    let mut snapshot = Snapshot::beginning(Instant::now(), schedule.interval());
    snapshot.config.loaded_at_ms = Some(wall_ms());
    let (publish, health) = watch::channel(Arc::new(snapshot));
    let metrics = Arc::clone(&recorder);
    let site = Site { health, metrics: Arc::new(move || metrics.encode()) };
    let pages = tokio::spawn(http::serve(listener, site, shutdown.clone()));
    let sweeper = sweeper_of(&settings, schedule.interval(), &owner, &recorder)?;
    let mut daemon = Daemon {
        origin,
        settings,
        owner,
        recorder,
        schedule,
        sweeper: sweeper.0,
        store: sweeper.1,
        publish,
        fit: false,
        discovered: Vec::new(),
    };
    systemd::ready();
    daemon.turn(&reload, &shutdown).await;
    systemd::stopping();
    daemon.sweeper.leave().await;
    daemon.publish.send_modify(|snapshot| Arc::make_mut(snapshot).stopping = true);
    daemon.schedule.stop().await;
    if let Err(error) = pages.await {
        tracing::error!(%error, "the pages ended in disorder");
    }
    Ok(())
}

async fn schedule_of(settings: &Settings) -> Result<Schedule, InvalidCron> {
    match &settings.sweep.schedule {
        config::Schedule::Every(period) => Ok(Schedule::every(*period)),
        config::Schedule::Cron(expression) => Schedule::cron(expression).await,
    }
}

/// What the sweeper must know, out of the settings.
#[must_use]
pub fn sweep_settings(settings: &Settings, interval: Duration, owner: &str) -> SweepSettings {
    let mass_loss = &settings.guards.mass_loss;
    SweepSettings {
        owner: owner.to_owned(),
        lease: Some(settings.sweep.lease),
        interval,
        failover_grace: settings.guards.failover_grace,
        mass_loss: MassLossLimits {
            share: mass_loss.share,
            min_sessions: u64::from(mass_loss.min_sessions),
            window: mass_loss.window,
            pace: mass_loss.pace,
        },
        foreign: settings.foreign.clone(),
        publishes: true,
    }
}

fn sweeper_of(
    settings: &Settings,
    interval: Duration,
    owner: &str,
    recorder: &Arc<Recorder>,
) -> Result<(Sweeper, Store), StoreError> {
    let observer = Arc::clone(recorder);
    let store =
        Store::connect(settings.redis_url.expose(), &Options::default())?.observed_by(observer.clone());
    let sweeping = sweep_settings(settings, interval, owner);
    Ok((Sweeper::new(store.clone(), sweeping, observer), store))
}

struct Daemon {
    origin: Origin,
    settings: Settings,
    owner: String,
    recorder: Arc<Recorder>,
    schedule: Schedule,
    sweeper: Sweeper,
    store: Store,
    publish: watch::Sender<Arc<Snapshot>>,
    /// Whether this Redis was looked at since it last was away.
    fit: bool,
    discovered: Vec<QueueName>,
}

impl Daemon {
    async fn turn(&mut self, reload: &Notify, shutdown: &CancellationToken) {
        let watchdog = Watchdog::from_env();
        // A schedule may wake us once a day; the watchdog and the health check want to hear from this loop more often.
        let pulse = watchdog.period().unwrap_or(Duration::from_secs(5)).min(Duration::from_secs(5));
        let mut first = true;
        loop {
            self.publish.send_modify(|snapshot| Arc::make_mut(snapshot).ticked = Instant::now());
            watchdog.tick();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = reload.notified() => self.reload().await,
                () = self.schedule.due() => {
                    if !first {
                        jitter(self.schedule.interval(), shutdown).await;
                    }
                    first = false;
                    self.pass(pulse, shutdown).await;
                }
                () = tokio::time::sleep(pulse) => self.sweeper.turned(pulse),
            }
        }
    }

    async fn pass(&mut self, pulse: Duration, shutdown: &CancellationToken) {
        // Below a second a late turn is a busy machine, not a pause.
        self.sweeper.turned(pulse.min(self.schedule.interval()).max(Duration::from_secs(1)));
        if let Err(error) = self.look_at_engine().await {
            self.fit = false;
            tracing::error!(error = %chain(&error), "this Redis can't be swept; trying again");
            self.recorder.sweep_failed("transient");
            self.publish_with(|snapshot| snapshot::redis_is_down(snapshot, chain(&error)));
            return;
        }
        let queues = self.queues().await;
        let report = self.sweeper.run_once(&queues, shutdown).await;
        self.account(&report);
        self.publish_with(|snapshot| snapshot::after_pass(snapshot, &queues, &report));
        if let Some(pass) = &self.publish.borrow().last_pass {
            systemd::status(&pass.account);
        }
    }

    async fn look_at_engine(&mut self) -> Result<(), Unfit> {
        if !self.fit {
            let engine = engine::inspect(&self.store).await?;
            tracing::info!(engine = engine.name, version = %engine.version, "connected to Redis");
            for warning in &engine.warnings {
                tracing::warn!("{warning}");
            }
            self.fit = true;
        }
        Ok(())
    }

    /// The queues of this pass: those that are configured, and those that made themselves known.
    async fn queues(&mut self) -> Vec<(QueueName, QueuePolicy)> {
        if self.settings.sweep.discover {
            match known_queues(&self.store).await {
                Ok(known) => self.discovered = known,
                // The pass itself will say what is wrong.
                Err(error) => tracing::debug!(%error, "could not look for new queues"),
            }
        }
        let mut names = self.settings.sweep.queues.clone();
        names.extend(self.discovered.iter().cloned());
        names.extend(self.settings.foreign.keys().cloned());
        self.recorder.discovered(names.iter().map(QueueName::as_str));
        names.into_iter().map(|name| (name.clone(), self.settings.policy_of(&name).clone())).collect()
    }

    fn account(&mut self, report: &PassReport) {
        let failures =
            report.failed.iter().chain(report.queues.iter().filter_map(|(_, one)| one.as_ref().err()));
        for error in failures {
            // What a person must mend says nothing about the connection.
            self.fit &= error.failure() == Failure::Permanent;
            self.recorder.sweep_failed(error.failure().as_str());
            tracing::error!(error = %chain(error), "a pass ended early; the next one goes on");
        }
        let mut truncated = false;
        for (name, one) in &report.queues {
            let Ok(one) = one else { continue };
            truncated |= one.summary.truncated;
            self.recorder.scanned(name.as_str(), one.summary.sessions, one.summary.tasks);
            if one.standby_of.is_none() {
                self.recorder.durable(name.as_str(), &one.totals);
            }
        }
        if report.succeeded() {
            self.recorder.swept(report.took, truncated);
        }
    }

    fn publish_with(&self, change: impl FnOnce(&mut Snapshot)) {
        self.publish.send_modify(|snapshot| {
            let snapshot = Arc::make_mut(snapshot);
            change(snapshot);
            self.recorder.publish(snapshot);
        });
    }

    async fn reload(&mut self) {
        systemd::reloading();
        let outcome = self.try_reload().await;
        systemd::ready();
        match &outcome {
            Ok(()) => tracing::info!("the configuration was read again and is in force"),
            Err(why) => {
                tracing::error!(%why, "the new configuration was refused; the one before it stays in force")
            }
        }
        self.publish_with(|snapshot| match outcome {
            Ok(()) => {
                snapshot.config.loaded_at_ms = Some(wall_ms());
                snapshot.config.rejected = None;
            }
            Err(why) => snapshot.config.rejected = Some(why),
        });
    }

    async fn try_reload(&mut self) -> Result<(), String> {
        let settings = self.origin.load().map_err(|error| error.to_string())?;
        if settings.listen != self.settings.listen {
            tracing::warn!(listen = %settings.listen, "http.listen is read at the start only: restart to change it");
        }
        // All that may be refused comes first: a refused configuration changes nothing.
        let schedule = match settings.sweep.schedule == self.settings.sweep.schedule {
            true => None,
            false => Some(schedule_of(&settings).await.map_err(|error| error.to_string())?),
        };
        let interval = schedule.as_ref().unwrap_or(&self.schedule).interval();
        if settings.redis_url == self.settings.redis_url {
            self.sweeper.reconfigure(sweep_settings(&settings, interval, &self.owner));
        } else {
            match sweeper_of(&settings, interval, &self.owner, &self.recorder) {
                Ok((sweeper, store)) => (self.sweeper, self.store, self.fit) = (sweeper, store, false),
                Err(error) => {
                    if let Some(unused) = schedule {
                        unused.stop().await;
                    }
                    return Err(error.to_string());
                }
            }
        }
        if let Some(schedule) = schedule {
            std::mem::replace(&mut self.schedule, schedule).stop().await;
        }
        self.settings = settings;
        self.publish_with(|snapshot| snapshot.interval = interval);
        Ok(())
    }
}

/// Replicas that were started together must not sweep in step: a random wait of up to a tenth of the interval.
async fn jitter(interval: Duration, shutdown: &CancellationToken) {
    let random = getrandom::u32().unwrap_or(0) % 1000;
    let wait = (interval / 10).min(Duration::from_secs(1)) * random / 1000;
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = tokio::time::sleep(wait) => {}
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
