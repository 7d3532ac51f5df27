//! How many tasks a system has.

use std::collections::BTreeSet;

use super::{AT_ONCE, System, Tasks};
use crate::core::layout::{Collection, Envelope, Life, Queues};
use crate::core::pattern::Values;
use crate::store::{Reply, Shape, StoreError};

/// Collections that are counted in one pass.
const COUNTED: usize = 1000;

impl System {
    /// Counts what waits, runs and is set aside: all queues, and a page of the agents, in turn.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count(&mut self) -> Result<Tasks, StoreError> {
        let queues = match &self.layout().queues {
            Queues::Set(pattern) if pattern.holes().next().is_some() => self.queues.iter().cloned().collect(),
            _ => self.queues_of(b"").await?,
        };
        let (mut pending, mut dead) = (BTreeSet::new(), BTreeSet::new());
        // Where one collection serves all, queues are those that somebody listed.
        let listed: Vec<_> = self.foreign.queues.iter().map(|name| name.clone().into_bytes()).collect();
        let wrapped = self.layout().running.envelope != Envelope::None;
        let waiting_in = if wrapped && !listed.is_empty() { &listed } else { &queues };
        for queue in waiting_in.iter().filter(|queue| !wrapped || !queue.is_empty()) {
            let base = self.layout().base(queue).to_vec();
            let values = Values::from([("queue".to_owned(), queue.clone()), ("base".to_owned(), base)]);
            pending.extend(self.layout().pending.key.fill(&values));
            dead.extend(self.layout().dead.key.fill(&values));
        }
        let waiting = self.layout().pending.order.collection();
        if dead == pending {
            // Where the next agent fails what is set aside, it waits for that among the others.
            dead.clear();
        }
        let dead_kind = self.layout().dead.kind;
        let mut tasks = Tasks {
            pending: self.sizes(waiting, pending.into_iter().collect()).await?.into_iter().sum(),
            dead: self.sizes(dead_kind, dead.into_iter().collect()).await?.into_iter().sum(),
            running: 0,
        };
        if self.life() == Life::Tasks {
            // The look before this counted them.
            tasks.running = self.silence.running;
            if self.layout().running.kind == Collection::Stream {
                tasks.pending = self.not_given_out(&queues).await?;
            }
            return Ok(tasks);
        }
        // A page of the places where tasks may run, in turn: agents by queues may be many.
        let (agents, queues) = (self.agents.keys().cloned().collect::<Vec<_>>(), queues);
        let all = agents.len() * queues.len();
        let until = (self.count_from + COUNTED).min(all);
        let mut page = Vec::new();
        for place in self.count_from.min(until)..until {
            let (agent, queue) = (agents.get(place / queues.len()), queues.get(place % queues.len()));
            if let (Some(agent), Some(queue)) = (agent, queue) {
                page.extend(self.layout().running.key.fill(&self.values_in(agent, queue)));
            }
        }
        self.counting += self.sizes(self.layout().running.kind, page).await?.iter().sum::<u64>();
        self.count_from = until;
        if until >= all {
            (self.counted, self.counting, self.count_from) = (Some(self.counting), 0, 0);
        }
        tasks.running = self.counted.unwrap_or(self.counting);
        Ok(tasks)
    }

    /// What groups have not read yet. Redis before 7.0 doesn't say.
    async fn not_given_out(&self, queues: &[Vec<u8>]) -> Result<u64, StoreError> {
        let group = self.layout().running.group.clone().unwrap_or_default().into_bytes();
        let keys = queues.iter().filter_map(|queue| self.of_running(queue));
        let all: Vec<_> = keys.map(|key| vec![b"XINFO".to_vec(), b"GROUPS".to_vec(), key]).collect();
        let mut sum = 0;
        for answer in self.queue.store().commands(&all).await? {
            let Ok(Reply::List(groups)) = answer else { continue };
            for one in groups {
                let Reply::List(fields) = one else { continue };
                if fields.get(1) != Some(&Reply::Bytes(group.clone())) {
                    continue;
                }
                let lag = fields.iter().position(|field| *field == Reply::Bytes(b"lag".to_vec()));
                if let Some(Reply::Int(lag)) = lag.and_then(|at| fields.get(at + 1)) {
                    sum += u64::try_from(*lag).unwrap_or(0);
                }
            }
        }
        Ok(sum)
    }

    pub(super) async fn sizes(&self, kind: Collection, keys: Vec<Vec<u8>>) -> Result<Vec<u64>, StoreError> {
        let command: &[u8] = match kind {
            Collection::List => b"LLEN",
            Collection::Set => b"SCARD",
            Collection::SortedSet => b"ZCARD",
            Collection::Hash => b"HLEN",
            Collection::Stream => b"XLEN",
            Collection::Key => b"EXISTS",
        };
        let shape = Shape::of("a size");
        let mut sizes = Vec::with_capacity(keys.len());
        for keys in keys.chunks(AT_ONCE) {
            let all: Vec<_> = keys.iter().map(|key| vec![command.to_vec(), key.clone()]).collect();
            for answer in self.queue.store().commands(&all).await? {
                sizes.push(match answer {
                    Ok(answer) => u64::try_from(shape.int(answer)?).unwrap_or(0),
                    // What isn't of the layout's type holds none of its tasks.
                    Err(error) if error.is_wrong_type() => 0,
                    Err(error) => return Err(error),
                });
            }
        }
        Ok(sizes)
    }
}
