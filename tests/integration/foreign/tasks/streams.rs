//! Entries that a group reads from a stream.

use super::*;

#[tokio::test]
async fn a_stream_that_others_read_is_left_alone_unless_copies_are_allowed() {
    for (more, moved) in [("", 0), ("layout.running.copies = true\n", 1)] {
        let mut scene = scene("streams", more).await;
        lose(&scene, 1).await;
        scene.store().command(&["XGROUP", "CREATE", QUEUE, "audit", "0"]).await.unwrap();
        let report = scene.passes(&[], "it is lost", |report| resets(report) + report.lost_running > 0).await;
        assert_eq!((resets(&report), report.lost_running), (moved, 1 - moved), "{more}");
    }
}

#[tokio::test]
async fn a_copy_carries_its_returns_and_a_trimmed_entry_is_taken_out() {
    let mut scene = scene("streams", "max_abandonments = 2\n").await;
    lose(&scene, 1).await;
    for _ in 0..2 {
        scene.passes(&[], "it is lost", |report| resets(report) == 1).await;
        scene.take("one", 0..1).await;
    }
    let report =
        scene.passes(&[], "it is set aside", |report| report.summary.did(Action::DeadLetter) == 1).await;
    assert_eq!(resets(&report), 0);
    assert_eq!(size(&scene.store(), "XLEN", "low.mail:dead").await, 1);
    scene.enqueue(1).await;
    scene.take("one", 0..1).await;
    scene.store().command(&["XTRIM", QUEUE, "MAXLEN", "0"]).await.unwrap();
    scene.passes(&[], "it is taken out", |report| !report.summary.skipped.is_empty()).await;
    assert_eq!(scene.held_shared("one").await, 0);
}

/// What its own group gives out again (XCLAIM, XAUTOCLAIM) is a return, too.
#[tokio::test]
async fn a_task_that_its_group_gave_out_too_often_is_set_aside() {
    let mut scene = scene("streams", "max_abandonments = 2\n").await;
    lose(&scene, 1).await;
    let entry = scene.entry_of("one", &id(0));
    for _ in 0..2 {
        let claim = ["XCLAIM", QUEUE, "taskiq", "two", "0", &entry];
        scene.store().command(&claim).await.unwrap();
    }
    scene.passes(&[], "it is set aside", |report| report.summary.did(Action::DeadLetter) == 1).await;
}

#[tokio::test]
async fn a_consumers_own_key_is_better_evidence_than_age() {
    let mut scene = scene("streams", "layout.heartbeat.key = \"alive:{agent}\"\n").await;
    scene.enqueue(2).await;
    for agent in ["one", "two"] {
        scene.store().command(&["SET", &format!("alive:{agent}"), "1"]).await.unwrap();
    }
    scene.take("one", 0..1).await;
    scene.take("two", 1..2).await;
    scene.pass().await;
    scene.store().command(&["DEL", "alive:one"]).await.unwrap();
    loop {
        let report = scene.pass().await;
        if resets(&report) == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((scene.held_shared("one").await, scene.held_shared("two").await), (0, 1));
}

#[tokio::test]
async fn names_are_bytes_and_a_huge_payload_comes_back_too() {
    let mut scene = scene("streams", "").await;
    let store = scene.store();
    let odd: &[u8] = b"o{d}d*[\xff]::\x00x";
    store.command(&[b"XGROUP".as_slice(), b"CREATE", odd, b"taskiq", b"$", b"MKSTREAM"]).await.unwrap();
    let payload = vec![b'x'; 3_000_000];
    for _ in 0..3 {
        store.command(&[b"XADD".as_slice(), odd, b"*", b"data", &payload]).await.unwrap();
    }
    let read =
        [b"XREADGROUP".as_slice(), b"GROUP", b"taskiq", b"o\xff ne", b"COUNT", b"3", b"STREAMS", odd, b">"];
    store.command(&read).await.unwrap();
    let mut moved = 0;
    while moved < 3 {
        let report = scene.passes(&[], "they are lost", |report| resets(report) > 0).await;
        moved += resets(&report);
        assert!(report.summary.pages >= resets(&report), "no script carries several: {:?}", report.summary);
    }
    let read = [b"XREADGROUP".as_slice(), b"GROUP", b"taskiq", b"two", b"STREAMS", odd, b">"];
    let Reply::List(streams) = store.command(&read).await.unwrap() else { panic!("nothing came back") };
    assert!(format!("{streams:?}").matches("120, 120, 120").count() >= 3, "all bytes are there");
}
