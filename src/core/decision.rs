//! What is to become of a task. Pure: facts and policy in, a cause and an action out.

use super::facts::TaskFacts;
use super::policy::{LimitAction, TaskPolicy};
use super::words::{Action, Cause};
use std::time::Duration;

/// Judges a task whose session is lost.
#[must_use]
pub fn decide_lost(task: &TaskFacts, policy: &TaskPolicy, now_ms: i64) -> Action {
    if task.cancelled {
        Action::Discard
    } else if passed(task.deadline_ms, now_ms) {
        Action::Expire
    } else if task.abandonments >= policy.max_abandonments {
        // This one is the one too many.
        Action::DeadLetter
    } else {
        Action::Reset
    }
}

/// Judges a task whose agent lives and whose own time has come; `None`: it goes on.
#[must_use]
pub fn decide_overdue(task: &TaskFacts, policy: &TaskPolicy, now_ms: i64) -> Option<(Cause, Action)> {
    let cause = if passed(task.deadline_ms, now_ms) {
        Cause::ScheduleToClose
    } else if passed(task.alive_until_ms, now_ms) {
        Cause::TaskSilent
    } else {
        Cause::StartToClose
    };
    if let Some(revoked_at) = task.revoked_at_ms {
        // It was told to stop. It has its time to do so, and then loses the task.
        let grace_over = passed(Some(revoked_at.saturating_add(ms(policy.revoke_grace))), now_ms);
        return grace_over.then(|| (cause, decide_lost(task, policy, now_ms)));
    }
    match cause {
        Cause::ScheduleToClose | Cause::TaskSilent => Some((cause, Action::Revoke)),
        Cause::StartToClose | Cause::AgentLost => {
            if !passed(task.limit_ms, now_ms) {
                return None;
            }
            let action = match policy.start_to_close.action {
                LimitAction::Alert => Action::Alert,
                LimitAction::Revoke => Action::Revoke,
                LimitAction::Reset => decide_lost(task, policy, now_ms),
            };
            Some((cause, action))
        }
    }
}

fn passed(limit_ms: Option<i64>, now_ms: i64) -> bool {
    limit_ms.is_some_and(|limit| limit <= now_ms)
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::policy::AgeLimit;
    use proptest::prelude::*;

    const NOW: i64 = 1_000_000;

    fn with(action: LimitAction) -> TaskPolicy {
        TaskPolicy {
            start_to_close: AgeLimit { limit: Some(Duration::from_secs(10)), action },
            ..TaskPolicy::default()
        }
    }

    #[test]
    fn a_lost_agents_task_is_reset_until_it_was_lost_once_too_often() {
        let policy = TaskPolicy::default();
        let task = |abandonments| TaskFacts { abandonments, ..TaskFacts::default() };
        assert_eq!(decide_lost(&task(2), &policy, NOW), Action::Reset);
        assert_eq!(decide_lost(&task(3), &policy, NOW), Action::DeadLetter);
        let never = TaskPolicy { max_abandonments: 0, ..policy };
        assert_eq!(decide_lost(&task(0), &never, NOW), Action::DeadLetter);
    }

    #[test]
    fn nobody_runs_again_what_was_cancelled_or_what_nobody_wants() {
        let policy = TaskPolicy::default();
        let late = TaskFacts { deadline_ms: Some(NOW), abandonments: 9, ..TaskFacts::default() };
        assert_eq!(decide_lost(&late, &policy, NOW), Action::Expire);
        assert_eq!(decide_lost(&TaskFacts { cancelled: true, ..late }, &policy, NOW), Action::Discard);
    }

    #[test]
    fn age_alerts_revokes_or_resets_as_the_policy_says() {
        let task = TaskFacts { limit_ms: Some(NOW), ..TaskFacts::default() };
        for (action, expected) in [
            (LimitAction::Alert, Action::Alert),
            (LimitAction::Revoke, Action::Revoke),
            (LimitAction::Reset, Action::Reset),
        ] {
            assert_eq!(decide_overdue(&task, &with(action), NOW), Some((Cause::StartToClose, expected)));
            assert_eq!(decide_overdue(&task, &with(action), NOW - 1), None);
        }
    }

    #[test]
    fn a_revoked_task_has_its_grace_and_then_loses_it_for_the_cause_that_revoked_it() {
        let policy = with(LimitAction::Revoke);
        let task = TaskFacts { limit_ms: Some(NOW), revoked_at_ms: Some(NOW), ..TaskFacts::default() };
        assert_eq!(decide_overdue(&task, &policy, NOW + 29_999), None);
        assert_eq!(decide_overdue(&task, &policy, NOW + 30_000), Some((Cause::StartToClose, Action::Reset)));
        let unwanted = TaskFacts { deadline_ms: Some(NOW), ..task.clone() };
        assert_eq!(
            decide_overdue(&unwanted, &policy, NOW + 30_000),
            Some((Cause::ScheduleToClose, Action::Expire))
        );
        let silent = TaskFacts { limit_ms: None, alive_until_ms: Some(NOW), ..task };
        assert_eq!(decide_overdue(&silent, &policy, NOW + 30_000), Some((Cause::TaskSilent, Action::Reset)));
    }

    #[test]
    fn a_passed_deadline_stops_a_running_task_before_it_is_expired() {
        let task = TaskFacts { deadline_ms: Some(NOW), ..TaskFacts::default() };
        assert_eq!(
            decide_overdue(&task, &TaskPolicy::default(), NOW),
            Some((Cause::ScheduleToClose, Action::Revoke))
        );
    }

    proptest! {
        #[test]
        fn nothing_is_reset_beyond_its_limit_and_nothing_goes_on_past_its_grace(
            abandonments in 0_u32..10, max in 0_u32..5, cancelled: bool,
            deadline in proptest::option::of(0..2 * NOW), limit in proptest::option::of(0..2 * NOW),
            alive in proptest::option::of(0..2 * NOW), revoked in proptest::option::of(0..NOW),
        ) {
            let policy = TaskPolicy { max_abandonments: max, ..with(LimitAction::Reset) };
            let task = TaskFacts {
                abandonments, cancelled, deadline_ms: deadline, limit_ms: limit, alive_until_ms: alive,
                revoked_at_ms: revoked, ..TaskFacts::default()
            };
            let verdict = decide_overdue(&task, &policy, NOW);
            if abandonments >= max {
                prop_assert_ne!(verdict.map(|v| v.1), Some(Action::Reset));
            }
            if revoked.is_some_and(|at| at + 30_000 <= NOW) {
                prop_assert!(verdict.is_some_and(|(_, action)| !matches!(action, Action::Revoke | Action::Alert)));
            }
            if deadline.is_some_and(|at| at <= NOW) && !cancelled {
                prop_assert!(!matches!(verdict, Some((_, Action::Reset | Action::DeadLetter))));
            }
        }
    }
}
