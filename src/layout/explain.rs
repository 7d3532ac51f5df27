//! Where a task of somebody else's system is, what it shows, and what can't be told of it.

use serde::Serialize;

use super::page::Cursor;
use super::{System, kombu};
use crate::core::layout::{Collection, End, Envelope, Heartbeat, Id, Life, Means, Order};
use crate::core::pattern::Values;
use crate::store::{Reply, Shape, StoreError};

/// Pages that are read of one collection in search of a task.
const PAGES: usize = 200;
/// Entries of a page.
const ENTRIES: usize = 500;

/// A place where a task stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// `running`, `pending` or `dead`.
    pub state: &'static str,
    /// The key.
    pub key: String,
    /// Its queue, where the layout has such.
    pub queue: String,
    /// Who holds it, where that can be told.
    pub agent: Option<String>,
    /// What it or its agent shows.
    pub shows: Option<String>,
}

/// All that can be told of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// Its name.
    pub id: String,
    /// The system.
    pub system: String,
    /// Its layout.
    pub layout: String,
    /// Where it stands.
    pub places: Vec<Place>,
    /// How many fields its record has; `None`: the layout has no records of a task's own.
    pub record_fields: Option<u64>,
    /// How often it was put back, as far as we counted.
    pub returns: u32,
    /// How many times are forgiven.
    pub max_abandonments: u32,
    /// What nobody can tell from outside.
    pub cannot_tell: Vec<String>,
    /// Whether there was more than was read.
    pub truncated: bool,
}

impl System {
    /// Looks for a task by its name. Writes nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn explain(&mut self, id: &[u8]) -> Result<Explained, StoreError> {
        self.look(|| std::time::Duration::ZERO, std::time::Duration::from_secs(1)).await?;
        let mut found = Explained {
            id: String::from_utf8_lossy(id).into_owned(),
            system: self.queue.name().to_string(),
            layout: self.layout().name.clone(),
            places: Vec::new(),
            record_fields: None,
            returns: 0,
            max_abandonments: self.foreign.policy.task.max_abandonments,
            cannot_tell: self.cannot_tell(),
            truncated: false,
        };
        match self.life() {
            Life::Agents => self.held_by_agents(id, &mut found).await?,
            Life::Tasks => self.held_by_queues(id, &mut found).await?,
        }
        let mut queues = self.queues_of(b"").await?;
        queues.extend(self.queues.iter().cloned());
        queues.extend(self.foreign.queues.iter().map(|name| name.clone().into_bytes()));
        queues.sort();
        queues.dedup();
        for queue in &queues {
            let values = self.values_in(b"", queue);
            let waiting = self.layout().pending.order.collection();
            let (pending, dead) = (self.layout().pending.key.clone(), self.layout().dead.clone());
            // What a stream has given out stands in it, too.
            let taken = waiting == Collection::Stream && !found.places.is_empty();
            for (state, kind, key) in [("pending", waiting, &pending), ("dead", dead.kind, &dead.key)] {
                let Some(key) = key.fill(&values).filter(|_| state == "dead" || !taken) else { continue };
                if found.places.iter().any(|place| place.key.as_bytes() == key && place.state == state) {
                    continue;
                }
                if self.stands_in(kind, &key, id, &mut found.truncated).await? {
                    found.places.push(self.place(state, &key, queue));
                }
            }
            if let Some(own) = &self.layout().record.own {
                let record = own.fill(&with_id(&values, id)).unwrap_or_default();
                let size: u64 = self.sizes(Collection::Hash, vec![record]).await?.into_iter().sum();
                found.record_fields = Some(found.record_fields.unwrap_or(0).max(size));
            }
            let returns = self.returns(self.layout().base(queue), [id.to_vec()].iter()).await?;
            found.returns = found.returns.max(returns.into_iter().max().unwrap_or(0));
        }
        Ok(found)
    }

    fn place(&self, state: &'static str, key: &[u8], queue: &[u8]) -> Place {
        Place {
            state,
            key: String::from_utf8_lossy(key).into_owned(),
            queue: String::from_utf8_lossy(queue).into_owned(),
            agent: None,
            shows: None,
        }
    }

    async fn held_by_agents(&self, id: &[u8], found: &mut Explained) -> Result<(), StoreError> {
        let now_ms = self.queue.store().server_time().await?;
        for agent in self.watch.agents() {
            for queue in self.queues_of(&agent).await? {
                let Some(key) = self.layout().running.key.fill(&self.values_in(&agent, &queue)) else {
                    continue;
                };
                let (mut cursor, mut pages) = (Cursor::default(), 0);
                let holds = loop {
                    let page = self.page(&agent, &queue, &cursor).await?;
                    pages += 1;
                    let here = page.entries.len();
                    if page.entries.iter().any(|entry| entry.id == id) {
                        break true;
                    }
                    let Some(next) = page.next else { break false };
                    if pages >= PAGES {
                        found.truncated = true;
                        break false;
                    }
                    cursor = next.over(here);
                };
                if holds {
                    let (silent, age) = self.one_look(&agent, now_ms);
                    let age =
                        age.map(|ms| format!(", by its own clock {} s ago", ms / 1000)).unwrap_or_default();
                    let shows = format!("its agent looks {}{age}", if silent { "silent" } else { "alive" });
                    found.places.push(Place {
                        agent: Some(String::from_utf8_lossy(&agent).into_owned()),
                        shows: Some(shows),
                        ..self.place("running", &key, &queue)
                    });
                }
            }
        }
        Ok(())
    }

    async fn held_by_queues(&self, id: &[u8], found: &mut Explained) -> Result<(), StoreError> {
        for queue in self.queues_of(b"").await? {
            let Some(key) = self.of_running(&queue) else { continue };
            let (mut cursor, mut pages) = (Vec::new(), 0);
            loop {
                let (shown, next) = match self.page_of_running(&queue, &cursor).await {
                    Err(error) if error.is_no_group() => break,
                    other => other?,
                };
                pages += 1;
                let entries: Vec<_> = shown.iter().map(|one| one.entry.clone()).collect();
                let names = self.names(&queue, &entries).await?;
                for (one, _) in shown.iter().zip(names).filter(|(one, name)| name == id || one.entry == id) {
                    let silent = self.silence.knows(&queue, &one.entry) || !one.alive;
                    found.places.push(Place {
                        agent: String::from_utf8_lossy(&one.seen)
                            .rsplit_once(' ')
                            .map(|(consumer, _)| consumer.to_owned()),
                        shows: Some(if silent { "it looks silent" } else { "it shows life" }.to_owned()),
                        ..self.place("running", &key, &queue)
                    });
                }
                let Some(next) = next else { break };
                if pages >= PAGES {
                    found.truncated = true;
                    break;
                }
                cursor = next;
            }
        }
        Ok(())
    }

    /// The tasks' names of these entries; of messages in an envelope those that stand inside.
    async fn names(&self, queue: &[u8], entries: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, StoreError> {
        if self.layout().running.envelope == Envelope::None {
            return Ok(entries.iter().map(|entry| self.name(entry).id).collect());
        }
        let wrapped = self.wrapped(queue, entries, 1 << 20).await?;
        let name = |bytes: Vec<u8>| kombu::Message::read(&bytes, "").map(|message| message.id.into_bytes());
        Ok(wrapped.into_iter().map(|(tag, bytes)| bytes.bytes().and_then(name).unwrap_or(tag)).collect())
    }

    /// Whether a task of this name stands in a collection in which tasks wait or are set aside.
    async fn stands_in(
        &self,
        kind: Collection,
        key: &[u8],
        id: &[u8],
        truncated: &mut bool,
    ) -> Result<bool, StoreError> {
        let direct: Option<[&[u8]; 3]> = match kind {
            Collection::Set => Some([b"SISMEMBER", key, id]),
            Collection::SortedSet if self.layout().running.id == Id::Entry => Some([b"ZSCORE", key, id]),
            Collection::Hash => Some([b"HEXISTS", key, id]),
            Collection::Key | Collection::List | Collection::Stream | Collection::SortedSet => None,
        };
        if let Some(parts) = direct
            && (self.plan.entries_are_names() || kind == Collection::Set)
        {
            return match self.queue.store().command(&parts).await {
                Err(error) if error.is_wrong_type() => Ok(false),
                other => Ok(!matches!(other?, Reply::Nil | Reply::Int(0))),
            };
        }
        if kind == Collection::Stream {
            let shape = Shape::of("XRANGE");
            let valid = id.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-') && !id.is_empty();
            let parts: [&[u8]; 4] = [b"XRANGE", key, id, id];
            return match self.queue.store().command(&parts).await {
                _ if !valid => Ok(false),
                Err(error) if error.is_wrong_type() => Ok(false),
                other => Ok(!shape.list(other?)?.is_empty()),
            };
        }
        // The next to be taken first: that is where what was put back stands.
        let end = match self.layout().pending.order {
            Order::List(end) if kind == Collection::List => end,
            _ => End::Left,
        };
        for page in 0..PAGES {
            let entries = match self.range(kind, key, end, page * ENTRIES, ENTRIES).await {
                Err(error) if error.is_wrong_type() => return Ok(false),
                other => other?,
            };
            let all = entries.len();
            for entry in entries {
                let wrapped = || kombu::waiting(&entry).is_some_and(|name| name.as_bytes() == id);
                let enveloped = self.layout().running.envelope == Envelope::Kombu;
                if entry == id || self.name(&entry).id == id || enveloped && wrapped() {
                    return Ok(true);
                }
            }
            if all < ENTRIES {
                return Ok(false);
            }
        }
        *truncated = true;
        Ok(false)
    }

    /// What nobody can tell from outside.
    fn cannot_tell(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut say = |text: &str| all.push(text.to_owned());
        let layout = self.layout();
        if layout.life == Life::Tasks && layout.running.kind != Collection::Stream {
            say("which agent runs it: the system doesn't write that where tasks stand");
        }
        match &layout.heartbeat {
            Heartbeat::Score { means: Means::LastSeen, .. } if layout.life == Life::Tasks => {
                say("whether its agent lives: only its age is known, by the clock of the agent's machine");
            }
            Heartbeat::Score { .. } => {
                say("how old the sign of life is: it is written by the clock of the agent's machine");
            }
            Heartbeat::Key(_) => say("when the sign of life was given last: the key is there or it isn't"),
            Heartbeat::Idle => say("whether its consumer lives: only since when it was given out is known"),
        }
        if layout.running.begun.is_none() {
            say("whether it was begun or only fetched");
        }
        say("attempts and returns of the system's own: only our own are counted, for one to two weeks");
        all
    }
}

fn with_id(values: &Values, id: &[u8]) -> Values {
    let mut values = values.clone();
    values.insert("id".to_owned(), id.to_vec());
    values
}
