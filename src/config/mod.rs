//! The configuration: what was typed (`file`), and what it means ([`Settings`]).
//!
//! A flag goes before the environment, that before the file, and the file before the defaults. Without a file all
//! are defaults. Nothing is accepted that has no effect: an unknown key is refused, also one that a later version
//! will know. All problems are reported at once, each with its place and what would be right.

mod compile;
mod external;
mod file;
mod foreign;
mod layout;
mod problem;
mod redis_url;
mod resolve;
mod section;
#[cfg(test)]
mod tests;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tracing::Level;

pub use self::foreign::Foreign;
pub use self::layout::{PRESETS, preset};
pub use self::problem::{ConfigError, Problem};
pub use self::redis_url::{InvalidRedisUrl, RedisUrl};
use self::section::Problems;
use crate::core::id::QueueName;
use crate::core::policy::QueuePolicy;

/// The annotated reference: every key with its meaning, unit and default. It parses to the defaults.
pub const REFERENCE: &str = include_str!("../../config/backstop.toml");

/// The names of queues, each once.
type QueueNames = BTreeSet<QueueName>;

/// Says what is wrong with a cron expression of six fields. Given by whoever runs the schedule, so that what is
/// accepted here is what can be run there.
pub type CheckCron = fn(&str) -> Result<(), String>;

/// All that the daemon was told. Two that are equal mean the same, so a reload can tell what changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where Redis is.
    pub redis_url: RedisUrl,
    /// When to sweep, and what.
    pub sweep: SweepSettings,
    /// Where HTTP is served.
    pub listen: SocketAddr,
    /// When the sweeper doubts itself.
    pub guards: GuardSettings,
    /// What is logged, and how.
    pub log: LogSettings,
    /// What was decided for each queue.
    pub policies: Policies,
    /// Systems that are watched from outside, each under the name by which metrics and messages speak of it.
    pub foreign: BTreeMap<QueueName, Foreign>,
}

/// When to sweep, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepSettings {
    /// When a pass begins.
    pub schedule: Schedule,
    /// For how long a replica has a queue to itself.
    pub lease: Duration,
    /// Whether queues that agents made known in Redis are swept too.
    pub discover: bool,
    /// The queues that are swept in any case: those listed and those that have settings of their own.
    pub queues: BTreeSet<QueueName>,
}

/// When a pass begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// This long after the one before began.
    Every(Duration),
    /// When this cron expression says; six fields, the first being seconds.
    Cron(String),
}

/// When the sweeper doubts itself.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardSettings {
    /// When so many agents are lost that the cause is probably not theirs.
    pub mass_loss: MassLoss,
    /// What everyone is given after Redis changed or its clock jumped.
    pub failover_grace: Duration,
}

/// When so many agents of one queue are lost that the cause is probably not theirs, and what goes on then.
#[derive(Debug, Clone, PartialEq)]
pub struct MassLoss {
    /// The part of the sessions that must be lost; above 0, at most 1.
    pub share: f64,
    /// The number of sessions that there must be, at least 1.
    pub min_sessions: u32,
    /// The time within which they are lost.
    pub window: Duration,
    /// While the guard is open, the tasks of one agent are moved in each such time.
    pub pace: Duration,
}

/// What is logged, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// How a line looks.
    pub format: LogFormat,
    /// The least important level that is still logged.
    pub level: Level,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// What was decided for each queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Policies {
    /// For queues that have no entry of their own.
    pub default: QueuePolicy,
    /// For these queues; complete: what a queue doesn't override stands here as the default has it.
    pub queues: BTreeMap<QueueName, QueuePolicy>,
}

impl Policies {
    /// What was decided for this queue.
    #[must_use]
    pub fn of(&self, queue: &QueueName) -> &QueuePolicy {
        self.queues.get(queue).unwrap_or(&self.default)
    }
}

/// What was given by flag or, failing that, by the environment: it goes before the file. Without `Debug`, for the
/// address may hold a password.
#[derive(Clone, Default)]
pub struct Overrides {
    /// `--redis` or `BACKSTOP_REDIS_URL`.
    pub redis_url: Option<String>,
    /// `--listen`.
    pub listen: Option<String>,
}

impl Settings {
    /// What was decided for this queue, ours or another's.
    #[must_use]
    pub fn policy_of(&self, queue: &QueueName) -> &QueuePolicy {
        self.foreign.get(queue).map_or_else(|| self.policies.of(queue), |foreign| &foreign.policy)
    }

    /// Reads the file at `path`, if there is one, and makes settings of it and of `overrides`.
    ///
    /// # Errors
    /// [`ConfigError`] with all that is wrong: in the file, between its values, and in the overrides.
    pub fn load(
        path: Option<&Path>,
        overrides: &Overrides,
        check_cron: CheckCron,
    ) -> Result<Self, ConfigError> {
        let text = match path {
            Some(path) => file::text(path).map_err(|problem| ConfigError::new(vec![problem]))?,
            None => String::new(),
        };
        let origin = path.map(|path| path.display().to_string()).unwrap_or_default();
        Self::parse(origin, &text, overrides, check_cron)
    }

    fn parse(
        origin: String,
        text: &str,
        overrides: &Overrides,
        check_cron: CheckCron,
    ) -> Result<Self, ConfigError> {
        let mut problems = Problems::new(origin, text);
        let mut file = section::document(&mut problems, file::File::read).unwrap_or_default();
        let mut settings = resolve::settings(&mut file, check_cron, &mut problems);
        settings.apply(overrides, &mut problems);
        let found = problems.into_found();
        if found.is_empty() { Ok(settings) } else { Err(ConfigError::new(found)) }
    }

    fn apply(&mut self, overrides: &Overrides, problems: &mut Problems<'_>) {
        if let Some(typed) = &overrides.redis_url {
            match typed.parse() {
                Ok(url) => self.redis_url = url,
                Err(InvalidRedisUrl) => {
                    let shown = redis_url::redacted(typed);
                    let message = format!("{shown:?}: {InvalidRedisUrl}");
                    problems.push(Problem::whole("--redis or BACKSTOP_REDIS_URL", message));
                }
            }
        }
        if let Some(typed) = &overrides.listen {
            match value::parse_listen(typed) {
                Ok(listen) => self.listen = listen,
                Err(message) => problems.push(Problem::whole("--listen", format!("{typed:?}: {message}"))),
            }
        }
    }
}

/// A system of this preset as it is watched where nothing else is said, with these variables.
///
/// # Errors
/// [`ConfigError`] if there is no such preset, or no such variable.
pub fn foreign_of_preset(name: &str, vars: &[(String, String)]) -> Result<Foreign, ConfigError> {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let mut text = format!("[foreign.system]\npreset = {}\n[foreign.system.vars]\n", quoted(name));
    for (name, value) in vars {
        text.push_str(&format!("{} = {}\n", quoted(name), quoted(value)));
    }
    let settings = Settings::parse(format!("preset {name}"), &text, &Overrides::default(), |_| Ok(()))?;
    let found = settings.foreign.into_values().next();
    found.ok_or_else(|| ConfigError::new(vec![Problem::whole(name, "is no preset")]))
}

impl Default for Settings {
    fn default() -> Self {
        let mut nothing_typed = file::File::default();
        resolve::settings(&mut nothing_typed, |_| Ok(()), &mut Problems::new(String::new(), ""))
    }
}
