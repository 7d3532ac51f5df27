//! The agent library on a real Redis: runs each task once, comes back, stops when told to.

mod leaving;
mod trouble;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use backstop::agent::{
    Account, Agent, AgentError, Builder, Client, Failure, OnReconnect, StopReason, new_task,
};
use backstop::core::id::{Identity, QueueName, Session};
use backstop::core::policy::{QueuePolicy, StopOnAgent};
use backstop::native::fresh_nonce;
use backstop::native::scripts::publish::Publish;
use backstop::native::scripts::switch::Switch;
use backstop::native::scripts::take::{Take, TakeAnswer};
use backstop::store::{Options, Reply};
use tokio_util::sync::CancellationToken;

use crate::support::{Server, eventually, number};

fn queue() -> QueueName {
    QueueName::new("q").unwrap()
}

/// Clocks that are short enough to wait for.
fn brisk() -> QueuePolicy {
    let mut policy = QueuePolicy::default();
    policy.session.heartbeat_interval = Duration::from_millis(50);
    policy.session.heartbeat_timeout = Duration::from_millis(500);
    policy.session.lost_after = Duration::from_millis(500);
    policy.session.adopt_within = Duration::from_secs(10);
    policy.session.stop_on_agent_after = StopOnAgent::After(Duration::from_millis(700));
    policy.task.backoff.first = Duration::from_millis(10);
    policy
}

async fn scene() -> Server {
    let server = Server::start().await;
    server.queue("q").run(&Publish { policy: brisk() }).await.unwrap();
    server
}

fn agent(server: &Server, name: &str) -> Builder {
    let options = Options { response_timeout: Duration::from_millis(200), ..Options::default() };
    Agent::builder(server.store())
        .queue(queue())
        .identity(Identity::new(name).unwrap())
        .options(options)
        .stop_grace(Duration::from_millis(200))
}

async fn enqueue(server: &Server, n: usize) {
    let tasks = (0..n).map(|i| new_task(format!("{i}")).unwrap()).collect();
    Client::new(server.store(), queue()).enqueue_all(tasks).await.unwrap();
}

async fn total(server: &Server, name: &str) -> i64 {
    number(&server.store(), &["HGET", &server.queue("q").keys().named("stats"), name]).await
}

async fn session_of(server: &Server, name: &str) -> Option<Session> {
    match server.store().command(&["HGET", &server.queue("q").keys().agent(name), "session"]).await.unwrap() {
        Reply::Bytes(bytes) => Some(Session::new(String::from_utf8(bytes).unwrap()).unwrap()),
        _ => None,
    }
}

#[tokio::test]
async fn every_task_is_run_and_completed_once() {
    let server = scene().await;
    enqueue(&server, 500).await;
    let ran = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ran);
    let account = agent(&server, "a")
        .concurrency(8)
        .count(500)
        .build()
        .unwrap()
        .run(move |_| {
            let count = Arc::clone(&count);
            async move {
                count.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
        })
        .await
        .unwrap();
    assert_eq!(account, Account { taken: 500, completed: 500, ..Account::default() });
    assert_eq!(ran.load(Ordering::SeqCst), 500);
    assert_eq!(total(&server, "completed").await, 500);
    let agents = server.queue("q").keys().named("agents");
    assert_eq!(number(&server.store(), &["ZCARD", &agents]).await, 0, "it left");
}

#[tokio::test]
async fn a_panic_fails_its_task_and_nothing_else() {
    let server = scene().await;
    enqueue(&server, 3).await;
    let handler = |task: backstop::agent::Task| async move {
        assert!(task.payload() != b"1" || task.attempt() > 1, "the first attempt of this one goes wrong");
        Ok(())
    };
    let account = agent(&server, "a").count(4).build().unwrap().run(handler).await.unwrap();
    assert_eq!((account.completed, account.retried), (3, 1));
}

#[tokio::test]
async fn failures_end_as_their_handler_says() {
    let server = scene().await;
    enqueue(&server, 3).await;
    let handler = |task: backstop::agent::Task| async move {
        match (task.payload(), task.attempt()) {
            (b"0", 1) => Err(Failure::retry("not now")),
            (b"1", _) => Err(Failure::fatal("never")),
            (b"2", 1) => Err(Failure::GiveBack(Some(Duration::ZERO))),
            _ => Ok(()),
        }
    };
    let account = agent(&server, "a").count(5).build().unwrap().run(handler).await.unwrap();
    assert_eq!((account.completed, account.retried, account.dead, account.released), (2, 1, 1, 1));
    assert_eq!((total(&server, "dead:failed").await, total(&server, "released").await), (1, 1));
}

#[tokio::test]
async fn of_two_processes_with_one_name_the_younger_goes_on_and_the_older_ends() {
    let server = scene().await;
    let older = tokio::spawn(agent(&server, "twin").build().unwrap().run(|_| async { Ok(()) }));
    eventually("the older has registered", || async { session_of(&server, "twin").await.is_some() }).await;
    let stop = CancellationToken::new();
    let younger = agent(&server, "twin").stop(stop.clone()).build().unwrap();
    let younger = tokio::spawn(younger.run(|_| async { Ok(()) }));
    assert!(matches!(older.await.unwrap(), Err(AgentError::Superseded)));
    enqueue(&server, 1).await;
    eventually("the younger works on", || async { total(&server, "completed").await == 1 }).await;
    stop.cancel();
    younger.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_session_that_was_given_up_stops_its_work_and_begins_another() {
    let server = scene().await;
    enqueue(&server, 1).await;
    let fenced = Arc::new(AtomicUsize::new(0));
    let (seen, stop) = (Arc::clone(&fenced), CancellationToken::new());
    let running = agent(&server, "a").stop(stop.clone()).build().unwrap().run(move |task| {
        let seen = Arc::clone(&seen);
        async move {
            if task.attempt() == 1 {
                task.stop().cancelled().await;
                assert_eq!(task.why(), Some(StopReason::Fenced));
                seen.fetch_add(1, Ordering::SeqCst);
            }
            Ok(())
        }
    });
    let running = tokio::spawn(running);
    let mine = || async { session_of(&server, "a").await };
    eventually("it runs the task", || async { total(&server, "taken").await == 1 }).await;
    let first = mine().await.unwrap();
    // What the sweeper does to a silent session, done to one that isn't.
    let keys = server.queue("q").keys().clone();
    server.store().command(&["ZREM", &keys.named("agents"), first.as_str()]).await.unwrap();
    let id = match server.store().command(&["ZRANGE", &keys.running(first.as_str()), "0", "0"]).await.unwrap()
    {
        Reply::List(ids) => ids.into_iter().next().unwrap(),
        other => panic!("{other:?}"),
    };
    let Reply::Bytes(id) = id else { panic!("{id:?}") };
    let id = String::from_utf8(id).unwrap();
    server.store().command(&["DEL", &keys.running(first.as_str())]).await.unwrap();
    server
        .store()
        .command(&["HSET", &keys.task(&id), "session", "!reset:agent_lost", "abandonments", "1"])
        .await
        .unwrap();
    server.store().command(&["ZADD", &keys.named("pending"), "1", &id]).await.unwrap();
    eventually("the task is completed by the next session", || async {
        total(&server, "completed").await == 1
    })
    .await;
    assert_ne!(mine().await.unwrap(), first);
    assert_eq!(fenced.load(Ordering::SeqCst), 1);
    stop.cancel();
    assert_eq!(running.await.unwrap().unwrap().fenced, 1);
}

#[tokio::test]
async fn a_task_whose_answer_was_lost_is_given_back() {
    let server = scene().await;
    let stop = CancellationToken::new();
    let running =
        tokio::spawn(agent(&server, "a").stop(stop.clone()).build().unwrap().run(|_| async { Ok(()) }));
    eventually("it has registered", || async { session_of(&server, "a").await.is_some() }).await;
    server.queue("q").run(&Switch { seen_change: 0, by: "test".into(), fields: vec![] }).await.unwrap();
    let session = session_of(&server, "a").await.unwrap();
    // A copy of its own take, of which it never hears: it may lose the race for the task against the agent itself.
    loop {
        enqueue(&server, 20).await;
        let take = Take { session: session.clone(), nonce: fresh_nonce().unwrap(), most: 5 };
        if matches!(server.queue("q").run(&take).await.unwrap(), TakeAnswer::Took(tasks) if !tasks.is_empty())
        {
            break;
        }
    }
    eventually("all are completed, none is stuck", || async {
        total(&server, "released").await >= 1
            && total(&server, "completed").await == total(&server, "enqueued").await
    })
    .await;
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_predecessors_task_goes_on_from_its_checkpoint() {
    let server = scene().await;
    enqueue(&server, 1).await;
    let first = agent(&server, "a").build().unwrap().run(|task| async move {
        task.save_checkpoint(b"half way").unwrap();
        std::future::pending::<()>().await;
        Ok(())
    });
    let first = tokio::spawn(first);
    let keys = server.queue("q").keys().clone();
    let saved = || async {
        let Reply::List(keys) = server.store().command(&["KEYS", &keys.named("checkpoint:*")]).await.unwrap()
        else {
            return false;
        };
        keys.len() == 1
    };
    eventually("the checkpoint is saved", saved).await;
    let second = agent(&server, "a").on_reconnect(OnReconnect::Resume).count(0).build().unwrap();
    let account = second
        .run(|task| async move {
            assert_eq!((task.checkpoint(), task.attempt()), (Some(&b"half way"[..]), 2));
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!((account.adopted, account.completed), (1, 1));
    assert!(matches!(first.await.unwrap(), Err(AgentError::Superseded)));
}

#[tokio::test]
async fn an_agent_that_stops_gives_back_what_does_not_end_in_time() {
    let server = scene().await;
    enqueue(&server, 2).await;
    let stop = CancellationToken::new();
    let builder =
        agent(&server, "a").concurrency(2).stop(stop.clone()).drain_timeout(Duration::from_millis(100));
    let running = tokio::spawn(builder.build().unwrap().run(|task| async move {
        if task.payload() == b"1" {
            std::future::pending::<()>().await;
        }
        task.stop().cancelled().await;
        Err(Failure::retry("it ends because it was told to: no failure"))
    }));
    eventually("both run", || async { total(&server, "taken").await == 2 }).await;
    stop.cancel();
    let account = running.await.unwrap().unwrap();
    assert_eq!((account.released, account.retried), (2, 0));
    assert_eq!(total(&server, "released").await, 2);
    assert_eq!(total(&server, "abandoned:agent_lost").await, 0);
}

#[tokio::test]
async fn work_goes_on_through_a_short_outage_and_stops_in_a_long_one() {
    let server = scene().await;
    enqueue(&server, 1).await;
    let stopped = Arc::new(AtomicUsize::new(0));
    let (seen, stop) = (Arc::clone(&stopped), CancellationToken::new());
    let running = agent(&server, "a").stop(stop.clone()).build().unwrap().run(move |task| {
        let seen = Arc::clone(&seen);
        async move {
            if task.attempt() == 1 {
                task.stop().cancelled().await;
                if task.why() == Some(StopReason::OutOfTouch) {
                    seen.fetch_add(1, Ordering::SeqCst);
                }
            }
            Err(Failure::GiveBack(Some(Duration::ZERO)))
        }
    });
    let running = tokio::spawn(running);
    eventually("it runs the task", || async { total(&server, "taken").await == 1 }).await;
    let agents = server.queue("q").keys().named("agents");
    let beat = || async { number(&server.store(), &["ZCOUNT", &agents, "-inf", "+inf"]).await };
    server.inner.pause();
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.inner.resume();
    eventually("it beats again", || async { beat().await == 1 }).await;
    assert_eq!(stopped.load(Ordering::SeqCst), 0, "an outage shorter than stop_on_agent_after stops nothing");
    server.inner.pause();
    eventually("it stops its work", || async { stopped.load(Ordering::SeqCst) == 1 }).await;
    server.inner.resume();
    eventually("and gives it back", || async { total(&server, "released").await >= 1 }).await;
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn one_of_a_pool_that_was_given_up_comes_back_under_its_own_name() {
    let server = scene().await;
    let stop = CancellationToken::new();
    let pool = agent(&server, "unused").pool(Identity::new("p").unwrap(), 3).stop(stop.clone());
    let running = tokio::spawn(pool.build().unwrap().run(|_| async { Ok(()) }));
    eventually("it has registered", || async { session_of(&server, "p-0").await.is_some() }).await;
    let first = session_of(&server, "p-0").await.unwrap();
    // Another name of the pool has a past of its own, and is free.
    let keys = server.queue("q").keys().clone();
    server
        .store()
        .command(&["HSET", &keys.agent("p-1"), "session", "p-1.9-00000000", "state", "left"])
        .await
        .unwrap();
    server.store().command(&["HSET", &keys.agent("p-0"), "state", "lost"]).await.unwrap();
    server.store().command(&["ZREM", &keys.named("agents"), first.as_str()]).await.unwrap();
    let again = || async { session_of(&server, "p-0").await.is_some_and(|session| session != first) };
    eventually("it is back under its own name", again).await;
    stop.cancel();
    running.await.unwrap().unwrap();
}
