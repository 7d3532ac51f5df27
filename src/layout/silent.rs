//! Systems in which each task shows life for itself: which of them are silent.
//!
//! Where leases stand in a sorted set by time, a look reads those that have run out. Where each task has a lock, or a stream
//! knows since when it is out, there is no such order: a look goes through so many pages, the next one goes on, and those that
//! were found silent are looked at again each time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::silence::{Lost, Settled, Shown, Silent, watched};
use super::{Fleet, System};
use crate::core::layout::{Collection, Heartbeat, Means};
use crate::core::watch::{Patience, Sign};
use crate::core::words::Liveness;
use crate::store::StoreError;

/// Entries that one command answers.
pub(super) const PAGE: usize = 500;
/// Pages that one look reads of collections without an order by time.
const PAGES: usize = 200;
/// Silent tasks that are watched at once; the others wait until some of these are dealt with.
const WATCHED: usize = 50_000;
/// A lease that ended so long ago, or a time so far from now, may be of another unit: half a year.
const PLAUSIBLE_MS: i64 = 183 * 86_400_000;
/// What the clocks of machines that keep the same time differ by, generously.
const SKEW_MS: i64 = 5000;

impl System {
    /// Looks at all tasks that may be silent.
    pub(super) async fn look_at_tasks(&mut self, now: Duration, restart: bool) -> Result<Fleet, StoreError> {
        if restart {
            self.silence.watch.restart(now);
        }
        self.silence.now_ms = self.queue.store().server_time().await?;
        let queues = self.queues_of(b"").await?;
        let wanted: BTreeSet<_> = queues.iter().collect();
        let gone: Vec<_> =
            self.silence.walks.keys().filter(|queue| !wanted.contains(queue)).cloned().collect();
        for queue in gone {
            self.silence.walks.remove(&queue);
            self.silence.forget(&queue, |_, _| true);
        }
        if matches!(self.layout().heartbeat, Heartbeat::Idle) {
            // The server itself says how long something is out.
            self.proven = true;
        }
        let keys = queues.iter().filter_map(|queue| self.of_running(queue)).collect();
        let running = self.sizes_of_running(keys).await?.into_iter().sum();
        self.silence.running = running;
        if let Heartbeat::Score { .. } = self.layout().heartbeat {
            for queue in &queues {
                self.leases(queue, now).await?;
            }
        } else {
            self.look_again(now).await?;
        }
        if self.has_no_order() {
            let mut pages = PAGES;
            for step in 0..queues.len() {
                let Some(queue) = queues.get((self.silence.turn + step) % queues.len()) else { break };
                pages = self.walk(queue, pages, now).await?;
                if pages == 0 {
                    // One that was just walked to its end lets the next one begin.
                    let over = self.silence.walks.get(queue).is_none_or(|walk| walk.cursor.is_empty());
                    self.silence.turn = (self.silence.turn + step + usize::from(over)) % queues.len();
                    break;
                }
            }
        }
        let mut fleet = Fleet { agents: running, proven: self.proven, ..Fleet::default() };
        for (queue, entry, silent) in self.silence.unsettled() {
            match self.judge_task(queue, entry, silent).0 {
                Liveness::Alive => {}
                Liveness::Suspect => fleet.suspect += 1,
                Liveness::Lost => fleet.lost += 1,
            }
        }
        let counted = self.silence.tasks.values().flat_map(BTreeMap::values);
        fleet.lost += counted.filter(|task| task.settled == Some(Settled::Counted)).count() as u64;
        if self.silence.len() >= WATCHED {
            // There may be any number more of them: guards must not take what isn't watched for alive.
            fleet.suspect = running.saturating_sub(fleet.lost);
        }
        Ok(fleet)
    }

    /// Whether entries must be looked through to find those that are silent.
    fn has_no_order(&self) -> bool {
        match &self.layout().heartbeat {
            Heartbeat::Key(_) | Heartbeat::Idle => true,
            // Entries without any lease stand in no order either.
            Heartbeat::Score { key, .. } => *key != self.layout().running.key,
        }
    }

    /// The leases of a queue that have run out, or are about to.
    async fn leases(&mut self, queue: &[u8], now: Duration) -> Result<(), StoreError> {
        let Heartbeat::Score { key, means, unit, ahead } = self.layout().heartbeat.clone() else {
            return Ok(());
        };
        let Some(key) = key.fill(&self.values_in(b"", queue)) else { return Ok(()) };
        let timeout = self.foreign.timeout;
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let until_ms = match means {
            Means::Expires => self.silence.now_ms.saturating_add(millis(ahead)),
            Means::LastSeen => self.silence.now_ms.saturating_sub(millis(timeout)),
        };
        #[allow(clippy::cast_precision_loss, reason = "a time in milliseconds is below 2^53")]
        let until = until_ms as f64 / unit.millis() as f64;
        #[allow(clippy::cast_precision_loss, reason = "they are small")]
        let [skew, plausible] = [SKEW_MS, PLAUSIBLE_MS].map(|ms| ms as f64 / unit.millis() as f64);
        let before = self.silence.walks.entry(queue.to_vec()).or_default().looked_until;
        // If the server's clock moved more than ours, all that became old by that is of a clock that is behind.
        #[allow(clippy::cast_precision_loss, reason = "a time in milliseconds is below 2^53")]
        let looked_until = before.filter(|(at, before)| {
            let passed = now.saturating_sub(*at).as_millis() as f64 / unit.millis() as f64;
            until - before <= passed + skew
        });
        let looked_until = looked_until.map(|(_, until)| until);
        let mut at = 0;
        let mut seen = BTreeSet::new();
        loop {
            let page = self.scored_until(&key, until, at).await?;
            let all = page.len();
            let delays = self.delays(queue, page.iter().map(|(entry, _)| entry)).await?;
            for (entry, score) in page {
                // A time that was past when we looked last, and that we didn't see: it was written since, by a clock that is
                // behind. A lease, and all that the first look finds, may always be of such a clock.
                let time = score.parse::<f64>().ok();
                let old = time.zip(looked_until).map(|(time, until)| time < until - skew);
                let unsure = means == Means::Expires || old.unwrap_or(true);
                let not_before = delays.get(&entry).copied();
                let found = Found { at: seen.len(), unsure, not_before };
                // A time of these days is of the right key and unit, also if everybody has died since.
                self.proven |= time.is_some_and(|time| (time - until).abs() < plausible);
                if self.silence.knows(queue, &entry) || self.silence.len() < WATCHED {
                    let shown = Shown { entry: entry.clone(), seen: score.into_bytes(), ..Shown::default() };
                    self.see(queue, shown, found, now);
                }
                seen.insert(entry);
            }
            at += all;
            self.steps += 1;
            if all < PAGE || at >= PAGE * PAGES {
                break;
            }
        }
        let whole = at < PAGE * PAGES;
        if let Some(walk) = self.silence.walks.get_mut(queue) {
            walk.looked_until = whole.then_some((now, until));
        }
        if whole {
            self.silence.forget(queue, |entry, silent| !silent.seen.is_empty() && !seen.contains(entry));
        }
        let all = self.sizes(Collection::SortedSet, vec![key]).await?.into_iter().sum::<u64>();
        self.proven |= all > at as u64;
        Ok(())
    }

    /// Those that were silent when they were looked at last.
    async fn look_again(&mut self, now: Duration) -> Result<(), StoreError> {
        for queue in self.silence.tasks.keys().cloned().collect::<Vec<_>>() {
            let known = self.silence.tasks.get(&queue);
            let entries: Vec<_> = known.into_iter().flat_map(BTreeMap::keys).cloned().collect();
            for page in entries.chunks(PAGE) {
                let mut gone: BTreeSet<_> = page.iter().collect();
                for one in self.shown(&queue, page).await? {
                    gone.remove(&one.entry);
                    self.see(&queue, one, Found::default(), now);
                }
                gone.into_iter().for_each(|entry| self.silence.forget_one(&queue, entry));
            }
        }
        Ok(())
    }

    /// Goes on through a queue for so many pages; how many are left.
    async fn walk(&mut self, queue: &[u8], mut pages: usize, now: Duration) -> Result<usize, StoreError> {
        let mut walk = self.silence.walks.remove(queue).unwrap_or_default();
        if let Heartbeat::Score { key, .. } = &self.layout().heartbeat {
            // As many leases as entries: none is without.
            let values = self.values_in(b"", queue);
            let leases = self.sizes(Collection::SortedSet, key.fill(&values).into_iter().collect()).await?;
            let held = self.of_running(queue).into_iter().collect();
            self.steps += 1;
            // They are read one after the other: what is taken between is no reason to look at all.
            let uneven = self.sizes_of_running(held).await? > leases;
            let again = std::mem::replace(&mut walk.uneven, uneven);
            if !uneven || !again {
                self.silence.forget(queue, |_, silent| silent.seen.is_empty());
                self.silence.walks.insert(queue.to_vec(), walk);
                return Ok(pages);
            }
        }
        while pages > 0 {
            pages -= 1;
            self.steps += 1;
            let (shown, next) = match self.page_of_running(queue, &walk.cursor).await {
                // What is of another type, or has no such group, holds none of the layout's tasks.
                Err(error) if error.is_no_group() => (Vec::new(), None),
                other => other?,
            };
            for one in shown {
                let at = walk.at;
                walk.at += 1;
                self.proven |= one.alive;
                let known = self.silence.task(queue, &one.entry).is_some();
                if !one.alive && (known || self.silence.len() < WATCHED) {
                    let entry = one.entry.clone();
                    self.see(queue, one, Found { at, ..Found::default() }, now);
                    if let Some(silent) = self.silence.task(queue, &entry) {
                        (silent.walk, silent.at) = (walk.number, at);
                    }
                }
            }
            if let Some(next) = next {
                walk.cursor = next;
                continue;
            }
            // All was looked at: what wasn't found again is gone.
            let number = walk.number;
            let by_lease = matches!(self.layout().heartbeat, Heartbeat::Score { .. });
            self.silence
                .forget(queue, |_, silent| silent.walk < number && (!by_lease || silent.seen.is_empty()));
            (walk.number, walk.cursor, walk.at) = (number + 1, Vec::new(), 0);
            break;
        }
        self.silence.walks.insert(queue.to_vec(), walk);
        Ok(pages)
    }

    /// Notes what a task shows.
    fn see(&mut self, queue: &[u8], shown: Shown, found: Found, now: Duration) {
        if shown.alive {
            self.proven = true;
            return self.silence.forget_one(queue, &shown.entry);
        }
        self.silence.watch.see(
            &watched(queue, &shown.entry),
            Sign::Figure(String::from_utf8_lossy(&shown.seen).into_owned()),
            now,
        );
        if let Some(silent) = self.silence.task(queue, &shown.entry) {
            // One that changes while it looks silent lives, by a clock that is behind.
            let changed = silent.seen != shown.seen;
            if changed {
                (silent.settled, silent.unsure) = (None, true);
            }
            (silent.seen, silent.given) = (shown.seen, shown.given);
            self.proven |= changed;
            return;
        }
        let walk = self.silence.walks.get(queue).map_or(0, |walk| walk.number);
        let Found { at, unsure, not_before } = found;
        self.silence.numbers += 1;
        let Shown { entry, seen, given, .. } = shown;
        let number = self.silence.numbers;
        let silent = Silent { seen, given, at, unsure, not_before, settled: None, number, walk };
        self.silence.tasks.entry(queue.to_vec()).or_default().insert(entry, silent);
    }

    fn judge_task(&self, queue: &[u8], entry: &[u8], silent: &Silent) -> (Liveness, Duration) {
        if silent.not_before.is_some_and(|time| self.silence.now_ms < time) {
            return (Liveness::Alive, Duration::ZERO);
        }
        // What looks silent has had its time, unless the clock that says so may be wrong.
        let patience = self.patience();
        let suspect = if silent.unsure { patience.suspect } else { Duration::ZERO };
        self.silence.watch.judge(&watched(queue, entry), Patience { suspect, ..patience })
    }

    /// The tasks that are lost, by queue, in the order in which they should be moved.
    #[must_use]
    pub fn lost_tasks(&self) -> BTreeMap<Vec<u8>, Vec<Lost>> {
        self.tasks_that(|liveness| liveness == Liveness::Lost)
    }

    /// The same of all that look silent, for however long.
    pub(super) fn silent_tasks(&self) -> BTreeMap<Vec<u8>, Vec<Lost>> {
        self.tasks_that(|_| true)
    }

    fn tasks_that(&self, are: impl Fn(Liveness) -> bool) -> BTreeMap<Vec<u8>, Vec<Lost>> {
        let mut found: BTreeMap<Vec<u8>, Vec<Lost>> = BTreeMap::new();
        for (queue, entry, silent) in self.silence.unsettled() {
            let (liveness, late_by) = self.judge_task(queue, entry, silent);
            if silent.not_before.is_none_or(|time| self.silence.now_ms >= time) && are(liveness) {
                let silence = self.silence.watch.silence(&watched(queue, entry));
                let Silent { at, seen, given, number, .. } = silent.clone();
                let one = Lost { entry: entry.clone(), at, seen, given, number, silence, late_by };
                found.entry(queue.clone()).or_default().push(one);
            }
        }
        found.values_mut().for_each(|all| self.sort(all));
        found
    }

    /// In the order in which they are moved: what goes to the head of a list goes there one by one, the oldest last.
    pub(super) fn sort(&self, lost: &mut [Lost]) {
        lost.sort_by_key(|one| one.at);
        if self.newest_first() {
            lost.reverse();
        }
    }

    pub(super) fn newest_first(&self) -> bool {
        self.read_end() == self.layout().running.oldest.other()
    }

    /// A lost task was dealt with; or it is still there, and nothing can be done.
    pub fn settle_task(&mut self, queue: &[u8], entry: &[u8], stays: Option<Settled>) {
        if stays.is_none() {
            self.silence.forget_one(queue, entry);
        } else if let Some(silent) = self.silence.task(queue, entry) {
            silent.settled = stays;
        }
    }

    /// A lost task turned out to be due later: before this time of the server, ms, it isn't lost.
    pub fn hold_task(&mut self, queue: &[u8], entry: &[u8], until_ms: i64) {
        if let Some(silent) = self.silence.task(queue, entry) {
            silent.not_before = Some(until_ms);
        }
    }

    /// What waits for a person is tried again: perhaps it was mended.
    pub(super) fn try_again(&mut self) {
        let tasks = self.silence.tasks.values_mut().flat_map(BTreeMap::values_mut);
        for task in tasks.filter(|task| task.settled == Some(Settled::Stuck)) {
            task.settled = None;
        }
    }

    /// How many lost tasks stay: they wait for a person, or are only observed.
    #[must_use]
    pub fn stay(&self) -> usize {
        let tasks = self.silence.tasks.values().flat_map(BTreeMap::values);
        tasks.filter(|task| matches!(task.settled, Some(Settled::Stuck | Settled::Counted))).count()
    }
}

/// Where and when a silent task was found.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    at: usize,
    unsure: bool,
    not_before: Option<i64>,
}
