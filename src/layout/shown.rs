//! What tasks that show life for themselves show: reads, a page at a time.

use std::collections::BTreeMap;

use super::System;
use super::kombu::Message;
use super::silence::Shown;
use super::silent::PAGE;
use crate::core::layout::{Collection, End, Envelope, Heartbeat};
use crate::core::pattern::Pattern;
use crate::store::{Reply, Shape, StoreError};

/// Fields of a hash that a step reads: their values come along, and may be large.
const OF_HASH: usize = 10;
/// Bytes of the values that one read brings, or the first of them.
const BYTES: i64 = 256 * 1024;
/// Messages that are larger are not read for when they are due.
const LARGEST_READ: i64 = 64 * 1024;

impl System {
    /// Where all agents of a queue keep what they run.
    pub(super) fn of_running(&self, queue: &[u8]) -> Option<Vec<u8>> {
        self.layout().running.key.fill(&self.values_in(b"", queue))
    }

    fn group(&self) -> &[u8] {
        self.layout().running.group.as_deref().unwrap_or_default().as_bytes()
    }

    /// How much each of these running collections holds.
    pub(super) async fn sizes_of_running(&self, keys: Vec<Vec<u8>>) -> Result<Vec<u64>, StoreError> {
        if self.layout().running.kind != Collection::Stream {
            return self.sizes(self.layout().running.kind, keys).await;
        }
        let shape = Shape::of("XPENDING");
        let all: Vec<_> =
            keys.into_iter().map(|key| vec![b"XPENDING".to_vec(), key, self.group().to_vec()]).collect();
        let mut sizes = Vec::with_capacity(all.len());
        for answer in self.queue.store().commands(&all).await? {
            sizes.push(match answer {
                Ok(answer) => {
                    let count = shape.list(answer)?.into_iter().next().unwrap_or(Reply::Nil);
                    u64::try_from(shape.int(count)?).unwrap_or(0)
                }
                Err(error) if error.is_no_group() => 0,
                Err(error) => return Err(error),
            });
        }
        Ok(sizes)
    }

    /// Members of a sorted set with scores up to this one, from this rank on: to count ranks costs Redis less than to step
    /// over what LIMIT leaves out.
    pub(super) async fn scored_until(
        &self,
        key: &[u8],
        until: f64,
        from: usize,
    ) -> Result<Vec<(Vec<u8>, String)>, StoreError> {
        let shape = Shape::of("ZRANGE");
        let (from, last) = (from.to_string(), (from + PAGE - 1).to_string());
        let parts: [&[u8]; 5] = [b"ZRANGE", key, from.as_bytes(), last.as_bytes(), b"WITHSCORES"];
        let rows: Vec<[Reply; 2]> = match self.queue.store().command(&parts).await {
            // What is of another type holds none of the layout's tasks.
            Err(error) if error.is_wrong_type() => Vec::new(),
            other => shape.rows(other?)?,
        };
        let mut page = Vec::with_capacity(rows.len());
        for [member, score] in rows {
            let score = shape.text(score)?;
            // What is no number is judged as one that has passed; +inf never passes.
            if score.parse::<f64>().is_ok_and(|score| score > until) {
                break;
            }
            page.push((shape.bytes(member)?, score));
        }
        Ok(page)
    }

    /// A page of what runs in a queue, old ones first where there is an order, with what each shows; where the next page
    /// begins.
    pub(super) async fn page_of_running(
        &self,
        queue: &[u8],
        cursor: &[u8],
    ) -> Result<(Vec<Shown>, Option<Vec<u8>>), StoreError> {
        let Some(key) = self.of_running(queue) else { return Ok((Vec::new(), None)) };
        let running = &self.layout().running;
        if running.kind == Collection::Stream {
            return self.page_of_stream(queue, &key, cursor).await;
        }
        let (entries, next) = match running.kind {
            Collection::List | Collection::SortedSet => {
                let from: usize = std::str::from_utf8(cursor).unwrap_or_default().parse().unwrap_or(0);
                let entries = self.slice(&key, from, PAGE).await?;
                let next = (entries.len() == PAGE).then(|| (from + PAGE).to_string().into_bytes());
                (entries, next)
            }
            _ => {
                let at = if cursor.is_empty() { b"0" } else { cursor };
                // Of a hash the values come along.
                let most = if running.kind == Collection::Hash { OF_HASH } else { PAGE };
                let (entries, next) = self.scan_members(&key, at, most).await?;
                (entries, Some(next).filter(|next| next != b"0"))
            }
        };
        Ok((self.shown(queue, &entries).await?, next))
    }

    /// So many entries of a list or a sorted set, the oldest being the first.
    pub(super) async fn slice(
        &self,
        key: &[u8],
        from: usize,
        most: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let running = &self.layout().running;
        let end = if running.kind == Collection::List { running.oldest } else { End::Left };
        self.range(running.kind, key, end, from, most).await
    }

    /// What each of these entries shows. One that isn't there any more, where that can be told, is left out.
    pub(super) async fn shown(&self, queue: &[u8], entries: &[Vec<u8>]) -> Result<Vec<Shown>, StoreError> {
        if self.layout().running.kind == Collection::Stream {
            let Some(key) = self.of_running(queue) else { return Ok(Vec::new()) };
            let ask = |entry: &Vec<u8>| {
                let range = [entry.clone(), entry.clone(), b"1".to_vec()];
                [vec![b"XPENDING".to_vec(), key.clone(), self.group().to_vec()], range.to_vec()].concat()
            };
            let mut rows = Vec::new();
            for answer in self.queue.store().commands(&entries.iter().map(ask).collect::<Vec<_>>()).await? {
                match answer {
                    Ok(answer) => rows.push(answer),
                    Err(error) if error.is_no_group() => {}
                    Err(error) => return Err(error),
                }
            }
            return self.of_stream(queue, rows).await;
        }
        let ask = |entry: &Vec<u8>| match &self.layout().heartbeat {
            Heartbeat::Key(pattern) => {
                vec![b"EXISTS".to_vec(), self.own_heartbeat(pattern, queue, entry, b"")]
            }
            Heartbeat::Score { key, .. } => {
                let key = key.fill(&self.values_in(b"", queue)).unwrap_or_default();
                vec![b"ZSCORE".to_vec(), key, entry.clone()]
            }
            Heartbeat::Idle => Vec::new(),
        };
        let answers = self.queue.store().commands(&entries.iter().map(ask).collect::<Vec<_>>()).await?;
        let mut shown = Vec::with_capacity(entries.len());
        for (entry, answer) in entries.iter().zip(answers) {
            let answer = match answer {
                Err(error) if error.is_wrong_type() => Reply::Nil,
                other => other?,
            };
            let alive = match answer {
                Reply::Int(n) => n == 1,
                Reply::Nil => false,
                // Its lease is judged where all of them are.
                _ => true,
            };
            shown.push(Shown { entry: entry.clone(), alive, ..Shown::default() });
        }
        Ok(shown)
    }

    fn own_heartbeat(&self, pattern: &Pattern, queue: &[u8], entry: &[u8], agent: &[u8]) -> Vec<u8> {
        let mut values = self.values_in(b"", queue);
        // As the script will spell it.
        values.insert("id".to_owned(), self.name(entry).id);
        values.insert("agent".to_owned(), agent.to_vec());
        pattern.fill(&values).unwrap_or_default()
    }

    async fn page_of_stream(
        &self,
        queue: &[u8],
        key: &[u8],
        cursor: &[u8],
    ) -> Result<(Vec<Shown>, Option<Vec<u8>>), StoreError> {
        let from = if cursor.is_empty() { b"-".to_vec() } else { [b"(", cursor].concat() };
        let most = PAGE.to_string();
        let parts: [&[u8]; 6] = [b"XPENDING", key, self.group(), &from, b"+", most.as_bytes()];
        let page = self.queue.store().command(&parts).await?;
        let shown = self.of_stream(queue, vec![page]).await?;
        let next = shown.last().filter(|_| shown.len() == PAGE).map(|last| last.entry.clone());
        Ok((shown, next))
    }

    /// Reads answers of XPENDING: entry, consumer, how long it is idle, how often it was given out.
    async fn of_stream(&self, queue: &[u8], answers: Vec<Reply>) -> Result<Vec<Shown>, StoreError> {
        let shape = Shape::of("XPENDING");
        let timeout = self.foreign.timeout.as_millis();
        let (mut shown, mut consumers) = (Vec::new(), Vec::new());
        for answer in answers {
            for row in shape.list(answer)? {
                let [entry, consumer, idle, given] = shape.array(row)?;
                let (consumer, given) = (shape.bytes(consumer)?, shape.int(given)?);
                let idle = u128::try_from(shape.int(idle)?).unwrap_or(0);
                shown.push(Shown {
                    entry: shape.bytes(entry)?,
                    seen: [&consumer, b" ".as_slice(), given.to_string().as_bytes()].concat(),
                    alive: idle < timeout,
                    given: u32::try_from(given.saturating_sub(1)).unwrap_or(u32::MAX),
                });
                consumers.push(consumer);
            }
        }
        if let Heartbeat::Key(pattern) = &self.layout().heartbeat {
            let ask = |(one, consumer): (&Shown, &Vec<u8>)| {
                vec![b"EXISTS".to_vec(), self.own_heartbeat(pattern, queue, &one.entry, consumer)]
            };
            let all: Vec<_> = shown.iter().zip(&consumers).map(ask).collect();
            for (one, answer) in shown.iter_mut().zip(self.queue.store().commands(&all).await?) {
                one.alive = shape.int(answer?)? == 1;
            }
        }
        Ok(shown)
    }

    /// For messages that are not to run before a time: the time at which they are as old as others are when they are given
    /// up, by the server's clock, ms.
    pub(super) async fn delays<'e>(
        &self,
        queue: &[u8],
        entries: impl Iterator<Item = &'e Vec<u8>>,
    ) -> Result<BTreeMap<Vec<u8>, i64>, StoreError> {
        let mut delays = BTreeMap::new();
        if self.layout().running.envelope == Envelope::None {
            return Ok(delays);
        }
        let fresh: Vec<_> = entries.filter(|entry| !self.silence.knows(queue, entry)).cloned().collect();
        for (entry, bytes) in self.wrapped(queue, &fresh, LARGEST_READ).await? {
            let message = bytes.bytes().and_then(|bytes| Message::read(&bytes, ""));
            if let Some(eta) = message.and_then(|message| message.eta_ms) {
                delays.insert(entry, self.given_up_at(eta));
            }
        }
        Ok(delays)
    }

    /// What stands in the running hash under these entries, or under the first of them where they are large.
    pub(super) async fn wrapped(
        &self,
        queue: &[u8],
        entries: &[Vec<u8>],
        largest: i64,
    ) -> Result<Vec<(Vec<u8>, Wrapped)>, StoreError> {
        let Some(key) = self.of_running(queue) else { return Ok(Vec::new()) };
        let shape = Shape::of("HGET");
        let ask = |command: &[u8], entry: &Vec<u8>| vec![command.to_vec(), key.clone(), entry.clone()];
        let sizes: Vec<_> = entries.iter().map(|entry| ask(b"HSTRLEN", entry)).collect();
        let (mut small, mut bytes) = (Vec::new(), 0);
        for (entry, size) in entries.iter().zip(self.queue.store().commands(&sizes).await?) {
            let size = match size {
                // What is of another type holds none of the layout's tasks.
                Err(error) if error.is_wrong_type() => return Ok(Vec::new()),
                size => shape.int(size?)?,
            };
            bytes += if size <= largest { size } else { 0 };
            if bytes > BYTES && !small.is_empty() {
                break;
            }
            small.push((entry, size <= largest));
        }
        let values: Vec<_> =
            small.iter().filter(|(_, small)| *small).map(|(entry, _)| ask(b"HGET", entry)).collect();
        let mut values = self.queue.store().commands(&values).await?.into_iter();
        let mut found = Vec::with_capacity(small.len());
        for (entry, small) in small {
            let what = match small.then(|| values.next()).flatten().transpose()? {
                None => Wrapped::TooLarge,
                Some(Reply::Bytes(bytes)) => Wrapped::Bytes(bytes),
                Some(_) => Wrapped::Missing,
            };
            found.push((entry.clone(), what));
        }
        Ok(found)
    }
}

/// What stands under an entry of a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wrapped {
    Bytes(Vec<u8>),
    /// More than is read of one.
    TooLarge,
    /// Nothing: its index is all that is left.
    Missing,
}

impl Wrapped {
    pub(super) fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::TooLarge | Self::Missing => None,
        }
    }
}
