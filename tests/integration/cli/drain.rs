//! Draining a queue: the wait, what ends it, and the account at the end.

use std::process::{Child, Stdio};

use backstop::native::scripts::complete::Complete;
use backstop::native::scripts::release::Release;
use rustix::process::Signal;

use super::people::agent;
use super::{answer, command, run};
use crate::support::process::catches;
use crate::support::{Server, eventually};

/// Begins to drain, and comes back when it stands in Redis.
async fn begin(server: &Server, flags: &[&str], mode: &str) -> Child {
    let args = [&["drain", "q", "--json"][..], flags].concat();
    let child = command(server, &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let control = server.queue("q").keys().named("control");
    let store = server.store();
    eventually("the queue is being drained", async || {
        store.hash(&control).await.unwrap().get("draining").is_some_and(|now| now == mode)
    })
    .await;
    child
}

fn told(completed: u64, released: u64, running: u64) -> serde_json::Value {
    serde_json::json!({
        "queue": "q", "completed": completed, "released": released, "failed": 0, "otherwise": 0, "running": running,
        "elsewhere": 0,
    })
}

fn account(child: Child) -> (i32, serde_json::Value) {
    let (code, out, err) = answer(&child.wait_with_output().unwrap());
    (code, serde_json::from_str(&out).expect(&err))
}

#[tokio::test]
async fn drain_waits_until_nothing_runs() {
    let server = Server::start().await;
    run(&server, &["enqueue", "--queue", "q", "x"]);
    let (_, tasks) = agent(&server, 1).await;
    let mut child = begin(&server, &[], "wait").await;
    assert!(child.try_wait().unwrap().is_none(), "something runs");
    let pairs = tasks.into_iter().map(|task| (task.id, task.token)).collect();
    server.queue("q").run(&Complete { pairs }).await.unwrap();
    let (code, seen) = account(child);
    assert_eq!((code, seen), (0, told(1, 0, 0)));
}

#[tokio::test]
async fn after_the_wait_agents_are_told_to_give_back_what_runs() {
    let server = Server::start().await;
    run(&server, &["enqueue", "--queue", "q", "x"]);
    let (session, tasks) = agent(&server, 1).await;
    let child = begin(&server, &["--wait", "0s", "--then", "release"], "release").await;
    let pairs = tasks.into_iter().map(|task| (task.id, task.token)).collect();
    server.queue("q").run(&Release { session, delay: None, pairs }).await.unwrap();
    let (code, seen) = account(child);
    assert_eq!((code, seen), (0, told(0, 1, 0)));
    let (code, _, err) = run(&server, &["drain", "q", "--then", "release"]);
    assert!(
        code == 2 && err.contains("--wait <DURATION>"),
        "without a wait it would never come to that: {err}"
    );
}

#[tokio::test]
async fn a_person_who_has_seen_enough_gets_the_account_and_nothing_is_given_back() {
    let server = Server::start().await;
    run(&server, &["enqueue", "--queue", "q", "x"]);
    agent(&server, 1).await;
    let child = begin(&server, &["--wait", "1h", "--then", "release"], "wait").await;
    let mut interrupt = std::process::Command::new("kill");
    // It listens for the signal from its first look on, which lies a moment after the switch.
    eventually("the command listens for Ctrl-C", async || catches(child.id(), Signal::INT)).await;
    assert!(interrupt.args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let (code, seen) = account(child);
    assert_eq!((code, seen), (3, told(0, 0, 1)));
    let control = server.store().hash(&server.queue("q").keys().named("control")).await.unwrap();
    assert_eq!(control["draining"], "wait");
}
