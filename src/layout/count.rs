//! How many tasks a system has.

use std::collections::BTreeSet;

use super::{AT_ONCE, System, Tasks};
use crate::core::layout::{Collection, Order, Queues};
use crate::core::pattern::Values;
use crate::store::{Shape, StoreError};

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
        for queue in &queues {
            let base = self.layout().base(queue).to_vec();
            let values = Values::from([("queue".to_owned(), queue.clone()), ("base".to_owned(), base)]);
            pending.extend(self.layout().pending.key.fill(&values));
            dead.extend(self.layout().dead.key.fill(&values));
        }
        let waiting = match self.layout().pending.order {
            Order::List(_) => Collection::List,
            _ => Collection::SortedSet,
        };
        let dead_kind = self.layout().dead.kind;
        let mut tasks = Tasks {
            pending: self.sizes(waiting, pending.into_iter().collect()).await?.into_iter().sum(),
            dead: self.sizes(dead_kind, dead.into_iter().collect()).await?.into_iter().sum(),
            running: 0,
        };
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

    pub(super) async fn sizes(&self, kind: Collection, keys: Vec<Vec<u8>>) -> Result<Vec<u64>, StoreError> {
        let command: &[u8] = match kind {
            Collection::List => b"LLEN",
            Collection::Set => b"SCARD",
            Collection::SortedSet => b"ZCARD",
            Collection::Hash => b"HLEN",
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
