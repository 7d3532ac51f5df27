//! Records and indices that were edited by hand, evicted, or written by something else.

use super::people::agent;
use super::{feed, json, run};
use crate::support::{Server, number};

#[tokio::test]
async fn fsck_finds_what_was_deleted_or_put_astray_and_mends_it() {
    let server = Server::start().await;
    let lines: String = (0..6).map(|i| format!("{{\"id\":\"t{i}\",\"payload\":\"\"}}\n")).collect();
    feed(&server, &["enqueue", "--queue", "q", "--jsonl"], lines.as_bytes());
    agent(&server, 1).await;
    assert_eq!(run(&server, &["fsck", "q"]).0, 0);
    let keys = server.queue("q").keys().clone();
    let store = server.store();
    store.command(&["DEL", &keys.task("t1")]).await.unwrap();
    store.command(&["ZREM", &keys.named("pending"), "t2"]).await.unwrap();
    store.command(&["ZADD", &keys.named("dead"), "1", "t0"]).await.unwrap();
    let (code, out, _) = run(&server, &["fsck", "q", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, 3);
    assert_eq!(found["unsound"]["homeless"], 1);
    assert!(
        found["unsound"]["no_record"].as_u64() >= Some(1) && found["unsound"]["stray"].as_u64() >= Some(1)
    );
    assert_eq!(run(&server, &["fsck", "q", "--repair"]).0, 0);
    assert_eq!(run(&server, &["fsck", "q"]).0, 0, "all is sound again");
    assert_eq!(number(&store, &["ZCARD", &keys.named("pending")]).await, 4);
}

#[tokio::test]
async fn fsck_names_keys_of_the_wrong_type_and_compares_the_others() {
    let server = Server::start().await;
    let lines: String = (0..6).map(|i| format!("{{\"id\":\"t{i}\",\"payload\":\"\"}}\n")).collect();
    feed(&server, &["enqueue", "--queue", "q", "--jsonl"], lines.as_bytes());
    let (session, _) = agent(&server, 1).await;
    let keys = server.queue("q").keys().clone();
    let store = server.store();
    store.command(&["DEL", &keys.task("t1"), &keys.task("t2")]).await.unwrap();
    store.command(&["SET", &keys.task("t1"), "text"]).await.unwrap();
    store.command(&["DEL", &keys.running(session.as_str())]).await.unwrap();
    store.command(&["SET", &keys.running(session.as_str()), "text"]).await.unwrap();
    let (code, out, err) = run(&server, &["fsck", "q", "--repair", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&out).expect(&err);
    assert_eq!(code, 3, "what can't be mended by rule is left: {out}");
    assert_eq!((&found["unsound"]["no_record"], &found["mended"]), (&1.into(), &1.into()), "{out}");
    for named in ["t0", "t1", &keys.running(session.as_str())] {
        assert!(
            found["examples"].as_array().unwrap().contains(&serde_json::json!([named, "wrong_type"])),
            "{out}"
        );
    }
    // A key that every script reads: nothing more can be compared, and which one it is stands there.
    store.command(&["DEL", &keys.named("pending")]).await.unwrap();
    store.command(&["SET", &keys.named("pending"), "text"]).await.unwrap();
    let (code, out, _) = run(&server, &["fsck", "q"]);
    assert_eq!(code, 3);
    assert!(out.contains(&format!("  {}: wrong_type\n", keys.named("pending"))), "{out}");
    let (code, _, err) = run(&server, &["explain", "t3"]);
    assert_eq!(code, 1);
    assert!(err.contains("on queue q: a key of the queue holds another type of value"), "{err}");
}

#[tokio::test]
async fn fsck_walks_over_more_than_a_page() {
    let server = Server::start().await;
    let lines: String = (0..1500).map(|i| format!("{{\"id\":\"t{i}\",\"payload\":\"\"}}\n")).collect();
    feed(&server, &["enqueue", "--queue", "q", "--jsonl"], lines.as_bytes());
    let keys = server.queue("q").keys().clone();
    let gone: Vec<String> = (0..1500).step_by(2).map(|i| keys.task(&format!("t{i}"))).collect();
    let command: Vec<&str> = std::iter::once("DEL").chain(gone.iter().map(String::as_str)).collect();
    server.store().command(&command).await.unwrap();
    let (code, out, _) = run(&server, &["fsck", "q", "--repair", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &found["unsound"]["no_record"], &found["mended"]),
        (0, &750.into(), &750.into()),
        "{out}"
    );
    assert_eq!(json(&server, &["fsck", "q", "--json"])["unsound"], serde_json::json!({}));
}
