//! What is known of silent tasks, where tasks show life for themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::watch::Watch;

/// An entry that a look read, and what it shows; the rest is for streams.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown {
    pub(super) entry: Vec<u8>,
    /// What the script must find again.
    pub(super) seen: Vec<u8>,
    pub(super) alive: bool,
    /// How often it was given out before.
    pub(super) given: u32,
}

/// A task that shows no life.
#[derive(Debug, Clone)]
pub(super) struct Silent {
    pub(super) seen: Vec<u8>,
    pub(super) given: u32,
    /// Where it stood among the others: old ones first.
    pub(super) at: usize,
    /// The clock that says it is silent may be behind: only ours counts.
    pub(super) unsure: bool,
    /// Before this time of the server, ms, nobody should run it.
    pub(super) not_before: Option<i64>,
    /// Nothing is done about it until it shows something else.
    pub(super) settled: Option<Settled>,
    /// Tells this silence from the task's next one.
    pub(super) number: u64,
    /// The walk in which it was found last.
    pub(super) walk: u64,
}

/// Why nothing is done about a silent task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Its record says that it doesn't run.
    Idle,
    /// A person must look at it.
    Stuck,
    /// It is only observed, and was counted.
    Counted,
}

/// How far a walk through a queue has come.
#[derive(Debug, Clone, Default)]
pub(super) struct Walk {
    pub(super) number: u64,
    pub(super) cursor: Vec<u8>,
    pub(super) at: usize,
    /// Up to where a look at the leases went, in the score's own unit and by the server's clock; and when, by ours.
    pub(super) looked_until: Option<(Duration, f64)>,
    /// There were more entries than leases when it was looked at last.
    pub(super) uneven: bool,
}

/// What is known of silent tasks.
#[derive(Default)]
pub(super) struct Silence {
    /// By queue and entry.
    pub(super) tasks: BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Silent>>,
    pub(super) watch: Watch,
    pub(super) walks: BTreeMap<Vec<u8>, Walk>,
    /// The queue with which the next look begins.
    pub(super) turn: usize,
    pub(super) now_ms: i64,
    /// Tasks that ran when they were looked at last.
    pub(super) running: u64,
    /// Silences so far.
    pub(super) numbers: u64,
}

/// A name for the watch: the queue's length keeps two of them apart.
pub(super) fn watched(queue: &[u8], entry: &[u8]) -> Vec<u8> {
    [&(queue.len() as u64).to_be_bytes()[..], queue, entry].concat()
}

/// A task that is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Its entry.
    pub entry: Vec<u8>,
    /// How many stood before it, the oldest being the first.
    pub at: usize,
    /// What it shows: the script must find that again.
    pub seen: Vec<u8>,
    /// How often a stream gave it out before.
    pub given: u32,
    /// Tells this silence from the task's next one.
    pub number: u64,
    /// How long it was seen to be silent.
    pub silence: Duration,
    /// How late it is found.
    pub late_by: Duration,
}

impl Silence {
    pub(super) fn task(&mut self, queue: &[u8], entry: &[u8]) -> Option<&mut Silent> {
        self.tasks.get_mut(queue)?.get_mut(entry)
    }

    pub(super) fn knows(&self, queue: &[u8], entry: &[u8]) -> bool {
        self.tasks.get(queue).is_some_and(|tasks| tasks.contains_key(entry))
    }

    pub(super) fn len(&self) -> usize {
        self.watch.len()
    }

    pub(super) fn unsettled(&self) -> impl Iterator<Item = (&Vec<u8>, &Vec<u8>, &Silent)> {
        let all = self.tasks.iter();
        let all = all.flat_map(|(queue, tasks)| tasks.iter().map(move |(entry, task)| (queue, entry, task)));
        all.filter(|(_, _, task)| task.settled.is_none())
    }

    pub(super) fn forget(&mut self, queue: &[u8], which: impl Fn(&[u8], &Silent) -> bool) {
        let (watch, Some(tasks)) = (&mut self.watch, self.tasks.get_mut(queue)) else { return };
        tasks.retain(|entry, silent| {
            let gone = which(entry, silent);
            if gone {
                watch.forget(&watched(queue, entry));
            }
            !gone
        });
        if tasks.is_empty() {
            self.tasks.remove(queue);
        }
    }

    pub(super) fn forget_one(&mut self, queue: &[u8], entry: &[u8]) {
        if let Some(tasks) = self.tasks.get_mut(queue) {
            tasks.remove(entry);
            self.watch.forget(&watched(queue, entry));
        }
    }
}
