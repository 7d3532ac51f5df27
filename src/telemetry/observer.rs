//! Hears of what happens while sweeping, and counts it.

use std::time::Duration;

use super::recorder::Recorder;
use crate::core::id::QueueName;
use crate::core::observer::Observer;
use crate::core::words::{Action, Cause, Guard, HookKind, Skip};

impl Observer for Recorder {
    fn script(&self, name: &'static str, took: Duration, _ok: bool) {
        Self::script(self, name, took);
    }

    fn redis_error(&self, kind: &'static str) {
        Self::redis_error(self, kind);
    }

    fn done(&self, queue: &QueueName, cause: Cause, action: Action, n: u64) {
        let (queue, cause) = (queue.as_str(), cause.as_str());
        if action.ends_the_attempt() {
            self.abandoned(queue, cause, n);
        }
        match action {
            Action::Reset => self.reset(queue, cause, n),
            Action::DeadLetter => self.dead_lettered(queue, "poison", n),
            Action::Expire => self.expired(queue, "running", n),
            Action::Collect => self.collected(queue, n),
            Action::Fail => self.failed_elsewhere(queue, n),
            // What a person cancelled, and what goes on, is no abandonment.
            Action::Discard | Action::Revoke | Action::Alert => {}
        }
    }

    fn expired(&self, queue: &QueueName, n: u64) {
        Self::expired(self, queue.as_str(), "waiting", n);
    }

    fn observed(&self, queue: &QueueName, cause: Cause, n: u64) {
        Self::observed(self, queue.as_str(), cause.as_str(), n);
    }

    fn found(&self, queue: &QueueName, late_by: Duration, silence: Duration, n: u64) {
        self.detected(queue.as_str(), late_by, n);
        self.silent(queue.as_str(), silence);
    }

    fn skipped(&self, queue: &QueueName, why: Skip, n: u64) {
        Self::skipped(self, queue.as_str(), why.as_str(), n);
    }

    fn hook(&self, queue: &QueueName, kind: HookKind, said: &'static str) {
        self.hook_called(queue.as_str(), kind.as_str(), said);
    }

    fn guard(&self, _queue: &QueueName, guard: Guard, open: bool) {
        if open {
            self.guard_tripped(guard.as_str());
        }
    }

    fn leader(&self, queue: &QueueName, leads: bool) {
        self.leads(queue.as_str(), leads);
    }
}

#[cfg(test)]
mod tests {
    use super::super::metrics::{CAUSES, DEATHS, GUARDS, HOOK_WORDS, HOOKS, LIVENESS, SKIPS};
    use crate::core::words::{Cause, DeadReason, Guard, HookKind, HookWord, Liveness, Skip};

    #[test]
    fn the_words_of_the_metrics_are_those_of_the_judgement() {
        assert!(Cause::ALL.iter().map(|word| word.as_str()).eq(CAUSES.iter().copied()));
        assert!(DeadReason::ALL.iter().map(|word| word.as_str()).eq(DEATHS.iter().copied()));
        assert!(Guard::ALL.iter().map(|word| word.as_str()).eq(GUARDS.iter().copied()));
        assert!(Liveness::ALL.iter().map(|word| word.as_str()).eq(LIVENESS.iter().copied()));
        assert!(HookKind::ALL.iter().map(|word| word.as_str()).eq(HOOKS.iter().copied()));
        let said = HookWord::ALL.iter().map(|word| word.as_str()).chain(["unclear"]);
        assert!(said.eq(HOOK_WORDS.iter().copied()));
        assert!(Skip::ALL.iter().map(|word| word.as_str()).eq(SKIPS.iter().copied()));
    }
}
