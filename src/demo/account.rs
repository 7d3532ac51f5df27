//! The account at the end: the books against Redis' durable totals.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::books::{self, Entry};
use super::crew::{Crew, Death};
use super::{DemoError, QUEUE, Stage, io};
use crate::core::id::{QueueName, TaskId};
use crate::native::Queue;
use crate::ops::status;
use crate::store::{Reply, Shape, Store, StoreError};

/// What became of everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Tasks that were enqueued.
    pub enqueued: usize,
    /// Tasks that were completed, by the stub that names the token.
    pub completed: usize,
    /// Dead letters.
    pub dead: usize,
    /// Tasks that are nowhere.
    pub lost: usize,
    /// Tasks of which two different runs were told that they completed it.
    pub completed_twice: usize,
    /// Tasks that Redis calls completed, and of whose run there is no trace of an end.
    pub unproven: usize,
    /// Runs beyond the first of each task.
    pub repeated: usize,
    /// Completions that were refused, because another run had the task.
    pub refused: u64,
    /// Resets, by Redis' totals.
    pub resets: u64,
    /// Whether Redis' totals and the books agree.
    pub totals_agree: bool,
    /// From each kill to the reset of what it left, ms, sorted.
    pub detection_ms: Vec<i64>,
    /// From each kill to the completion of each task that it left, ms, sorted.
    pub recovery_ms: Vec<i64>,
}

impl Account {
    /// Whether the promise was kept.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.completed_twice == 0 && self.unproven == 0 && self.totals_agree
    }
}

/// Reads the books and Redis, and compares.
pub(super) async fn settle(stage: &Stage, crew: &Crew, ids: &[TaskId]) -> Result<Account, DemoError> {
    let (runs, answers) = crew.books();
    let entries = books::read(&[&runs, &answers]).map_err(io("read the books"))?;
    let name = QueueName::new(QUEUE)?;
    let queue = Queue::new(stage.store.clone(), name.clone());
    let stubs = completed_by(&queue, ids).await?;
    let there = still_there(&queue, ids).await?;
    let status = status::read(&stage.store, &[name]).await?.queues.pop();
    let none = Entry::default();
    let entry = |id: &TaskId| entries.get(id.as_str()).unwrap_or(&none);
    // A completion counts if the stub says so or an agent was answered so: an agent may die before it hears.
    let completed = |id: &TaskId| stubs.contains_key(id.as_str()) || !entry(id).accepted.is_empty();
    let twice = |id: &&TaskId| {
        let mut tokens: BTreeSet<&String> = entry(id).accepted.keys().collect();
        tokens.extend(stubs.get(id.as_str()));
        tokens.len() > 1
    };
    let unproven =
        |id: &&TaskId| stubs.get(id.as_str()).is_some_and(|token| !entry(id).ended.contains(token));
    let (detection_ms, recovery_ms) = latencies(&queue, &crew.deaths, &entries).await?;
    let done = ids.iter().filter(|id| completed(id)).count();
    let (total, resets) = status.map_or((0, 0), |one| (one.completed, one.reset));
    Ok(Account {
        enqueued: ids.len(),
        completed: done,
        dead: ids.iter().filter(|id| there.get(id.as_str()) == Some(&true)).count(),
        lost: ids.iter().filter(|id| !completed(id) && !there.contains_key(id.as_str())).count(),
        completed_twice: ids.iter().filter(twice).count(),
        unproven: ids.iter().filter(unproven).count(),
        repeated: ids.iter().map(|id| entry(id).began.len().saturating_sub(1)).sum(),
        refused: entries.values().map(|entry| entry.refused).sum(),
        resets,
        totals_agree: total == done as u64,
        detection_ms,
        recovery_ms,
    })
}

/// The token by which each task was completed.
async fn completed_by(queue: &Queue, ids: &[TaskId]) -> Result<BTreeMap<String, String>, StoreError> {
    let shape = Shape::of("GET");
    let mut stubs = BTreeMap::new();
    for id in ids {
        let stub = shape.text(queue.store().command(&["GET", &queue.keys().done(id.as_str())]).await?)?;
        let word = stub.split(' ').next().unwrap_or_default();
        if let Some(token) = word.strip_prefix("completed:") {
            stubs.insert(id.to_string(), token.to_owned());
        }
    }
    Ok(stubs)
}

/// Tasks that have a record still, and whether they are dead letters.
async fn still_there(queue: &Queue, ids: &[TaskId]) -> Result<BTreeMap<String, bool>, StoreError> {
    let mut there = BTreeMap::new();
    let dead = queue.keys().named("dead");
    for id in ids {
        if queue.store().command(&["EXISTS", &queue.keys().task(id.as_str())]).await? == Reply::Int(1) {
            let died = queue.store().command(&["ZSCORE", &dead, id.as_str()]).await?;
            there.insert(id.to_string(), died != Reply::Nil);
        }
    }
    Ok(there)
}

async fn latencies(
    queue: &Queue,
    deaths: &[Death],
    entries: &BTreeMap<String, Entry>,
) -> Result<(Vec<i64>, Vec<i64>), StoreError> {
    let resets = resets(queue.store(), &queue.keys().named("events")).await?;
    let (mut detection, mut recovery) = (Vec::new(), Vec::new());
    for death in deaths {
        let own = |reset: &&Reset| reset.identity == death.name && reset.at_ms >= death.at_ms;
        // What is reset after the next death of the same name belongs to that one.
        let next = deaths.iter().filter(|other| other.name == death.name && other.at_ms > death.at_ms);
        let until = next.map(|other| other.at_ms).min().unwrap_or(i64::MAX);
        let mut first = None;
        for reset in resets.iter().filter(own).filter(|reset| reset.at_ms < until) {
            first.get_or_insert(reset.at_ms - death.at_ms);
            for id in &reset.tasks {
                let completed = entries.get(id).and_then(|entry| entry.accepted.values().min());
                recovery.extend(completed.map(|at| at - death.at_ms).filter(|ms| *ms >= 0));
            }
        }
        detection.extend(first);
    }
    detection.sort_unstable();
    recovery.sort_unstable();
    Ok((detection, recovery))
}

struct Reset {
    at_ms: i64,
    identity: String,
    tasks: Vec<String>,
}

async fn resets(store: &Store, events: &str) -> Result<Vec<Reset>, StoreError> {
    let shape = Shape::of("XRANGE");
    let mut found = Vec::new();
    for entry in shape.list(store.command(&["XRANGE", events, "-", "+"]).await?)? {
        let [_, fields] = shape.array(entry)?;
        let mut texts = BTreeMap::new();
        for [field, value] in shape.rows(fields)? {
            texts.insert(shape.text(field)?, shape.text(value)?);
        }
        let text = |field: &str| texts.get(field).map(String::as_str).unwrap_or_default();
        // By the sweeper, or by a successor of the same name that gave back what it found.
        if text("what") == "reset" {
            found.push(Reset {
                at_ms: text("at").parse().unwrap_or(0),
                identity: text("session").split('.').next().unwrap_or_default().to_owned(),
                tasks: text("tasks").split(' ').map(str::to_owned).collect(),
            });
        }
    }
    Ok(found)
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spread = |all: &[i64]| match (all.get(all.len() / 2), all.last()) {
            (Some(p50), Some(max)) => format!("p50 {p50} ms, max {max} ms (of {})", all.len()),
            _ => "none".to_owned(),
        };
        writeln!(f, "account, from what the tasks' own processes and the agents wrote down:")?;
        writeln!(f, "  enqueued          {:6}", self.enqueued)?;
        writeln!(
            f,
            "  completed         {:6}   Redis' total {}",
            self.completed,
            if self.totals_agree { "agrees" } else { "DISAGREES" }
        )?;
        writeln!(f, "  dead letters      {:6}", self.dead)?;
        writeln!(f, "  lost              {:6}", self.lost)?;
        writeln!(f, "  completed twice   {:6}", self.completed_twice)?;
        writeln!(f, "  without a run     {:6}", self.unproven)?;
        writeln!(
            f,
            "  runs repeated     {:6}   resets {}, refused late results {}",
            self.repeated, self.resets, self.refused
        )?;
        writeln!(f, "  kill → reset      {}", spread(&self.detection_ms))?;
        write!(f, "  kill → completed  {}", spread(&self.recovery_ms))
    }
}
