//! Enqueueing from a stream: nothing that was read is lost, whatever line it stops at.

use std::fs::File;

use super::{answer, command, feed, json, run};
use crate::support::Server;
use backstop::store::Reply;

#[tokio::test]
async fn what_was_read_before_a_line_that_is_refused_is_added() {
    let server = Server::start().await;
    let good = "{\"payload\":\"\"}\n".repeat(60);
    let endless = format!("{{\"payload\":\"{}\"}}\n", "x".repeat(7 << 20));
    let cases = [
        (endless.as_str(), "line 61 is longer than any payload may be"),
        ("{\"payload\":\"\",\"delay\":\"-1s\"}\n", "line 61: delay \"-1s\": expected a duration"),
        ("{\"payload\":\"\",\"delay\":\"100years\"}\n", "line 61: delay \"100years\": expected a duration"),
        ("{\"payload\":\"\",\"delay\":\"99999999999999999999s\"}\n", "line 61: delay"),
        ("{\"payload\":\"\",\"deadline\":\"0s\"}\n", "line 61: deadline \"0s\": expected some time"),
        ("{\"payload\":\"\",\"id\":\"a b\"}\n", "line 61: task id \"a b\" is not a valid name"),
        ("{\"payload\":\"\",\"type\":\"_x\"}\n", "line 61: task type \"_x\" is not a valid name"),
        ("not json\n", "line 61: expected"),
    ];
    for (before, (line, told)) in cases.iter().enumerate() {
        let input = format!("{good}{line}{good}");
        let (code, out, err) = feed(&server, &["enqueue", "--queue", "q", "--jsonl"], input.as_bytes());
        assert_eq!((code, out.as_str()), (2, ""), "{err}");
        assert!(err.contains(told) && err.contains("the 60 lines before it were added"), "{err}");
        let status = json(&server, &["status", "--json"]);
        assert_eq!(status["queues"][0]["enqueued"], 60 * (before + 1), "{told}");
    }
}

#[tokio::test]
async fn an_input_that_cannot_be_read_is_a_failure_and_not_an_empty_input() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut enqueue = command(&server, &["enqueue", "--queue", "q", "-"]);
    let (code, out, err) = answer(&enqueue.stdin(File::open(folder.path()).unwrap()).output().unwrap());
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("could not read line 1 of the input"), "{err}");
}

#[tokio::test]
async fn empty_and_binary_payloads_are_payloads() {
    let server = Server::start().await;
    let (code, out, _) = run(&server, &["enqueue", "--queue", "q", "--id", "empty", ""]);
    assert_eq!((code, out.as_str()), (0, "empty\n"));
    let payload = |id: &str| server.queue("q").keys().task(id);
    let stored = server.store().command(&["HGET", &payload("empty"), "payload"]).await.unwrap();
    assert_eq!(stored, Reply::Bytes(Vec::new()));
    // One task for each line, the empty one and the last without an end too; what isn't text stays as it is.
    let (_, out, _) = feed(&server, &["enqueue", "--queue", "q", "-"], b"\xff\x00\x1b[2J\n\nlast");
    assert_eq!(out, "3 tasks added\n");
    let Reply::List(ids) = server
        .store()
        .command(&["ZRANGE", &server.queue("q").keys().named("pending"), "1", "-1"])
        .await
        .unwrap()
    else {
        panic!("no list")
    };
    for (id, bytes) in ids.iter().zip([&b"\xff\x00\x1b[2J"[..], b"", b"last"]) {
        let Reply::Bytes(id) = id else { panic!("{id:?}") };
        let key = payload(std::str::from_utf8(id).unwrap());
        assert_eq!(
            server.store().command(&["HGET", &key, "payload"]).await.unwrap(),
            Reply::Bytes(bytes.into())
        );
    }
}

#[tokio::test]
async fn a_deadline_that_is_over_at_once_is_refused() {
    let server = Server::start().await;
    let (code, out, err) = run(&server, &["enqueue", "--queue", "q", "--deadline", "0s", "x"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("--deadline") && err.contains("it would be over at once"), "{err}");
}
