//! Whether records and indices agree, all of them: a walk over the whole keyspace, for a person to start.

use std::collections::{BTreeMap, BTreeSet};

use crate::native::Queue;
use crate::native::scripts::reconcile::{Reconcile, Reconciled};
use crate::store::{Reply, Shape, StoreError};

/// Tasks that one call of the script compares.
const AT_ONCE: usize = 100;
/// Findings that are told one by one.
const EXAMPLES: usize = 20;
/// A key that holds another type of value than the protocol says. Nothing can be mended there by rule.
pub const WRONG_TYPE: &str = "wrong_type";

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// Entries and records that were compared; one that stands in several places is compared in each.
    pub compared: u64,
    /// How many there were of each unsound kind.
    pub unsound: BTreeMap<&'static str, u64>,
    /// How many of them were mended.
    pub mended: u64,
    /// Some of them: the task or the key, with what was found.
    pub examples: Vec<(String, &'static str)>,
    seen: BTreeSet<String>,
}

impl Findings {
    /// How many are unsound still.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.unsound.values().sum::<u64>().saturating_sub(self.mended)
    }

    fn add(&mut self, what: &str, kind: &'static str, mended: bool) {
        // The same key is met again in each index that names it.
        if kind == WRONG_TYPE && !self.seen.insert(what.to_owned()) {
            return;
        }
        *self.unsound.entry(kind).or_default() += 1;
        self.mended += u64::from(mended);
        if self.examples.len() < EXAMPLES {
            self.examples.push((what.to_owned(), kind));
        }
    }
}

/// Walks over everything, a page at a time; mends what can only be mended one way, if `repair` says so. `told` hears how
/// far it is.
///
/// # Errors
/// [`StoreError`].
pub async fn walk(queue: &Queue, repair: bool, told: impl Fn(u64)) -> Result<Findings, StoreError> {
    let mut walk = Walk { queue, repair, told, findings: Findings::default() };
    walk.fixed_keys().await?;
    if walk.findings.left() == 0 {
        walk.everything().await?;
    }
    Ok(walk.findings)
}

struct Walk<'a, F> {
    queue: &'a Queue,
    repair: bool,
    told: F,
    findings: Findings,
}

impl<F: Fn(u64)> Walk<'_, F> {
    /// The keys that every script reads first: with one of the wrong type none runs, so nothing more can be compared.
    async fn fixed_keys(&mut self) -> Result<(), StoreError> {
        let hashes = ["control", "policy", "stats"].map(|name| ("HLEN", name));
        let sets = ["pending", "delayed", "expiring", "agents", "due", "dead"].map(|name| ("ZCARD", name));
        for (count, name) in hashes.into_iter().chain(sets) {
            let key = self.queue.keys().named(name);
            match self.queue.store().command(&[count, &key]).await {
                Err(error) if error.is_wrong_type() => self.findings.add(&key, WRONG_TYPE, false),
                other => drop(other?),
            }
        }
        Ok(())
    }

    async fn everything(&mut self) -> Result<(), StoreError> {
        let pattern = self.queue.keys().all_tasks();
        let prefix = pattern.trim_end_matches('*').to_owned();
        let mut at = "0".to_owned();
        loop {
            let (next, keys) = self.page(&["SCAN", &at, "MATCH", &pattern, "COUNT", "500"]).await?;
            let ids: Vec<_> =
                keys.into_iter().filter_map(|key| key.strip_prefix(&prefix).map(str::to_owned)).collect();
            self.compare(None, &ids).await?;
            at = next;
            if at == "0" {
                break;
            }
        }
        for index in ["pending", "delayed", "dead", "expiring"] {
            self.entries(&self.queue.keys().named(index), None).await?;
        }
        let mut sessions = BTreeSet::new();
        for index in ["due", "agents"] {
            let mut at = "0".to_owned();
            loop {
                let (next, members) = self.members(&self.queue.keys().named(index), &at).await?;
                sessions.extend(members);
                at = next;
                if at == "0" {
                    break;
                }
            }
        }
        for session in sessions {
            self.entries(&self.queue.keys().running(&session), Some(&session)).await?;
        }
        Ok(())
    }

    /// Compares all entries of an index; of a running set with its session.
    async fn entries(&mut self, key: &str, session: Option<&str>) -> Result<(), StoreError> {
        let mut at = "0".to_owned();
        loop {
            let (next, ids) = match self.members(key, &at).await {
                Err(error) if error.is_wrong_type() => {
                    self.findings.add(key, WRONG_TYPE, false);
                    return Ok(());
                }
                other => other?,
            };
            self.compare(session, &ids).await?;
            at = next;
            if at == "0" {
                return Ok(());
            }
        }
    }

    async fn compare(&mut self, session: Option<&str>, ids: &[String]) -> Result<(), StoreError> {
        for ids in ids.chunks(AT_ONCE) {
            let found = self.ask(session, ids).await?;
            for (id, found) in ids.iter().zip(found) {
                if found != Reconciled::Sound {
                    let mended = self.repair && found != Reconciled::WrongType;
                    self.findings.add(id, found.as_str(), mended);
                }
            }
            self.findings.compared += ids.len() as u64;
            (self.told)(self.findings.compared);
        }
        Ok(())
    }

    async fn ask(&self, session: Option<&str>, ids: &[String]) -> Result<Vec<Reconciled>, StoreError> {
        let session = session.map(str::to_owned);
        self.queue.run(&Reconcile { repair: self.repair, session, ids: ids.to_vec() }).await
    }

    async fn members(&self, key: &str, at: &str) -> Result<(String, Vec<String>), StoreError> {
        let (next, flat) = self.page(&["ZSCAN", key, at, "COUNT", "500"]).await?;
        Ok((next, flat.into_iter().step_by(2).collect()))
    }

    async fn page(&self, command: &[&str]) -> Result<(String, Vec<String>), StoreError> {
        let shape = Shape::of(command.first().copied().unwrap_or_default());
        let [next, found]: [Reply; 2] = shape.array(self.queue.store().command(command).await?)?;
        let found = shape.list(found)?.into_iter().map(|one| shape.text(one)).collect::<Result<_, _>>()?;
        Ok((shape.text(next)?, found))
    }
}
