//! A pass over a real queue: what it moves, what it leaves, what it says.

mod damaged;
mod fleets;

use std::sync::Arc;
use std::time::Duration;

use backstop::core::guard::MassLossLimits;
use backstop::core::id::{Identity, QueueName, Session, TaskId, TaskType};
use backstop::core::observer::NoObserver;
use backstop::core::policy::{Mode, QueuePolicy};
use backstop::core::words::{Action, Cause, Guard};
use backstop::native::scripts::enqueue::{Enqueue, NewTask};
use backstop::native::scripts::register::{Register, RegisterAnswer, Wanted};
use backstop::native::scripts::take::{Take, TakeAnswer, Taken};
use backstop::native::{Queue, fresh_nonce};
use backstop::sweep::report::QueueReport;
use backstop::sweep::{SweepSettings, Sweeper};
use tokio_util::sync::CancellationToken;

use crate::support::{Server, number};

struct Scene {
    server: Server,
    queue: Queue,
    sweeper: Sweeper,
    policy: QueuePolicy,
}

fn settings() -> SweepSettings {
    SweepSettings {
        owner: "test".into(),
        lease: None,
        interval: Duration::from_secs(3600),
        failover_grace: Duration::ZERO,
        mass_loss: MassLossLimits::default(),
        foreign: std::collections::BTreeMap::new(),
        publishes: true,
    }
}

impl Scene {
    async fn new() -> Self {
        let server = Server::start().await;
        let queue = server.queue("q");
        let sweeper = Sweeper::new(server.store(), settings(), Arc::new(NoObserver));
        Self { server, queue, sweeper, policy: QueuePolicy::default() }
    }

    async fn enqueue(&self, n: usize) {
        let tasks = (0..n).map(|i| NewTask {
            id: TaskId::new(format!("t{i}")).unwrap(),
            task_type: TaskType::default_type(),
            delay: Duration::ZERO,
            deadline: None,
            payload: vec![0, 255, 13],
        });
        let tasks: Vec<_> = tasks.collect();
        for tasks in tasks.chunks(50) {
            self.queue.run(&Enqueue { tasks: tasks.to_vec() }).await.unwrap();
        }
    }

    /// An agent that takes `n` tasks.
    async fn agent(&self, name: &str, n: u32) -> (Session, Vec<Taken>) {
        let register = Register {
            wanted: Wanted::Identity(Identity::new(name).unwrap()),
            nonce: fresh_nonce().unwrap(),
            lost: None,
            host: "host".into(),
            pid: 1,
            version: "0".into(),
        };
        let RegisterAnswer::Registered { session, .. } = self.queue.run(&register).await.unwrap() else {
            panic!("not registered")
        };
        let mut tasks = Vec::new();
        while tasks.len() < n as usize {
            let take = Take {
                session: session.clone(),
                nonce: fresh_nonce().unwrap(),
                most: 50.min(n - tasks.len() as u32),
            };
            let TakeAnswer::Took(some) = self.queue.run(&take).await.unwrap() else {
                panic!("nothing taken")
            };
            tasks.extend(some);
        }
        (session, tasks)
    }

    /// Lets a session have been silent for this long.
    async fn silence(&self, session: &Session, seconds: i64) {
        let agents = self.queue.keys().named("agents");
        let now = self.queue.store().server_time().await.unwrap();
        let beat = (now - seconds * 1000).to_string();
        self.queue.store().command(&["ZADD", &agents, &beat, session.as_str()]).await.unwrap();
        let agent = self.queue.keys().agent(session.identity());
        self.queue.store().command(&["HSET", &agent, "beat", "1"]).await.unwrap();
    }

    /// Lets a session that has a successor have been silent for this long.
    async fn silence_superseded(&self, session: &Session, seconds: i64) {
        let agents = self.queue.keys().named("agents");
        let now = self.queue.store().server_time().await.unwrap();
        let beat = (now - seconds * 1000).to_string();
        self.queue.store().command(&["ZADD", &agents, "XX", &beat, session.as_str()]).await.unwrap();
    }

    async fn sweep(&mut self) -> QueueReport {
        let queues = [(QueueName::new("q").unwrap(), self.policy.clone())];
        let mut pass = self.sweeper.run_once(&queues, &CancellationToken::new()).await;
        if pass.failed.is_some() {
            // The old connection broke with the server; a pass does no retries, the next one is the retry.
            pass = self.sweeper.run_once(&queues, &CancellationToken::new()).await;
        }
        assert!(pass.failed.is_none(), "{:?}", pass.failed);
        let (_, report) = pass.queues.into_iter().next().unwrap();
        report.unwrap()
    }

    async fn count(&self, set: &str) -> i64 {
        number(self.queue.store(), &["ZCARD", &self.queue.keys().named(set)]).await
    }
}

#[tokio::test]
async fn a_lost_agents_tasks_come_back_at_their_place_and_a_living_ones_stay() {
    let mut scene = Scene::new().await;
    scene.enqueue(260).await;
    let (lost, _) = scene.agent("lost", 250).await;
    let (_alive, theirs) = scene.agent("alive", 5).await;
    scene.silence(&lost, 30).await;
    let report = scene.sweep().await;
    assert_eq!(report.summary.did(Action::Reset), 250);
    assert_eq!((report.summary.declared, report.summary.forgotten), (1, 1));
    assert_eq!(report.running(), 5);
    // The first hundred wait at their place; those beyond are spread, so that they don't all start in one moment.
    assert_eq!(scene.count("pending").await + scene.count("delayed").await, 255);
    let first = scene.agent("next", 1).await.1.remove(0);
    assert_eq!((first.id.as_str(), first.attempt, first.abandonments), ("t0", 2, 1));
    assert_eq!(first.payload, [0, 255, 13]);
    let running = scene.queue.keys().running(&report_session(&scene, "alive").await);
    assert_eq!(number(scene.queue.store(), &["ZCARD", &running]).await, theirs.len() as i64);
    let again = scene.sweep().await;
    assert!(
        !again.summary.changed(),
        "a second pass over unchanged facts changes nothing: {:?}",
        again.summary
    );
}

async fn report_session(scene: &Scene, identity: &str) -> String {
    let key = scene.queue.keys().agent(identity);
    match scene.queue.store().command(&["HGET", &key, "session"]).await.unwrap() {
        backstop::store::Reply::Bytes(bytes) => String::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_task_that_was_lost_once_too_often_becomes_a_dead_letter() {
    let mut scene = Scene::new().await;
    scene.policy.task.max_abandonments = 1;
    scene.enqueue(1).await;
    for expected in [Action::Reset, Action::DeadLetter] {
        let (agent, _) = scene.agent("a", 1).await;
        scene.silence(&agent, 31).await;
        let report = scene.sweep().await;
        assert_eq!(report.summary.done.get(&(Cause::AgentLost, expected)), Some(&1), "{:?}", report.summary);
    }
    assert_eq!((scene.count("dead").await, scene.count("pending").await), (1, 0));
}

#[tokio::test]
async fn observe_mode_counts_each_abandonment_once_and_moves_nothing() {
    let mut scene = Scene::new().await;
    scene.policy.mode = Mode::Observe;
    scene.enqueue(120).await;
    let (lost, _) = scene.agent("lost", 120).await;
    scene.silence(&lost, 60).await;
    let report = scene.sweep().await;
    assert_eq!(report.summary.observed.get(&(Cause::AgentLost, Action::Reset)), Some(&120));
    assert_eq!((report.running(), report.lost_running), (120, 120));
    assert!(report.oldest_abandoned_ms.is_some());
    assert!(scene.sweep().await.summary.observed.is_empty(), "counted once");
}

#[tokio::test]
async fn a_fleet_that_falls_silent_as_one_is_held_until_one_beats_and_then_paced() {
    let mut scene = Scene::new().await;
    scene.enqueue(9).await;
    let mut fleet = Vec::new();
    for name in ["a", "b", "c"] {
        fleet.push(scene.agent(name, 3).await.0);
    }
    for session in &fleet {
        scene.silence(session, 40).await;
    }
    let report = scene.sweep().await;
    assert_eq!(report.guards.iter().map(|open| open.guard).collect::<Vec<_>>(), [Guard::MassLoss]);
    assert_eq!((report.summary.held(), report.summary.did(Action::Reset)), (9, 0));
    assert_eq!(report.summary.declared, 3, "a pool whose processes all died must be able to start again");
    scene.agent("d", 0).await;
    let report = scene.sweep().await;
    assert_eq!((report.summary.held(), report.summary.did(Action::Reset)), (6, 3), "{:?}", report.summary);
    let report = scene.sweep().await;
    assert_eq!((report.summary.held(), report.summary.did(Action::Reset)), (6, 0), "one in ten seconds");
}

#[tokio::test]
async fn after_a_restart_of_redis_every_agent_gets_time_to_beat() {
    let mut scene = Scene::new().await;
    scene.server = Server::durable().await;
    scene.queue = scene.server.queue("q");
    let settings = SweepSettings { failover_grace: Duration::from_secs(60), ..settings() };
    scene.sweeper = Sweeper::new(scene.server.store(), settings.clone(), Arc::new(NoObserver));
    scene.enqueue(2).await;
    let (lost, _) = scene.agent("lost", 2).await;
    // A server that just started opens the grace at the first look; a person answers it.
    scene.sweep().await;
    scene
        .queue
        .store()
        .command(&["HSET", &scene.queue.keys().named("control"), "grace_until", "0"])
        .await
        .unwrap();
    scene.server.inner.restart().await.unwrap();
    scene.queue = scene.server.queue("q");
    scene.silence(&lost, 60).await;
    let report = scene.sweep().await;
    assert_eq!(report.guards.first().map(|open| open.guard), Some(Guard::RedisChanged));
    assert_eq!(
        (report.summary.held(), report.summary.did(Action::Reset), report.summary.declared),
        (2, 0, 0)
    );
    // Another replica that never saw the old server is held by the same grace.
    scene.sweeper = Sweeper::new(scene.server.store(), settings, Arc::new(NoObserver));
    assert_eq!(scene.sweep().await.summary.did(Action::Reset), 0);
}

#[tokio::test]
async fn a_replica_without_the_lease_stands_by() {
    let mut scene = Scene::new().await;
    let leased = |owner: &str| SweepSettings {
        owner: owner.into(),
        lease: Some(Duration::from_secs(60)),
        ..settings()
    };
    let mut other = Sweeper::new(scene.server.store(), leased("one"), Arc::new(NoObserver));
    let queues = [(QueueName::new("q").unwrap(), scene.policy.clone())];
    let pass = other.run_once(&queues, &CancellationToken::new()).await;
    assert_eq!(pass.queues[0].1.as_ref().unwrap().standby_of, None);
    scene.sweeper = Sweeper::new(scene.server.store(), leased("two"), Arc::new(NoObserver));
    assert_eq!(scene.sweep().await.standby_of.as_deref(), Some("one"));
}

#[tokio::test]
async fn a_running_entry_whose_record_was_deleted_does_not_keep_its_session_for_ever() {
    let mut scene = Scene::new().await;
    scene.enqueue(3).await;
    let (lost, tasks) = scene.agent("lost", 3).await;
    scene.queue.store().command(&["DEL", &scene.queue.keys().task(&tasks[1].id)]).await.unwrap();
    scene.silence(&lost, 60).await;
    let report = scene.sweep().await;
    assert_eq!((report.summary.did(Action::Reset), report.summary.mended), (2, 1));
    assert_eq!(scene.count("agents").await, 0);
}

#[tokio::test]
async fn shortened_clocks_wait_until_agents_have_heard_of_them() {
    let mut scene = Scene::new().await;
    scene.enqueue(1).await;
    scene.sweep().await;
    let (agent, _) = scene.agent("a", 1).await;
    // It beat 3 s ago, and was told to beat every 5 s.
    scene.silence(&agent, 3).await;
    scene.policy.session.heartbeat_interval = Duration::from_millis(300);
    scene.policy.session.heartbeat_timeout = Duration::from_secs(1);
    scene.policy.session.lost_after = Duration::from_secs(1);
    let report = scene.sweep().await;
    assert_eq!(report.guards.first().map(|open| open.guard), Some(Guard::PolicyChanged));
    assert_eq!(report.summary.did(Action::Reset), 0, "{report:?}");
    let report = scene.sweep().await;
    assert_eq!((report.summary.did(Action::Reset), report.summary.held()), (0, 1), "{report:?}");
    scene
        .queue
        .store()
        .command(&["HSET", &scene.queue.keys().named("control"), "grace_until", "0"])
        .await
        .unwrap();
    assert_eq!(scene.sweep().await.summary.did(Action::Reset), 1, "after the grace its silence counts");
}

#[tokio::test]
async fn a_queue_that_cannot_be_swept_does_not_cost_the_others_their_pass() {
    let mut scene = Scene::new().await;
    scene.enqueue(1).await;
    let (lost, _) = scene.agent("lost", 1).await;
    scene.silence(&lost, 60).await;
    let broken = scene.server.queue("broken");
    scene.queue.store().command(&["HSET", &broken.keys().named("control"), "format", "99"]).await.unwrap();
    let queues = ["broken", "q"].map(|name| (QueueName::new(name).unwrap(), scene.policy.clone()));
    let pass = scene.sweeper.run_once(&queues, &CancellationToken::new()).await;
    assert!(!pass.succeeded());
    let said = pass.queues[0].1.as_ref().unwrap_err().to_string();
    assert!(said.contains("another version wrote this queue"), "{said}");
    let report = pass.queues[1].1.as_ref().unwrap();
    assert_eq!((report.summary.did(Action::Reset), report.guards.len()), (1, 0));
}

#[tokio::test]
async fn a_paced_agent_moves_with_all_that_it_has_and_a_superseded_one_is_no_lost_agent() {
    let mut scene = Scene::new().await;
    scene.enqueue(250).await;
    let mut fleet = Vec::new();
    for name in ["a", "b", "c"] {
        let tasks = if name == "a" { 200 } else { 10 };
        fleet.push(scene.agent(name, tasks).await.0);
    }
    let (_alive, _) = scene.agent("d", 0).await;
    for (n, session) in fleet.iter().enumerate() {
        scene.silence(session, 60 - n as i64).await;
    }
    let report = scene.sweep().await;
    assert_eq!(report.guards.first().map(|open| open.guard), Some(Guard::MassLoss));
    assert_eq!((report.summary.did(Action::Reset), report.summary.held()), (200, 20), "one agent, whole");

    // The other two come back under their names: whoever they were is gone, and is nobody that fell silent.
    for name in ["b", "c"] {
        scene.agent(name, 0).await;
    }
    for session in &fleet[1..] {
        scene.silence_superseded(session, 60).await;
    }
    let mut moved = 0;
    for _ in 0..2 {
        moved += scene.sweep().await.summary.did(Action::Reset);
    }
    assert_eq!(moved, 20);
}

#[tokio::test]
async fn idle_sessions_of_a_silent_fleet_are_still_seen_while_everything_is_held() {
    let mut scene = Scene::new().await;
    scene.enqueue(2).await;
    for name in ["a", "b", "c", "d", "e"] {
        let (session, _) = scene.agent(name, u32::from(name == "a")).await;
        scene.silence(&session, 120).await;
    }
    for _ in 0..3 {
        let report = scene.sweep().await;
        assert_eq!((report.summary.forgotten, report.summary.held()), (0, 1), "all of them fell silent");
    }
    assert_eq!(scene.count("agents").await, 5);
}

#[tokio::test]
async fn a_revoked_task_whose_deadline_passes_does_not_wait_beyond_it_once_its_agent_is_lost() {
    let mut scene = Scene::new().await;
    let task = NewTask {
        id: TaskId::new("t").unwrap(),
        task_type: TaskType::default_type(),
        delay: Duration::ZERO,
        deadline: Some(Duration::from_millis(200)),
        payload: Vec::new(),
    };
    scene.queue.run(&Enqueue { tasks: vec![task] }).await.unwrap();
    let (agent, taken) = scene.agent("a", 1).await;
    crate::support::eventually("its deadline passes and it is told to stop", || async {
        let key = scene.queue.keys().task(&taken[0].id);
        number(scene.queue.store(), &["HEXISTS", &key, "revoked_at"]).await == 1 || {
            let queues = [(QueueName::new("q").unwrap(), scene.policy.clone())];
            let mut sweeper = Sweeper::new(scene.server.store(), settings(), Arc::new(NoObserver));
            sweeper.run_once(&queues, &CancellationToken::new()).await;
            false
        }
    })
    .await;
    scene.silence(&agent, 60).await;
    scene.sweep().await;
    scene.sweep().await;
    assert_eq!((scene.count("dead").await, scene.count("pending").await), (1, 0), "nobody wants it any more");
}
