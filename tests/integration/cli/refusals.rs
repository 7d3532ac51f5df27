//! Bad input, and what it gets: one clear message, the right exit code, and nothing lost.

use std::process::Stdio;

use backstop::private_server::Fsync;

use super::{command, feed, json, run};
use crate::support::{Server, number};

/// The message, where it is one line.
fn refused(server: &Server, args: &[&str], code: i32) -> String {
    let (got, out, err) = run(server, args);
    assert_eq!((got, out.as_str()), (code, ""), "{args:?}: {err}");
    err
}

#[tokio::test]
async fn durations_and_names_that_make_no_sense_are_refused_by_name() {
    let server = Server::start().await;
    for duration in ["-5s", "soon", "1000000000years", "99999999999999999999s", ""] {
        let err = refused(&server, &["enqueue", "--queue", "q", &format!("--delay={duration}"), "x"], 2);
        assert!(err.contains("--delay") && err.contains("expected a duration such as"), "{duration}: {err}");
    }
    for queue in ["", "a b", "_ours", "a{b}", "ü", &"x".repeat(65)] {
        let err = refused(&server, &["enqueue", "--queue", queue, "x"], 2);
        assert!(err.contains("is not a valid name"), "{queue}: {err}");
    }
    let err = refused(&server, &["work", "--queue", "q", "--pool", "w:0", "--", "true"], 2);
    assert!(err.contains("expected PREFIX:N with N from 1 to 500"), "{err}");
    let err = refused(&server, &["work", "--queue", "q", "--as", "w", "--concurrency", "0", "--", "true"], 2);
    assert!(err.contains("the concurrency is 1 to 256"), "{err}");
    let err = refused(&server, &["enqueue", "--queue", "q"], 2);
    assert!(err.contains("<PAYLOAD | - | @FILE>"), "{err}");
    assert_eq!(number(&server.store(), &["DBSIZE"]).await, 0);
}

#[tokio::test]
async fn payloads_are_kept_byte_by_byte_and_too_large_ones_are_refused_with_their_line() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("payload");
    let bytes: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    std::fs::write(&file, &bytes).unwrap();
    let at = format!("@{}", file.display());
    run(&server, &["enqueue", "--queue", "q", "--id", "big", &at]);
    let key = server.queue("q").keys().payload("big");
    assert_eq!(
        server.store().command(&["GET", &key]).await.unwrap(),
        backstop::store::Reply::Bytes(bytes.clone())
    );
    std::fs::write(&file, [&bytes[..], b"!"].concat()).unwrap();
    let err = refused(&server, &["enqueue", "--queue", "q", &at], 1);
    assert!(err.contains("has more than 1 MiB: enqueue its name instead"), "{err}");
    let input = [b"one\ntwo\n".to_vec(), vec![b'x'; (1 << 20) + 1], b"\nfour\n".to_vec()].concat();
    let (code, _, err) = feed(&server, &["enqueue", "--queue", "q", "-"], &input);
    assert_eq!(code, 2);
    assert!(
        err.contains("line 3: its payload has more than 1 MiB")
            && err.contains("the 2 lines before it were added"),
        "{err}"
    );
    let (code, _, err) =
        feed(&server, &["enqueue", "--queue", "q", "--jsonl"], b"{\"payload\":\"\"}\n{\"pay\":1}\n");
    assert!(code == 2 && err.contains("line 2: unknown field `pay`"), "{err}");
    assert_eq!(json(&server, &["status", "--json"])["queues"][0]["enqueued"], 4);
}

#[tokio::test]
async fn the_same_id_twice_is_one_task_in_one_batch_too() {
    let server = Server::start().await;
    let line = b"{\"id\":\"t\",\"payload\":\"\"}\n";
    let (_, out, _) = feed(&server, &["enqueue", "--queue", "q", "--jsonl"], &line.repeat(3));
    assert_eq!(out, "1 tasks added, 2 were there already\n");
}

#[tokio::test]
async fn a_redis_that_is_away_or_wants_a_password_is_named_and_the_password_is_not() {
    let mut server = Server::with(Fsync::Off, &["--requirepass", "right"]).await;
    let url = server.url();
    let err = refused(&server, &["status"], 1);
    assert!(err.contains("check the Redis URL"), "{err}");
    let wrong = format!("{url}?pass=hunter2");
    let err = refused(&server, &["--redis", &wrong, "status"], 1);
    assert!(err.contains("check the Redis URL") && !err.contains("hunter2"), "{err}");
    let right = format!("{url}?pass=right");
    assert_eq!(run(&server, &["--redis", &right, "status"]).0, 0);
    server.inner.kill().await;
    let err = refused(&server, &["status"], 1);
    assert!(err.contains("Redis can't be reached") || err.contains("connection to Redis broke"), "{err}");
    let err = refused(&server, &["--redis", "http://x", "status"], 2);
    assert!(err.contains("expected a Redis address"), "{err}");
}

#[tokio::test]
async fn a_full_redis_refuses_new_tasks_and_says_so() {
    let server = Server::start().await;
    run(&server, &["enqueue", "--queue", "q", "before"]);
    server.store().command(&["CONFIG", "SET", "maxmemory", "1mb"]).await.unwrap();
    let err = refused(&server, &["enqueue", "--queue", "q", "x"], 1);
    assert!(err.contains("Redis is full"), "{err}");
    assert_eq!(json(&server, &["status", "--json"])["queues"][0]["pending"], 1, "and people can still look");
}

#[tokio::test]
async fn a_redis_that_would_throw_tasks_away_is_refused() {
    let server = Server::with(Fsync::Off, &["--maxmemory-policy", "allkeys-lru"]).await;
    let err = refused(&server, &["sweep"], 1);
    assert!(err.contains("maxmemory-policy allkeys-lru") && err.contains("set noeviction"), "{err}");
}

#[tokio::test]
async fn a_replica_is_refused_and_another_format_too() {
    let server = Server::start().await;
    run(&server, &["enqueue", "--queue", "q", "x"]);
    let control = server.queue("q").keys().named("control");
    server.store().command(&["HSET", &control, "format", "99"]).await.unwrap();
    let err = refused(&server, &["enqueue", "--queue", "q", "x"], 1);
    assert!(err.contains("another version wrote this queue"), "{err}");
    server.store().command(&["HSET", &control, "format", "1"]).await.unwrap();
    server.store().command(&["DEL", &server.queue("q").keys().named("pending")]).await.unwrap();
    server.store().command(&["SET", &server.queue("q").keys().named("pending"), "text"]).await.unwrap();
    let err = refused(&server, &["enqueue", "--queue", "q", "x"], 1);
    assert!(err.contains("a key of the queue holds another type of value"), "{err}");
    server.store().command(&["REPLICAOF", "127.0.0.1", "1"]).await.unwrap();
    let err = refused(&server, &["pause", "q"], 1);
    assert!(err.contains("read-only replica"), "{err}");
}

#[tokio::test]
async fn a_queue_that_cannot_be_read_hides_no_other() {
    let server = Server::start().await;
    for queue in ["future", "q", "spoilt"] {
        run(&server, &["enqueue", "--queue", queue, "x"]);
    }
    let keys = |queue: &str| server.queue(queue).keys().clone();
    server.store().command(&["HSET", &keys("future").named("control"), "format", "99"]).await.unwrap();
    server.store().command(&["DEL", &keys("spoilt").named("dead")]).await.unwrap();
    server.store().command(&["SET", &keys("spoilt").named("dead"), "text"]).await.unwrap();
    let (code, out, err) = run(&server, &["status"]);
    assert_eq!(
        (code, out.lines().filter(|line| line.trim_start().starts_with("q ")).count()),
        (1, 1),
        "{out}"
    );
    assert!(err.contains("queue future: ") && err.contains("another version wrote this queue"), "{err}");
    assert!(err.contains("queue spoilt: ") && err.contains("holds another type of value"), "{err}");
    let (code, out, _) = run(&server, &["status", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &told["queues"][0]["queue"], &told["unreadable"][1]["queue"]),
        (1, &"q".into(), &"spoilt".into())
    );
    for args in [&["guard", "list"][..], &["drain", "spoilt", "--wait", "0s"]] {
        assert_eq!(run(&server, args).0, 1, "{args:?}");
    }
    assert!(json(&server, &["status", "q", "--json"]).get("unreadable").is_none(), "the contract as it was");
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_a_command_quietly() {
    let server = Server::start().await;
    let lines: String = (0..2000).map(|i| format!("{i}\n")).collect();
    feed(&server, &["enqueue", "--queue", "q", "-"], lines.as_bytes());
    let mut child = command(&server, &["tasks", "q", "--state", "pending", "--limit", "2000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{output:?}");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[tokio::test]
async fn hostile_text_is_shown_and_does_nothing_wherever_it_comes_from() {
    let server = Server::start().await;
    run(&server, &["enqueue", "--queue", "q", "--id", "t", "x"]);
    // What was typed, or passed on by a script.
    let err = refused(&server, &["explain", "\u{202e}t\u{1b}[2J"], 2);
    assert!(err.contains("task id \"\\u{202e}t") && !err.contains(['\u{202e}', '\u{1b}']), "{err}");
    // What something else wrote into an index.
    let pending = server.queue("q").keys().named("pending");
    server.store().command(&["ZADD", &pending, "1", "x\u{1b}[31m\u{202e}y\nz"]).await.unwrap();
    let (code, out, _) = run(&server, &["tasks", "q", "--state", "pending"]);
    assert!(code == 0 && out.contains("x\\u{1b}[31m\\u{202e}y\\nz"), "{out}");
    assert_eq!(out.lines().count(), 3, "one line for each task: {out}");
}

#[tokio::test]
async fn a_queue_that_nobody_has_used_is_remarked_on_because_it_may_be_misspelt() {
    let server = Server::start().await;
    run(&server, &["enqueue", "--queue", "billing", "x"]);
    for args in
        [&["pause", "biling"][..], &["tasks", "biling"], &["agents", "list", "biling"], &["fsck", "biling"]]
    {
        let (code, _, err) = run(&server, args);
        assert_eq!(
            (code, err.as_str()),
            (0, "backstop: nobody has used a queue biling so far; known are: billing\n"),
            "{args:?}"
        );
    }
    assert_eq!(run(&server, &["pause", "billing"]).2, "");
}

#[tokio::test]
async fn a_configuration_that_is_wrong_is_refused_with_all_its_mistakes() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("b.toml");
    std::fs::write(&file, "[sweep]\nevery = \"never\"\n[defaults.session]\nheartbeat_timeout = \"1s\"\n")
        .unwrap();
    let path = file.to_str().unwrap();
    let err = refused(&server, &["config", "check", "--config", path], 2);
    assert!(
        err.contains("b.toml:2: sweep.every") && err.contains("b.toml:4: defaults.session.heartbeat_timeout"),
        "{err}"
    );
    std::fs::write(&file, "[sweep]\ncron = \"every minute\"\n").unwrap();
    let err = refused(&server, &["run", "--config", path], 2);
    assert!(err.contains("sweep.cron") && err.contains("every minute"), "{err}");
    let (code, out, _) = run(&server, &["config", "check", "--config", path, "--json"]);
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &told["ok"], &told["problems"][0]["line"]), (2, &false.into(), &2.into()));
    assert_eq!(run(&server, &["config", "check", "--connect"]).0, 0);
}
