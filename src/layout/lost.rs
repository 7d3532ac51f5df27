//! Pages of lost tasks, where tasks show life for themselves.

use std::collections::BTreeMap;

use super::kombu::Message;
use super::page::{Entry, LONGEST_NAME, Named, digest};
use super::shown::Wrapped;
use super::silent::PAGE;
use super::{Lost, Settled, System};
use crate::core::layout::{Collection, Envelope};
use crate::core::pattern::Values;
use crate::store::StoreError;

/// Tasks on a page.
const ENTRIES: usize = 50;
/// Of a list that all share: LREM and the commands beside it take their time.
const OF_LIST: usize = 30;
/// Entries of a list between the first and the last of a page: the script reads them all.
const APART: usize = 1500;
/// Bytes of one message that are read; a larger one is left to a person.
const LARGEST: i64 = 16 * 1024 * 1024;
/// What our own keys begin with.
const OURS: &str = "backstop:";

impl System {
    /// Finds out where these stand in the list that all share; those that are gone are left out, and forgotten.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn locate(&mut self, queue: &[u8], lost: Vec<Lost>) -> Result<Vec<Lost>, StoreError> {
        let (Collection::List, Some(key)) = (self.layout().running.kind, self.of_running(queue)) else {
            return Ok(lost);
        };
        let mut missing: BTreeMap<_, _> = lost.into_iter().map(|one| (one.entry.clone(), one)).collect();
        let (mut found, mut at) = (Vec::new(), 0);
        while !missing.is_empty() {
            let page = self.slice(&key, at, PAGE).await?;
            for (n, entry) in page.iter().enumerate() {
                found.extend(missing.remove(entry).map(|one| Lost { at: at + n, ..one }));
            }
            at += page.len();
            self.steps += 1;
            if page.len() < PAGE {
                break;
            }
        }
        // A lease of what doesn't run any more stands there still: it is nobody's loss.
        missing.keys().for_each(|entry| self.settle_task(queue, entry, Some(Settled::Idle)));
        self.sort(&mut found);
        Ok(found)
    }

    /// So many were taken out of a list: those that stood behind them stand nearer to its old end.
    pub fn moved_up(&self, lost: &mut [Lost], moved: usize) {
        if !self.newest_first() {
            lost.iter_mut().for_each(|one| one.at = one.at.saturating_sub(moved));
        }
    }

    /// How many of these lost tasks one page takes.
    #[must_use]
    pub fn fits(&self, lost: &[Lost]) -> usize {
        if self.layout().running.kind != Collection::List {
            return lost.len().min(ENTRIES);
        }
        let first = lost.first().map_or(0, |one| one.at);
        lost.iter().take(OF_LIST).take_while(|one| one.at.abs_diff(first) <= APART).count()
    }

    /// What the script needs of these tasks; fewer than were asked for where they are large.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn entries_of(&self, queue: &[u8], lost: &[Lost]) -> Result<Vec<Entry>, StoreError> {
        let mut entries = match self.layout().running.envelope {
            Envelope::Kombu => self.unwrapped(queue, lost).await?,
            Envelope::None => lost
                .iter()
                .map(|one| {
                    let Named { id, put, rest } = self.name(&one.entry);
                    Entry { bytes: one.entry.clone(), id, put, rest, ..Entry::default() }
                })
                .collect(),
        };
        let returns = self.returns(self.layout().base(queue), entries.iter().map(|entry| &entry.id)).await?;
        for ((entry, one), returns) in entries.iter_mut().zip(lost).zip(returns) {
            entry.seen.clone_from(&one.seen);
            (entry.at, entry.number) = (one.at, one.number);
            // What its group gave out again by itself counts as well.
            entry.returns = returns.max(one.given);
        }
        Ok(entries)
    }

    /// Messages out of kombu's envelopes. One that can't be read, or whose queue nobody can tell, has no name.
    async fn unwrapped(&self, queue: &[u8], lost: &[Lost]) -> Result<Vec<Entry>, StoreError> {
        let tags: Vec<_> = lost.iter().map(|one| one.entry.clone()).collect();
        let mut entries = Vec::new();
        let mut bound: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
        for (tag, found) in self.wrapped(queue, &tags, LARGEST).await? {
            let mut entry = Entry { bytes: tag, ..Entry::default() };
            let found = match found {
                Wrapped::Bytes(found) => found,
                Wrapped::Missing => {
                    // An index without a message: the script looks again, and takes it out.
                    entry.id = digest(&entry.bytes);
                    entries.push(entry);
                    continue;
                }
                Wrapped::TooLarge => {
                    entries.push(entry);
                    continue;
                }
            };
            if let Some(message) = new_tag().and_then(|tag| Message::read(&found, &tag)) {
                let exchange = message.exchange.clone();
                if !exchange.is_empty() && !bound.contains_key(&exchange) {
                    let key = self.waiting_in(format!("_kombu.binding.{exchange}").into_bytes());
                    bound.insert(exchange.clone(), self.members(&key).await?);
                }
                let to = message.queue(bound.get(&exchange).map_or(&[], Vec::as_slice));
                let listed = &self.foreign.queues;
                entry.not_ours = to.as_ref().is_some_and(|to| !listed.is_empty() && !listed.contains(to));
                entry.not_before =
                    message.eta_ms.map(|eta| self.given_up_at(eta)).filter(|at| *at > self.silence.now_ms);
                // A key of ours is nobody's queue, whatever a message says.
                if let Some(to) = to.filter(|to| !to.starts_with(OURS)) {
                    entry.waiting = self.waiting_in(to.into_bytes());
                    let id = message.id.into_bytes();
                    entry.id = if id.len() <= LONGEST_NAME { id } else { digest(&id) };
                    entry.put = message.put;
                }
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    /// When a message that is due at this time is as old as others are when they are given up, by the server's clock, ms.
    pub(super) fn given_up_at(&self, eta_ms: i64) -> i64 {
        eta_ms.saturating_add(i64::try_from(self.foreign.timeout.as_millis()).unwrap_or(i64::MAX))
    }

    /// The list in which a queue of this name waits: what stands before all keys stands before it, too.
    fn waiting_in(&self, queue: Vec<u8>) -> Vec<u8> {
        let values = Values::from([("queue".to_owned(), queue.clone()), ("base".to_owned(), queue)]);
        self.layout().pending.key.fill(&values).unwrap_or_default()
    }
}

/// A delivery tag that nobody had: 122 random bits in the form that kombu gives them. `None`: there is no randomness.
fn new_tag() -> Option<String> {
    let mut bits = [0_u8; 16];
    getrandom::fill(&mut bits).ok()?;
    let hex: String = bits.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |from, until| hex.get(from..until).unwrap_or_default();
    Some(format!("{}-{}-4{}-a{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32)))
}
