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

/// Whether Sidekiq can be run; what isn't run must be seen.
#[allow(clippy::print_stderr, reason = "what isn't run must be seen")]
fn is_there() -> bool {
    let without = std::env::var_os("BACKSTOP_TEST_WITHOUT_DEBIAN").is_some_and(|value| value == "1");
    if without {
        eprintln!(
            "NOT RUN: Sidekiq (needs the Debian packages ruby-sidekiq and ruby-gitlab-sidekiq-fetcher)"
        );
    }
    !without
}

/// Lets the heartbeats of a process that is dead or stopped lapse.
async fn lapse(scene: &Scene, pid: u32) {
    for key in keys(scene, &format!("reliable-fetcher-heartbeat-*-{pid}-*")).await {
        scene.server.store().command(&["DEL", &key]).await.unwrap();
    }
}

/// Stops a process while it runs a job.
async fn stop_at_work(scene: &Scene, process: &Process) {
    let pid = process.0.id();
    eventually("it is stopped at work", || async {
        process.signal(Signal::STOP);
        let holds = !keys(scene, &format!("working:*:{pid}:*")).await.is_empty();
        if !holds {
            process.signal(Signal::CONT);
        }
        holds
    })
    .await;
}

/// Of two processes the first is killed while it runs a job; the other one, and the number of the dead.
async fn first_of_two_is_killed(scene: &Scene) -> (Process, u32) {
    scene.enqueue(200, 100);
    let mut first = scene.worker();
    eventually("it works", || async { scene.done() > 5 }).await;
    stop_at_work(scene, &first).await;
    let other = scene.worker();
    eventually("work goes on", || async { scene.done() > 20 }).await;
    let pid = first.0.id();
    first.kill();
    (other, pid)
}

async fn nothing_is_left(scene: &Scene, jobs: usize) {
    scene.finished(jobs).await;
    eventually("nobody holds anything", || async { keys(scene, "working:*").await.is_empty() }).await;
    let count = scene.count();
    assert_eq!((&count["pending"], &count["dead"]), (&0.into(), &0.into()), "{count}");
}

#[tokio::test]
async fn a_killed_workers_jobs_are_finished_by_others_and_nothing_is_left_behind() {
    if !is_there() {
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
    stop_at_work(&scene, &first).await;
    let pid = first.0.id();
    first.kill();
    lapse(&scene, pid).await;
    nothing_is_left(&scene, 300).await;
    assert!(scene.resets().await >= 1, "what it held came back\n{}", scene.log());
}

#[tokio::test]
async fn a_paused_process_that_comes_back_harms_nobody() {
    if !is_there() {
        return;
    }
    let scene = scene().await;
    let _daemon = scene.daemon();
    scene.enqueue(200, 100);
    let first = scene.worker();
    eventually("it works", || async { scene.done() > 5 }).await;
    stop_at_work(&scene, &first).await;
    let _other = scene.worker();
    lapse(&scene, first.0.id()).await;
    scene.finished(200).await;
    assert!(scene.resets().await > 0, "the paused one's jobs were run by the other\n{}", scene.log());
    first.signal(Signal::CONT);
    nothing_is_left(&scene, 200).await;
}

#[tokio::test]
async fn two_daemons_and_a_restart_of_redis_lose_nothing() {
    if !is_there() {
        return;
    }
    let mut scene = scene().await;
    let _daemons = [scene.daemon(), scene.daemon()];
    let (_other, pid) = first_of_two_is_killed(&scene).await;
    scene.server.inner.restart().await.unwrap();
    lapse(&scene, pid).await;
    nothing_is_left(&scene, 200).await;
}

/// Its cleaner takes jobs out one by one; what it took is its own to put back.
#[tokio::test]
async fn its_own_cleaner_at_the_same_moment_loses_nothing() {
    if !is_there() {
        return;
    }
    let mut scene = scene().await;
    scene.config = scene.config.replace("lost_after = \"1s\"", "lost_after = \"10ms\"");
    let _daemon = scene.daemon();
    let (_other, pid) = first_of_two_is_killed(&scene).await;
    lapse(&scene, pid).await;
    scene.server.store().command(&["DEL", "reliable-fetcher-cleanup-lock"]).await.unwrap();
    nothing_is_left(&scene, 200).await;
}
