//! What a silent agent holds, a page at a time.

use std::time::Duration;

use super::System;
use super::plan::read_end;
use crate::core::layout::{Collection, End};
use crate::store::{Reply, Shape, StoreError};

/// Entries on a page, and about how many bytes: what one script moves without blocking Redis for long.
const ENTRIES: usize = 50;
const BYTES: usize = 256 * 1024;
/// How many entries the first page of a collection has: nobody knows yet how large they are.
const FIRST: usize = 2;
/// Longer names are told apart by their hash.
const LONGEST_NAME: usize = 256;
/// Entries with a larger payload are named by their hash.
const LARGEST_PARSED: usize = 1 << 20;

/// An entry of a running collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The task's name.
    pub id: Vec<u8>,
    /// How often an agent lost it, as far as we counted.
    pub returns: u32,
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
        let returns = self.returns(self.layout().base(queue), &ids).await?;
        let next = (!last).then_some(Cursor { at, skip: from.skip, most });
        let entries = entries.into_iter().zip(ids).zip(returns);
        let entries = entries.map(|((bytes, id), returns)| Entry { bytes, id, returns }).collect();
        Ok(Page { entries, next })
    }

    async fn entries(
        &self,
        key: &[u8],
        from: &Cursor,
        most: usize,
    ) -> Result<(Vec<Vec<u8>>, Vec<u8>), StoreError> {
        let store = self.queue.store();
        let bytes = |shape: &Shape<'_>, reply| {
            shape.list(reply)?.into_iter().map(|one| shape.bytes(one)).collect::<Result<Vec<_>, _>>()
        };
        let (first, last) = (from.skip, from.skip + most - 1);
        match self.layout().running.kind {
            Collection::List => {
                let shape = Shape::of("LRANGE");
                let (low, high) = match self.read_end() {
                    End::Left => (first.to_string(), last.to_string()),
                    End::Right => (format!("-{}", last + 1), format!("-{}", first + 1)),
                };
                let parts: [&[u8]; 4] = [b"LRANGE", key, low.as_bytes(), high.as_bytes()];
                let mut entries = bytes(&shape, store.command(&parts).await?)?;
                if self.read_end() == End::Right {
                    entries.reverse();
                }
                Ok((entries, Vec::new()))
            }
            Collection::SortedSet => {
                let shape = Shape::of("ZRANGE");
                let (first, last) = (first.to_string(), last.to_string());
                let parts: [&[u8]; 4] = [b"ZRANGE", key, first.as_bytes(), last.as_bytes()];
                Ok((bytes(&shape, store.command(&parts).await?)?, Vec::new()))
            }
            kind => {
                let command: &[u8] = if kind == Collection::Hash { b"HSCAN" } else { b"SSCAN" };
                let shape = Shape::of("SSCAN");
                let at = if from.at.is_empty() { b"0".as_slice() } else { &from.at };
                let count = most.to_string();
                let parts: [&[u8]; 5] = [command, key, at, b"COUNT", count.as_bytes()];
                let [next, page] = shape.array(store.command(&parts).await?)?;
                let mut entries = bytes(&shape, page)?;
                if kind == Collection::Hash {
                    entries = entries.into_iter().step_by(2).collect();
                }
                Ok((entries, shape.bytes(next)?))
            }
        }
    }

    pub(super) fn read_end(&self) -> End {
        read_end(self.layout(), self.foreign.position)
    }

    /// The task's name: the entry itself, what stands in its JSON, or its hash where it is a payload without a name.
    fn name(&self, entry: &[u8]) -> Vec<u8> {
        let Some(field) = &self.layout().running.id else {
            let short = entry.len() <= LONGEST_NAME;
            return if self.plan.entries_are_names() && short { entry.to_vec() } else { digest(entry) };
        };
        let parsed =
            (entry.len() <= LARGEST_PARSED).then(|| serde_json::from_slice::<serde_json::Value>(entry).ok());
        let name =
            parsed.flatten().and_then(|json| json.get(field)?.as_str().map(|name| name.as_bytes().to_vec()));
        name.filter(|name| !name.is_empty() && name.len() <= LONGEST_NAME).unwrap_or_else(|| digest(entry))
    }

    async fn returns(&self, queue: &[u8], ids: &[Vec<u8>]) -> Result<Vec<u32>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let shape = Shape::of("HMGET");
        let mut sums = vec![0_u32; ids.len()];
        let [now, before] = self.counts_keys().await?;
        let ask = |key: &str| {
            let mut parts = vec![b"HMGET".to_vec(), key.as_bytes().to_vec()];
            parts.extend(ids.iter().map(|id| [queue, b":", id].concat()));
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
    pub(super) async fn counts_keys(&self) -> Result<[String; 2], StoreError> {
        let week =
            self.queue.store().server_time().await? / i64::try_from(WEEK.as_millis()).unwrap_or(i64::MAX);
        let keys = self.queue.keys();
        Ok([keys.named(&format!("returns:{week}")), keys.named(&format!("returns:{}", week - 1))])
    }
}

/// How long one hash counts.
pub(super) const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// A name for bytes that have none: 128 bits of FNV-1a, which need only tell the tasks of one system apart.
fn digest(bytes: &[u8]) -> Vec<u8> {
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
