//! What people ask for, tried on tasks that stand where they should.

use backstop::core::id::{Identity, Session};
use backstop::native::fresh_nonce;
use backstop::native::scripts::fail::Fail;
use backstop::native::scripts::register::{Register, RegisterAnswer, Wanted};
use backstop::native::scripts::take::{Take, TakeAnswer, Taken};

use super::{feed, json, run};
use crate::support::{Server, number};

pub(super) async fn agent(server: &Server, most: u32) -> (Session, Vec<Taken>) {
    let queue = server.queue("q");
    let register = Register {
        wanted: Wanted::Identity(Identity::new("a").unwrap()),
        nonce: fresh_nonce().unwrap(),
        lost: None,
        host: "\u{1b}[31mhost".into(),
        pid: 7,
        version: "0".into(),
    };
    let RegisterAnswer::Registered { session, .. } = queue.run(&register).await.unwrap() else { panic!() };
    let take = Take { session: session.clone(), nonce: fresh_nonce().unwrap(), most };
    match queue.run(&take).await.unwrap() {
        TakeAnswer::Took(tasks) => (session, tasks),
        other => panic!("{other:?}"),
    }
}

pub(super) async fn dead_letters(server: &Server, n: u32) {
    let lines: String = (0..n).map(|i| format!("{{\"id\":\"d{i}\",\"payload\":\"\"}}\n")).collect();
    feed(server, &["enqueue", "--queue", "q", "--jsonl"], lines.as_bytes());
    for task in agent(server, n).await.1 {
        let error = b"\x1b[31mno \xff disk".to_vec();
        let fail = Fail { id: task.id, token: task.token, error, jitter: 0, is_final: true };
        server.queue("q").run(&fail).await.unwrap();
    }
}

#[tokio::test]
async fn lists_show_a_page_and_where_the_next_begins() {
    let server = Server::start().await;
    let lines: String = (0..5).map(|i| format!("{i}\n")).collect();
    assert_eq!(feed(&server, &["enqueue", "--queue", "q", "-"], lines.as_bytes()).1, "5 tasks added\n");
    agent(&server, 2).await;
    let ids = |args: &[&str]| json(&server, args)["tasks"].as_array().unwrap().len();
    assert_eq!(ids(&["tasks", "q", "--json"]), 2);
    assert_eq!(ids(&["tasks", "q", "--state", "pending", "--after", "1", "--json"]), 2);
    let (code, out, err) = run(&server, &["tasks", "q", "--state", "pending", "--limit", "2"]);
    assert_eq!((code, out.lines().count()), (0, 3), "{out}");
    assert_eq!(err, "backstop: there may be more: --after 2\n");
    let agents = json(&server, &["agents", "list", "q", "--json"]);
    assert_eq!((&agents["agents"][0]["running"], &agents["agents"][0]["pid"]), (&2.into(), &"7".into()));
    let (_, out, _) = run(&server, &["agents", "list", "q"]);
    assert!(
        out.contains("\\u{1b}[31mhost") && !out.contains('\u{1b}'),
        "a host's name is shown and does nothing"
    );
}

#[tokio::test]
async fn explain_tells_where_a_task_is_what_will_happen_and_what_was_said() {
    let server = Server::start().await;
    dead_letters(&server, 1).await;
    run(&server, &["enqueue", "--queue", "q", "--id", "t", "--deadline", "1h", "x"]);
    let (session, _) = agent(&server, 1).await;
    let (code, out, _) = run(&server, &["explain", "t"]);
    assert_eq!(code, 0);
    let ages =
        ["silence  in 29s of 30s: ", "age      in 59m 59s of 1h: ", "of 1h: its agent is told to stop; then"];
    for part in ages.into_iter().chain([session.as_str(), "0 of 3 abandonments"]) {
        assert!(out.contains(part), "{part:?} is missing in:\n{out}");
    }
    let (_, out, _) = run(&server, &["dead", "show", "d0"]);
    assert!(
        out.contains("state    dead (failed)") && out.contains("error    \\u{1b}[31mno \u{fffd} disk"),
        "{out}"
    );
    let (code, _, err) = run(&server, &["dead", "show", "t"]);
    assert_eq!((code, err.as_str()), (1, "backstop: task t is no dead letter: see backstop explain t\n"));
    run(&server, &["dead", "discard", "d0"]);
    let (code, out, _) = run(&server, &["explain", "d0"]);
    assert!(code == 0 && out.contains("d0 of queue q is over: discarded, after attempt 1\n"), "{out}");
    assert!(out.contains("what discarded"), "{out}");
}

#[tokio::test]
async fn a_history_is_told_from_its_beginning_however_much_happened_since() {
    let server = Server::start().await;
    run(&server, &["enqueue", "--queue", "q", "--id", "t", "x"]);
    agent(&server, 1).await;
    run(&server, &["extend", "t", "1h"]);
    let events = server.queue("q").keys().named("events");
    let fill = "for i = 1, 1200 do redis.call('XADD', KEYS[1], '*', 'at', 1000, 'what', 'other', 'tasks', 't1 tt') end";
    server.store().command(&["EVAL", fill, "1", &events]).await.unwrap();
    run(&server, &["reset", "t"]);
    let told = json(&server, &["explain", "t", "--json"]);
    let history: Vec<&str> =
        told["history"].as_array().unwrap().iter().map(|event| event["what"].as_str().unwrap()).collect();
    assert_eq!(history.len(), 2, "{told}");
    assert!(
        history[0].starts_with("what extended, by ") && history[1].starts_with("what reset, by "),
        "{told}"
    );
    // The oldest entry is that of the registration, older than all but those that were made up.
    assert!(told["history_begins_ms"].as_i64() < Some(60_000), "{told}");
}

#[tokio::test]
async fn agents_are_shown_with_what_their_predecessors_hold_still() {
    let server = Server::start().await;
    feed(&server, &["enqueue", "--queue", "q", "-"], b"1\n2\n3\n");
    let (first, _) = agent(&server, 2).await;
    let (second, _) = agent(&server, 1).await;
    let agents = json(&server, &["agents", "list", "q", "--json"]);
    let of = |session: &Session| {
        let all = agents["agents"].as_array().unwrap();
        all.iter().find(|agent| agent["session"] == session.as_str()).unwrap().clone()
    };
    let (old, new) = (of(&first), of(&second));
    assert_eq!(
        (&old["state"], &old["running"], &old["incarnation"]),
        (&"superseded".into(), &2.into(), &1.into())
    );
    assert_eq!(
        (&new["state"], &new["running"], &new["incarnation"]),
        (&"active".into(), &1.into(), &2.into())
    );
    assert_eq!((&old["identity"], &new["identity"]), (&"a".into(), &"a".into()));
    assert_eq!((&old["held"], &new["held"]), (&serde_json::json!([]), &serde_json::json!([first.as_str()])));
}

#[tokio::test]
async fn a_task_that_is_in_two_queues_must_be_told_apart() {
    let server = Server::start().await;
    for queue in ["q", "r"] {
        run(&server, &["enqueue", "--queue", queue, "--id", "same", "x"]);
    }
    let (code, _, err) = run(&server, &["cancel", "same"]);
    assert_eq!(code, 1);
    assert_eq!(err, "backstop: task same is in several queues (q, r): say which one with --queue\n");
    assert_eq!(run(&server, &["cancel", "same", "--queue", "r"]).1, "same: discarded\n");
    assert_eq!(json(&server, &["explain", "same", "--json"])["queue"], "q");
}

#[tokio::test]
async fn dead_letters_are_redriven_and_discarded_by_name_or_by_selection_and_many_only_when_asked_for() {
    let server = Server::start().await;
    dead_letters(&server, 12).await;
    let (code, out, _) = run(&server, &["dead", "redrive", "d3"]);
    assert_eq!((code, out.as_str()), (0, "1 redriven\n"));
    assert_eq!(run(&server, &["dead", "redrive", "--reason", "poison"]).1, "no dead letters are meant\n");
    let (code, _, err) = run(&server, &["dead", "discard", "--all"]);
    assert_eq!(code, 2);
    assert_eq!(err, "backstop: there is no terminal to ask at; to discard 11 dead letters, say --yes\n");
    assert_eq!(json(&server, &["dead", "list", "--json"])["dead"]["q"].as_array().unwrap().len(), 11);
    assert_eq!(json(&server, &["dead", "discard", "--all", "--yes", "--json"])["discarded"], 11);
    let status = json(&server, &["status", "--json"]);
    assert_eq!((&status["queues"][0]["discarded"], &status["queues"][0]["pending"]), (&11.into(), &1.into()));
}

#[tokio::test]
async fn running_tasks_are_reset_extended_and_cancelled_by_hand() {
    let server = Server::start().await;
    feed(
        &server,
        &["enqueue", "--queue", "q", "--jsonl"],
        b"{\"id\":\"a\",\"payload\":\"\"}\n{\"id\":\"b\",\"payload\":\"\"}\n",
    );
    agent(&server, 2).await;
    assert_eq!(run(&server, &["extend", "a", "3h"]).1, "a: it has until then, whatever its limits said\n");
    assert!(run(&server, &["explain", "a"]).1.contains("age      in 2h 59m"));
    assert_eq!(run(&server, &["reset", "a"]).1, "a: reset: it waits again at its place\n");
    let (code, _, err) = run(&server, &["reset", "a"]);
    assert_eq!((code, err.as_str()), (1, "backstop: task a does not run: see backstop explain a\n"));
    assert!(run(&server, &["cancel", "b"]).1.contains("its agent will be told to stop"));
    assert!(run(&server, &["explain", "b"]).1.contains("its agent was told to stop; it is discarded"));
}

#[tokio::test]
async fn a_queue_is_paused_drained_and_resumed_and_says_so() {
    let server = Server::start().await;
    run(&server, &["enqueue", "--queue", "q", "x"]);
    agent(&server, 1).await;
    run(&server, &["pause", "q"]);
    assert!(run(&server, &["status"]).1.contains("q: paused: nothing is taken"));
    let (code, out, _) = run(&server, &["drain", "q", "--wait", "0s", "--json"]);
    let account: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &account["running"], &account["completed"]), (3, &1.into(), &0.into()));
    run(&server, &["resume", "q"]);
    let status = json(&server, &["status", "--json"]);
    assert_eq!(
        (&status["queues"][0]["paused"], &status["queues"][0]["draining"]),
        (&false.into(), &serde_json::Value::Null)
    );
}

#[tokio::test]
async fn a_guard_is_answered_by_hand_for_a_while_and_it_is_written_down() {
    let server = Server::start().await;
    run(&server, &["enqueue", "--queue", "q", "x"]);
    let args = ["guard", "override", "mass_loss", "--for", "10m", "--reason", "rack 4"];
    assert_eq!(run(&server, &args).1, "q: mass_loss holds nothing for 10m\n");
    let control = server.queue("q").keys().named("control");
    assert!(number(&server.store(), &["HGET", &control, "override:mass_loss"]).await > 0);
    let events = format!(
        "{:?}",
        server.store().command(&["XRANGE", &server.queue("q").keys().named("events"), "-", "+"]).await
    );
    let written: String = events.split(|c: char| !c.is_ascii_digit() && c != ',' && c != ' ').collect();
    let bytes: Vec<u8> = written.split([',', ' ']).filter_map(|n| n.trim().parse().ok()).collect();
    assert!(String::from_utf8_lossy(&bytes).contains("rack 4"), "who asked, and why, stands in the events");
}

#[tokio::test]
async fn a_pass_by_hand_moves_nothing_unless_a_daemon_watches_or_it_is_forced() {
    let server = Server::start().await;
    run(&server, &["enqueue", "--queue", "q", "x"]);
    let (session, _) = agent(&server, 1).await;
    let agents = server.queue("q").keys().named("agents");
    server.store().command(&["ZADD", &agents, "1000", session.as_str()]).await.unwrap();
    let agent = server.queue("q").keys().agent("a");
    server.store().command(&["HSET", &agent, "beat", "1"]).await.unwrap();
    // A server that just started is new to whoever looks first.
    run(&server, &["sweep", "--dry-run"]);
    let control = server.queue("q").keys().named("control");
    server.store().command(&["HSET", &control, "grace_until", "0"]).await.unwrap();
    let (code, out, _) = run(&server, &["sweep"]);
    assert_eq!(code, 3, "{out}");
    assert!(out.contains("would have: 1 reset (agent_lost)") && out.contains("say --force"), "{out}");
    let forced = json(&server, &["sweep", "--force", "--json"]);
    assert_eq!(forced["queues"][0]["done"][0]["tasks"], 1, "{forced}");
}
