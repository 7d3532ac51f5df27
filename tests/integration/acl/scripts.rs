//! Every script of a role, and the parts of the program that a role is for, run as that role.

use std::sync::Arc;
use std::time::Duration;

use backstop::core::guard::MassLossLimits;
use backstop::core::id::{Identity, QueueName, Session, TaskId, TaskType};
use backstop::core::observer::NoObserver;
use backstop::core::policy::QueuePolicy;
use backstop::core::words::{Action, Cause, Guard};
use backstop::native::scripts::adopt::{Adopt, Adopted};
use backstop::native::scripts::apply::{Apply, ApplyAnswer};
use backstop::native::scripts::beat::{Beat, BeatWord, Mark};
use backstop::native::scripts::cancel::{Cancel, Cancelled};
use backstop::native::scripts::census::Census;
use backstop::native::scripts::complete::{Complete, Completed};
use backstop::native::scripts::declare::{Declare, Declared};
use backstop::native::scripts::discard::{Discard, Discarded};
use backstop::native::scripts::enqueue::{Enqueue, NewTask};
use backstop::native::scripts::expire::{Expire, ExpireAnswer, Expired};
use backstop::native::scripts::extend::{Extend, Extended};
use backstop::native::scripts::fail::{Fail, Failed};
use backstop::native::scripts::forget::{Forget, Forgotten};
use backstop::native::scripts::inspect::{Inspect, InspectAnswer};
use backstop::native::scripts::leave::{Leave, LeaveAnswer};
use backstop::native::scripts::note::Note;
use backstop::native::scripts::observe::{Cursor, Observe, ObserveAnswer};
use backstop::native::scripts::publish::Publish;
use backstop::native::scripts::reconcile::{Reconcile, Reconciled};
use backstop::native::scripts::redrive::{Redrive, Redriven, SeenDead};
use backstop::native::scripts::register::{Register, RegisterAnswer, Wanted};
use backstop::native::scripts::release::{Release, Released};
use backstop::native::scripts::reset::{Reset, ResetByHand};
use backstop::native::scripts::switch::{Switch, SwitchAnswer};
use backstop::native::scripts::take::{Take, TakeAnswer, Taken};
use backstop::native::{Queue, fresh_nonce, known_queues};
use backstop::sweep::{SweepSettings, Sweeper};
use tokio_util::sync::CancellationToken;

use super::{enter, queue};
use crate::support::{Server, number};

async fn enqueue(queue: &Queue, ids: &[&str], deadline: Option<Duration>) {
    let task = |id: &&str| NewTask {
        id: TaskId::new(*id).unwrap(),
        task_type: TaskType::default_type(),
        delay: Duration::ZERO,
        deadline,
        payload: vec![7; 100],
    };
    queue.run(&Enqueue { tasks: ids.iter().map(task).collect() }).await.unwrap();
}

async fn register(queue: &Queue) -> Session {
    let register = Register {
        wanted: Wanted::Identity(Identity::new("worker").unwrap()),
        nonce: fresh_nonce().unwrap(),
        lost: None,
        host: "host".into(),
        pid: 1,
        version: "0".into(),
    };
    match queue.run(&register).await.unwrap() {
        RegisterAnswer::Registered { session, .. } => session,
        other => panic!("{other:?}"),
    }
}

async fn take(queue: &Queue, session: &Session) -> Vec<Taken> {
    let take = Take { session: session.clone(), nonce: fresh_nonce().unwrap(), most: 50 };
    match queue.run(&take).await.unwrap() {
        TakeAnswer::Took(tasks) => tasks,
        other => panic!("{other:?}"),
    }
}

fn pair(task: &Taken) -> (String, String) {
    (task.id.clone(), task.token.clone())
}

async fn fail_for_good(queue: &Queue, task: &Taken) {
    let (id, token) = pair(task);
    let fail = Fail { id, token, error: b"no".to_vec(), jitter: 0, is_final: true };
    assert_eq!(queue.run(&fail).await.unwrap(), Failed::Dead);
}

#[tokio::test]
async fn an_agent_can_add_take_and_end_tasks() {
    let server = Server::start().await;
    let store = enter(&server, "agent").await;
    let queue = queue(&store);
    queue.announce().await.unwrap();
    store.listen(&queue.keys().wake()).await.unwrap();
    enqueue(&queue, &["a", "b", "c", "d"], Some(Duration::from_secs(60))).await;
    let first = register(&queue).await;
    let tasks = take(&queue, &first).await;
    let mark = Mark::Checkpoint(vec![1]);
    let pairs = tasks.iter().map(|task| (task.id.clone(), task.token.clone(), mark.clone())).collect();
    let beat = queue.run(&Beat { session: first.clone(), number: 1, pairs }).await.unwrap();
    assert_eq!(beat.word, BeatWord::GoOn);
    let completed = queue.run(&Complete { pairs: vec![pair(&tasks[0])] }).await.unwrap();
    assert_eq!(completed, [Completed::Completed]);
    fail_for_good(&queue, &tasks[1]).await;
    let (session, delay) = (first.clone(), Some(Duration::from_secs(5)));
    let released = queue.run(&Release { session, delay, pairs: vec![pair(&tasks[2])] }).await.unwrap();
    assert_eq!(released, [Released::Released]);

    let second = register(&queue).await;
    let adopt =
        Adopt { session: second.clone(), nonce: fresh_nonce().unwrap(), pairs: vec![pair(&tasks[3])] };
    let adopted = queue.run(&adopt).await.unwrap();
    let [Adopted::Adopted(task)] = &adopted[..] else { panic!("{adopted:?}") };
    let leave = Leave { session: second };
    assert_eq!(queue.run(&leave).await.unwrap(), LeaveAnswer::Holds(vec![pair(task)]));
    queue.run(&Complete { pairs: vec![pair(task)] }).await.unwrap();
    assert_eq!(queue.run(&leave).await.unwrap(), LeaveAnswer::Left);
}

/// A task that runs in a session which has been silent for an hour, and one that expired; as an administrator.
async fn abandoned(server: &Server) -> (Session, Taken, i64) {
    let queue = server.queue("q");
    queue.announce().await.unwrap();
    enqueue(&queue, &["a"], None).await;
    let session = register(&queue).await;
    let task = take(&queue, &session).await.remove(0);
    enqueue(&queue, &["late"], Some(Duration::ZERO)).await;
    let beat = queue.store().server_time().await.unwrap() - 3_600_000;
    let agents = queue.keys().named("agents");
    queue.store().command(&["ZADD", &agents, &beat.to_string(), session.as_str()]).await.unwrap();
    (session, task, beat)
}

#[tokio::test]
async fn a_sweeper_can_run_each_script_of_its_side() {
    let server = Server::start().await;
    let (session, task, beat) = abandoned(&server).await;
    let store = enter(&server, "sweeper").await;
    let queue = queue(&store);
    queue.run(&Publish { policy: QueuePolicy::default() }).await.unwrap();
    let observe = Observe {
        lease: Some(("me".into(), Duration::from_secs(5))),
        lost_after: Duration::from_secs(30),
        suspect_after: Duration::from_secs(15),
        failover_grace: Duration::ZERO,
        most: 100,
        cursor: Cursor::default(),
        handles: true,
    };
    let ObserveAnswer::Page(page) = queue.run(&observe).await.unwrap() else { panic!("no page") };
    assert_eq!((page.facts.silent.len(), page.facts.expired.len()), (1, 1));
    let name = session.to_string();
    let census = queue.run(&Census { sessions: vec![name.clone()] }).await.unwrap();
    assert_eq!(census.counted[0].running, 1);
    let reconcile = Reconcile { repair: true, session: Some(name.clone()), ids: vec!["a".into()] };
    assert_eq!(queue.run(&reconcile).await.unwrap(), [Reconciled::Sound]);
    let declare = Declare { session: name.clone(), seen_beat_ms: beat };
    assert_eq!(queue.run(&declare).await.unwrap(), Declared::Lost);
    let apply = Apply {
        session: name.clone(),
        seen_beat_ms: Some(beat),
        cause: Cause::AgentLost,
        action: Action::Reset,
        abandonments: 0,
        delay: Duration::ZERO,
        revoke_grace: Duration::ZERO,
        pairs: vec![pair(&task)],
    };
    assert_eq!(queue.run(&apply).await.unwrap(), ApplyAnswer::Done(vec![true]));
    let forget = Forget { session: name, seen_beat_ms: beat };
    assert_eq!(queue.run(&forget).await.unwrap(), Forgotten::Forgotten);
    let expired = queue.run(&Expire { ids: vec!["late".into()] }).await.unwrap();
    assert_eq!(expired, ExpireAnswer::Done(vec![Expired::Expired]));
    let grace = Some((Guard::ClockJumped, Duration::from_secs(1)));
    queue.run(&Note { grace, fields: vec![("held", "0".into())] }).await.unwrap();
}

#[tokio::test]
async fn the_daemons_pass_needs_no_more_than_a_sweeper_has() {
    let server = Server::start().await;
    abandoned(&server).await;
    let store = enter(&server, "sweeper").await;
    backstop::store::engine::inspect(&store).await.unwrap();
    assert_eq!(known_queues(&store).await.unwrap(), [QueueName::new("q").unwrap()]);
    let settings = SweepSettings {
        owner: "me".into(),
        lease: Some(Duration::from_secs(60)),
        interval: Duration::from_secs(3600),
        failover_grace: Duration::ZERO,
        mass_loss: MassLossLimits::default(),
        foreign: std::collections::BTreeMap::new(),
        publishes: true,
    };
    let mut sweeper = Sweeper::new(store, settings, Arc::new(NoObserver));
    let queues = [(QueueName::new("q").unwrap(), QueuePolicy::default())];
    let pass = sweeper.run_once(&queues, &CancellationToken::new()).await;
    assert!(pass.failed.is_none(), "{:?}", pass.failed);
    pass.queues[0].1.as_ref().unwrap();
    let (admin, keys) = (server.store(), server.queue("q").keys().clone());
    assert_eq!(number(&admin, &["ZCARD", &keys.named("pending")]).await, 1, "the lost agent's task is back");
    assert_eq!(number(&admin, &["EXISTS", &keys.named("lease")]).await, 1);
    sweeper.leave().await;
    assert_eq!(number(&admin, &["EXISTS", &keys.named("lease")]).await, 0, "the lease is given up");
}

#[tokio::test]
async fn an_operator_can_do_what_persons_ask_for() {
    let server = Server::start().await;
    let admin = server.queue("q");
    enqueue(&admin, &["a", "b", "c", "d"], None).await;
    let session = register(&admin).await;
    let tasks = take(&admin, &session).await;
    let store = enter(&server, "operator").await;
    let queue = queue(&store);
    let by = || String::from("me");
    let mut dead = Vec::new();
    for task in &tasks[..2] {
        fail_for_good(&admin, task).await;
        let (id, token) = pair(task);
        let score = ["ZSCORE", &queue.keys().named("dead"), &id];
        dead.push(SeenDead { died_at_ms: number(&server.store(), &score).await, id, token });
    }
    let redrive = Redrive { deadline: Some(Duration::from_secs(60)), by: by(), dead: vec![dead.remove(0)] };
    assert_eq!(queue.run(&redrive).await.unwrap(), [Redriven::Redriven]);
    assert_eq!(queue.run(&Discard { by: by(), dead }).await.unwrap(), [Discarded::Discarded]);
    let (id, token) = pair(&tasks[2]);
    let limit_ms = store.server_time().await.unwrap() + 60_000;
    let extend = Extend { id, token, limit_ms, by: by() };
    assert_eq!(queue.run(&extend).await.unwrap(), Extended::Extended);
    let reset = Reset { by: by(), pairs: vec![pair(&tasks[2])] };
    assert_eq!(queue.run(&reset).await.unwrap(), [ResetByHand::Reset]);
    let (id, seen) = pair(&tasks[3]);
    assert_eq!(queue.run(&Cancel { id, seen, by: by() }).await.unwrap(), Cancelled::Revoked);
    let (id, enqueued) = (tasks[2].id.clone(), tasks[2].enqueued_at_ms.to_string());
    let cancel = Cancel { id, seen: enqueued, by: by() };
    assert_eq!(queue.run(&cancel).await.unwrap(), Cancelled::Discarded);
    let reconcile = Reconcile { repair: true, session: None, ids: vec![tasks[0].id.clone()] };
    assert_eq!(queue.run(&reconcile).await.unwrap(), [Reconciled::Sound]);
    let fields = vec![("paused".into(), "1".into())];
    let switch = Switch { seen_change: 0, by: by(), fields };
    assert_eq!(queue.run(&switch).await.unwrap(), SwitchAnswer::Switched(1));
    for command in [
        &["SCAN", "0", "MATCH", &queue.keys().all_tasks()][..],
        &["XREVRANGE", &queue.keys().named("events"), "+", "-", "COUNT", "10"],
    ] {
        store.command(command).await.unwrap();
    }
    looks(&server, &store).await;
}

/// What both an operator and a reader look at; the task `d` runs.
async fn looks(server: &Server, store: &backstop::store::Store) {
    server.queue("q").announce().await.unwrap();
    let queues = known_queues(store).await.unwrap();
    let status = backstop::ops::status::read(store, &queues).await.unwrap();
    assert_eq!(status.queues.len(), 1);
    let inspect = |id: &str| Inspect { id: id.to_owned() };
    let found = queue(store).run(&inspect("d")).await.unwrap();
    assert!(matches!(found, InspectAnswer::Found(_)), "{found:?}");
    let gone = queue(store).run(&inspect("none")).await.unwrap();
    assert_eq!(gone, InspectAnswer::Gone(String::new()));
}

#[tokio::test]
async fn a_reader_can_look_at_queues_and_tasks() {
    let server = Server::start().await;
    let admin = server.queue("q");
    enqueue(&admin, &["d"], None).await;
    let session = register(&admin).await;
    take(&admin, &session).await;
    let store = enter(&server, "reader").await;
    let events = admin.keys().named("events");
    store.command(&["XREVRANGE", &events, "+", "-", "COUNT", "10"]).await.unwrap();
    store.command(&["ZRANGE", &admin.keys().named("dead"), "0", "9", "WITHSCORES"]).await.unwrap();
    looks(&server, &store).await;
}
