//! What else a system wants to be told: the layout's own commands.

use backstop::core::words::Action;

use super::*;

async fn text(store: &Store, command: &[&str]) -> Option<String> {
    match store.command(command).await.unwrap() {
        Reply::Bytes(bytes) => Some(String::from_utf8(bytes).unwrap()),
        Reply::Nil => None,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_apalis_task_that_waits_again_is_locked_by_nobody() {
    let mut scene = Scene::new("apalis", "mode = \"enforce\"\nvars.namespace = \"low.mail\"\n").await;
    scene.play("register", "a", "").await;
    scene.enqueue(1).await;
    scene.take("a", 0..1).await;
    scene.passes(&[], "it is lost", |report| report.summary.did(Action::Reset) == 1).await;
    let meta = format!("low.mail:meta:{}", id(0));
    assert_eq!(text(&scene.store(), &["HGET", &meta, "status"]).await.as_deref(), Some("Pending"));
    assert_eq!(text(&scene.store(), &["HGET", &meta, "locked_by"]).await, None);
    assert_eq!(list(&scene.store(), "low.mail:signal").await, ["1"]);
}

#[tokio::test]
async fn what_was_only_fetched_does_not_pay_for_its_agents_death() {
    let more = "mode = \"enforce\"\nmax_abandonments = 0\nvars.namespace = \"low.mail\"\n";
    let mut scene = Scene::new("apalis", more).await;
    scene.play("register", "a", "").await;
    scene.enqueue(2).await;
    scene.take("a", 0..2).await;
    scene.store().command(&["HSET", &format!("low.mail:meta:{}", id(0)), "status", "Queued"]).await.unwrap();
    let report = scene.passes(&[], "it is lost", |report| report.summary.changed()).await;
    // Both were decided on as if begun once too often; only one was.
    assert_eq!(
        (report.summary.did(Action::Reset), report.summary.did(Action::DeadLetter)),
        (1, 1),
        "{report:?}"
    );
}

#[tokio::test]
async fn sidekiq_learns_of_a_queue_that_it_had_forgotten() {
    let mut scene = Scene::new("sidekiq-reliable-fetch", "mode = \"enforce\"\n").await;
    scene.enqueue(1).await;
    scene.take("box:1:aa", 0..1).await;
    scene.store().command(&["DEL", "queues"]).await.unwrap();
    scene.passes(&[], "it is lost", |report| report.summary.did(Action::Reset) == 1).await;
    assert_eq!(number(&scene.store(), &["SISMEMBER", "queues", QUEUE]).await, 1);
}

#[tokio::test]
async fn a_workflows_task_comes_back_as_its_own_reset_would_bring_it() {
    let mut scene = Scene::new("redis-workflow", "mode = \"enforce\"\n").await;
    scene.enqueue(3).await;
    scene.take("a", 0..3).await;
    // One failed, and its agent keeps its name, as it does there; one's workflow was cleaned up.
    scene.play("fail", "a", &id(1)).await;
    scene.store().command(&["DEL", &format!("task:{}", id(2))]).await.unwrap();
    let report = scene.passes(&[], "it is lost", |report| report.summary.did(Action::Reset) > 0).await;
    assert_eq!(report.summary.did(Action::Reset), 1, "{report:?}");
    let store = scene.store();
    let first = id(0);
    for (command, expected) in [
        (vec!["SISMEMBER", "running", &first], 0),
        (vec!["SISMEMBER", &format!("running:{first}"), &first], 0),
        (vec!["SISMEMBER", &format!("submitted:{first}"), &first], 1),
        (vec!["ZSCORE", "submitted:low.mail", &first], 1),
        (vec!["GET", &format!("remaining:{first}")], 1),
        // That of the failed one is theirs to keep; that without a record is nobody's.
        (vec!["SCARD", "responsible:a"], 1),
        (vec!["ZCARD", "submitted:low.mail"], 1),
    ] {
        assert_eq!(number(&store, &command).await, expected, "{command:?}");
    }
    let previous = text(&store, &["HGET", &format!("task:{first}"), "previousState"]).await;
    assert_eq!(previous.as_deref(), Some("none"));
}

#[tokio::test]
async fn a_workflow_whose_task_is_set_aside_has_failed() {
    let mut scene = Scene::new("redis-workflow", "mode = \"enforce\"\nmax_abandonments = 0\n").await;
    scene.enqueue(1).await;
    scene.take("a", 0..1).await;
    scene.passes(&[], "it is lost", |report| report.summary.did(Action::DeadLetter) == 1).await;
    let store = scene.store();
    assert_eq!(number(&store, &["GET", &format!("remaining:{}", id(0))]).await, 0);
    assert_eq!(list(&store, "workflowFailed").await, [id(0)]);
    assert_eq!(number(&store, &["SISMEMBER", "failed", &id(0)]).await, 1);
}

#[tokio::test]
async fn a_task_whose_command_cannot_be_carried_out_stays_whole_and_the_others_come_back() {
    let mut scene = Scene::new("redis-workflow", "mode = \"enforce\"\n").await;
    scene.enqueue(3).await;
    scene.take("a", 0..3).await;
    let set = format!("submitted:{}", id(1));
    scene.store().command(&["SET", &set, "no set"]).await.unwrap();
    let report = scene.passes(&[], "it is lost", |report| report.summary.did(Action::Reset) > 0).await;
    assert_eq!((report.lost_running, report.summary.did(Action::Reset)), (1, 2), "{report:?}");
    let store = scene.store();
    assert_eq!(number(&store, &["SISMEMBER", "responsible:a", &id(1)]).await, 1);
    assert_eq!(number(&store, &["SISMEMBER", "running", &id(1)]).await, 1);
    assert_eq!(number(&store, &["ZCARD", "submitted:low.mail"]).await, 2);
    let again = scene.pass().await;
    assert_eq!((again.lost_running, again.summary.changed()), (1, false), "{again:?}");
}
