//! What becomes of tasks that are being worked on elsewhere, under a handle that their agents recorded. Pure: what a hook
//! said, and what was to be done with the task, in; what is done, out.
//!
//! If the *agent* died, the work may be sound: it is asked about (`probe`) before the task is moved. If the *run* hangs, the work
//! is unwanted: the task is taken from its agent with the handle, which is cancelled (`cancel`), and only then is it handed out
//! again. In that order: who still holds a task may give it back or lose it, with its handle, while a hook is called.

use std::time::Duration;

use super::words::{Action, Cause, HookKind, HookWord};

/// Whom to ask about work elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// A program and its arguments, without a shell.
    Command(Vec<String>),
    /// A request without a body.
    Http {
        /// GET, POST or DELETE.
        method: Method,
        /// The address, with holes for the handle and the task.
        url: String,
    },
}

/// How a hook's address is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// GET, the default of `probe`.
    Get,
    /// POST, the default of `cancel`.
    Post,
    /// DELETE.
    Delete,
}

impl Method {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

/// What was decided for tasks that are being worked on elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    /// Tells how work elsewhere stands; writes nothing.
    pub probe: Option<Hook>,
    /// Ends work elsewhere, and tells how it stands then.
    pub cancel: Option<Hook>,
    /// How long a task is held whose hook can't tell. Then it is moved: with its handle if its agent was lost, without if it hung.
    pub lost_after: Duration,
    /// What one call of a hook is given.
    pub timeout: Duration,
    /// Calls of one hook at once, at least 1.
    pub concurrency: u32,
    /// This process asks nobody: tasks with a handle are left to the daemon, which does.
    pub left_to_daemon: bool,
}

impl Default for External {
    fn default() -> Self {
        Self {
            probe: None,
            cancel: None,
            lost_after: Duration::from_secs(3600),
            timeout: Duration::from_secs(10),
            concurrency: 4,
            left_to_daemon: false,
        }
    }
}

impl External {
    /// The hook of this kind.
    #[must_use]
    pub fn hook(&self, kind: HookKind) -> Option<&Hook> {
        match kind {
            HookKind::Probe => self.probe.as_ref(),
            HookKind::Cancel => self.cancel.as_ref(),
        }
    }

    /// Whether there is anybody to ask.
    #[must_use]
    pub fn has_hooks(&self) -> bool {
        self.probe.is_some() || self.cancel.is_some() || self.left_to_daemon
    }

    /// Whether somebody is asked before this is done to a task with a handle.
    ///
    /// Only a dead agent's work may be sound. What expires or is discarded waits for nobody, and a run that hangs loses its
    /// handle in the step that takes it from its agent.
    #[must_use]
    pub fn asks(&self, cause: Cause, action: Action) -> bool {
        let moves = matches!(action, Action::Reset | Action::DeadLetter);
        moves && cause == Cause::AgentLost && (self.probe.is_some() || self.left_to_daemon)
    }

    /// Who is asked to end what nobody waits for: whoever can, else whoever can tell. One that said that it can't be
    /// cancelled is asked only how it stands.
    #[must_use]
    pub fn asks_unwanted(&self, cannot: bool) -> Option<HookKind> {
        let cancel = self.cancel.as_ref().map(|_| HookKind::Cancel);
        let probe = self.probe.as_ref().map(|_| HookKind::Probe);
        if cannot { probe.or(cancel) } else { cancel.or(probe) }
    }
}

/// What is known from a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It was not asked, or has not answered yet.
    Nothing,
    /// It was asked, and said nothing that can be understood.
    Unclear,
    /// This.
    Word(HookWord),
}

/// What is done with a dead agent's task after its hook was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// What was to be done; a task that is reset keeps its handle.
    AsPlanned,
    /// What was to be done, and the handle is known to be over.
    WithoutHandle,
    /// It is complete: the work elsewhere succeeded.
    Collect,
    /// It failed elsewhere.
    Fail,
    /// It stays where it is until the hook tells more.
    Hold,
}

/// What follows from what a hook told about a task that has been lost for `late_by`. It is asked once in any case, however long
/// that was.
#[must_use]
pub fn step(told: Told, late_by: Duration, external: &External) -> Step {
    match told {
        Told::Word(HookWord::Succeeded) => Step::Collect,
        Told::Word(HookWord::Failed) => Step::Fail,
        Told::Word(HookWord::Ended) => Step::WithoutHandle,
        // It goes on elsewhere, and the next attempt takes it up again.
        Told::Word(HookWord::Active | HookWord::Cannot) => Step::AsPlanned,
        Told::Unclear if late_by >= external.lost_after => Step::AsPlanned,
        Told::Nothing | Told::Unclear => Step::Hold,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both() -> External {
        let hook = || Some(Hook::Command(vec!["hook".into()]));
        External { probe: hook(), cancel: hook(), ..External::default() }
    }

    #[test]
    fn only_a_dead_agents_work_is_asked_about_before_its_task_moves() {
        let external = both();
        for action in [Action::Reset, Action::DeadLetter] {
            assert!(external.asks(Cause::AgentLost, action));
            for hangs in [Cause::StartToClose, Cause::TaskSilent, Cause::ScheduleToClose] {
                assert!(!external.asks(hangs, action), "{hangs:?}");
            }
        }
        for action in [Action::Expire, Action::Discard, Action::Revoke, Action::Alert] {
            assert!(!external.asks(Cause::AgentLost, action), "{action:?}");
        }
        assert!(!External::default().asks(Cause::AgentLost, Action::Reset));
        let by_hand = External { left_to_daemon: true, ..External::default() };
        assert!(by_hand.asks(Cause::AgentLost, Action::Reset));
    }

    #[test]
    fn each_answer_has_its_consequence() {
        let after = |word| step(Told::Word(word), Duration::ZERO, &both());
        assert_eq!(after(HookWord::Succeeded), Step::Collect);
        assert_eq!(after(HookWord::Failed), Step::Fail);
        assert_eq!(after(HookWord::Ended), Step::WithoutHandle);
        assert_eq!([after(HookWord::Active), after(HookWord::Cannot)], [Step::AsPlanned; 2]);
    }

    #[test]
    fn what_cannot_be_told_is_held_for_a_time_and_what_was_not_asked_until_it_was() {
        let external = both();
        let (soon, late) = (external.lost_after - Duration::from_millis(1), external.lost_after);
        assert_eq!(step(Told::Unclear, soon, &external), Step::Hold);
        assert_eq!(step(Told::Unclear, late, &external), Step::AsPlanned);
        assert_eq!(step(Told::Nothing, late * 10, &external), Step::Hold);
    }

    #[test]
    fn what_nobody_waits_for_is_cancelled_by_whoever_can() {
        let (external, probe) = (both(), External { cancel: None, ..both() });
        assert_eq!(external.asks_unwanted(false), Some(HookKind::Cancel));
        assert_eq!(external.asks_unwanted(true), Some(HookKind::Probe));
        assert_eq!(probe.asks_unwanted(false), Some(HookKind::Probe));
        let cancel = External { probe: None, ..both() };
        assert_eq!(cancel.asks_unwanted(true), Some(HookKind::Cancel));
        assert_eq!(External::default().asks_unwanted(false), None);
    }
}
