//! What a silent agent holds, a page at a time.

use std::time::Duration;

use super::System;
use super::plan::read_end;
use crate::core::decision::decide_lost;
use crate::core::facts::TaskFacts;
use crate::core::layout::{Collection, End, Id};
use crate::core::policy::TaskPolicy;
use crate::core::words::Action;
use crate::store::{Reply, Shape, StoreError};

/// Entries on a page, and about how many bytes: what one script moves without blocking Redis for long.
const ENTRIES: usize = 50;
const BYTES: usize = 256 * 1024;
/// How many entries the first page of a collection has: nobody knows yet how large they are.
const FIRST: usize = 2;
/// Longer names are told apart by their hash.
pub(super) const LONGEST_NAME: usize = 256;
/// Entries with a larger payload are named by their hash.
const LARGEST_PARSED: usize = 1 << 20;

/// An entry of a running collection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The task's name; empty where it should have one and nobody can read it.
    pub id: Vec<u8>,
    /// How often an agent lost it, as far as we counted.
    pub returns: u32,
    /// What it shows itself, where tasks do: the script must find that again.
    pub(super) seen: Vec<u8>,
    /// It is of a queue that the configuration doesn't list.
    pub not_ours: bool,
    /// Tells this silence of a task from its next one; 0: its agent does.
    pub(super) number: u64,
    /// It is due later: before this time of the server, ms, it isn't lost.
    pub not_before: Option<i64>,
    /// How many older entries stand before it, where all agents share a list.
    pub(super) at: usize,
    /// What is put back; empty: its bytes.
    pub(super) put: Vec<u8>,
    /// Where it is put back to; empty: where its queue waits.
    pub(super) waiting: Vec<u8>,
    /// What the entry has beside the name.
    pub(super) rest: Vec<u8>,
}

impl Entry {
    /// What is to be done with it, now that it is lost.
    #[must_use]
    pub fn verdict(&self, policy: &TaskPolicy) -> Action {
        let task = TaskFacts { abandonments: self.returns, ..TaskFacts::default() };
        decide_lost(&task, policy, 0)
    }

    /// What tells this loss of the task from its next one: its agent, or the number of its silence.
    #[must_use]
    pub fn run(&self, agent: &str) -> String {
        if self.number == 0 { agent.to_owned() } else { format!("#{}", self.number) }
    }
}

/// What an entry says of its task.
#[derive(Debug, Clone, Default)]
pub(super) struct Named {
    pub(super) id: Vec<u8>,
    pub(super) put: Vec<u8>,
    pub(super) rest: Vec<u8>,
}

/// A page of entries, and where the next one begins.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Where the next page begins; `None`: that was the last.
    pub next: Option<Cursor>,
}

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cursor {
    at: Vec<u8>,
    /// Entries that stay where they are.
    pub(super) skip: usize,
    most: usize,
}

impl Cursor {
    /// The next page, where so many entries of this one stayed in place.
    #[must_use]
    pub fn over(mut self, stayed: usize) -> Self {
        self.skip += stayed;
        self
    }
}

impl System {
    /// Reads a page of what an agent holds in a queue.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn page(&self, agent: &[u8], queue: &[u8], from: &Cursor) -> Result<Page, StoreError> {
        let Some(key) = self.layout().running.key.fill(&self.values_in(agent, queue)) else {
            return Ok(Page::default());
        };
        let most = if from.most == 0 { FIRST } else { from.most };
        let (entries, at) = match self.entries(&key, from, most).await {
            // What is of another type holds none of the layout's tasks.
            Err(error) if error.is_wrong_type() => return Ok(Page::default()),
            other => other?,
        };
        let bytes: usize = entries.iter().map(Vec::len).sum();
        let last = match self.layout().running.kind {
            Collection::List | Collection::SortedSet => entries.len() < most,
            _ => at == b"0",
        };
        let most = (BYTES * entries.len().max(1) / bytes.max(1)).clamp(1, ENTRIES);
        let ids: Vec<_> = entries.iter().map(|bytes| self.name(bytes)).collect();
        let returns = self.returns(self.layout().base(queue), ids.iter().map(|named| &named.id)).await?;
        let next = (!last).then_some(Cursor { at, skip: from.skip, most });
        let entries = entries.into_iter().zip(ids).zip(returns);
        let entries = entries
            .map(|((bytes, Named { id, put, rest }), returns)| Entry {
                bytes,
                id,
                returns,
                put,
                rest,
                ..Entry::default()
            })
            .collect();
        Ok(Page { entries, next })
    }

    async fn entries(
        &self,
        key: &[u8],
        from: &Cursor,
        most: usize,
    ) -> Result<(Vec<Vec<u8>>, Vec<u8>), StoreError> {
        match self.layout().running.kind {
            kind @ (Collection::List | Collection::SortedSet) => {
                let end = if kind == Collection::List { self.read_end() } else { End::Left };
                Ok((self.range(kind, key, end, from.skip, most).await?, Vec::new()))
            }
            _ => {
                let at = if from.at.is_empty() { b"0".as_slice() } else { &from.at };
                self.scan_members(key, at, most).await
            }
        }
    }

    /// So many entries of a list or a sorted set, counted from this end.
    pub(super) async fn range(
        &self,
        kind: Collection,
        key: &[u8],
        end: End,
        from: usize,
        most: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let shape = Shape::of("LRANGE");
        let last = from + most - 1;
        let (low, high) = match end {
            End::Left => (from.to_string(), last.to_string()),
            End::Right => (format!("-{}", last + 1), format!("-{}", from + 1)),
        };
        let command: &[u8] = if kind == Collection::List { b"LRANGE" } else { b"ZRANGE" };
        let parts: [&[u8]; 4] = [command, key, low.as_bytes(), high.as_bytes()];
        let page = shape.list(self.queue.store().command(&parts).await?)?;
        let mut entries = page.into_iter().map(|one| shape.bytes(one)).collect::<Result<Vec<_>, _>>()?;
        if end == End::Right {
            entries.reverse();
        }
        Ok(entries)
    }

    /// A step through a set, or through the fields of a hash.
    pub(super) async fn scan_members(
        &self,
        key: &[u8],
        at: &[u8],
        most: usize,
    ) -> Result<(Vec<Vec<u8>>, Vec<u8>), StoreError> {
        let shape = Shape::of("SSCAN");
        let hash = self.layout().running.kind == Collection::Hash;
        let command: &[u8] = if hash { b"HSCAN" } else { b"SSCAN" };
        let count = most.to_string();
        let parts: [&[u8]; 5] = [command, key, at, b"COUNT", count.as_bytes()];
        let [next, page] = shape.array(self.queue.store().command(&parts).await?)?;
        let page = shape.list(page)?.into_iter().step_by(if hash { 2 } else { 1 });
        Ok((page.map(|one| shape.bytes(one)).collect::<Result<_, _>>()?, shape.bytes(next)?))
    }

    pub(super) fn read_end(&self) -> End {
        read_end(self.layout(), self.foreign.position)
    }

    /// The task's name: the entry itself, what stands in it, or its hash where it is a payload without a name. Where a record
    /// is looked up by it, nothing but the true name will do.
    pub(super) fn name(&self, entry: &[u8]) -> Named {
        let named = |id: Option<&[u8]>| {
            let id = match id.filter(|id| !id.is_empty()) {
                Some(id) if id.len() <= LONGEST_NAME || self.plan.needs_names() => id.to_vec(),
                None if self.plan.needs_names() => Vec::new(),
                _ => digest(entry),
            };
            Named { id, ..Named::default() }
        };
        match &self.layout().running.id {
            Id::Entry => named(Some(entry).filter(|_| self.plan.entries_are_names())),
            Id::Json(field) => {
                let small = entry.len() <= LARGEST_PARSED;
                let parsed = small.then(|| serde_json::from_slice::<serde_json::Value>(entry).ok()).flatten();
                named(
                    parsed
                        .and_then(|json| json.get(field)?.as_str().map(str::to_owned))
                        .as_deref()
                        .map(str::as_bytes),
                )
            }
            Id::Before(edge) => {
                let at = entry.windows(edge.len()).rposition(|part| part == edge.as_bytes());
                let Some((id, rest)) = at.and_then(|at| entry.split_at_checked(at)) else {
                    return named(Some(entry));
                };
                let rest = rest.get(edge.len()..).unwrap_or_default().to_vec();
                Named { put: id.to_vec(), rest, ..named(Some(id)) }
            }
        }
    }

    pub(super) async fn returns<'i>(
        &self,
        queue: &[u8],
        ids: impl ExactSizeIterator<Item = &'i Vec<u8>>,
    ) -> Result<Vec<u32>, StoreError> {
        if ids.len() == 0 {
            return Ok(Vec::new());
        }
        let names: Vec<_> = ids.map(|id| [queue, b":", id].concat()).collect();
        let shape = Shape::of("HMGET");
        let mut sums = vec![0_u32; names.len()];
        let [now, before] = self.counts_keys(self.queue.store().server_time().await?);
        let ask = |key: &str| {
            let mut parts = vec![b"HMGET".to_vec(), key.as_bytes().to_vec()];
            parts.extend(names.iter().cloned());
            parts
        };
        for answer in self.queue.store().commands(&[ask(&now), ask(&before)]).await? {
            for (sum, count) in sums.iter_mut().zip(shape.list(answer?)?) {
                let count = if count == Reply::Nil { 0 } else { shape.int(count)? };
                *sum = sum.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
            }
        }
        Ok(sums)
    }

    /// The hashes that count returns, this week's and the last one's. A count lives for one to two weeks.
    pub(super) fn counts_keys(&self, now_ms: i64) -> [String; 2] {
        let week = now_ms / i64::try_from(WEEK.as_millis()).unwrap_or(i64::MAX);
        let keys = self.queue.keys();
        [keys.named(&format!("returns:{week}")), keys.named(&format!("returns:{}", week - 1))]
    }
}

/// How long one hash counts.
pub(super) const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// A name for bytes that have none: 128 bits of FNV-1a, which need only tell the tasks of one system apart.
pub(super) fn digest(bytes: &[u8]) -> Vec<u8> {
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for byte in bytes {
        hash ^= u128::from(*byte);
        hash = hash.wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    }
    format!("{hash:032x}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test vectors of the FNV specification, draft-eastlake-fnv.
    #[test]
    fn the_digest_is_fnv_1a_of_128_bits() {
        assert_eq!(digest(b""), b"6c62272e07bb014262b821756295c58d");
        assert_eq!(digest(b"a"), b"d228cb696f1a8caf78912b704e4a8964");
    }
}
