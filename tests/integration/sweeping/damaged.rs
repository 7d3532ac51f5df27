//! Keys that something else has changed: reported, and no pass is lost over them.

use backstop::core::words::Skip;

use super::*;

impl Scene {
    async fn overwrite(&self, key: &str) {
        self.server.store().command(&["DEL", key]).await.unwrap();
        self.server.store().command(&["SET", key, "of the wrong type"]).await.unwrap();
    }
}

#[tokio::test]
async fn a_record_of_the_wrong_type_is_skipped_and_the_others_come_back() {
    let mut scene = Scene::new().await;
    scene.enqueue(5).await;
    let (lost, _) = scene.agent("lost", 4).await;
    let keys = scene.queue.keys().clone();
    scene.overwrite(&keys.task("t1")).await;
    scene.silence(&lost, 31).await;
    let report = scene.sweep().await;
    assert_eq!(report.summary.did(Action::Reset), 3, "{:?}", report.summary);
    assert!(report.summary.skipped.contains_key(&Skip::NoRecord), "{:?}", report.summary);
    // Also at the head of what waits it keeps nobody.
    scene.overwrite(&keys.task("t0")).await;
    let (_, taken) = scene.agent("next", 3).await;
    assert_eq!(taken.iter().map(|task| task.id.as_str()).collect::<Vec<_>>(), ["t2", "t3", "t4"]);
}

#[tokio::test]
async fn what_hurts_one_agent_does_not_cost_the_others_their_pass() {
    let mut scene = Scene::new().await;
    scene.enqueue(6).await;
    let (one, _) = scene.agent("a-hurt", 2).await;
    let (two, _) = scene.agent("b-hurt", 2).await;
    let (lost, _) = scene.agent("c-lost", 2).await;
    for session in [&one, &two, &lost] {
        scene.silence(session, 31).await;
    }
    scene.agent("alive", 0).await;
    scene.agent("alive-too", 0).await;
    scene.agent("alive-three", 0).await;
    let keys = scene.queue.keys().clone();
    scene.overwrite(&keys.running(one.as_str())).await;
    scene.overwrite(&keys.agent("b-hurt")).await;
    let report = scene.sweep().await;
    assert_eq!(report.summary.did(Action::Reset), 4, "those of b and c: {:?}", report.summary);
    scene.sweep().await;
}

#[tokio::test]
async fn of_a_small_set_that_comes_whole_every_entry_is_looked_at() {
    let mut scene = Scene::new().await;
    // As many as Redis keeps in one piece, and answers in one page whatever was asked for.
    scene.enqueue(120).await;
    for i in 0..120 {
        scene.server.store().command(&["DEL", &scene.queue.keys().task(&format!("t{i}"))]).await.unwrap();
    }
    scene.sweep().await;
    assert_eq!(scene.count("pending").await, 0);
}
