//! What a task leaves for its next attempt, and where else it says that it is worked on.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use backstop::agent::{Client, ExternalError, Failure, MAX_HANDLE, Task};
use backstop::core::policy::QueuePolicy;
use backstop::native::scripts::publish::Publish;

use super::{agent, queue, total};
use crate::cli;
use crate::support::{Server, eventually, number};

/// Agents beat so seldom here that no beat comes by itself.
async fn slow() -> Server {
    let server = Server::start().await;
    let mut policy = QueuePolicy::default();
    policy.session.heartbeat_interval = Duration::from_secs(60);
    policy.session.heartbeat_timeout = Duration::from_secs(180);
    server.queue("q").run(&Publish { policy }).await.unwrap();
    Client::new(server.store(), queue()).enqueue("x").await.unwrap();
    server
}

#[tokio::test]
async fn a_checkpoint_is_saved_though_its_task_is_given_back_or_fails_before_the_next_beat() {
    for (how, attempts) in [(Failure::GiveBack(Some(Duration::ZERO)), 2), (Failure::retry("no"), 2)] {
        let server = slow().await;
        let found = Arc::new(Mutex::new(None));
        let (keep, ends) = (Arc::clone(&found), how.clone());
        let handler = move |task: Task| {
            let (keep, how) = (Arc::clone(&keep), ends.clone());
            async move {
                if task.attempt() > 1 {
                    *keep.lock().unwrap() = task.checkpoint().map(<[u8]>::to_vec);
                    return Ok(());
                }
                task.save_checkpoint(b"half way").unwrap();
                Err(how)
            }
        };
        let running = agent(&server, "a").count(attempts).build().unwrap().run(handler);
        tokio::time::timeout(Duration::from_secs(20), running).await.expect("a beat was hurried").unwrap();
        assert_eq!(found.lock().unwrap().as_deref(), Some(&b"half way"[..]), "{how:?}");
    }
}

#[tokio::test]
async fn a_handle_is_recorded_before_anything_is_waited_for_and_comes_back() {
    let server = slow().await;
    let handler = |task: Task| async move {
        if task.attempt() == 1 {
            assert_eq!(task.external(), None);
            for (handle, bytes) in [(String::new(), 0), ("x".repeat(MAX_HANDLE + 1), MAX_HANDLE + 1)] {
                let refused = task.record_external(&handle).await;
                assert!(matches!(refused, Err(ExternalError::BadHandle(n)) if n == bytes), "{refused:?}");
            }
            task.record_external("job \"1\"\n").await.map_err(Failure::fatal)?;
            return Err(Failure::GiveBack(Some(Duration::ZERO)));
        }
        if task.external() == Some("job \"1\"\n") { Ok(()) } else { Err(Failure::fatal("it was lost")) }
    };
    let account = agent(&server, "a").count(2).build().unwrap().run(handler).await.unwrap();
    assert_eq!((account.completed, account.dead), (1, 0));
}

/// A person takes the task away while it is being submitted; its next attempt learns where it is.
#[tokio::test]
async fn an_attempt_that_lost_its_task_hears_so_when_it_records_a_handle() {
    let server = slow().await;
    let (told, heard) = tokio::sync::oneshot::channel();
    let (go, gate) = tokio::sync::oneshot::channel::<()>();
    let (told, gate) = (Mutex::new(Some(told)), Mutex::new(Some(gate)));
    let handler = move |task: Task| {
        let (told, gate) = (told.lock().unwrap().take(), gate.lock().unwrap().take());
        async move {
            let (Some(told), Some(gate)) = (told, gate) else {
                return if task.external() == Some("job") {
                    Ok(())
                } else {
                    Err(Failure::fatal("it was lost"))
                };
            };
            let _ = gate.await;
            let _ = told.send(task.record_external("job").await);
            Err(Failure::retry("fenced"))
        }
    };
    let running = tokio::spawn(agent(&server, "a").count(2).build().unwrap().run(handler));
    eventually("it runs", || async { total(&server, "taken").await == 1 }).await;
    let tasks = cli::json(&server, &["tasks", "q", "--json"]);
    // The queue is paused, so that nobody takes it in between.
    assert_eq!(cli::run(&server, &["pause", "q"]).0, 0);
    assert_eq!(cli::run(&server, &["reset", tasks["tasks"][0]["id"].as_str().unwrap()]).0, 0);
    go.send(()).unwrap();
    assert!(matches!(heard.await, Ok(Err(ExternalError::Fenced))));
    assert_eq!(cli::run(&server, &["resume", "q"]).0, 0);
    let unwanted = server.queue("q").keys().named("unwanted");
    assert_eq!(running.await.unwrap().unwrap().completed, 1);
    assert_eq!(number(&server.store(), &["ZCARD", &unwanted]).await, 0);
}
