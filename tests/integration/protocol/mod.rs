//! The scripts on a real Redis: in any order, repeated, late, between a sweeper's look and its act, on wrong keys.

mod races; // one test for each race, acting between two steps
mod snapshot;

use std::time::Duration;

use backstop::core::id::{Identity, Nonce, Session, TaskId, TaskType};
use backstop::core::words::{Action, Cause};
use backstop::native::scripts::apply::{Apply, ApplyAnswer};
use backstop::native::scripts::beat::{Beat, BeatAnswer, Mark};
use backstop::native::scripts::complete::{Complete, Completed};
use backstop::native::scripts::enqueue::{Enqueue, Enqueued, NewTask};
use backstop::native::scripts::observe::{Cursor, Observe, ObserveAnswer, Page};
use backstop::native::scripts::register::{Register, RegisterAnswer, Wanted};
use backstop::native::scripts::take::{Take, TakeAnswer, Taken};
use backstop::native::{Queue, fresh_nonce};

use crate::support::Server;
use snapshot::Snapshot;

pub fn nonce(bits: u64) -> Nonce {
    Nonce::from_bits(bits)
}

pub fn task(id: &str) -> NewTask {
    NewTask {
        id: TaskId::new(id).unwrap(),
        task_type: TaskType::default_type(),
        delay: Duration::ZERO,
        deadline: None,
        payload: id.as_bytes().to_vec(),
    }
}

pub fn registration(identity: &str, nonce: Nonce) -> Register {
    Register {
        wanted: Wanted::Identity(Identity::new(identity).unwrap()),
        nonce,
        lost: None,
        host: "host".into(),
        pid: 1,
        version: "0".into(),
    }
}

pub fn look() -> Observe {
    Observe {
        lease: None,
        lost_after: Duration::from_secs(30),
        suspect_after: Duration::from_secs(15),
        failover_grace: Duration::ZERO,
        most: 100,
        cursor: Cursor::default(),
    }
}

/// A verdict by silence on one session's tasks.
pub fn reset_of(session: &Session, seen_beat_ms: i64, tasks: &[&Taken]) -> Apply {
    Apply {
        session: session.to_string(),
        seen_beat_ms: Some(seen_beat_ms),
        cause: Cause::AgentLost,
        action: Action::Reset,
        abandonments: tasks.first().map_or(0, |task| task.abandonments),
        delay: Duration::ZERO,
        revoke_grace: Duration::ZERO,
        pairs: tasks.iter().map(|task| pair(task)).collect(),
    }
}

pub fn pair(task: &Taken) -> (String, String) {
    (task.id.clone(), task.token.clone())
}

/// A queue on a Redis of its own, and the steps that most tests begin with.
pub struct Scene {
    _server: Server,
    pub queue: Queue,
}

impl Scene {
    pub async fn new() -> Self {
        let server = Server::start().await;
        let scene = Self { queue: server.queue("q"), _server: server };
        // A first look makes the server known: verdicts are held until then.
        scene.page().await;
        scene
    }

    pub async fn enqueue(&self, id: &str) -> Enqueued {
        self.queue.run(&Enqueue { tasks: vec![task(id)] }).await.unwrap()[0]
    }

    pub async fn register(&self, identity: &str) -> Session {
        match self.queue.run(&registration(identity, fresh_nonce().unwrap())).await.unwrap() {
            RegisterAnswer::Registered { session, .. } => session,
            other => panic!("{other:?}"),
        }
    }

    pub async fn take(&self, session: &Session) -> Option<Taken> {
        let take = Take { session: session.clone(), nonce: fresh_nonce().unwrap(), most: 1 };
        match self.queue.run(&take).await.unwrap() {
            TakeAnswer::Took(mut tasks) => tasks.pop(),
            _ => None,
        }
    }

    /// An agent that runs one fresh task.
    pub async fn running(&self, identity: &str, id: &str) -> (Session, Taken) {
        self.enqueue(id).await;
        let session = self.register(identity).await;
        let task = self.take(&session).await.expect("the task that was just added");
        (session, task)
    }

    pub async fn beat(&self, session: &Session, number: u64, pairs: &[(&Taken, Mark)]) -> BeatAnswer {
        let pairs =
            pairs.iter().map(|(task, mark)| (task.id.clone(), task.token.clone(), mark.clone())).collect();
        self.queue.run(&Beat { session: session.clone(), number, pairs }).await.unwrap()
    }

    pub async fn complete(&self, task: &Taken) -> Completed {
        self.queue.run(&Complete { pairs: vec![pair(task)] }).await.unwrap()[0]
    }

    /// Whether one verdict was carried out.
    pub async fn apply(&self, apply: &Apply) -> bool {
        match self.queue.run(apply).await.unwrap() {
            ApplyAnswer::Done(done) => done == [true],
            ApplyAnswer::Held => panic!("held"),
        }
    }

    pub async fn page(&self) -> Page {
        match self.queue.run(&look()).await.unwrap() {
            ObserveAnswer::Page(page) => *page,
            ObserveAnswer::Standby(holder) => panic!("{holder} sweeps"),
        }
    }

    pub async fn age(&self, seconds: i64) {
        snapshot::age(&self.queue, seconds * 1000).await;
    }

    pub async fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.queue).await
    }

    /// Lets the agent fall silent, looks, and gives the verdict that a sweeper would carry out now.
    pub async fn verdict(&self, session: &Session, task: &Taken) -> Apply {
        self.age(40).await;
        let page = self.page().await;
        let seen =
            page.facts.silent.iter().find(|one| one.session == session.as_str()).expect("it is silent");
        reset_of(session, seen.beat_ms.unwrap(), &[task])
    }

    /// The agent was lost, and its task is back at its place.
    pub async fn given_up(&self, session: &Session, task: &Taken) {
        let verdict = self.verdict(session, task).await;
        assert!(self.apply(&verdict).await);
    }
}
