//! What became of an agent's tasks, as it was answered.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts of answers. A task counts where its last answer put it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Account {
    /// Tasks that were taken.
    pub taken: u64,
    /// Tasks that were adopted from a predecessor.
    pub adopted: u64,
    /// Completions that count; repeats of one are not counted again.
    pub completed: u64,
    /// Completions that count though the task had been given up meanwhile.
    pub withdrawn: u64,
    /// Completions that were refused: another attempt has the task, or nothing is known of it any more.
    pub refused: u64,
    /// Failures that will be tried again.
    pub retried: u64,
    /// Tasks that became dead letters in this agent's hands.
    pub dead: u64,
    /// Tasks that were given back.
    pub released: u64,
    /// Tasks that were stopped because this agent no longer held them.
    pub fenced: u64,
}

/// Hears each answer about a task's outcome: id, token, the word that Redis answered. A repeat is heard again.
pub type OnAnswer = Arc<dyn Fn(&str, &str, &str) + Send + Sync>;

/// An account that several parts of an agent write.
#[derive(Clone, Default)]
pub(super) struct Shared {
    account: Arc<Mutex<Account>>,
    on_answer: Option<OnAnswer>,
}

impl Shared {
    pub(super) fn new(on_answer: Option<OnAnswer>) -> Self {
        Self { account: Arc::default(), on_answer }
    }

    pub(super) fn answered(&self, id: &str, token: &str, word: &str) {
        let Some(hear) = &self.on_answer else { return };
        // The other answers must be told whatever becomes of one listener.
        if catch_unwind(AssertUnwindSafe(|| hear(id, token, word))).is_err() {
            tracing::error!(task = id, answer = word, "the listener to answers panicked");
        }
    }

    pub(super) fn note(&self, change: impl FnOnce(&mut Account)) {
        change(&mut self.account.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn get(&self) -> Account {
        *self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
