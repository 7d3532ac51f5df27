//! Many tasks at once: those that are named, or all that have something in common.

use super::people::{agent, dead_letters};
use super::{feed, json, run};
use crate::support::{Server, number};

async fn running(server: &Server, n: u32) {
    let lines: String = (0..n).map(|i| format!("{{\"id\":\"t{i}\",\"payload\":\"\"}}\n")).collect();
    feed(server, &["enqueue", "--queue", "q", "--jsonl"], lines.as_bytes());
    assert_eq!(agent(server, n).await.1.len(), n as usize);
}

#[tokio::test]
async fn a_name_that_is_nowhere_among_many_changes_nothing() {
    let server = Server::start().await;
    running(&server, 2).await;
    for act in ["reset", "cancel"] {
        let (code, out, err) = run(&server, &[act, "t0", "t1", "t7"]);
        assert_eq!((code, out.as_str()), (1, ""), "{act}");
        assert!(err.contains("task t7 is in none of 1 queues"), "{err}");
    }
    assert_eq!(json(&server, &["status", "--json"])["queues"][0]["running"], 2);
    assert!(!run(&server, &["explain", "t0"]).1.contains("told to stop"));
    // Named twice is meant once.
    let (code, out, _) = run(&server, &["reset", "t1", "t0", "t1"]);
    assert_eq!(
        (code, out.as_str()),
        (0, "t0: reset: it waits again at its place\nt1: reset: it waits again at its place\n")
    );
}

#[tokio::test]
async fn all_that_runs_is_reset_and_all_that_waits_is_cancelled_when_asked_for() {
    let server = Server::start().await;
    running(&server, 12).await;
    let (code, _, err) = run(&server, &["reset"]);
    assert_eq!(
        (code, err.as_str()),
        (2, "backstop: name tasks, or say --all or what else they have in common\n")
    );
    let (code, _, err) = run(&server, &["reset", "--all"]);
    assert_eq!(
        (code, err.as_str()),
        (2, "backstop: there is no terminal to ask at; to reset 12 tasks, say --yes\n")
    );
    assert_eq!(run(&server, &["reset", "--older-than", "1h"]).1, "no tasks are meant\n");
    assert_eq!(run(&server, &["reset", "--all", "--yes"]).1, "12 reset: it waits again at its place\n");
    run(&server, &["enqueue", "--queue", "q", "--id", "fresh", "x"]);
    assert_eq!(run(&server, &["cancel", "--reason", "failed"]).1, "no tasks are meant\n");
    let cancelled = json(&server, &["cancel", "--reason", "released", "--yes", "--json"]);
    assert_eq!(cancelled.as_array().unwrap().len(), 12);
    assert_eq!(
        cancelled[0],
        serde_json::json!({"queue": "q", "id": cancelled[0]["id"], "answer": "discarded"}),
        "{cancelled}"
    );
    let status = json(&server, &["status", "--json"]);
    assert_eq!((&status["queues"][0]["discarded"], &status["queues"][0]["pending"]), (&12.into(), &1.into()));
    let (code, _, err) = run(&server, &["cancel", "fresh", "--all"]);
    assert!(code == 2 && err.contains("cannot be used with"), "{err}");
}

#[tokio::test]
async fn a_selection_is_more_than_a_page() {
    let server = Server::start().await;
    feed(&server, &["enqueue", "--queue", "q", "-"], "x\n".repeat(1203).as_bytes());
    assert_eq!(run(&server, &["cancel", "--all", "--yes"]).1, "1203 discarded\n");
    assert_eq!(number(&server.store(), &["ZCARD", &server.queue("q").keys().named("pending")]).await, 0);
}

#[tokio::test]
async fn dead_letters_are_listed_a_page_at_a_time_over_all_queues() {
    let server = Server::start().await;
    dead_letters(&server, 5).await;
    run(&server, &["enqueue", "--queue", "a", "x"]);
    let page = |after: &str| {
        let list = json(&server, &["dead", "list", "--limit", "2", "--after", after, "--json"]);
        list["dead"]["q"].as_array().unwrap().iter().map(|one| one["id"].to_string()).collect::<Vec<_>>()
    };
    let all = [page("0"), page("2"), page("4")].concat();
    assert_eq!(all, (0..5).map(|i| format!("\"d{i}\"")).collect::<Vec<_>>());
    let (_, out, err) = run(&server, &["dead", "list", "--limit", "2"]);
    assert_eq!((out.lines().count(), err.as_str()), (4, "backstop: there may be more: --after 2\n"), "{out}");
    assert_eq!(run(&server, &["dead", "list", "--older-than", "1h"]).1, "no dead letters\n");
    assert_eq!(number(&server.store(), &["ZCARD", &server.queue("q").keys().named("dead")]).await, 5);
}

#[tokio::test]
async fn a_command_that_could_do_a_part_only_says_so_with_its_exit_code() {
    let server = Server::start().await;
    feed(
        &server,
        &["enqueue", "--queue", "q", "--jsonl"],
        b"{\"id\":\"a\",\"payload\":\"\"}\n{\"id\":\"b\",\"payload\":\"\"}\n",
    );
    let keys = server.queue("q").keys().clone();
    server.store().command(&["ZREM", &keys.named("pending"), "b"]).await.unwrap();
    server.store().command(&["ZADD", &keys.named("dead"), "1", "b"]).await.unwrap();
    let (code, out, _) = run(&server, &["cancel", "a", "b"]);
    assert_eq!(code, 3, "{out}");
    assert!(out.contains("a: discarded") && out.contains("b: left alone: it is a dead letter"), "{out}");
    assert_eq!(run(&server, &["cancel", "b"]).0, 1, "nothing could be done");
}

#[tokio::test]
async fn a_task_whose_record_was_lost_does_not_run_for_ever() {
    let server = Server::start().await;
    running(&server, 2).await;
    let keys = server.queue("q").keys().clone();
    server.store().command(&["DEL", &keys.task("t0")]).await.unwrap();
    run(&server, &["fsck", "q", "--repair"]);
    assert_eq!(json(&server, &["status", "--json"])["queues"][0]["running"], 1);
}

#[tokio::test]
async fn a_mistyped_flag_is_no_payload() {
    let server = Server::start().await;
    let (code, _, err) = run(&server, &["enqueue", "--queue", "q", "--delya=5s"]);
    assert!(code == 2 && err.contains("--delya"), "{err}");
    assert_eq!(run(&server, &["enqueue", "--queue", "q", "--", "--delya=5s"]).0, 0);
}

#[tokio::test]
async fn a_pass_by_hand_under_another_policy_moves_nothing_and_says_so() {
    let server = Server::start().await;
    running(&server, 1).await;
    let queue = server.queue("q");
    let mut policy = backstop::core::policy::QueuePolicy::default();
    policy.session.lost_after = std::time::Duration::from_secs(1);
    queue.run(&backstop::native::scripts::publish::Publish { policy }).await.unwrap();
    let now = server.store().server_time().await.unwrap();
    let control = queue.keys().named("control");
    let info = server.store().command(&["INFO", "server"]).await.unwrap();
    let backstop::store::Reply::Bytes(info) = info else { panic!("{info:?}") };
    let info = String::from_utf8(info).unwrap();
    // As a daemon leaves it that knows this server.
    let run_id = info.lines().find_map(|line| line.strip_prefix("run_id:")).unwrap();
    let at = now.to_string();
    let noted = ["HSET", &control, "run_id", run_id, "last_pass", &at, "last_by", "a daemon"];
    server.store().command(&noted).await.unwrap();
    let agents = queue.keys().named("agents");
    let session = server.store().range(&agents, 0, 1).await.unwrap().remove(0).0;
    server.store().command(&["ZADD", &agents, &(now - 90_000).to_string(), &session]).await.unwrap();
    let (_, out, _) = run(&server, &["sweep"]);
    assert!(out.contains("the daemon goes by another policy than this configuration says"), "{out}");
    assert_eq!(json(&server, &["status", "--json"])["queues"][0]["running"], 1);
    let told = server.store().hash(&queue.keys().named("policy")).await.unwrap();
    assert_eq!(told["_lost_after"], "1000", "a pass by hand tells agents nothing");
}
