//! What a queue's operator decided: how long to wait, and what to do then.
//!
//! Three clocks, never mixed. **Silence** asks whether the agent is dead and belongs to its session. **Age** asks
//! whether a task hangs though its agent lives. **Value** asks whether anyone still wants the result.

use std::collections::BTreeMap;
use std::time::Duration;

use super::external::External;
use super::id::TaskType;

/// Whether verdicts move tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Verdicts are carried out.
    Enforce,
    /// Verdicts are made, counted, logged and shown, and nothing moves: how a careful person starts.
    Observe,
}

/// What happens when a task's age passes its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitAction {
    /// It is counted and shown; the task goes on. The default: a cap must not kill healthy long runs.
    Alert,
    /// The agent is told to stop with its next beat's answer; reset and fenced if it has not within `revoke_grace`.
    Revoke,
    /// Reset at once, and fenced.
    Reset,
}

/// What becomes of a completion whose token no longer holds the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LateResults {
    /// Taken if the replacement has not started yet, which is then withdrawn.
    AcceptIfUnstarted,
    /// Refused, always.
    Refuse,
}

/// When an agent that can't reach Redis stops its own work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopOnAgent {
    /// After this long without an answered beat.
    After(Duration),
    /// Never: it goes on through an outage and relies on the fence.
    Never,
}

/// A limit on a task's age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgeLimit {
    /// Longest time from taking to completion; `None`: no limit.
    pub limit: Option<Duration>,
    /// What happens when it passes.
    pub action: LimitAction,
}

/// How long a failed task waits for its next attempt: `first × factor^(failures − 1)`, at most `max`, jittered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// The wait after the first failure.
    pub first: Duration,
    /// What each further failure multiplies it by; at least 1.
    pub factor: f64,
    /// The longest wait.
    pub max: Duration,
}

/// What belongs to the agents of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionPolicy {
    /// How often an agent beats; large fleets are asked to beat less often.
    pub heartbeat_interval: Duration,
    /// Silence after which a session is *suspect*; at least three intervals.
    pub heartbeat_timeout: Duration,
    /// Further silence after which a suspect is *lost*.
    pub lost_after: Duration,
    /// What a session that registered and never beat is given.
    pub startup_grace: Duration,
    /// What a superseded session's tasks wait for their new incarnation, once; at most [`Self::lost_timeout`].
    pub adopt_within: Duration,
    /// More time for a lost identity to come back before its tasks go to others.
    pub reconnect_grace: Duration,
    /// When an agent that can't beat stops its own work.
    pub stop_on_agent_after: StopOnAgent,
}

impl SessionPolicy {
    /// Silence after which a session is lost: `heartbeat_timeout + lost_after`.
    #[must_use]
    pub fn lost_timeout(&self) -> Duration {
        self.heartbeat_timeout + self.lost_after
    }
}

/// What belongs to tasks; may be overridden per type.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskPolicy {
    /// Age: from taking to completion.
    pub start_to_close: AgeLimit,
    /// Age: longest time between two signs of life of the task itself; `None`: not watched.
    pub task_heartbeat_timeout: Option<Duration>,
    /// What a revoked task's agent is given to stop.
    pub revoke_grace: Duration,
    /// Value: from enqueueing to completion, for tasks without a deadline of their own; `None`: for ever.
    pub schedule_to_close: Option<Duration>,
    /// Abandonments that are forgiven; the next one makes the task a dead letter, reason `poison`.
    pub max_abandonments: u32,
    /// Failures that are retried; the next one makes the task a dead letter, reason `failed`.
    pub max_failures: u32,
    /// The wait between failures.
    pub backoff: Backoff,
    /// The wait after a task's own program gave it back.
    pub release_delay: Duration,
    /// The wait after a reset. A pass that returns more than 100 tasks spreads them over at least 5 s.
    pub reset_delay: Duration,
    /// What becomes of late completions.
    pub late_results: LateResults,
    /// What becomes of work that is done elsewhere.
    pub external: External,
}

/// All that was decided for one queue.
#[derive(Debug, Clone, PartialEq)]
pub struct QueuePolicy {
    /// Whether verdicts move tasks.
    pub mode: Mode,
    /// For how long a finished task's id is remembered, so that repeating a command is harmless.
    pub keep_done: Duration,
    /// What belongs to the agents.
    pub session: SessionPolicy,
    /// What belongs to tasks whose type has no entry of its own.
    pub task: TaskPolicy,
    /// Overrides by type, complete: what a type doesn't override stands here as its queue has it.
    pub types: BTreeMap<TaskType, TaskPolicy>,
}

impl QueuePolicy {
    /// The policy for tasks of this type.
    #[must_use]
    pub fn of(&self, task_type: &str) -> &TaskPolicy {
        // A linear look over a handful of overrides; keyed access would need a validated name from a hostile record.
        self.types
            .iter()
            .find(|(name, _)| name.as_str() == task_type)
            .map_or(&self.task, |(_, policy)| policy)
    }

    /// Whether anybody can be asked about work that is done elsewhere.
    #[must_use]
    pub fn has_hooks(&self) -> bool {
        self.types.values().chain([&self.task]).any(|task| task.external.has_hooks())
    }
}

impl Default for SessionPolicy {
    fn default() -> Self {
        let heartbeat_timeout = Duration::from_secs(15);
        let lost_after = Duration::from_secs(15);
        Self {
            heartbeat_interval: Duration::from_secs(5),
            heartbeat_timeout,
            lost_after,
            startup_grace: Duration::from_secs(60),
            adopt_within: heartbeat_timeout + lost_after,
            reconnect_grace: Duration::ZERO,
            stop_on_agent_after: StopOnAgent::After(heartbeat_timeout + lost_after / 2),
        }
    }
}

impl Default for TaskPolicy {
    fn default() -> Self {
        Self {
            start_to_close: AgeLimit { limit: Some(Duration::from_secs(3600)), action: LimitAction::Alert },
            task_heartbeat_timeout: None,
            revoke_grace: Duration::from_secs(30),
            schedule_to_close: None,
            max_abandonments: 3,
            max_failures: 5,
            backoff: Backoff { first: Duration::from_secs(1), factor: 2.0, max: Duration::from_secs(100) },
            release_delay: Duration::from_secs(5),
            reset_delay: Duration::ZERO,
            late_results: LateResults::AcceptIfUnstarted,
            external: External::default(),
        }
    }
}

impl Default for QueuePolicy {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            keep_done: Duration::from_secs(120),
            session: SessionPolicy::default(),
            task: TaskPolicy::default(),
            types: BTreeMap::new(),
        }
    }
}
