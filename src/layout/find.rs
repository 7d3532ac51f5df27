//! Agents and queues that no index names: found in the names of keys, a page at a time.

use std::collections::BTreeSet;

use super::{AT_ONCE, System};
use crate::core::layout::{Agents, Collection, Heartbeat, Life, Queues};
use crate::core::pattern::Pattern;
use crate::store::{Reply, Shape, StoreError};

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
        if self.life() == Life::Tasks {
            // Queues come and go, and here no agent holds on to one.
            self.queues.clear();
        }
        let mut at = b"0".to_vec();
        loop {
            let (next, names) = self.scan(&pattern, &at).await?;
            for name in self.with_group(names).await? {
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
                if self.life() == Life::Agents {
                    self.meet(values);
                }
            }
            at = next;
            if at == b"0" {
                return Ok(());
            }
        }
    }

    /// Whether this Redis is a cluster. One that doesn't say is none.
    pub(super) async fn is_cluster(&self) -> bool {
        let info = self.queue.store().command(&["INFO", "cluster"]).await.unwrap_or(Reply::Nil);
        Shape::of("INFO").text(info).is_ok_and(|info| info.contains("cluster_enabled:1"))
    }

    /// A version that a queue names and that the layout doesn't know.
    pub(super) async fn version(&self) -> Result<Option<String>, StoreError> {
        let Some(known) = &self.layout().version else { return Ok(None) };
        let shape = Shape::of("HGET");
        let queues = self.queues_of(b"").await?;
        let keys = queues.iter().filter_map(|queue| known.key.fill(&self.values_in(b"", queue)));
        let all: Vec<_> =
            keys.map(|key| vec![b"HGET".to_vec(), key, known.field.clone().into_bytes()]).collect();
        for answer in self.queue.store().commands(&all).await? {
            let text = match answer {
                Err(error) if error.is_wrong_type() => continue,
                other => shape.text(other?)?,
            };
            // One that says nothing is older than the field.
            if !text.is_empty() && !known.knows(&text) {
                return Ok(Some(text.chars().take(80).collect()));
            }
        }
        Ok(None)
    }

    /// Of streams, those that the layout's group reads.
    async fn with_group(&self, names: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, StoreError> {
        let Some(group) = &self.layout().running.group else { return Ok(names) };
        let ask = |name: &Vec<u8>| vec![b"XPENDING".to_vec(), name.clone(), group.clone().into_bytes()];
        let answers = self.queue.store().commands(&names.iter().map(ask).collect::<Vec<_>>()).await?;
        let mut found = Vec::new();
        for (name, answer) in names.into_iter().zip(answers) {
            match answer {
                // It has other readers, was deleted meanwhile, or is none of ours to look at.
                Err(error) if error.is_no_group() || error.is_refused_key() => {}
                Err(error) => return Err(error),
                Ok(_) => found.push(name),
            }
        }
        Ok(found)
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
        let mut parts: Vec<&[u8]> = vec![b"SCAN", at, b"MATCH", glob.as_bytes(), b"COUNT", LOOKED_AT];
        if self.layout().running.kind == Collection::Stream {
            parts.extend([b"TYPE".as_slice(), b"stream"]);
        }
        let [next, names] = shape.array(self.queue.store().command(&parts).await?)?;
        let names = shape.list(names)?.into_iter().map(|name| shape.bytes(name)).collect::<Result<_, _>>()?;
        Ok((shape.bytes(next)?, names))
    }
}
