//! What an honest sweeper makes of a page, however old the page is.

use std::time::Duration;

use backstop::core::policy::LimitAction;
use backstop::native::scripts::apply::{Apply, Do, Verdict};
use backstop::native::scripts::observe::{SeenSession, SeenTask};

use super::{Machine, Sent, pick, recent};

impl Machine<'_> {
    pub(super) fn seen(&self, page: usize, entry: usize) -> Option<(SeenSession, i64)> {
        let (page, at) = recent(&self.pages, page)?;
        Some((pick(&page.silent, entry)?, at))
    }

    /// What an honest sweeper decides about one session of a page, however old the page is.
    pub(super) fn verdicts(&self, page: usize, entry: usize) -> Option<Sent> {
        let (page, at) = recent(&self.pages, page)?;
        let all: Vec<_> =
            page.silent.iter().map(|s| (s, true)).chain(page.overdue.iter().map(|s| (s, false))).collect();
        let (seen, silent) = pick(&all, entry)?;
        let decided = seen.tasks.iter().filter(|task| !task.token.is_empty()).filter_map(|task| {
            let action =
                if silent { Some(self.end(task, page.now_ms)) } else { self.limit(task, page.now_ms) }?;
            let (id, token) = (task.id.clone(), task.token.clone());
            Some(Verdict { id, token, action, revoke_grace: self.policy.task.revoke_grace })
        });
        let apply = Apply {
            session: seen.session.clone(),
            seen_beat_ms: if silent { Some(seen.beat_ms?) } else { None },
            cause: if silent { "agent_lost" } else { "start_to_close" },
            delay: Duration::ZERO,
            verdicts: decided.collect(),
        };
        Some(Sent::Apply(apply, at))
    }

    fn end(&self, task: &SeenTask, now: i64) -> Do {
        let most = self.policy.of(&task.task_type).max_abandonments;
        match task {
            task if task.cancelled => Do::Discard,
            task if task.deadline_ms.is_some_and(|at| at <= now) => Do::Expire,
            task if task.abandonments >= most => Do::DeadLetter,
            _ => Do::Reset,
        }
    }

    fn limit(&self, task: &SeenTask, now: i64) -> Option<Do> {
        let policy = self.policy.of(&task.task_type);
        let passed = |at: Option<i64>| at.is_some_and(|at| at <= now);
        if let Some(since) = task.revoked_at_ms {
            let grace = i64::try_from(policy.revoke_grace.as_millis()).unwrap();
            return passed(Some(since + grace)).then(|| self.end(task, now));
        }
        if passed(task.deadline_ms) {
            return Some(Do::Revoke);
        }
        if passed(task.alive_until_ms) {
            return Some(self.end(task, now));
        }
        passed(task.limit_ms).then(|| match policy.start_to_close.action {
            LimitAction::Alert => Do::Alert,
            LimitAction::Revoke => Do::Revoke,
            LimitAction::Reset => self.end(task, now),
        })
    }
}
