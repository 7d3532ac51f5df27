//! What one pass over one queue found and did.

use std::collections::BTreeMap;

use super::words::{Action, Cause, Guard, Skip};

/// How many tasks run: what was enqueued and is nowhere else. A task whose record something deleted is nowhere at all, and
/// was counted when its entry was taken out.
#[must_use]
pub fn running(total: impl Fn(&str) -> u64, elsewhere: u64) -> u64 {
    let over =
        ["completed", "discarded", "skipped:no_record", "mended:no_record"].map(&total).iter().sum::<u64>();
    total("enqueued").saturating_sub(over + elsewhere)
}

/// Counts of one pass, or of several put together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Pages that were read.
    pub pages: u64,
    /// Sessions that were judged.
    pub sessions: u64,
    /// Tasks that were judged.
    pub tasks: u64,
    /// What the scripts said they did.
    pub done: BTreeMap<(Cause, Action), u64>,
    /// What observe mode would have done; each abandonment is counted once.
    pub observed: BTreeMap<(Cause, Action), u64>,
    /// What guards keep from being done.
    pub held: BTreeMap<Guard, u64>,
    /// Tasks that wait until a hook tells how their work elsewhere stands.
    pub elsewhere: u64,
    /// Tasks whose lost identity is given time to come back.
    pub reconnecting: u64,
    /// Verdicts that weren't carried out though nothing held them.
    pub skipped: BTreeMap<Skip, u64>,
    /// Waiting tasks that expired.
    pub expired: u64,
    /// Sessions declared lost.
    pub declared: u64,
    /// Sessions forgotten.
    pub forgotten: u64,
    /// Records and indices that were brought together again.
    pub mended: u64,
    /// Whether there was more than a pass may do.
    pub truncated: bool,
}

impl Summary {
    /// Adds another pass' counts.
    pub fn merge(&mut self, other: &Self) {
        fn add<K: Ord + Copy>(into: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
            for (key, n) in from {
                *into.entry(*key).or_default() += n;
            }
        }
        self.pages += other.pages;
        self.sessions += other.sessions;
        self.tasks += other.tasks;
        add(&mut self.done, &other.done);
        add(&mut self.observed, &other.observed);
        add(&mut self.held, &other.held);
        self.elsewhere += other.elsewhere;
        self.reconnecting += other.reconnecting;
        add(&mut self.skipped, &other.skipped);
        self.expired += other.expired;
        self.declared += other.declared;
        self.forgotten += other.forgotten;
        self.mended += other.mended;
        self.truncated |= other.truncated;
    }

    /// How many tasks an action was done to.
    #[must_use]
    pub fn did(&self, action: Action) -> u64 {
        self.done.iter().filter(|((_, done), _)| *done == action).map(|(_, n)| n).sum()
    }

    /// How many tasks are held by guards.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held.values().sum()
    }

    /// Whether anything is different after this pass: worth a line in the log.
    #[must_use]
    pub fn changed(&self) -> bool {
        !self.done.is_empty() || !self.observed.is_empty() || self.expired + self.declared + self.mended > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_passes_put_together_are_the_sum_of_their_counts() {
        let one = Summary {
            tasks: 2,
            done: BTreeMap::from([((Cause::AgentLost, Action::Reset), 2)]),
            held: BTreeMap::from([(Guard::MassLoss, 1)]),
            truncated: true,
            ..Summary::default()
        };
        let mut both = one.clone();
        both.merge(&one);
        assert_eq!((both.tasks, both.did(Action::Reset), both.held(), both.truncated), (4, 4, 2, true));
        assert!(both.changed() && !Summary::default().changed());
    }
}
