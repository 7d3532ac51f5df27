//! Who the agents are, by an index, and what each shows.

use std::collections::{BTreeMap, BTreeSet};

use super::{AT_ONCE, System};
use crate::core::layout::{Agents, Heartbeat, Means};
use crate::core::pattern::Values;
use crate::core::watch::Sign;
use crate::store::{Reply, Shape, StoreError};

impl System {
    /// Notes the agents that an index names. Those that vanished from it are remembered.
    pub(super) async fn indexed(&mut self) -> Result<BTreeSet<Vec<u8>>, StoreError> {
        let names = match &self.layout().agents {
            Agents::Keys | Agents::None => return Ok(BTreeSet::new()),
            Agents::Set(pattern) => match pattern.fill(&Values::new()) {
                Some(key) => self.members(&key).await?,
                None => Vec::new(),
            },
            Agents::SortedSet(pattern) => match pattern.fill(&Values::new()) {
                Some(key) => self.scored(&key).await?.into_keys().collect(),
                None => Vec::new(),
            },
        };
        let present: BTreeSet<_> = names.into_iter().collect();
        for name in &present {
            self.meet(Values::from([("agent".to_owned(), name.clone())]));
        }
        Ok(present)
    }

    async fn scored(&self, key: &[u8]) -> Result<BTreeMap<Vec<u8>, String>, StoreError> {
        let shape = Shape::of("ZRANGE");
        let mut scores = BTreeMap::new();
        let mut from = 0;
        loop {
            let (first, last) = (from.to_string(), (from + AT_ONCE - 1).to_string());
            let parts: [&[u8]; 5] = [b"ZRANGE", key, first.as_bytes(), last.as_bytes(), b"WITHSCORES"];
            let rows: Vec<[Reply; 2]> = shape.rows(self.queue.store().command(&parts).await?)?;
            let page = rows.len();
            for [member, score] in rows {
                scores.insert(shape.bytes(member)?, shape.text(score)?);
            }
            from += AT_ONCE;
            if page < AT_ONCE {
                return Ok(scores);
            }
        }
    }

    /// What each known agent shows.
    pub(super) async fn signs(&self) -> Result<Vec<(Vec<u8>, Sign)>, StoreError> {
        let names: Vec<Vec<u8>> = self.agents.keys().cloned().collect();
        match &self.layout().heartbeat {
            Heartbeat::Key(pattern) => {
                let shape = Shape::of("EXISTS");
                let mut signs = Vec::with_capacity(names.len());
                for names in names.chunks(AT_ONCE) {
                    let ask = |name: &Vec<u8>| {
                        vec![b"EXISTS".to_vec(), pattern.fill(&self.values(name)).unwrap_or_default()]
                    };
                    let all: Vec<_> = names.iter().map(ask).collect();
                    for (name, answer) in names.iter().zip(self.queue.store().commands(&all).await?) {
                        let sign = if shape.int(answer?)? == 1 { Sign::Alive } else { Sign::Gone };
                        signs.push((name.clone(), sign));
                    }
                }
                Ok(signs)
            }
            Heartbeat::Idle => Ok(Vec::new()),
            Heartbeat::Score { key, means, unit, .. } => {
                let Some(key) = key.fill(&Values::new()) else { return Ok(Vec::new()) };
                let mut scores = self.scored(&key).await?;
                let now_ms = match means {
                    Means::Expires => self.queue.store().server_time().await?,
                    Means::LastSeen => 0,
                };
                let sign = |score: Option<String>| match (score, means) {
                    (None, _) => Sign::Gone,
                    (Some(score), Means::LastSeen) => Sign::Figure(score),
                    (Some(score), Means::Expires) => {
                        let until = score.parse::<f64>().unwrap_or(0.0) * unit.millis() as f64;
                        if until > now_ms as f64 { Sign::Alive } else { Sign::Figure(score) }
                    }
                };
                Ok(names
                    .into_iter()
                    .map(|name| {
                        let score = scores.remove(&name);
                        (name, sign(score))
                    })
                    .collect())
            }
        }
    }
}
