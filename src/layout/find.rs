//! Agents and queues that no index names: found in the names of keys, a page at a time.

use std::collections::BTreeSet;

use super::{AT_ONCE, System};
use crate::core::layout::{Agents, Heartbeat, Queues};
use crate::core::pattern::Pattern;
use crate::store::{Shape, StoreError};

/// Keys that one step of SCAN looks at: what takes about a fifth of a millisecond.
const LOOKED_AT: &[u8] = b"1000";

impl System {
    /// Looks through all keys for running collections, if the layout knows no other way.
    pub(super) async fn discover(&mut self) -> Result<(), StoreError> {
        self.queues_of_agents().await?;
        let in_keys = self.layout().agents == Agents::Keys;
        if !in_keys && self.layout().queues != Queues::Keys {
            return Ok(());
        }
        if in_keys {
            self.count_others().await?;
        }
        let pattern = self.layout().running.key.clone();
        self.strange = 0;
        self.strangers.clear();
        let mut at = b"0".to_vec();
        loop {
            let (next, names) = self.scan(&pattern, &at).await?;
            for name in names {
                let Some(mut values) = pattern.read(&name) else {
                    self.strange += 1;
                    if self.strangers.len() < 3 {
                        self.strangers.push(name);
                    }
                    continue;
                };
                if let Some(queue) = values.remove("queue") {
                    self.queues.insert(queue);
                }
                self.meet(values);
            }
            at = next;
            if at == b"0" {
                return Ok(());
            }
        }
    }

    /// Agents that live and hold nothing stand nowhere but in their own heartbeats.
    async fn count_others(&mut self) -> Result<(), StoreError> {
        let Heartbeat::Key(pattern) = self.layout().heartbeat.clone() else { return Ok(()) };
        let own: BTreeSet<_> =
            self.agents.keys().filter_map(|agent| pattern.fill(&self.values(agent))).collect();
        let mut others = BTreeSet::new();
        let mut at = b"0".to_vec();
        loop {
            let (next, names) = self.scan(&pattern, &at).await?;
            others.extend(names.into_iter().filter(|name| !own.contains(name)));
            at = next;
            if at == b"0" {
                break;
            }
        }
        self.others = others.len() as u64;
        self.proven |= self.others > 0;
        Ok(())
    }

    /// The queues that agents name in sets of their own.
    async fn queues_of_agents(&mut self) -> Result<(), StoreError> {
        let Queues::Set(pattern) = self.layout().queues.clone() else { return Ok(()) };
        if pattern.holes().next().is_none() {
            return Ok(());
        }
        let keys: Vec<_> = self.agents.keys().filter_map(|agent| pattern.fill(&self.values(agent))).collect();
        let shape = Shape::of("SMEMBERS");
        for keys in keys.chunks(AT_ONCE) {
            let all: Vec<_> = keys.iter().map(|key| vec![b"SMEMBERS".to_vec(), key.clone()]).collect();
            for members in self.queue.store().commands(&all).await? {
                let members = match members {
                    Err(error) if error.is_wrong_type() => continue,
                    other => other?,
                };
                for member in shape.list(members)? {
                    self.queues.insert(shape.bytes(member)?);
                }
            }
        }
        Ok(())
    }

    async fn scan(&mut self, pattern: &Pattern, at: &[u8]) -> Result<(Vec<u8>, Vec<Vec<u8>>), StoreError> {
        let shape = Shape::of("SCAN");
        self.steps += 1;
        let glob = pattern.glob();
        let parts: [&[u8]; 6] = [b"SCAN", at, b"MATCH", glob.as_bytes(), b"COUNT", LOOKED_AT];
        let [next, names] = shape.array(self.queue.store().command(&parts).await?)?;
        let names = shape.list(names)?.into_iter().map(|name| shape.bytes(name)).collect::<Result<_, _>>()?;
        Ok((shape.bytes(next)?, names))
    }
}
