//! What was typed becomes what it means: defaults are filled in, a queue inherits from the defaults and a type from
//! its queue, and values that contradict each other are refused.
//!
//! Where a problem was noted, what is returned has no meaning: it is never used, for the whole is refused.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use humantime::format_duration;
use tracing::Level;

use super::file::{File, GuardsFile, QueueFile, SessionFile, SweepFile, TaskFile};
use super::foreign;
use super::section::{At, Place, Problems};
use super::value::{AtLeastOne, CronFields, Factor, Limit, Period, Share, Wait};
use super::{
    CheckCron, GuardSettings, LogFormat, LogSettings, MassLoss, Policies, QueueNames, Schedule, Settings,
    SweepSettings,
};
use crate::core::id::QueueName;
use crate::core::policy::{AgeLimit, Backoff, QueuePolicy, SessionPolicy, StopOnAgent, TaskPolicy};

/// How often passes are made.
const EVERY: Duration = Duration::from_secs(2);
/// A replica's lease outlives two missed passes.
const LEASE_INTERVALS: u32 = 3;
/// Where HTTP is served: this machine only, for there is no TLS.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);
/// See [`MassLoss`].
const MASS_LOSS: MassLoss =
    MassLoss { share: 0.55, min_sessions: 3, window: Duration::from_secs(60), pace: Duration::from_secs(10) };
/// After a failover, agents need at least this long to find the new primary.
const FAILOVER_GRACE: Duration = Duration::from_secs(60);
/// … and a few of their beats, should those be slow.
const FAILOVER_TIMEOUTS: u32 = 3;
/// A single lost beat must never make a session suspect, nor may two.
const INTERVALS_IN_TIMEOUT: u32 = 3;

/// The value that was typed, or this one.
pub(super) fn or<T, U: Copy>(typed: &Option<At<T>>, value: impl Fn(&T) -> U, default: U) -> U {
    typed.as_ref().map_or(default, |at| value(&at.value))
}

fn wait(typed: &Option<At<Wait>>, default: Duration) -> Duration {
    or(typed, |wait| wait.0, default)
}

pub(super) fn period(typed: &Option<At<Period>>, default: Duration) -> Duration {
    or(typed, |period| period.0, default)
}

fn limit(typed: &Option<At<Limit>>, default: Option<Duration>) -> Option<Duration> {
    or(typed, |limit| limit.0, default)
}

fn place<T>(typed: &Option<At<T>>) -> Option<&Place> {
    typed.as_ref().map(|at| &at.place)
}

/// The settings that this file means.
pub(super) fn settings(file: &mut File, check_cron: CheckCron, problems: &mut Problems<'_>) -> Settings {
    let policies = policies(file, problems);
    let mut own: QueueNames = file.sweep.queues.as_ref().map_or_else(QueueNames::new, |at| at.value.clone());
    own.extend(policies.queues.keys().cloned());
    let foreign = foreign::resolve(std::mem::take(&mut file.foreign), &own, problems);
    Settings {
        redis_url: file.redis_url.as_ref().map(|at| at.value.clone()).unwrap_or_default(),
        sweep: sweep(&file.sweep, policies.queues.keys(), !foreign.is_empty(), check_cron, problems),
        listen: or(&file.listen, |listen| *listen, LISTEN),
        guards: guards(&file.guards, &policies, foreign.values()),
        log: LogSettings {
            format: or(&file.log.format, |format| *format, LogFormat::Auto),
            level: or(&file.log.level, |level| *level, Level::INFO),
        },
        policies,
        foreign,
    }
}

fn sweep<'q>(
    typed: &SweepFile,
    configured: impl Iterator<Item = &'q QueueName>,
    watches: bool,
    check_cron: CheckCron,
    problems: &mut Problems<'_>,
) -> SweepSettings {
    let every = period(&typed.every, EVERY);
    // Before a cron expression's passes there is no interval to multiply: the lease need only outlive a pass.
    let lease = period(&typed.lease, every.saturating_mul(LEASE_INTERVALS));
    if let Some(at) = &typed.lease
        && typed.cron.is_none()
        && lease < every
    {
        let every = format_duration(every);
        problems.at(&at.place, format!("ends before the next pass; give at least every ({every})"));
    }

    let schedule = match &typed.cron {
        None => Schedule::Every(every),
        Some(At { value: CronFields(expression), place }) => {
            if typed.every.is_some() {
                problems.at(place, "every and cron exclude each other; leave out one of them");
            }
            if let Err(message) = check_cron(expression) {
                problems.at(place, format!("not a cron expression that can be run: {message}"));
            }
            Schedule::Cron(expression.clone())
        }
    };

    let discover = or(&typed.discover, |discover| *discover, true);
    let mut queues = typed.queues.as_ref().map_or_else(QueueNames::new, |at| at.value.clone());
    queues.extend(configured.cloned());
    if let Some(at) = &typed.discover
        && !discover
        && queues.is_empty()
        && !watches
    {
        problems.at(&at.place, "no queue would ever be swept; list some in sweep.queues, or leave this true");
    }
    SweepSettings { schedule, lease, discover, queues }
}

fn guards<'f>(
    typed: &GuardsFile,
    policies: &Policies,
    foreign: impl Iterator<Item = &'f super::Foreign>,
) -> GuardSettings {
    let slowest = policies
        .queues
        .values()
        .chain([&policies.default])
        .chain(foreign.map(|one| &one.policy))
        .map(|policy| policy.session.heartbeat_timeout)
        .max()
        .unwrap_or_default();
    let grace = FAILOVER_GRACE.max(slowest.saturating_mul(FAILOVER_TIMEOUTS));
    GuardSettings {
        mass_loss: MassLoss {
            share: or(&typed.share, |Share(share)| *share, MASS_LOSS.share),
            min_sessions: or(&typed.min_sessions, |AtLeastOne(number)| *number, MASS_LOSS.min_sessions),
            window: period(&typed.window, MASS_LOSS.window),
            pace: period(&typed.pace, MASS_LOSS.pace),
        },
        failover_grace: period(&typed.failover_grace, grace),
    }
}

fn policies(file: &File, problems: &mut Problems<'_>) -> Policies {
    let nothing_typed = SessionFile::default();
    let default = queue(&file.defaults, &QueuePolicy::default(), &nothing_typed, problems);
    let queues = file
        .queues
        .iter()
        .map(|(name, typed)| (name.clone(), queue(typed, &default, &file.defaults.session, problems)))
        .collect();
    Policies { default, queues }
}

/// A queue's policy. Of the session it needs what was *typed* above it: two of its defaults follow from the queue's
/// own values, and a value that follows must not be inherited as if somebody had typed it.
fn queue(
    own: &QueueFile,
    inherited: &QueuePolicy,
    inherited_session: &SessionFile,
    problems: &mut Problems<'_>,
) -> QueuePolicy {
    let task_policy = task(&own.task, &inherited.task, problems);
    let types: BTreeMap<_, _> =
        own.types.iter().map(|(name, typed)| (name.clone(), task(typed, &task_policy, problems))).collect();
    QueuePolicy {
        mode: or(&own.mode, |mode| *mode, inherited.mode),
        keep_done: period(&own.keep_done, inherited.keep_done),
        session: session(&own.session, inherited_session, problems),
        task: task_policy,
        types,
    }
}

fn session(own: &SessionFile, above: &SessionFile, problems: &mut Problems<'_>) -> SessionPolicy {
    let default = SessionPolicy::default();
    let inherit = |own: &Option<At<Period>>, above, default| period(own, period(above, default));
    let heartbeat_timeout =
        inherit(&own.heartbeat_timeout, &above.heartbeat_timeout, default.heartbeat_timeout);
    let lost_after = inherit(&own.lost_after, &above.lost_after, default.lost_after);
    let lost_timeout = heartbeat_timeout + lost_after;
    let follows = StopOnAgent::After(heartbeat_timeout + lost_after / 2);
    let above_stop = or(&above.stop_on_agent_after, |stop| *stop, follows);
    let policy = SessionPolicy {
        heartbeat_interval: inherit(
            &own.heartbeat_interval,
            &above.heartbeat_interval,
            default.heartbeat_interval,
        ),
        heartbeat_timeout,
        lost_after,
        startup_grace: inherit(&own.startup_grace, &above.startup_grace, default.startup_grace),
        adopt_within: wait(&own.adopt_within, wait(&above.adopt_within, lost_timeout)),
        reconnect_grace: wait(&own.reconnect_grace, wait(&above.reconnect_grace, default.reconnect_grace)),
        stop_on_agent_after: or(&own.stop_on_agent_after, |stop| *stop, above_stop),
    };
    refuse_early_suspicion(own, &policy, problems);
    refuse_late_stop(own, &policy, problems);
    refuse_long_adoption(own, &policy, problems);
    policy
}

/// What is only inherited was reported where it was typed, so a problem is noted at the value that this level added.
fn refuse_early_suspicion(own: &SessionFile, policy: &SessionPolicy, problems: &mut Problems<'_>) {
    let (interval, timeout) = (policy.heartbeat_interval, policy.heartbeat_timeout);
    let least = interval.saturating_mul(INTERVALS_IN_TIMEOUT);
    if timeout >= least {
        return;
    }
    if let Some(place) = place(&own.heartbeat_timeout) {
        let (least, interval) = (format_duration(least), format_duration(interval));
        problems.at(
            place,
            format!("expected at least {INTERVALS_IN_TIMEOUT} × heartbeat_interval ({interval}), so \"{least}\" or more"),
        );
    } else if let Some(place) = place(&own.heartbeat_interval) {
        let (most, timeout) = (format_duration(timeout / INTERVALS_IN_TIMEOUT), format_duration(timeout));
        problems.at(
            place,
            format!("expected at most heartbeat_timeout ({timeout}) / {INTERVALS_IN_TIMEOUT}, so \"{most}\" or less"),
        );
    }
}

/// An agent that stops only after the sweeper gave its work to another would run it twice at the same time.
fn refuse_late_stop(own: &SessionFile, policy: &SessionPolicy, problems: &mut Problems<'_>) {
    let StopOnAgent::After(silence) = policy.stop_on_agent_after else { return };
    if silence < policy.lost_timeout() {
        return;
    }
    let stop = place(&own.stop_on_agent_after);
    if let Some(place) = stop.or(place(&own.lost_after)).or(place(&own.heartbeat_timeout)) {
        problems.at(
            place,
            format!(
                "an agent that can't beat would stop after {} (stop_on_agent_after), but its tasks go to others \
                 after {} (heartbeat_timeout + lost_after); stop_on_agent_after must be shorter, or \"never\"",
                format_duration(silence),
                format_duration(policy.lost_timeout()),
            ),
        );
    }
}

/// What a superseded session's tasks wait is measured from its last heartbeat, which can't lie in the future.
fn refuse_long_adoption(own: &SessionFile, policy: &SessionPolicy, problems: &mut Problems<'_>) {
    let most = policy.lost_timeout();
    if policy.adopt_within <= most {
        return;
    }
    if let Some(place) = place(&own.adopt_within).or(place(&own.lost_after)).or(place(&own.heartbeat_timeout))
    {
        let (typed, most) = (format_duration(policy.adopt_within), format_duration(most));
        problems.at(
            place,
            format!("adopt_within ({typed}) must be at most heartbeat_timeout + lost_after ({most})"),
        );
    }
}

fn task(own: &TaskFile, inherited: &TaskPolicy, problems: &mut Problems<'_>) -> TaskPolicy {
    let backoff = Backoff {
        first: wait(&own.backoff_first, inherited.backoff.first),
        factor: or(&own.backoff_factor, |Factor(factor)| *factor, inherited.backoff.factor),
        max: wait(&own.backoff_max, inherited.backoff.max),
    };
    if backoff.max < backoff.first
        && let Some(place) = place(&own.backoff_max).or(place(&own.backoff_first))
    {
        let (first, max) = (format_duration(backoff.first), format_duration(backoff.max));
        problems.at(place, format!("backoff.max ({max}) must not be shorter than backoff.first ({first})"));
    }
    TaskPolicy {
        start_to_close: AgeLimit {
            limit: limit(&own.start_to_close, inherited.start_to_close.limit),
            action: or(&own.start_to_close_action, |action| *action, inherited.start_to_close.action),
        },
        task_heartbeat_timeout: limit(&own.task_heartbeat_timeout, inherited.task_heartbeat_timeout),
        revoke_grace: wait(&own.revoke_grace, inherited.revoke_grace),
        schedule_to_close: limit(&own.schedule_to_close, inherited.schedule_to_close),
        max_abandonments: or(&own.max_abandonments, |number| *number, inherited.max_abandonments),
        max_failures: or(&own.max_failures, |number| *number, inherited.max_failures),
        backoff,
        release_delay: wait(&own.release_delay, inherited.release_delay),
        reset_delay: wait(&own.reset_delay, inherited.reset_delay),
        late_results: or(&own.late_results, |late| *late, inherited.late_results),
        external: own.external.resolve(&inherited.external, problems),
    }
}
