//! Systems of others, by what their sources write: one contract for every layout.

mod check;
mod commands;
mod config;
mod contract;
mod fixture;
mod hostile;
mod shared;
mod tasks;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backstop::config::{Overrides, Settings};
use backstop::core::guard::MassLossLimits;
use backstop::core::id::QueueName;
use backstop::core::observer::NoObserver;
use backstop::store::{Reply, Store};
use backstop::sweep::report::QueueReport;
use backstop::sweep::{SweepSettings, Sweeper};
use fixture::Fixture;
use tokio_util::sync::CancellationToken;

use crate::support::{Server, number};

/// What a configuration with this text means.
fn settings(text: &str) -> Settings {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    Settings::load(Some(file.path()), &Overrides::default(), |_| Ok(())).unwrap()
}

/// A system of one kind, with two agents, and who watches it.
struct Scene {
    server: Server,
    fixture: Fixture,
    sweeper: Sweeper,
    settings: Settings,
    /// What each agent took and didn't acknowledge: name and entry.
    taken: Mutex<BTreeMap<String, Vec<(String, String)>>>,
}

const NOBODY: &str = "nobody";
const NAME: &str = "watched";
const QUEUE: &str = "low.mail";

fn sweeping(settings: &Settings) -> SweepSettings {
    SweepSettings {
        owner: "test".into(),
        lease: None,
        interval: Duration::from_secs(3600),
        failover_grace: Duration::ZERO,
        mass_loss: MassLossLimits { min_sessions: 100, ..MassLossLimits::default() },
        publishes: true,
        foreign: settings.foreign.clone(),
    }
}

impl Scene {
    /// Clocks that are short enough to wait for, and what else the test says of the system.
    async fn new(preset: &str, more: &str) -> Self {
        let server = Server::start().await;
        // One that counts in seconds can't be seen to beat more often.
        let timeout = match preset {
            "apalis" => "2500ms",
            // Age is all that can be judged there: what lives must be younger.
            "celery" | "streams" => "1s",
            _ => "150ms",
        };
        let text = format!(
            "[foreign.{NAME}]\npreset = {preset:?}\nheartbeat_timeout = {timeout:?}\nlost_after = \"100ms\"\ndiscover_every = \"1ms\"\n{more}"
        );
        let settings = settings(&text);
        let sweeper = Sweeper::new(server.store(), sweeping(&settings), Arc::new(NoObserver));
        Self { fixture: Fixture::of(preset), server, sweeper, settings, taken: Mutex::default() }
    }

    /// Another connection for whoever watches.
    fn watch_through(&mut self, store: Store) {
        self.sweeper = Sweeper::new(store, sweeping(&self.settings), Arc::new(NoObserver));
    }

    fn store(&self) -> Store {
        self.server.store()
    }

    async fn play(&self, part: &str, agent: &str, id: &str) {
        self.fixture
            .play(&self.store(), part, &[("agent", agent), ("queue", QUEUE), ("id", id), ("workflow", id)])
            .await;
    }

    async fn enqueue(&self, n: usize) {
        for i in 0..n {
            self.play("enqueue", "", &id(i)).await;
        }
    }

    async fn take(&self, agent: &str, ids: std::ops::Range<usize>) {
        for i in ids {
            if self.fixture.shared() {
                self.take_shared(agent, QUEUE, &id(i)).await;
            } else {
                self.play("take", agent, &id(i)).await;
            }
        }
    }

    async fn pass(&mut self) -> QueueReport {
        let name = QueueName::new(NAME).unwrap();
        let queues = [(name.clone(), self.settings.policy_of(&name).clone())];
        let pass = self.sweeper.run_once(&queues, &CancellationToken::new()).await;
        assert!(pass.failed.is_none(), "{:?}", pass.failed);
        pass.queues.into_iter().next().unwrap().1.unwrap()
    }

    /// Passes, while these agents beat, until the condition holds of one; what that one did.
    async fn passes(
        &mut self,
        alive: &[&str],
        what: &str,
        holds: impl Fn(&QueueReport) -> bool,
    ) -> QueueReport {
        let began = std::time::Instant::now();
        loop {
            // Somebody lives, unless a test says that nobody does.
            let bystander = [self.fixture.places().agents[1]];
            if self.fixture.shared() {
                self.beat_shared(alive).await;
            } else {
                if alive.is_empty() {
                    self.play("register", bystander[0], "").await;
                }
                let alive = if alive.is_empty() { &bystander[..] } else { alive };
                for agent in alive.iter().filter(|agent| **agent != NOBODY) {
                    self.play("heartbeat", agent, "").await;
                }
            }
            let report = self.pass().await;
            if holds(&report) {
                return report;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{what}: {report:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Lets an agent die: what lapses has lapsed.
    async fn die(&self, agent: &str) {
        if self.fixture.shared() {
            return self.die_shared(agent).await;
        }
        for key in self.fixture.lapsing(agent) {
            self.store().command(&["DEL", &key]).await.unwrap();
        }
    }

    /// All that stands in Redis and isn't ours.
    async fn theirs(&self) -> BTreeMap<String, String> {
        let dump = crate::support::dump::Dump::read(&self.store()).await;
        dump.keys
            .into_iter()
            .filter(|(key, _)| !key.starts_with("backstop:"))
            .map(|(k, v)| (k, format!("{v:?}")))
            .collect()
    }
}

/// A task's name; a ULID's form, which all of them take.
fn id(i: usize) -> String {
    format!("01JDGVZK5Q8Y6W2N4R7T9X{i:04}")
}

async fn list(store: &Store, key: &str) -> Vec<String> {
    match store.command(&["LRANGE", key, "0", "-1"]).await.unwrap() {
        Reply::List(items) => items
            .into_iter()
            .map(|item| match item {
                Reply::Bytes(bytes) => String::from_utf8(bytes).unwrap(),
                other => panic!("{other:?}"),
            })
            .collect(),
        other => panic!("{other:?}"),
    }
}

async fn size(store: &Store, command: &str, key: &str) -> i64 {
    number(store, &[command, key]).await
}
