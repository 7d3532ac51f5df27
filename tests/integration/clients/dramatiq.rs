//! dramatiq, from PyPI.

use super::*;

const JOBS: usize = 300;

/// Its workers beat with each command, at least twice a second.
const CONFIG: &str = "preset = \"dramatiq\"\nheartbeat_timeout = \"3s\"\nlost_after = \"1s\"\n";

async fn scene() -> Scene {
    Scene::new(tool("ensure-peers", &["python"]), "dramatiq.py", CONFIG).await
}

async fn held(scene: &Scene) -> usize {
    let keys = scene.server.store().command(&["KEYS", "dramatiq:__acks__.*"]).await.unwrap();
    match keys {
        backstop::store::Reply::List(keys) => keys.len(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_killed_workers_jobs_are_finished_by_others_and_nothing_is_left_behind() {
    let scene = scene().await;
    let _daemon = scene.daemon();
    let _others = scene.first_of_three_is_killed(JOBS, 4).await;
    scene.finished(JOBS).await;
    assert!(scene.resets().await >= 4, "what it held came back\n{}", scene.log());
    let twice = scene.runs().values().filter(|(begun, _)| *begun > 1).count();
    assert!((1..=8).contains(&twice), "only what the killed one ran was begun again: {twice}");
    eventually("nobody holds anything", || async { held(&scene).await == 0 }).await;
    let count = scene.count();
    assert_eq!((&count["pending"], &count["running"], &count["dead"]), (&0.into(), &0.into(), &0.into()));
    assert_eq!(number(&scene.server.store(), &["HLEN", "dramatiq:default.msgs"]).await, 0);
}

#[tokio::test]
async fn when_all_workers_are_dead_their_jobs_wait_for_new_ones() {
    let scene = scene().await;
    let _daemon = scene.daemon();
    scene.enqueue(20, 500);
    let mut worker = scene.worker();
    eventually("it works", || async { scene.done() > 2 }).await;
    worker.kill();
    eventually("its jobs are back", || async { held(&scene).await == 0 }).await;
    let _next = scene.worker();
    scene.finished(20).await;
}

#[tokio::test]
async fn a_paused_worker_that_comes_back_acknowledges_nothing_twice() {
    let scene = scene().await;
    let _daemon = scene.daemon();
    scene.enqueue(JOBS, 100);
    let first = scene.worker();
    eventually("it works", || async { scene.done() > 5 }).await;
    scene.stop_at_work(&first, 1).await;
    let _other = scene.worker();
    scene.finished(JOBS).await;
    assert!(scene.resets().await > 0, "the paused one's jobs were run by the other");
    first.signal(Signal::CONT);
    eventually("nobody holds anything", || async { held(&scene).await == 0 }).await;
    let count = scene.count();
    assert_eq!((&count["pending"], &count["dead"]), (&0.into(), &0.into()));
    assert_eq!(number(&scene.server.store(), &["HLEN", "dramatiq:default.msgs"]).await, 0);
}

#[tokio::test]
async fn two_daemons_and_a_restart_of_redis_lose_nothing() {
    let mut scene = scene().await;
    let _daemons = [scene.daemon(), scene.daemon()];
    scene.enqueue(JOBS, 100);
    let mut first = scene.worker();
    eventually("it works", || async { scene.done() > 5 }).await;
    let _other = scene.worker();
    first.kill();
    scene.server.inner.restart().await.unwrap();
    scene.finished(JOBS).await;
    eventually("nobody holds anything", || async { held(&scene).await == 0 }).await;
}

/// Each of its commands looks for dead workers, and finds them when Backstop does.
#[tokio::test]
async fn its_own_recovery_at_the_same_moment_loses_nothing() {
    let mut scene = scene().await;
    scene.env = vec![("PEER_HEARTBEAT_MS", "4000"), ("PEER_MAINTENANCE", "1000000")];
    let _daemon = scene.daemon();
    let _others = scene.first_of_three_is_killed(JOBS, 4).await;
    scene.finished(JOBS).await;
    eventually("nobody holds anything", || async { held(&scene).await == 0 }).await;
    assert_eq!(number(&scene.server.store(), &["HLEN", "dramatiq:default.msgs"]).await, 0);
}
