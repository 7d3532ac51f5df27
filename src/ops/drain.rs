//! What became of the tasks that ran when a drain began.

use std::collections::BTreeMap;

use serde::Serialize;

use super::tasks::{self, State};
use super::{AHEAD, number};
use crate::core::id::Identity;
use crate::native::Queue;
use crate::native::scripts::beat::Drain;
use crate::native::scripts::census::Census;
use crate::native::scripts::inspect::{Inspect, InspectAnswer};
use crate::native::scripts::steer::{Steer, Steered};
use crate::store::StoreError;
use futures_util::{StreamExt, TryStreamExt, stream};

/// Of a queue, the first so many running tasks are looked at one by one for what goes on elsewhere.
const MOST: usize = 10_000;
/// Keys that are asked about in one go.
const KEYS: usize = 500;

/// What became of tasks since a drain began. Of a queue these are all its tasks; of an agent those that it ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Account {
    /// They are complete.
    pub completed: u64,
    /// They were given back, and nothing was charged.
    pub released: u64,
    /// They failed: tried again later, or dead letters.
    pub failed: u64,
    /// They were reset, expired, or discarded.
    pub otherwise: u64,
    /// They run still.
    pub running: u64,
    /// Of those that aren't over: they go on elsewhere, under their handles, and whoever takes them next goes on with them.
    pub elsewhere: u64,
}

/// A queue as it was when its drain began.
#[derive(Debug)]
pub struct QueueBefore {
    totals: BTreeMap<String, i64>,
    ids: Vec<String>,
}

impl QueueBefore {
    /// Looks at the queue.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn look(queue: &Queue) -> Result<Self, StoreError> {
        let running = tasks::list(queue, State::Running, 0, MOST).await?;
        let totals = queue.run(&Census { sessions: Vec::new() }).await?.totals;
        Ok(Self { totals, ids: running.into_iter().map(|task| task.id).collect() })
    }

    /// What became of its tasks, of which so many run still.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn account(&self, queue: &Queue, running: u64) -> Result<Account, StoreError> {
        let now = queue.run(&Census { sessions: Vec::new() }).await?.totals;
        let sum = |of: &BTreeMap<String, i64>, prefix: &str| -> i64 {
            of.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, n)| n).sum()
        };
        let since = |total: &str| u64::try_from(sum(&now, total) - sum(&self.totals, total)).unwrap_or(0);
        Ok(Account {
            completed: since("completed"),
            released: since("released"),
            failed: since("failed"),
            otherwise: since("reset:") + since("dead:poison") + since("dead:expired") + since("discarded"),
            running,
            elsewhere: elsewhere(queue, &self.ids).await?,
        })
    }
}

/// The tasks that an agent ran when its drain began, followed until each has left it. Whoever acts under its name meanwhile goes
/// on with them as well.
#[derive(Debug)]
pub struct AgentWatch {
    identity: String,
    ids: Vec<String>,
    /// Those that run under the name still, with how often each had failed and was abandoned.
    running: BTreeMap<String, (i64, i64)>,
    account: Account,
}

impl AgentWatch {
    /// Looks at whoever acts under this identity; `None`: nobody of that name is known.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn begin(queue: &Queue, identity: &Identity) -> Result<Option<Self>, StoreError> {
        let store = queue.store();
        let about = store.hash(&queue.keys().agent(identity.as_str())).await?;
        let Some(session) = about.get("session") else { return Ok(None) };
        let held = about.get("held").map_or("", String::as_str);
        let mut ids = Vec::new();
        for session in held.split_whitespace().chain([session.as_str()]) {
            let running = store.range(&queue.keys().running(session), 0, KEYS).await?;
            ids.extend(running.into_iter().map(|(id, _)| id));
        }
        let mut watch = Self {
            identity: identity.to_string(),
            running: ids.iter().map(|id| (id.clone(), (0, 0))).collect(),
            ids,
            account: Account::default(),
        };
        watch.look(queue, true).await?;
        Ok(Some(watch))
    }

    /// Looks again; how many run still.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn running(&mut self, queue: &Queue) -> Result<usize, StoreError> {
        self.look(queue, false).await?;
        Ok(self.running.len())
    }

    /// What became of them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn account(&mut self, queue: &Queue) -> Result<Account, StoreError> {
        self.look(queue, false).await?;
        let elsewhere = elsewhere(queue, &self.ids).await?;
        Ok(Account { running: self.running.len() as u64, elsewhere, ..self.account })
    }

    async fn look(&mut self, queue: &Queue, first: bool) -> Result<(), StoreError> {
        let look = |id: String| {
            let inspect = Inspect { id: id.clone() };
            async move { queue.run(&inspect).await.map(|answer| (id, answer)) }
        };
        let ids: Vec<String> = self.running.keys().cloned().collect();
        let seen: Vec<_> = stream::iter(ids).map(look).buffered(AHEAD).try_collect().await?;
        for (id, answer) in seen {
            let (failed, abandoned) = self.running.get(&id).copied().unwrap_or_default();
            let fate = match answer {
                // Looked at four times a second, and a stub lasts longer.
                InspectAnswer::Gone(stub) if stub.starts_with("completed:") => &mut self.account.completed,
                InspectAnswer::Gone(_) => &mut self.account.otherwise,
                InspectAnswer::Found(task) => {
                    let text = |field: &str| task.record.get(field).map_or("", String::as_str);
                    let number = |field| text(field).parse::<i64>().unwrap_or(0);
                    let now = (number("failures"), number("abandonments"));
                    let holder = text("session").split('.').next().unwrap_or_default();
                    if holder == self.identity {
                        if first {
                            self.running.insert(id, now);
                        }
                        continue;
                    }
                    match text("session") {
                        "!failed" => &mut self.account.failed,
                        _ if now.0 > failed => &mut self.account.failed,
                        _ if now.1 > abandoned => &mut self.account.otherwise,
                        _ => &mut self.account.released,
                    }
                }
            };
            *fate += 1;
            self.running.remove(&id);
        }
        Ok(())
    }
}

/// How many of these tasks aren't over and have a handle of work elsewhere.
async fn elsewhere(queue: &Queue, ids: &[String]) -> Result<u64, StoreError> {
    let mut n = 0;
    for some in ids.chunks(KEYS) {
        let keys: Vec<String> = some.iter().map(|id| queue.keys().external(id)).collect();
        let command: Vec<&str> = ["EXISTS"].into_iter().chain(keys.iter().map(String::as_str)).collect();
        n += u64::try_from(number(queue.store(), &command).await?).unwrap_or(0);
    }
    Ok(n)
}

/// Drains an agent, or ends that; `false`: nobody of that name is known. If somebody else was quicker, looks again and goes on:
/// what was asked for is stated, not toggled.
///
/// # Errors
/// [`StoreError`].
pub async fn steer(
    queue: &Queue,
    identity: &Identity,
    drain: Option<Drain>,
    by: &str,
) -> Result<bool, StoreError> {
    loop {
        let about = queue.store().hash(&queue.keys().agent(identity.as_str())).await?;
        let seen_change = about.get("change").and_then(|n| n.parse().ok()).unwrap_or(0);
        let steer = Steer { by: by.to_owned(), identity: identity.clone(), seen_change, drain };
        match queue.run(&steer).await? {
            Steered::Steered => return Ok(true),
            Steered::Gone => return Ok(false),
            Steered::Changed => {}
        }
    }
}
