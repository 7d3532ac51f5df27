//! What must hold of the queue at every moment, and from each moment to the next.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::dump::Dump;

/// At and above this a place in a running set says: no limit.
const NO_LIMIT: f64 = 4e15;

type Record = BTreeMap<String, String>;

/// The queue as it stands, its indices read.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) dump: Dump,
    base: String,
    pub(crate) records: BTreeMap<String, Record>,
    pub(crate) running: BTreeMap<String, BTreeMap<String, f64>>,
    stats: BTreeMap<String, i64>,
}

impl State {
    pub(crate) fn of(dump: Dump, base: &str) -> Self {
        let task = format!("{base}task:");
        let run = format!("{base}running:");
        let records =
            dump.after(&task).map(|id| (id.to_owned(), dump.hash(&format!("{task}{id}")))).collect();
        let running = dump.after(&run).map(|s| (s.to_owned(), dump.zset(&format!("{run}{s}")))).collect();
        let stats = dump.hash(&format!("{base}stats"));
        let stats = stats.into_iter().map(|(name, n)| (name, n.parse().unwrap())).collect();
        Self { base: base.to_owned(), records, running, stats, dump }
    }

    pub(crate) fn zset(&self, name: &str) -> BTreeMap<String, f64> {
        self.dump.zset(&format!("{}{name}", self.base))
    }

    pub(crate) fn stub(&self, id: &str) -> Option<String> {
        self.dump.string(&format!("{}done:{id}", self.base))
    }

    pub(crate) fn stat(&self, name: &str) -> i64 {
        self.stats.get(name).copied().unwrap_or(0)
    }

    fn sum(&self, prefix: &str) -> i64 {
        self.stats.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, n)| n).sum()
    }

    pub(crate) fn field(&self, id: &str, name: &str) -> Option<&str> {
        self.records.get(id)?.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// Who runs it.
    pub(crate) fn holder(&self, id: &str) -> Option<&str> {
        self.field(id, "session").filter(|session| !session.starts_with('!'))
    }

    /// Why nobody does.
    pub(crate) fn why(&self, id: &str) -> Option<&str> {
        self.field(id, "session")?.strip_prefix('!')
    }

    fn number(&self, id: &str, name: &str) -> Option<f64> {
        self.field(id, name).map(|text| text.parse().unwrap())
    }

    /// Where else it is worked on.
    pub(crate) fn handle(&self, id: &str) -> Option<String> {
        self.dump.string(&format!("{}external:{id}", self.base))
    }

    pub(crate) fn is_unwanted(&self, id: &str, handle: &str) -> bool {
        let end = format!(" {id} {handle}");
        self.zset("unwanted").keys().any(|entry| entry.ends_with(&end))
    }

    /// I1, I9 and the agreement of the indices.
    pub(crate) fn check(&self) {
        self.each_task_stands_in_its_one_place();
        self.counts_agree();
        self.running_tasks_are_found_in_time();
        for (id, record) in &self.records {
            self.record_is_coherent(id, record);
        }
        self.nothing_stands_without_a_record();
    }

    fn each_task_stands_in_its_one_place(&self) {
        let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for name in ["pending", "delayed", "dead"] {
            for id in self.zset(name).into_keys() {
                places.entry(id).or_default().push(name.to_owned());
            }
        }
        for (session, tasks) in &self.running {
            for id in tasks.keys() {
                places.entry(id.clone()).or_default().push(format!("running {session}"));
                assert_eq!(self.holder(id), Some(session.as_str()), "{id} runs elsewhere by its record");
            }
        }
        for (id, places) in &places {
            assert!(places.len() == 1 && self.records.contains_key(id), "{id} stands in {places:?}");
        }
        for id in self.records.keys() {
            assert!(places.contains_key(id), "{id} is lost");
            let runs = places[id][0].starts_with("running");
            assert_eq!(self.holder(id).is_some(), runs, "{id}");
            assert_eq!(self.stub(id), None, "{id} is done and isn't");
        }
    }

    fn counts_agree(&self) {
        let out = self.stat("completed") + self.stat("discarded");
        let inside = i64::try_from(self.records.len()).unwrap();
        assert_eq!(self.stat("enqueued"), inside + out, "I1: {:?}", self.stats);
        let ended = self.sum("reset:")
            + self.stat("abandoned_dead")
            + self.stat("abandoned_expired")
            + self.stat("adopted")
            + self.stat("collected")
            + self.stat("abandoned_failed");
        assert_eq!(self.sum("abandoned:"), ended, "I9: {:?}", self.stats);
        assert_eq!(self.sum("skipped:") + self.sum("mended:"), 0, "something was mended: {:?}", self.stats);
    }

    fn running_tasks_are_found_in_time(&self) {
        let (due, agents) = (self.zset("due"), self.zset("agents"));
        for (session, tasks) in &self.running {
            let first = tasks.values().copied().fold(f64::INFINITY, f64::min);
            assert!(
                due.get(session).is_some_and(|at| *at <= first),
                "{session} isn't due at {first}: {due:?}"
            );
            assert!(agents.contains_key(session), "nobody watches {session}");
            for (id, place) in tasks {
                if self.field(id, "revoked_at").is_some() {
                    assert!(*place < NO_LIMIT, "{id} was told to stop, and nobody will see to it");
                    continue;
                }
                let limits = ["limit", "alive_until", "deadline"].map(|name| self.number(id, name));
                let taken = self.number(id, "taken_at").unwrap();
                let earliest = limits.into_iter().flatten().fold(NO_LIMIT + taken, f64::min);
                assert_eq!(*place, earliest, "the limits of {id} say otherwise");
            }
        }
    }

    fn record_is_coherent(&self, id: &str, record: &Record) {
        let runs = self.holder(id).is_some();
        let dead = self.zset("dead").contains_key(id);
        // What a reset left of the last run is cleared by the next take; one that was cancelled is discarded there.
        let reset = self.why(id).is_some_and(|why| why.starts_with("reset:"));
        assert!(runs || reset || !record.contains_key("cancelled"), "{id} was cancelled, and waits");
        assert!(
            runs || reset || dead || !record.contains_key("revoked_at"),
            "{id} was told to stop, and waits"
        );
        let waits_for_deadline = record.contains_key("deadline") && !dead;
        let expiring = self.zset("expiring");
        assert_eq!(expiring.contains_key(id), waits_for_deadline, "{id} in expiring");
        if waits_for_deadline {
            assert_eq!(expiring.get(id).copied(), self.number(id, "deadline"), "{id}");
        }
        if self.zset("pending").contains_key(id) {
            assert_eq!(self.zset("pending").get(id).copied(), self.number(id, "seq"), "{id} lost its place");
        }
        if let Some(token) = record.get("token") {
            let begins = format!("{}-{}-", record["attempt"], record["seq"]);
            assert!(token.starts_with(&begins), "{id}: {token} tells no two lives apart: {record:?}");
        }
        for (field, value) in record {
            assert!(value.len() <= 64, "{id}: {field} turns the record into a hash table");
        }
    }

    fn nothing_stands_without_a_record(&self) {
        for id in self.dump.after(&format!("{}external:", self.base)) {
            assert!(!self.zset("dead").contains_key(id), "nobody will ask about the handle of {id}");
            let handle = self.handle(id).unwrap_or_default();
            assert!(!self.is_unwanted(id, &handle), "{handle} of {id} is wanted, and isn't");
        }
        for kind in ["payload", "checkpoint", "error", "external"] {
            for id in self.dump.after(&format!("{}{kind}:", self.base)) {
                assert!(self.records.contains_key(id), "the {kind} of {id} outlives it");
            }
        }
        for id in self.zset("expiring").keys() {
            assert!(self.records.contains_key(id), "{id} is gone and expires");
        }
    }

    /// I5, and what is fixed for as long as a task lives.
    pub(crate) fn check_step(&self, later: &Self) {
        for (id, after) in &later.records {
            let Some(before) = self.records.get(id).filter(|old| old["enqueued_at"] == after["enqueued_at"])
            else {
                continue;
            };
            let number = |record: &Record, name: &str| -> i64 {
                record.get(name).map_or(0, |text| text.parse().unwrap())
            };
            let why = |record: &Record| record.get("session").is_some_and(|session| session == "!redriven");
            let redriven = why(after) && !why(before);
            let by = |name| number(after, name) - number(before, name);
            assert!((0..=1).contains(&by("attempt")), "{id}: {before:?} {after:?}");
            if redriven {
                assert_eq!((number(after, "failures"), number(after, "abandonments")), (0, 0), "{id}");
            } else {
                let (failed, abandoned) = (by("failures"), by("abandonments"));
                assert!(
                    matches!((failed, abandoned), (0, 0) | (1, 0) | (0, 1)),
                    "{id} was charged {failed} failures and {abandoned} abandonments at once"
                );
            }
            if by("attempt") == 1 {
                assert_ne!(before.get("token"), after.get("token"), "{id}: two attempts under one token");
            }
            for fixed in ["type", "payload", "seq"] {
                let same = before.get(fixed) == after.get(fixed);
                assert!(same || (fixed == "seq" && !before.contains_key("seq")), "{id}: {fixed} changed");
            }
        }
    }

    /// At the end: nobody is left, nothing stands but what a person must see and what lapses or counts.
    pub(crate) fn check_end(&self) {
        let dead: BTreeSet<String> = self.zset("dead").into_keys().collect();
        assert_eq!(self.records.keys().cloned().collect::<BTreeSet<_>>(), dead, "not all is done or dead");
        let out = self.stat("completed") + self.stat("discarded") + i64::try_from(dead.len()).unwrap();
        assert_eq!(self.stat("enqueued"), out);
        let stays = ["control", "policy", "stats", "events", "dead", "unwanted"];
        let families = ["task:", "payload:", "checkpoint:", "error:", "done:", "agent:", "nonce:", "runs:"];
        for name in self.dump.after(&self.base) {
            let known = stays.contains(&name) || families.iter().any(|family| name.starts_with(family));
            assert!(known, "{name} leaked: {:?}", self.dump.keys.get(&format!("{}{name}", self.base)));
        }
    }
}
