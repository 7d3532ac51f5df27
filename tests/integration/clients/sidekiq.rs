//! Sidekiq with GitLab's reliable fetch, from Debian.

use super::*;

/// Its keys lapse 60 s after a worker's death; a test deletes them, which is what a lapse does.
const CONFIG: &str = "preset = \"sidekiq-reliable-fetch\"\nlost_after = \"1s\"\n";

async fn scene() -> Scene {
    let scene = Scene::new(tool("ensure-peers-ruby", &[]), "sidekiq_peer.rb", CONFIG).await;
    // Held, so that it is not their own cleaner whose work is seen.
    scene.server.store().command(&["SET", "reliable-fetcher-cleanup-lock", "1", "EX", "3600"]).await.unwrap();
    scene
}

async fn keys(scene: &Scene, pattern: &str) -> Vec<String> {
    match scene.server.store().command(&["KEYS", pattern]).await.unwrap() {
        backstop::store::Reply::List(keys) => keys
            .into_iter()
            .map(|key| match key {
                backstop::store::Reply::Bytes(bytes) => String::from_utf8(bytes).unwrap(),
                other => panic!("{other:?}"),
            })
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
#[allow(clippy::print_stderr, reason = "what isn't run must be seen")]
async fn a_killed_workers_jobs_are_finished_by_others_and_nothing_is_left_behind() {
    if std::env::var_os("BACKSTOP_TEST_WITHOUT_DEBIAN").is_some_and(|value| value == "1") {
        eprintln!(
            "NOT RUN: Sidekiq (needs the Debian packages ruby-sidekiq and ruby-gitlab-sidekiq-fetcher)"
        );
        return;
    }
    let scene = scene().await;
    let _daemon = scene.daemon();
    scene.enqueue(300, 100);
    // The one that will be killed is at work before the others begin.
    let mut first = scene.worker();
    eventually("it works", || async { scene.done() > 5 }).await;
    let _others = [scene.worker(), scene.worker()];
    eventually("work goes on", || async { scene.done() > 30 }).await;
    let pid = first.0.id();
    first.kill();
    for key in keys(&scene, &format!("reliable-fetcher-heartbeat-*-{pid}-*")).await {
        scene.server.store().command(&["DEL", &key]).await.unwrap();
    }
    scene.finished(300).await;
    assert!(scene.resets().await >= 1, "what it held came back\n{}", scene.log());
    eventually("nobody holds anything", || async { keys(&scene, "working:*").await.is_empty() }).await;
    let count = scene.count();
    assert_eq!((&count["pending"], &count["dead"]), (&0.into(), &0.into()), "{count}");
}
