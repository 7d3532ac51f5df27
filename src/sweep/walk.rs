//! The slow walks over the indices, a page a pass: what gauges need, and whether records and indices agree.

use std::collections::VecDeque;

use crate::native::Queue;
use crate::native::scripts::census::{Census, CensusAnswer};
use crate::native::scripts::reconcile::{Reconcile, Reconciled};
use crate::store::{Reply, Shape, StoreError};

/// Sessions that are counted a pass: those that will be due first, and some in no order. At some 4 µs each this is what
/// an idle pass can afford.
const FIRST_DUE: usize = 5;
const SCANNED: &str = "5";
/// Names that one script takes.
const MOST: usize = 100;
/// Entries that are compared a pass.
const ENTRIES: &str = "4";

/// Indices whose entries are compared with the records, in turn; running sets follow as the census meets them.
const INDICES: [&str; 3] = ["pending", "delayed", "dead"];

/// Records and indices that disagree.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Found {
    pub(super) wrong: u64,
    pub(super) mended: u64,
}

/// Where the walks are.
#[derive(Debug, Clone, Default)]
pub(super) struct Walk {
    sessions_at: String,
    oldest_so_far: Option<i64>,
    /// The oldest running task's time of taking, and when the walk that found it ended, ms.
    pub(super) oldest: Option<(Option<i64>, i64)>,
    index: usize,
    index_at: String,
    running: VecDeque<String>,
    /// Indices and running sets take turns.
    turn: bool,
}

impl Walk {
    /// Counts the queue, and a few of its sessions: of those that hold tasks, which are the ones in `due`. Small fleets are
    /// walked whole in each pass.
    pub(super) async fn census(&mut self, queue: &Queue) -> Result<CensusAnswer, StoreError> {
        let (mut sessions, next) = scan(queue, "due", &self.sessions_at, SCANNED).await?;
        // Where all types have one limit, the first to be due run for the longest.
        let first = queue.store().range(&queue.keys().named("due"), 0, FIRST_DUE).await?;
        sessions.extend(first.into_iter().map(|(session, _)| session));
        sessions.sort_unstable();
        sessions.dedup();
        let began = self.sessions_at.is_empty() || self.sessions_at == "0";
        let oldest = if began { None } else { self.oldest_so_far };
        let counted = count(queue, &sessions).await?;
        let taken = counted.counted.iter().filter_map(|one| one.oldest_taken_at_ms).min();
        self.oldest_so_far = match (oldest, taken) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        if next == "0" {
            self.oldest = Some((self.oldest_so_far, counted.now_ms));
        }
        self.sessions_at = next;
        let holders = sessions.into_iter().zip(&counted.counted).filter(|(_, one)| one.running > 0);
        // A bound, so that a large fleet's names aren't all kept; the next round brings the others.
        self.running
            .extend(holders.map(|(session, _)| session).take(200_usize.saturating_sub(self.running.len())));
        Ok(counted)
    }

    /// Compares a few entries with their records; what can only be mended one way is, where `repair` says so.
    pub(super) async fn reconcile(&mut self, queue: &Queue, repair: bool) -> Result<Found, StoreError> {
        let mut found = Found::default();
        self.turn = !self.turn;
        if self.turn {
            let index = INDICES.get(self.index).copied().unwrap_or(INDICES[0]);
            let (ids, next) = scan(queue, index, &self.index_at, ENTRIES).await?;
            self.index_at = next;
            if self.index_at == "0" {
                self.index = (self.index + 1) % INDICES.len();
            }
            found = compare(queue, repair, None, ids).await?;
        } else if let Some(session) = self.running.pop_front() {
            let shape = Shape::of("ZRANGE");
            let key = queue.keys().running(&session);
            let ids = shape.list(queue.store().command(&["ZRANDMEMBER", &key, ENTRIES]).await?)?;
            let ids = ids.into_iter().map(|id| shape.text(id)).collect::<Result<_, _>>()?;
            found = compare(queue, repair, Some(session), ids).await?;
        }
        Ok(found)
    }
}

/// A census of these sessions, in calls of bounded length; the queue's own figures are those of the first.
async fn count(queue: &Queue, sessions: &[String]) -> Result<CensusAnswer, StoreError> {
    let (first, rest) = sessions.split_at(sessions.len().min(MOST));
    let mut answer = queue.run(&Census { sessions: first.to_vec() }).await?;
    for sessions in rest.chunks(MOST) {
        answer.counted.extend(queue.run(&Census { sessions: sessions.to_vec() }).await?.counted);
    }
    Ok(answer)
}

async fn compare(
    queue: &Queue,
    repair: bool,
    session: Option<String>,
    ids: Vec<String>,
) -> Result<Found, StoreError> {
    if ids.is_empty() {
        return Ok(Found::default());
    }
    let mut answers = Vec::with_capacity(ids.len());
    for ids in ids.chunks(MOST) {
        answers.extend(queue.run(&Reconcile { repair, session: session.clone(), ids: ids.to_vec() }).await?);
    }
    let mut found = Found::default();
    for (id, answer) in ids.iter().zip(answers).filter(|(_, answer)| *answer != Reconciled::Sound) {
        let mended = repair && answer != Reconciled::WrongType;
        found.wrong += 1;
        found.mended += u64::from(mended);
        tracing::warn!(
            queue = %queue.name(), task = %id, found = answer.as_str(), mended,
            "a record and the queue's indices disagree: something outside Backstop changed or evicted a key"
        );
    }
    Ok(found)
}

/// A page of a sorted set's members, in no order, and where the next page begins ("0": that was the last). A small set
/// comes whole, whatever the page: that is more than [`MOST`].
async fn scan(
    queue: &Queue,
    index: &str,
    at: &str,
    count: &str,
) -> Result<(Vec<String>, String), StoreError> {
    let shape = Shape::of("ZSCAN");
    let key = queue.keys().named(index);
    let at = if at.is_empty() { "0" } else { at };
    let [next, members] = shape.array(queue.store().command(&["ZSCAN", &key, at, "COUNT", count]).await?)?;
    let members: Vec<[Reply; 2]> = shape.rows(members)?;
    let members: Result<Vec<_>, _> = members.into_iter().map(|[member, _]| shape.text(member)).collect();
    Ok((members?, shape.text(next)?))
}
