//! What an honest sweeper makes of a page, however old the page is.

use std::collections::BTreeMap;
use std::time::Duration;

use backstop::core::facts::{SessionFacts, TaskFacts};
use backstop::core::words::{Action, Cause};

use backstop::core::policy::LimitAction;
use backstop::native::scripts::apply::Apply;
use backstop::native::scripts::settle::Settle;

use super::{Machine, Sent, pick, recent};
use crate::protocol::scene::Pair;

impl Machine<'_> {
    pub(super) fn seen(&self, page: usize, entry: usize) -> Option<(SessionFacts, i64)> {
        let (page, at) = recent(&self.pages, page)?;
        Some((pick(&page.facts.silent, entry)?, at))
    }

    /// What an honest sweeper decides about one session of a page, however old the page is: a call for each kind.
    pub(super) fn verdicts(&self, page: usize, entry: usize) -> Vec<Sent> {
        let Some((page, at)) = recent(&self.pages, page) else { return Vec::new() };
        let facts = &page.facts;
        let all: Vec<_> =
            facts.silent.iter().map(|s| (s, true)).chain(facts.overdue.iter().map(|s| (s, false))).collect();
        let Some((seen, silent)) = pick(&all, entry) else { return Vec::new() };
        let mut kinds: BTreeMap<(Action, u32), Vec<Pair>> = BTreeMap::new();
        for task in seen.tasks.iter().filter(|task| !task.token.is_empty()) {
            let action =
                if silent { Some(self.end(task, facts.now_ms)) } else { self.limit(task, facts.now_ms) };
            if let Some(action) = action {
                let pair = (task.id.clone(), task.token.clone());
                kinds.entry((action, task.abandonments)).or_default().push(pair);
            }
        }
        let apply = |((action, abandonments), pairs)| Apply {
            session: seen.session.clone(),
            seen_beat_ms: seen.beat_ms.filter(|_| silent),
            cause: if silent { Cause::AgentLost } else { Cause::StartToClose },
            action,
            abandonments,
            delay: Duration::ZERO,
            revoke_grace: self.policy.task.revoke_grace,
            pairs,
        };
        kinds.into_iter().map(|kind| Sent::Apply(apply(kind), at)).collect()
    }

    /// What an honest sweeper makes of a hook's word about one task with a handle.
    pub(super) fn settle(&self, page: usize, entry: usize, nth: usize, word: u8) -> Option<Sent> {
        let (page, at) = recent(&self.pages, page)?;
        let facts = &page.facts;
        let seen = pick(&facts.silent, entry)?;
        let with_handle: Vec<_> = seen.tasks.iter().filter(|task| task.external.is_some()).collect();
        let task = pick(&with_handle, nth)?;
        let action = match (word, self.end(task, facts.now_ms)) {
            (0, Action::Reset | Action::DeadLetter) => Action::Collect,
            (1, Action::Reset | Action::DeadLetter) => Action::Fail,
            (_, action @ (Action::Reset | Action::DeadLetter)) => action,
            _ => return None,
        };
        let settle = Settle {
            session: seen.session.clone(),
            seen_beat_ms: Some(seen.beat_ms?),
            cause: Cause::AgentLost,
            id: task.id.clone(),
            token: task.token.clone(),
            handle: task.external.clone()?,
            action,
            delay: Duration::ZERO,
            jitter: 0,
        };
        Some(Sent::Settle(settle, at))
    }

    fn end(&self, task: &TaskFacts, now: i64) -> Action {
        let most = self.policy.of(&task.task_type).max_abandonments;
        match task {
            task if task.cancelled => Action::Discard,
            task if task.deadline_ms.is_some_and(|at| at <= now) => Action::Expire,
            task if task.abandonments >= most => Action::DeadLetter,
            _ => Action::Reset,
        }
    }

    fn limit(&self, task: &TaskFacts, now: i64) -> Option<Action> {
        let policy = self.policy.of(&task.task_type);
        let passed = |at: Option<i64>| at.is_some_and(|at| at <= now);
        if let Some(since) = task.revoked_at_ms {
            let grace = i64::try_from(policy.revoke_grace.as_millis()).unwrap();
            return passed(Some(since + grace)).then(|| self.end(task, now));
        }
        if passed(task.deadline_ms) {
            return Some(Action::Revoke);
        }
        if passed(task.alive_until_ms) {
            return Some(self.end(task, now));
        }
        passed(task.limit_ms).then(|| match policy.start_to_close.action {
            LimitAction::Alert => Action::Alert,
            LimitAction::Revoke => Action::Revoke,
            LimitAction::Reset => self.end(task, now),
        })
    }
}
