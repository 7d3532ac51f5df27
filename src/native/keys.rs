//! The keys of a queue: the one place where they are spelt.

use crate::core::id::QueueName;

/// The names of all queues. It lies in another slot than any queue's keys, so it is written apart.
pub const QUEUES: &str = "backstop:queues";

/// The format of what these scripts write. Programs of another format are refused before anything is written.
pub const FORMAT: &str = "1";

/// The keys of one queue. All share the hash tag `{queue}`, so that one script can touch them all in a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    base: String,
    fixed: Vec<String>,
}

impl Keys {
    /// The keys of `queue`.
    #[must_use]
    pub fn of(queue: &QueueName) -> Self {
        let base = format!("backstop:{{{queue}}}:");
        // Every script gets these, in this order; lib/head.lua names them. The last one never exists: while a cluster
        // moves the slot, a script with it is refused before it runs instead of failing midway.
        let fixed = [
            "control", "pending", "delayed", "expiring", "agents", "due", "dead", "policy", "stats",
            "events", "lease", "unwanted", "none",
        ];
        Self { fixed: fixed.iter().map(|name| format!("{base}{name}")).collect(), base }
    }

    /// What every script is given as `KEYS`.
    #[must_use]
    pub fn fixed(&self) -> &[String] {
        &self.fixed
    }

    /// One of the queue's own keys: `pending`, `stats`, `events` …
    #[must_use]
    pub fn named(&self, name: &str) -> String {
        format!("{}{name}", self.base)
    }

    /// The running set of a session.
    #[must_use]
    pub fn running(&self, session: &str) -> String {
        format!("{}running:{session}", self.base)
    }

    /// The hash of an identity.
    #[must_use]
    pub fn agent(&self, identity: &str) -> String {
        format!("{}agent:{identity}", self.base)
    }

    /// The record of a task.
    #[must_use]
    pub fn task(&self, id: &str) -> String {
        format!("{}task:{id}", self.base)
    }

    /// The payload of a task, where it is too long for the record.
    #[must_use]
    pub fn payload(&self, id: &str) -> String {
        format!("{}payload:{id}", self.base)
    }

    /// The last error of a task.
    #[must_use]
    pub fn error(&self, id: &str) -> String {
        format!("{}error:{id}", self.base)
    }

    /// Where else a task is being worked on.
    #[must_use]
    pub fn external(&self, id: &str) -> String {
        format!("{}external:{id}", self.base)
    }

    /// What remembers that a task was completed or discarded.
    #[must_use]
    pub fn done(&self, id: &str) -> String {
        format!("{}done:{id}", self.base)
    }

    /// The pattern that finds all records, for SCAN.
    #[must_use]
    pub fn all_tasks(&self) -> String {
        // A queue's name holds no character that a pattern gives a meaning to; the braces are plain there.
        format!("{}task:*", self.base)
    }

    /// The channel that hints at new work.
    #[must_use]
    pub fn wake(&self) -> String {
        format!("{}wake", self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_a_queue_lies_in_its_slot() {
        let keys = Keys::of(&QueueName::new("billing").unwrap());
        let all =
            [keys.running("a.1-00000000"), keys.agent("a"), keys.task("t"), keys.payload("t"), keys.wake()];
        for key in keys.fixed().iter().chain(&all) {
            assert!(key.starts_with("backstop:{billing}:"), "{key}");
        }
        assert_eq!(keys.fixed().len(), 13);
        assert!(keys.fixed().iter().any(|key| key.ends_with(":none")));
    }
}
