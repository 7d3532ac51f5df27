//! `layout list`, `show` and `check`, and what `status` says of a system.

use super::*;
use crate::cli::{json, run};

#[tokio::test]
async fn check_shows_what_is_found_what_a_pass_would_do_and_writes_nothing() {
    let scene = Scene::new("sidekiq-reliable-fetch", "").await;
    scene.enqueue(5).await;
    scene.play("register", "box:1:aa", "").await;
    scene.take("box:1:aa", 0..2).await;
    scene.play("register", "box:2:bb", "").await;
    scene.take("box:2:bb", 2..3).await;
    scene.die("box:1:aa").await;
    let before = crate::support::dump::Dump::read(&scene.store()).await;
    let found = json(&scene.server, &["layout", "check", "sidekiq-reliable-fetch", "--json"]);
    let system = &found["systems"][0];
    assert_eq!(
        (&system["running"], &system["pending"], &system["would_reset"], &system["queues"]),
        (&3.into(), &2.into(), &2.into(), &serde_json::json!([QUEUE]))
    );
    let (code, out, _) = run(&scene.server, &["layout", "check", "sidekiq-reliable-fetch"]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("2 agents, 1 of them silent") && out.contains("puts back 2 tasks"), "{out}");
    // Without a name it finds out which of them live here.
    let (_, out, _) = run(&scene.server, &["layout", "check"]);
    assert!(out.starts_with("sidekiq-reliable-fetch ("), "{out}");
    assert_eq!(crate::support::dump::Dump::read(&scene.store()).await, before, "it wrote");
}

#[tokio::test]
async fn check_says_what_looks_wrong() {
    let scene = Scene::new("dramatiq", "").await;
    let warned = |args: &[&str]| {
        let (code, out, err) = run(&scene.server, args);
        (code, out + &err)
    };
    let (code, out) = warned(&["layout", "check", "dramatiq"]);
    assert!(
        code == 1 && out.contains("no agent was found") && out.contains("dramatiq:__heartbeats__"),
        "{out}"
    );
    let seconds = (scene.store().server_time().await.unwrap() / 1000).to_string();
    scene.store().command(&["ZADD", "dramatiq:__heartbeats__", &seconds, "a"]).await.unwrap();
    assert!(warned(&["layout", "check", "dramatiq"]).1.contains("wrong by a factor of 1000"));
    let (code, out) = warned(&["layout", "check", "dramatiq", "--var", "ns=x"]);
    assert!(code == 2 && out.contains("no variable \"ns\"; known: namespace"), "{out}");
    let (code, out) = warned(&["layout", "check", "faktory"]);
    assert!(code == 2 && out.contains("neither a [foreign.faktory] nor a preset"), "{out}");
    assert!(warned(&["layout", "list"]).1.contains("dramatiq"));
    assert!(warned(&["layout", "show", "rmq"]).1.contains("rmq::connections"));
}

#[tokio::test]
async fn status_shows_a_system_as_its_sweeper_saw_it() {
    let mut scene = Scene::new("rmq", "mode = \"enforce\"\n").await;
    scene.enqueue(4).await;
    scene.play("register", "one", "").await;
    scene.take("one", 0..3).await;
    scene.passes(&["one"], "it is counted", |report| report.running() == 3).await;
    let status = json(&scene.server, &["status", NAME, "--json"]);
    let queue = &status["queues"][0];
    assert_eq!(
        (&queue["foreign"], &queue["pending"], &queue["running"], &queue["agents"]["active"]),
        (&true.into(), &1.into(), &3.into(), &1.into())
    );
}
