//! Publishing the policy.

use std::collections::BTreeMap;
use std::time::Duration;

use super::millis;
use crate::core::policy::{LateResults, LimitAction, Mode, QueuePolicy, StopOnAgent, TaskPolicy};
use crate::native::Command;
use crate::store::{Args, Reply, Script, Shape, StoreError};

/// Publishes a queue's policy, whole. Every setting that scripts read stands there, so an agent needs no configuration.
#[derive(Debug, Clone)]
pub struct Publish {
    /// The policy.
    pub policy: QueuePolicy,
}

/// A setting and its value as scripts read it.
pub(crate) fn fields(policy: &QueuePolicy) -> Vec<(String, String)> {
    let session = &policy.session;
    let stop = match session.stop_on_agent_after {
        StopOnAgent::After(long) => millis(long),
        StopOnAgent::Never => -1,
    };
    let settings = [
        ("_heartbeat_interval", millis(session.heartbeat_interval)),
        ("_heartbeat_timeout", millis(session.heartbeat_timeout)),
        ("_lost_after", millis(session.lost_after)),
        ("_adopt_within", millis(session.adopt_within)),
        ("_keep_done", millis(policy.keep_done)),
        ("_stop_on_agent_after", stop),
    ];
    let mut fields: Vec<_> =
        settings.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
    fields.push(("_task".to_owned(), encode(&policy.task, policy.mode)));
    fields.extend(policy.types.iter().map(|(name, task)| (name.to_string(), encode(task, policy.mode))));
    fields
}

/// The policy as it stands in Redis once it is published.
#[must_use]
pub fn published_as(policy: &QueuePolicy) -> BTreeMap<String, String> {
    fields(policy).into_iter().collect()
}

/// The limits of a type as `lib/policy.lua` reads them: milliseconds, −1 for none, in this order.
fn encode(task: &TaskPolicy, mode: Mode) -> String {
    // A daemon that only observes asks nobody.
    let asks = mode == Mode::Enforce;
    let maybe = |limit: Option<Duration>| limit.map_or(-1, millis);
    let action = match task.start_to_close.action {
        LimitAction::Alert => 0,
        LimitAction::Revoke => 1,
        LimitAction::Reset => 2,
    };
    #[allow(clippy::cast_possible_truncation, reason = "a factor is validated to be at most 1000")]
    let factor = (task.backoff.factor * 1000.0).round() as i64;
    let numbers = [
        maybe(task.start_to_close.limit),
        action,
        maybe(task.task_heartbeat_timeout),
        millis(task.revoke_grace),
        maybe(task.schedule_to_close),
        i64::from(task.max_abandonments),
        i64::from(task.max_failures),
        millis(task.backoff.first),
        factor,
        millis(task.backoff.max),
        millis(task.release_delay),
        i64::from(task.late_results == LateResults::AcceptIfUnstarted),
        maybe(task.external.cancel.as_ref().filter(|_| asks).map(|_| task.external.lost_after)),
        i64::from(asks && task.external.probe.is_some()),
    ];
    numbers.map(|n| n.to_string()).join(" ")
}

/// What was published for a type, as people want to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedLimits {
    /// What happens when a run has taken too long.
    pub action: LimitAction,
    /// The longest time between two signs of life of the task itself, ms; -1: not watched.
    pub heartbeat_ms: i64,
    /// What the agent of a revoked task is given to stop, ms.
    pub revoke_grace_ms: i64,
    /// Abandonments that are forgiven.
    pub max_abandonments: i64,
    /// Failures that are retried.
    pub max_failures: i64,
    /// Whether the daemon asks about work elsewhere before it moves a lost agent's task.
    pub probed: bool,
}

impl PublishedLimits {
    /// What holds before anything was published.
    #[must_use]
    pub fn unpublished() -> Self {
        let task = TaskPolicy::default();
        Self {
            action: task.start_to_close.action,
            heartbeat_ms: task.task_heartbeat_timeout.map_or(-1, millis),
            revoke_grace_ms: millis(task.revoke_grace),
            max_abandonments: i64::from(task.max_abandonments),
            max_failures: i64::from(task.max_failures),
            probed: false,
        }
    }

    /// Reads what [`Publish`] wrote; `None` if it is something else.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let numbers: Vec<i64> = text.split(' ').map_while(|number| number.parse().ok()).collect();
        let &[_, action, heartbeat_ms, revoke_grace_ms, _, max_abandonments, max_failures, ..] =
            numbers.as_slice()
        else {
            return None;
        };
        let action = match action {
            0 => LimitAction::Alert,
            1 => LimitAction::Revoke,
            2 => LimitAction::Reset,
            _ => return None,
        };
        let probed = numbers.get(13) == Some(&1);
        Some(Self { action, heartbeat_ms, revoke_grace_ms, max_abandonments, max_failures, probed })
    }
}

impl Command for Publish {
    type Answer = ();

    fn script(&self) -> &'static Script {
        script!("publish")
    }

    fn args(&self, args: &mut Args) {
        for (field, value) in fields(&self.policy) {
            args.push(field).push(value);
        }
    }

    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<(), StoreError> {
        if shape.text(reply.clone())? == "published" { Ok(()) } else { Err(shape.unknown(&reply)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::external::Hook;

    /// Agents that were never given a policy must behave as the program's defaults say.
    #[test]
    fn what_holds_before_a_daemon_has_published_are_the_programs_defaults() {
        let lua = include_str!("lib/policy.lua");
        for (field, value) in fields(&QueuePolicy::default()) {
            let expected = if field == "_task" {
                format!("TASK = '{value}'")
            } else {
                format!("{} = {value}", &field[1..])
            };
            assert!(lua.contains(&expected), "lib/policy.lua lacks {expected}");
        }
    }

    #[test]
    fn what_is_published_is_read_back() {
        let mut task = TaskPolicy { max_abandonments: 7, max_failures: 8, ..TaskPolicy::default() };
        task.revoke_grace = Duration::from_secs(9);
        task.external.probe = Some(Hook::Command(vec!["probe".into()]));
        task.task_heartbeat_timeout = Some(Duration::from_secs(6));
        for action in [LimitAction::Alert, LimitAction::Revoke, LimitAction::Reset] {
            task.start_to_close.action = action;
            let expected = PublishedLimits {
                action,
                heartbeat_ms: 6000,
                revoke_grace_ms: 9000,
                max_abandonments: 7,
                max_failures: 8,
                probed: true,
            };
            assert_eq!(PublishedLimits::read(&encode(&task, Mode::Enforce)), Some(expected));
        }
        assert_eq!(PublishedLimits::read("1 2 3"), None);
    }
}
