//! How this replica is doing: what the sweep loop publishes, and what metrics, health checks and the page for people
//! are made of, so that the three never disagree.
//!
//! Times that are only compared with each other are monotonic; those that others compare with their own are the Redis
//! server's clock, in ms since 1970.

use std::time::{Duration, Instant};

use super::policy::Mode;

/// Intervals without a finished pass after which sweeping counts as stalled.
const STALLED_AFTER: u32 = 5;
/// What is added to that, for a process that has just begun or a pass that waits for a slow Redis.
const STALLED_SLACK: Duration = Duration::from_secs(10);

/// One replica at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// When the sweep loop last came round, whether or not Redis answered.
    pub ticked: Instant,
    /// How often it means to sweep.
    pub interval: Duration,
    /// Whether the process was asked to leave.
    pub stopping: bool,
    /// The configuration in force.
    pub config: Config,
    /// The connection to Redis.
    pub redis: Redis,
    /// The last pass that reached its end, if there was one.
    pub last_pass: Option<Pass>,
    /// The guards that are open.
    pub guards: Vec<OpenGuard>,
    /// The queues, in order of name.
    pub queues: Vec<Queue>,
}

/// The configuration in force.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// When it was loaded, ms since 1970; `None`: it never was.
    pub loaded_at_ms: Option<i64>,
    /// Why the last attempt to load another one failed, for a person to read; the one before it is in force.
    pub rejected: Option<String>,
}

/// The connection to Redis.
#[derive(Debug, Clone)]
pub struct Redis {
    /// Whether the last call was answered.
    pub up: bool,
    /// When `up` last changed.
    pub since: Instant,
    /// Whether Redis ever answered this process.
    pub answered: bool,
    /// What the last failed call said.
    pub error: Option<String>,
    /// By how much the server's clock and ours ran apart between the last two passes.
    pub clock_skew: Duration,
}

/// A pass that reached its end.
#[derive(Debug, Clone)]
pub struct Pass {
    /// When it ended.
    pub ended: Instant,
    /// When it ended, ms, server clock.
    pub ended_at_ms: i64,
    /// How long it took.
    pub took: Duration,
    /// What it found and did, in one line for people.
    pub account: String,
}

/// A guard that holds moves.
#[derive(Debug, Clone)]
pub struct OpenGuard {
    /// Which: one of the closed set of guards.
    pub guard: &'static str,
    /// The queue whose moves it holds; `None`: all of them.
    pub queue: Option<String>,
    /// When it opened.
    pub since: Instant,
    /// What it saw, for people.
    pub reason: String,
}

/// A queue as the replica that sweeps it last saw it; all figures are 0 on a standby.
#[derive(Debug, Clone)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// Whether this replica sweeps it.
    pub leader: bool,
    /// Whether verdicts move tasks.
    pub mode: Mode,
    /// Whether takes are paused.
    pub paused: bool,
    /// Tasks that wait.
    pub pending: u64,
    /// Tasks that wait for their time.
    pub delayed: u64,
    /// Running tasks, by what is known of their agents.
    pub running: ByLiveness,
    /// Dead letters.
    pub dead: u64,
    /// Agents' sessions.
    pub agents: ByLiveness,
    /// Abandoned tasks that a guard holds back.
    pub held: u64,
    /// Abandoned tasks that wait until a hook tells how their work elsewhere stands.
    pub elsewhere: u64,
    /// Work elsewhere that nobody waits for and that isn't known to have ended.
    pub unwanted: u64,
    /// When the oldest running task was taken, ms, server clock.
    pub oldest_running_at_ms: Option<i64>,
    /// When the task that has been abandoned for longest became so, ms, server clock.
    pub oldest_abandoned_at_ms: Option<i64>,
    /// When the oldest dead letter died, ms, server clock.
    pub oldest_dead_at_ms: Option<i64>,
}

/// A number by what is known of the agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ByLiveness {
    /// They beat.
    pub alive: u64,
    /// They are late.
    pub suspect: u64,
    /// They are lost, or silent for long enough to be.
    pub lost: u64,
}

impl ByLiveness {
    /// All of them.
    #[must_use]
    pub fn sum(self) -> u64 {
        self.alive.saturating_add(self.suspect).saturating_add(self.lost)
    }
}

impl Queue {
    /// A queue of which nothing is known yet.
    #[must_use]
    pub fn unknown(name: impl Into<String>, mode: Mode) -> Self {
        Self {
            name: name.into(),
            leader: false,
            mode,
            paused: false,
            pending: 0,
            delayed: 0,
            running: ByLiveness::default(),
            dead: 0,
            agents: ByLiveness::default(),
            held: 0,
            elsewhere: 0,
            unwanted: 0,
            oldest_running_at_ms: None,
            oldest_abandoned_at_ms: None,
            oldest_dead_at_ms: None,
        }
    }
}

/// One question about this replica, with its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name, which the documentation explains.
    pub name: &'static str,
    /// Whether all is well.
    pub ok: bool,
    /// How old the finding is, where it has an age.
    pub age: Option<Duration>,
    /// The age at which it would stop being well, where there is one.
    pub threshold: Option<Duration>,
    /// The finding, for people.
    pub detail: String,
}

impl Snapshot {
    /// A replica that begins: nothing is loaded, nobody has answered.
    #[must_use]
    pub fn beginning(now: Instant, interval: Duration) -> Self {
        Self {
            ticked: now,
            interval,
            stopping: false,
            config: Config::default(),
            redis: Redis { up: false, since: now, answered: false, error: None, clock_skew: Duration::ZERO },
            last_pass: None,
            guards: Vec::new(),
            queues: Vec::new(),
        }
    }

    /// The age at which a pass, or a turn of the loop, is overdue.
    #[must_use]
    pub fn overdue_after(&self) -> Duration {
        self.interval.saturating_mul(STALLED_AFTER).saturating_add(STALLED_SLACK)
    }

    /// Whether the sweep loop itself still turns. Says nothing about Redis: an outage there must not restart every
    /// replica.
    #[must_use]
    pub fn loop_check(&self, now: Instant) -> Check {
        let age = now.saturating_duration_since(self.ticked);
        let threshold = self.overdue_after();
        let ok = age <= threshold;
        let detail = if ok { "the sweep loop turns" } else { "the sweep loop doesn't turn any more" };
        Check { name: "loop", ok, age: Some(age), threshold: Some(threshold), detail: detail.to_owned() }
    }

    /// Why this replica can't do its work yet, or not any more; `None`: it is ready, be it as a standby.
    #[must_use]
    pub fn unready(&self) -> Option<&'static str> {
        match () {
            () if self.stopping => Some("it is stopping"),
            () if self.config.loaded_at_ms.is_none() => Some("no configuration is loaded"),
            () if !self.redis.answered => Some("redis has not answered yet"),
            () => None,
        }
    }

    /// Every question about this replica.
    #[must_use]
    pub fn checks(&self, now: Instant) -> Vec<Check> {
        vec![
            self.loop_check(now),
            self.sweep_check(now),
            self.redis_check(now),
            self.guards_check(now),
            self.held_check(),
            self.config_check(),
        ]
    }

    fn sweep_check(&self, now: Instant) -> Check {
        let age = self.last_pass.as_ref().map(|pass| now.saturating_duration_since(pass.ended));
        let threshold = self.overdue_after();
        let detail = match &self.last_pass {
            Some(pass) => format!("the last pass: {}", pass.account),
            None => "no pass has ended yet".to_owned(),
        };
        Check {
            name: "sweep",
            ok: age.is_some_and(|age| age <= threshold),
            age,
            threshold: Some(threshold),
            detail,
        }
    }

    fn redis_check(&self, now: Instant) -> Check {
        let detail = match (&self.redis.error, self.redis.up) {
            (_, true) => "answers".to_owned(),
            (Some(error), false) => error.clone(),
            (None, false) => "has not answered yet".to_owned(),
        };
        let age = Some(now.saturating_duration_since(self.redis.since));
        Check { name: "redis", ok: self.redis.up, age, threshold: None, detail }
    }

    fn guards_check(&self, now: Instant) -> Check {
        let age = self.guards.iter().map(|open| now.saturating_duration_since(open.since)).max();
        let tell = |open: &OpenGuard| match &open.queue {
            Some(queue) => format!("{} holds queue {queue}: {}", open.guard, open.reason),
            None => format!("{} holds every queue: {}", open.guard, open.reason),
        };
        let told: Vec<String> = self.guards.iter().map(tell).collect();
        let detail = if told.is_empty() { "none is open".to_owned() } else { told.join("; ") };
        Check { name: "guards", ok: self.guards.is_empty(), age, threshold: None, detail }
    }

    fn held_check(&self) -> Check {
        let held = self.queues.iter().fold(0, |sum: u64, queue| sum.saturating_add(queue.held));
        let detail = format!("{held} abandoned tasks are held back by guards");
        Check { name: "held", ok: held == 0, age: None, threshold: None, detail }
    }

    fn config_check(&self) -> Check {
        let detail = match (&self.config.rejected, self.config.loaded_at_ms) {
            (Some(why), Some(_)) => format!("the last one was refused, the one before it is in force: {why}"),
            (Some(why), None) => format!("refused: {why}"),
            (None, Some(_)) => "loaded".to_owned(),
            (None, None) => "not loaded yet".to_owned(),
        };
        let ok = self.config.rejected.is_none() && self.config.loaded_at_ms.is_some();
        Check { name: "config", ok, age: None, threshold: None, detail }
    }
}
