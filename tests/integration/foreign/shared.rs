//! Systems in which all agents share one collection, and each task shows life for itself: how a test acts for them.

use super::*;

/// A queue of somebody who lives, where a test says of nobody else that he does.
const ELSEWHERE: &str = "elsewhere";
const BYSTANDER: &str = "bystander";

impl Scene {
    async fn play_shared(&self, part: &str, agent: &str, queue: &str, id: &str, entry: &str) {
        let rest = entry.rsplit(':').next().unwrap();
        let values = [("agent", agent), ("queue", queue), ("id", id), ("entry", entry), ("rest", rest)];
        self.fixture.play(&self.store(), part, &values).await;
    }

    /// Takes the next task of a queue as the system's own agents do.
    pub(super) async fn take_shared(&self, agent: &str, queue: &str, id: &str) {
        let store = self.store();
        let entry = match self.fixture.preset.as_str() {
            "rq" => format!("{id}:{}", store.server_time().await.unwrap()),
            "celery" => {
                let message = bytes(store.command(&["RPOP", queue]).await.unwrap());
                let json: serde_json::Value = serde_json::from_str(&message).unwrap();
                let tag = json["properties"]["delivery_tag"].as_str().unwrap().to_owned();
                let wrapped = format!("[{message}, \"\", \"{queue}\"]");
                store.command(&["HSET", "unacked", &tag, &wrapped]).await.unwrap();
                let now = store.server_time().await.unwrap();
                let now = format!("{}.{:03}", now / 1000, now % 1000);
                store.command(&["ZADD", "unacked_index", &now, &tag]).await.unwrap();
                tag
            }
            "streams" => {
                let read = ["XREADGROUP", "GROUP", "taskiq", agent, "COUNT", "1", "STREAMS", queue, ">"];
                let Reply::List(streams) = store.command(&read).await.unwrap() else {
                    panic!("nothing to take")
                };
                let mut found = streams.into_iter();
                // By name and entries, flat or in a list of its own.
                let entries = match found.next().unwrap() {
                    Reply::List(pair) => pair.into_iter().nth(1).unwrap(),
                    _ => found.next().unwrap(),
                };
                let Reply::List(entries) = entries else { panic!("{entries:?}") };
                let Reply::List(entry) = entries.into_iter().next().unwrap() else { panic!("no entry") };
                bytes(entry.into_iter().next().unwrap())
            }
            _ => id.to_owned(),
        };
        self.play_shared("take", agent, queue, id, &entry).await;
        self.taken
            .lock()
            .unwrap()
            .entry(format!("{queue} {agent}"))
            .or_default()
            .push((id.to_owned(), entry));
    }

    fn taken_by(&self, queue: &str, agent: &str) -> Vec<(String, String)> {
        self.taken.lock().unwrap().get(&format!("{queue} {agent}")).cloned().unwrap_or_default()
    }

    /// These show life for all that they hold; where they hold nothing, somebody else does.
    pub(super) async fn beat_shared(&self, alive: &[&str]) {
        if alive.contains(&NOBODY) {
            return;
        }
        let nobody_lives = alive.iter().all(|agent| self.taken_by(QUEUE, agent).is_empty());
        if nobody_lives && self.taken_by(ELSEWHERE, BYSTANDER).is_empty() {
            self.play_shared("register", BYSTANDER, ELSEWHERE, "", "").await;
            self.play_shared("enqueue", BYSTANDER, ELSEWHERE, BYSTANDER, "").await;
            self.take_shared(BYSTANDER, ELSEWHERE, BYSTANDER).await;
        }
        for (id, entry) in self.taken_by(ELSEWHERE, BYSTANDER) {
            self.play_shared("heartbeat", BYSTANDER, ELSEWHERE, &id, &entry).await;
        }
        for agent in alive {
            for (id, entry) in self.taken_by(QUEUE, agent) {
                if self.holds(&entry).await {
                    self.play_shared("heartbeat", agent, QUEUE, &id, &entry).await;
                }
            }
        }
    }

    /// Where age is all that counts, all that it holds is of one age from now on.
    pub(super) async fn die_shared(&self, agent: &str) {
        let (store, key) = (self.store(), self.fixture.places().running.1);
        let now = store.server_time().await.unwrap();
        let (exact, millis) = (format!("{}.{:03}", now / 1000, now % 1000), now.to_string());
        for (id, entry) in self.taken_by(QUEUE, agent) {
            if !self.holds(&entry).await {
                continue;
            }
            let command = match self.fixture.preset.as_str() {
                "celery" => vec!["ZADD", "unacked_index", &exact, &entry],
                "streams" => vec!["XCLAIM", key, "taskiq", agent, "0", &entry, "TIME", &millis, "JUSTID"],
                _ => {
                    self.play_shared("die", agent, QUEUE, &id, &entry).await;
                    continue;
                }
            };
            store.command(&command).await.unwrap();
        }
    }

    /// The entry under which an agent holds a task.
    pub(super) fn entry_of(&self, agent: &str, id: &str) -> String {
        let taken = self.taken_by(QUEUE, agent);
        taken.iter().rev().find(|(known, _)| known == id).unwrap().1.clone()
    }

    pub(super) async fn ack_shared(&self, agent: &str, id: &str) {
        self.play_shared("ack", agent, QUEUE, id, &self.entry_of(agent, id)).await;
    }

    /// Whether this is among what runs.
    async fn holds(&self, entry: &str) -> bool {
        let (store, key) = (self.store(), self.fixture.places().running.1);
        let reply = match self.fixture.preset.as_str() {
            "rq" => store.command(&["ZSCORE", key, entry]).await,
            "celery" => store.command(&["HGET", key, entry]).await,
            "streams" => store.command(&["XPENDING", key, "taskiq", entry, entry, "1"]).await,
            _ => store.command(&["LPOS", key, entry]).await,
        };
        !matches!(reply.unwrap(), Reply::Nil) && reply_has(&store, self, entry).await
    }

    /// How much of what an agent took is among what runs.
    pub(super) async fn held_shared(&self, agent: &str) -> i64 {
        let mut held = 0;
        for (_, entry) in self.taken_by(QUEUE, agent) {
            held += i64::from(self.holds(&entry).await);
        }
        held
    }

    /// The names of what waits, the next to be taken first, with all else that must be as it was.
    pub(super) async fn waiting_shared(&self) -> Option<Vec<String>> {
        let store = self.store();
        match self.fixture.preset.as_str() {
            "celery" => {
                let mut all = list(&store, self.fixture.places().waiting).await;
                all.reverse();
                // A new tag, and the mark that it comes back; no other byte may differ.
                let bare = |text: &str| {
                    let (head, _) = text.split_once("\"delivery_tag\"").unwrap();
                    head.replace(", \"redelivered\": true", "")
                };
                Some(all.iter().map(|text| bare(text)).collect())
            }
            "streams" => {
                let groups = store.command(&["XINFO", "GROUPS", QUEUE]).await.unwrap();
                let Reply::List(groups) = groups else { panic!("{groups:?}") };
                let Reply::List(group) = groups.into_iter().next().unwrap() else { panic!("no group") };
                let last = bytes(group.into_iter().nth(7).unwrap());
                let rest = store.command(&["XRANGE", QUEUE, &format!("({last}"), "+"]).await.unwrap();
                let Reply::List(rest) = rest else { panic!("{rest:?}") };
                let fields = rest.into_iter().map(|entry| {
                    let Reply::List(entry) = entry else { panic!("{entry:?}") };
                    format!("{:?}", entry[1])
                });
                Some(fields.collect())
            }
            _ => None,
        }
    }
}

/// XPENDING answers an empty list for what isn't pending.
async fn reply_has(store: &Store, scene: &Scene, entry: &str) -> bool {
    if scene.fixture.preset != "streams" {
        return true;
    }
    let key = scene.fixture.places().running.1;
    let reply = store.command(&["XPENDING", key, "taskiq", entry, entry, "1"]).await.unwrap();
    reply != Reply::List(Vec::new())
}

fn bytes(reply: Reply) -> String {
    match reply {
        Reply::Bytes(bytes) => String::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}
