//! Messages in kombu's envelopes.

use super::*;

/// Of two messages the next to be taken has this body and is due in a thousand years; the other one is lost alone.
async fn due_later_is_not_old(body: &str) {
    let mut scene = scene("celery", "").await;
    scene.enqueue(2).await;
    let all = list(&scene.store(), QUEUE).await;
    let later = all[1]
        .replace("\"eta\": null", "\"eta\": \"2999-01-01T00:00:00+00:00\"")
        .replace("W1szXSwge31d", body);
    scene.store().command(&["LSET", QUEUE, "1", &later]).await.unwrap();
    scene.take("one", 0..2).await;
    scene.passes(&[], "the other is lost", |report| resets(report) == 1).await;
    for _ in 0..20 {
        let report = scene.passes(&[], "it passes", |_| true).await;
        assert_eq!(resets(&report), 0);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(scene.held_shared("one").await, 1);
}

#[tokio::test]
async fn a_message_that_is_due_later_is_not_old() {
    due_later_is_not_old("W1szXSwge31d").await;
}

/// More than a look reads of one.
#[tokio::test]
async fn a_large_message_that_is_due_later_is_not_old_either() {
    due_later_is_not_old(&"x".repeat(70_000)).await;
}

#[tokio::test]
async fn a_message_comes_back_with_a_new_tag_that_its_first_worker_does_not_know() {
    let mut scene = scene("celery", "").await;
    lose(&scene, 1).await;
    let before = list(&scene.store(), "low.mail").await;
    assert!(before.is_empty());
    scene.passes(&[], "it is lost", |report| resets(report) == 1).await;
    let after = list(&scene.store(), "low.mail").await;
    assert!(!after[0].contains(&format!("tag-{}", id(0))), "{after:?}");
    assert!(
        after[0].contains("\"big\": 12345678901234567890") && after[0].contains("\"stamps\": []"),
        "{after:?}"
    );
    scene.take("two", 0..1).await;
    // The first worker's late acknowledgement.
    scene.ack_shared("one", &id(0)).await;
    assert_eq!(scene.held_shared("two").await, 1, "the second one's entry stays");
}

#[tokio::test]
async fn a_message_that_cannot_be_read_stays_where_it_is_and_is_counted() {
    let mut scene = scene("celery", "").await;
    lose(&scene, 2).await;
    scene.store().command(&["HSET", "unacked", &format!("tag-{}", id(0)), "[1, \"\", \"q\"]"]).await.unwrap();
    let report = scene.passes(&[], "the other is lost", |report| resets(report) == 1).await;
    assert_eq!(report.lost_running, 1, "{report:?}");
    let again = scene.passes(&[], "it is still there", |_| true).await;
    assert_eq!((again.lost_running, resets(&again)), (1, 0));
    assert_eq!(scene.held_shared("one").await, 1);
}

#[tokio::test]
async fn a_message_too_large_to_be_read_stays_and_one_of_another_queue_is_nobodys_loss_here() {
    let mut scene = scene("celery", "queues = [\"low.mail\"]\n").await;
    lose(&scene, 3).await;
    let store = scene.store();
    let huge = format!("[{{\"x\": \"{}\"}}, \"\", \"q\"]", "x".repeat(17 << 20));
    store.command(&["HSET", "unacked", &format!("tag-{}", id(0)), &huge]).await.unwrap();
    let Reply::Bytes(other) = store.command(&["HGET", "unacked", &format!("tag-{}", id(1))]).await.unwrap()
    else {
        panic!("it is there")
    };
    let other = String::from_utf8(other).unwrap().replace("\"\", \"low.mail\"]", "\"\", \"other\"]");
    store.command(&["HSET", "unacked", &format!("tag-{}", id(1)), &other]).await.unwrap();
    let report = scene.passes(&[], "the third is lost", |report| resets(report) == 1).await;
    assert_eq!(report.lost_running, 1, "{report:?}");
    assert_eq!(scene.held_shared("one").await, 2, "both stand where they stood");
    assert_eq!(list(&store, "low.mail").await.len(), 1);
}

#[tokio::test]
async fn what_a_person_mends_comes_back() {
    let mut scene = scene("celery", "").await;
    lose(&scene, 1).await;
    let tag = format!("tag-{}", id(0));
    let sound = scene.store().command(&["HGET", "unacked", &tag]).await.unwrap();
    let Reply::Bytes(sound) = sound else { panic!("{sound:?}") };
    scene.store().command(&["HSET", "unacked", &tag, "[1]"]).await.unwrap();
    scene.passes(&[], "it is stuck", |report| report.lost_running == 1).await;
    let mend: [&[u8]; 4] = [b"HSET", b"unacked", tag.as_bytes(), &sound];
    scene.store().command(&mend).await.unwrap();
    scene.passes(&[], "it comes back", |report| resets(report) == 1).await;
}
