//! The one table of metrics: the only place where a metric's name, kind, labels, unit and help stand.
//!
//! The recorder registers what stands here, the documentation is written from it, and tests walk it. No label ever
//! holds an agent, a task, a host or an error's text: each is a closed set, or a queue out of a bounded number.

/// What starts every metric's name.
pub const PREFIX: &str = "backstop_";

/// Most queues that get a label value of their own.
pub const MOST_QUEUES: usize = 64;

/// The label value that stands for all queues beyond those.
pub const OTHER: &str = "_other";

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only grows, from zero, while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A point in time, in seconds since 1970; absent while there is none, since a zero would look ancient.
    Moment,
    /// Counts by size, with these upper edges.
    Histogram(&'static [f64]),
}

/// A label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// `queue`: configured queues first, then others, at most [`MOST_QUEUES`]; the rest is [`OTHER`].
    Queue,
    /// One of a closed set.
    Closed {
        /// The label's name.
        name: &'static str,
        /// All values that it ever has.
        values: &'static [&'static str],
    },
}

impl Label {
    /// The label's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Closed { name, .. } => name,
        }
    }
}

/// A metric.
#[derive(Debug)]
pub struct Metric {
    /// Its name, without [`PREFIX`].
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// Its labels, in the order in which the recorder gives their values.
    pub labels: &'static [Label],
    /// What one of it is.
    pub unit: &'static str,
    /// What it tells.
    pub help: &'static str,
}

const fn closed(name: &'static str, values: &'static [&'static str]) -> Label {
    Label::Closed { name, values }
}

/// Why a task counts as abandoned.
pub const CAUSES: &[&str] = &["agent_lost", "task_silent", "start_to_close", "schedule_to_close"];
/// Why a task was set aside.
pub const DEATHS: &[&str] = &["poison", "failed", "expired", "no_payload"];
/// Where a task was when its deadline passed.
pub const EXPIRED_WHILE: &[&str] = &["waiting", "running"];
/// Why a verdict, or an entry of an index, came to nothing.
pub const SKIPS: &[&str] = &["not_any_more", "no_record"];
/// What proved a reset false: the late result was refused, or taken and the replacement withdrawn.
pub const EVIDENCE: &[&str] = &["late", "withdrawn"];
/// What may be concluded from a call that failed.
pub const FAILURES: &[&str] = &["transient", "permanent", "unknown"];
/// What makes the sweeper doubt itself.
pub const GUARDS: &[&str] = &[
    "mass_loss",
    "redis_changed",
    "clock_jumped",
    "own_pause",
    "policy_changed",
    "unproven",
    "unknown_version",
];
/// What a hook is asked.
pub const HOOKS: &[&str] = &["probe", "cancel"];
/// What a hook said.
pub const HOOK_WORDS: &[&str] = &["active", "succeeded", "failed", "ended", "cannot", "unclear"];
/// Whether verdicts move tasks.
pub const MODES: &[&str] = &["enforce", "observe"];
/// What is known of an agent.
pub const LIVENESS: &[&str] = &["alive", "suspect", "lost"];
/// Where a task of a queue may be.
pub const STATES: &[&str] = &["pending", "delayed", "running", "dead"];
/// The scripts: a test holds this against the files.
pub const SCRIPTS: &[&str] = &[
    "adopt",
    "apply",
    "beat",
    "cancel",
    "census",
    "complete",
    "declare",
    "discard",
    "dismiss",
    "enqueue",
    "expire",
    "extend",
    "external",
    "fail",
    "forget",
    "inspect",
    "leave",
    "move",
    "note",
    "observe",
    "publish",
    "reconcile",
    "redrive",
    "register",
    "release",
    "reset",
    "settle",
    "steer",
    "switch",
    "take",
];
/// Labels whose values may turn out to be too many, or unknown.
pub const OVERFLOWING: &[&str] = &[
    "queue", "cause", "reason", "state", "evidence", "liveness", "script", "guard", "kind", "mode", "hook",
    "said",
];
/// The version of this build.
pub const VERSIONS: &[&str] = &[env!("CARGO_PKG_VERSION")];

const QUEUE: Label = Label::Queue;
const CAUSE: Label = closed("cause", CAUSES);
const GUARD: Label = closed("guard", GUARDS);
const MODE: Label = closed("mode", MODES);

// Each has an edge at 60 s, which is what the objective for detection is measured against.
const WAITS: &[f64] = &[0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0];
const SILENCES: &[f64] = &[5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 120.0, 300.0, 900.0, 3600.0];
const WORK: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 10.0, 60.0];

const REDIS_TIME: &str = "seconds since 1970, clock of Redis";

macro_rules! table {
    ($($id:ident: $kind:expr, $name:literal, [$($label:expr),*], $unit:expr, $help:literal;)+) => {
        $(
            #[doc = $help]
            pub static $id: Metric =
                Metric { name: $name, kind: $kind, labels: &[$($label),*], unit: $unit, help: $help };
        )+

        /// All metrics.
        pub static TABLE: &[&Metric] = &[$(&$id,)+];
    };
}

use Kind::{Counter, Gauge, Histogram, Moment};

table! {
    ABANDONED: Counter, "tasks_abandoned_total", [QUEUE, CAUSE], "tasks",
        "Tasks that were found abandoned and acted on: each was reset, dead-lettered, expired, adopted, collected, or failed elsewhere.";
    OBSERVED: Counter, "observed_abandonments_total", [QUEUE, CAUSE], "tasks",
        "Abandonments that observe mode saw and left alone; each attempt counts once a replica.";
    RESET: Counter, "tasks_reset_total", [QUEUE, CAUSE], "tasks",
        "Abandoned tasks that went back to pending.";
    DEAD_LETTERED: Counter, "tasks_dead_lettered_total", [QUEUE, closed("reason", DEATHS)], "tasks",
        "Tasks that were set aside for a person: abandoned or failed too often, or past their deadline.";
    EXPIRED: Counter, "tasks_expired_total", [QUEUE, closed("state", EXPIRED_WHILE)], "tasks",
        "Tasks whose deadline passed, by where they were; also counted as dead letters with reason expired.";
    SKIPPED: Counter, "tasks_skipped_total", [QUEUE, closed("reason", SKIPS)], "tasks",
        "Verdicts that were not so any more when they were carried out, and entries without a record.";
    RECLAIMED: Counter, "tasks_reclaimed_total", [QUEUE], "tasks",
        "Reset tasks that an agent took again.";
    RECOVERED: Counter, "tasks_recovered_total", [QUEUE], "tasks",
        "Tasks that were completed after having been abandoned.";
    RELEASED: Counter, "tasks_released_total", [QUEUE], "tasks",
        "Tasks that agents gave back without anything being charged.";
    ADOPTED: Counter, "tasks_adopted_total", [QUEUE], "tasks",
        "Tasks of a dead process that its successor took over.";
    COLLECTED: Counter, "tasks_collected_total", [QUEUE], "tasks",
        "Abandoned tasks that are complete because their work elsewhere had succeeded.";
    FAILED_ELSEWHERE: Counter, "tasks_failed_elsewhere_total", [QUEUE], "tasks",
        "Abandoned tasks that failed because their work elsewhere had failed.";
    FALSE_RESETS: Counter, "false_resets_total", [QUEUE, closed("evidence", EVIDENCE)], "tasks",
        "Resets that a result of the first run proved to have been wrong.";
    REFUTED: Counter, "refuted_suspicions_total", [QUEUE], "suspicions",
        "Suspect agents that turned out to be alive.";

    DETECTION_LATENCY: Histogram(WAITS), "detection_latency_seconds", [QUEUE], "seconds",
        "Time from the moment at which a task could have been found abandoned until it was.";
    SILENCE: Histogram(SILENCES), "silence_seconds", [QUEUE], "seconds",
        "How long the agents of abandoned tasks had been silent when they were given up.";
    SWEEP_DURATION: Histogram(WORK), "sweep_duration_seconds", [], "seconds",
        "How long a pass over all queues took.";
    SCRIPT_DURATION: Histogram(WORK), "script_duration_seconds", [closed("script", SCRIPTS)], "seconds",
        "Time from sending a script to its answer, or to giving up on it.";

    SWEEPS: Counter, "sweeps_total", [], "passes", "Passes that reached their end.";
    SWEEP_FAILURES: Counter, "sweep_failures_total", [closed("reason", FAILURES)], "passes",
        "Passes that ended early, by what may be concluded from the failure.";
    SWEEP_INTERVAL: Gauge, "sweep_interval_seconds", [], "seconds", "How often this replica means to sweep.";
    LAST_SWEEP: Gauge, "last_sweep_success_timestamp_seconds", [], REDIS_TIME,
        "When the last pass reached its end; 0: none has yet.";
    SCANNED_AGENTS: Counter, "scanned_agents_total", [QUEUE], "sessions", "Sessions that passes looked at.";
    SCANNED_TASKS: Counter, "scanned_tasks_total", [QUEUE], "tasks", "Tasks that passes looked at.";
    SWEEP_TRUNCATED: Counter, "sweep_truncated_total", [], "passes",
        "Passes that stopped at their limit of work and left the rest to the next.";

    RUNNING_TASKS: Gauge, "running_tasks", [QUEUE, closed("liveness", LIVENESS)], "tasks",
        "Running tasks, by what is known of their agents; from the replica that sweeps the queue.";
    QUEUE_TASKS: Gauge, "queue_tasks", [QUEUE, closed("state", STATES)], "tasks",
        "Tasks in the system, by where they are; from the replica that sweeps the queue.";
    AGENTS: Gauge, "agents", [QUEUE, closed("state", LIVENESS)], "sessions",
        "Sessions of agents, by what is known of them; from the replica that sweeps the queue.";
    OLDEST_RUNNING: Moment, "oldest_running_timestamp_seconds", [QUEUE], REDIS_TIME,
        "When the oldest running task was taken; absent while none runs.";
    OLDEST_ABANDONED: Moment, "oldest_abandoned_timestamp_seconds", [QUEUE], REDIS_TIME,
        "When the task that has waited longest to be reset was abandoned; absent while there is none.";
    OLDEST_DEAD: Moment, "dead_letter_oldest_timestamp_seconds", [QUEUE], REDIS_TIME,
        "When the oldest dead letter died; absent while there is none.";

    HOOK_CALLS: Counter, "hook_calls_total", [QUEUE, closed("hook", HOOKS), closed("said", HOOK_WORDS)], "calls",
        "Calls of hooks about work elsewhere, by what they said; unclear: nothing that can be understood.";
    EXTERNAL_HELD: Gauge, "external_held_tasks", [QUEUE], "tasks",
        "Abandoned tasks that are held until a hook tells how their work elsewhere stands.";
    EXTERNAL_UNWANTED: Gauge, "external_unwanted", [QUEUE], "handles",
        "Work elsewhere that nobody waits for any more, and that isn't known to have ended.";
    EXTERNAL_UNASKED: Counter, "external_unasked_total", [QUEUE], "handles",
        "Work elsewhere that nobody waits for and about which nobody could be asked, or that was one too many to remember.";

    GUARD_OPEN: Gauge, "guard_open", [GUARD], "0 or 1", "Whether the guard holds moves in any queue.";
    GUARD_TRIPS: Counter, "guard_trips_total", [GUARD], "openings", "How often the guard opened.";
    GUARD_HELD: Gauge, "guard_held_tasks", [QUEUE], "tasks", "Abandoned tasks that guards hold back.";
    LEADER: Gauge, "leader", [QUEUE], "0 or 1", "Whether this replica sweeps the queue.";
    LEADER_TRANSITIONS: Counter, "leader_transitions_total", [QUEUE], "changes",
        "How often this replica began to sweep the queue.";
    CLOCK_SKEW: Gauge, "clock_skew_seconds", [], "seconds",
        "By how much the clock of Redis and ours ran apart between the last two passes.";

    REDIS_UP: Gauge, "redis_up", [], "0 or 1", "Whether Redis answered the last call.";
    REDIS_ERRORS: Counter, "redis_errors_total", [closed("kind", FAILURES)], "calls",
        "Calls without a usable answer, by what may be concluded: not run, never will, or nobody knows.";
    BUILD_INFO: Gauge, "build_info", [closed("version", VERSIONS)], "1", "The version of this build.";
    MODE_INFO: Gauge, "mode_info", [QUEUE, MODE], "0 or 1", "Whether verdicts move the queue's tasks.";
    CONFIG_RELOAD_OK: Gauge, "config_last_reload_successful", [], "0 or 1",
        "Whether the configuration was accepted when it was last read.";
    CONFIG_RELOAD_AT: Gauge, "config_last_reload_success_timestamp_seconds", [], "seconds since 1970, own clock",
        "When the configuration in force was read; 0: none is.";
    LABEL_OVERFLOW: Counter, "label_overflow_total", [closed("label", OVERFLOWING)], "samples",
        "Samples whose own label value had no place: queues beyond the limit count as _other, unknown words nowhere.";
}
