//! Tasks that are being worked on elsewhere: what their hooks say is carried out, and what nobody waits for is ended.

use std::collections::BTreeMap;

use super::pass::{PAGE, Pass, Progress, QueueState};
use crate::core::external::{External, Step, Told, step};
use crate::core::guard::Moves;
use crate::core::plan::{Batch, Elsewhere, SessionPlan};
use crate::core::policy::Mode;
use crate::core::words::{Action, Guard, HookKind, HookWord, Skip};
use crate::hooks::Question;
use crate::native::scripts::dismiss::{Dismiss, Dismissed, How, read_entry};
use crate::native::scripts::settle::{Settle, Settled};
use crate::store::StoreError;

/// Handles that nobody waits for, asked about in one pass.
const UNWANTED_A_PASS: usize = 200;

impl Pass<'_> {
    /// Deals with a session's tasks that are being worked on elsewhere; how many stay where they are.
    pub(super) async fn carry_out_elsewhere(
        &self,
        state: &mut QueueState,
        one: &SessionPlan,
        progress: &mut Progress,
    ) -> Result<usize, StoreError> {
        let mut stay = 0;
        for task in &one.elsewhere {
            let external = &self.policy.of(&task.task_type).external;
            let told = match external.left_to_daemon {
                true => Told::Nothing,
                false => state.asker.ask(&self.question(state, task), external),
            };
            // While moves are paced, one that is answered now may be one too many for this pass.
            let paced = matches!(progress.moves, Moves::Paced(_)) && progress.paced;
            stay += match step(told, one.late_by, external) {
                Step::Hold => {
                    progress.summary.elsewhere += 1;
                    1
                }
                Step::AsPlanned | Step::WithoutHandle | Step::Collect | Step::Fail if paced => {
                    *progress.summary.held.entry(Guard::MassLoss).or_default() += 1;
                    state.asker.keep(self.question(state, task), told);
                    1
                }
                Step::AsPlanned => {
                    let batch = Batch {
                        cause: task.cause,
                        action: task.action,
                        abandonments: task.abandonments,
                        revoke_grace: std::time::Duration::ZERO,
                        reset_delay: task.reset_delay,
                        pairs: vec![(task.id.clone(), task.token.clone())],
                    };
                    self.apply(state, one, &batch, &batch.pairs, progress).await?
                }
                Step::WithoutHandle => self.settle(state, one, task, task.action, progress).await?,
                Step::Collect => self.settle(state, one, task, Action::Collect, progress).await?,
                Step::Fail => self.settle(state, one, task, Action::Fail, progress).await?,
            };
        }
        Ok(stay)
    }

    fn question(&self, state: &QueueState, task: &Elsewhere) -> Question {
        Question {
            queue: state.queue.name().clone(),
            id: task.id.clone(),
            task_type: task.task_type.clone(),
            token: task.token.clone(),
            handle: task.handle.clone(),
            kind: HookKind::Probe,
        }
    }

    async fn settle(
        &self,
        state: &QueueState,
        one: &SessionPlan,
        task: &Elsewhere,
        action: Action,
        progress: &mut Progress,
    ) -> Result<usize, StoreError> {
        let settle = Settle {
            session: one.session.clone(),
            seen_beat_ms: one.seen_beat_ms,
            cause: task.cause,
            id: task.id.clone(),
            token: task.token.clone(),
            handle: task.handle.clone(),
            action,
            delay: task.reset_delay,
            jitter: jitter(),
        };
        let queue = state.queue.name();
        match state.queue.run(&settle).await? {
            Settled::Held => {
                progress.blocked = Some(Guard::RedisChanged);
                *progress.summary.held.entry(Guard::RedisChanged).or_default() += 1;
                return Ok(1);
            }
            Settled::Skipped => self.skip(state, progress, Skip::NotAnyMore, 1),
            Settled::Done | Settled::Dead => {
                *progress.summary.done.entry((task.cause, action)).or_default() += 1;
                self.observer.done(queue, task.cause, action, 1);
                progress.returned += 1;
                self.observer.found(queue, one.late_by, one.silence, 1);
                tracing::info!(
                    %queue, session = %one.session, task = task.id, cause = task.cause.as_str(),
                    action = action.as_str(), external = task.handle, "a hook told how work elsewhere stands"
                );
            }
        }
        Ok(0)
    }

    /// Ends what nobody waits for, and forgets what has ended. What can't be ended stays counted.
    pub(super) async fn end_unwanted(
        &self,
        state: &mut QueueState,
        unwanted: u64,
        progress: &mut Progress,
    ) -> Result<(), StoreError> {
        state.asker.tidy();
        let idle = self.policy.mode == Mode::Observe || progress.blocked.is_some();
        if unwanted == 0 || idle || !self.settings.publishes {
            state.uncancellable.clear();
            return Ok(());
        }
        // Round and round, so that what can't be ended doesn't hide the rest.
        let key = state.queue.keys().named("unwanted");
        let from = if state.unwanted_from as u64 >= unwanted { 0 } else { state.unwanted_from };
        let entries = state.queue.store().range(&key, from, UNWANTED_A_PASS).await?;
        state.unwanted_from = from + entries.len();
        let mut told: BTreeMap<How, Vec<String>> = BTreeMap::new();
        for (entry, _) in entries {
            if let Some(how) = self.look_at_unwanted(state, &entry) {
                if how == How::Unasked {
                    tracing::warn!(
                        queue = %state.queue.name(), entry,
                        "work elsewhere that nobody waits for may go on: its type has no hook to ask (type, task, handle)"
                    );
                }
                told.entry(how).or_default().push(entry);
            }
        }
        for (how, entries) in told {
            for some in entries.chunks(PAGE) {
                let by = self.settings.owner.clone();
                let dismiss = Dismiss { by, how, jitter: jitter(), entries: some.to_vec() };
                let answers = state.queue.run(&dismiss).await?;
                let gone = answers.iter().filter(|answer| **answer == Dismissed::Dismissed).count();
                // They are out of the list, before those that follow.
                state.unwanted_from = state.unwanted_from.saturating_sub(gone);
            }
        }
        Ok(())
    }

    /// What became of work elsewhere, as far as it is known now.
    fn look_at_unwanted(&self, state: &mut QueueState, entry: &str) -> Option<How> {
        let Some([task_type, id, handle]) = read_entry(entry) else { return Some(How::Unasked) };
        let external: &External = &self.policy.of(task_type).external;
        let cannot = state.uncancellable.contains(entry);
        let Some(kind) = external.asks_unwanted(cannot) else { return Some(How::Unasked) };
        let question = Question {
            queue: state.queue.name().clone(),
            id: id.to_owned(),
            task_type: task_type.to_owned(),
            token: String::new(),
            handle: handle.to_owned(),
            kind,
        };
        let Told::Word(word) = state.asker.ask(&question, external) else { return None };
        if word == HookWord::Cannot {
            state.uncancellable.insert(entry.to_owned());
        } else if word != HookWord::Active {
            state.uncancellable.remove(entry);
        }
        match word {
            HookWord::Active => None,
            HookWord::Succeeded => Some(How::Succeeded),
            HookWord::Failed => Some(How::Failed),
            HookWord::Ended => Some(How::Ended),
            HookWord::Cannot => Some(How::Cannot),
        }
    }
}

/// How much of its backoff a task waits that failed, from half (0) to all of it (1000).
fn jitter() -> u32 {
    getrandom::u32().unwrap_or(500) % 1001
}
