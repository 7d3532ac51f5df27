//! apalis with its Redis storage, from crates.io.

use super::*;

const JOBS: usize = 300;

/// Its workers beat each second here.
const CONFIG: &str =
    "preset = \"apalis\"\nvars.namespace = \"peer\"\nheartbeat_timeout = \"5s\"\nlost_after = \"1s\"\n";

/// What a worker may hold: the ten that it fetched, and three that it still ran when it fetched them.
const HELD: usize = 13;

async fn scene(config: &str) -> Scene {
    // It is a program of its own, so `env` stands where others have an interpreter.
    let mut scene = Scene::new("env".to_owned(), &tool("ensure-peers-rust", &[]), config).await;
    // Its workers recover others' jobs so late that it isn't their work that is seen.
    scene.env = vec![("PEER_MISSED_BEATS", "3600")];
    scene
}

/// Everything is done, once in apalis' own books, and nobody holds anything.
async fn all_done(scene: &Scene, jobs: usize) {
    eventually("nobody holds anything", || async { scene.count()["running"] == 0 }).await;
    let count = scene.count();
    assert_eq!(
        (&count["pending"], &count["dead"], &count["done"]),
        (&0.into(), &0.into(), &jobs.into()),
        "{count}"
    );
}

#[tokio::test]
async fn a_killed_workers_jobs_are_finished_by_others_and_nothing_is_left_behind() {
    let scene = scene(CONFIG).await;
    let _daemon = scene.daemon();
    let _others = scene.first_of_three_is_killed(JOBS, 4).await;
    scene.finished(JOBS).await;
    assert!(scene.resets().await >= 4, "what it held came back\n{}", scene.log());
    let twice = scene.runs().values().filter(|(begun, _)| *begun > 1).count();
    assert!((1..=HELD).contains(&twice), "only what the killed one held was begun again: {twice}");
    all_done(&scene, JOBS).await;
}

#[tokio::test]
async fn when_all_workers_are_dead_their_jobs_wait_for_new_ones() {
    let scene = scene(CONFIG).await;
    let _daemon = scene.daemon();
    scene.enqueue(60, 200);
    let mut first = scene.worker();
    // Long enough for a second beat: before that nobody was seen to live.
    eventually("it works", || async { scene.done() > 30 }).await;
    first.kill();
    eventually("its jobs are back", || async { scene.count()["running"] == 0 }).await;
    let _next = scene.worker();
    scene.finished(60).await;
    all_done(&scene, 60).await;
}

#[tokio::test]
async fn a_paused_worker_that_comes_back_is_refused_and_ends() {
    let scene = scene(CONFIG).await;
    let _daemon = scene.daemon();
    scene.enqueue(JOBS, 100);
    let mut first = scene.worker();
    eventually("it works", || async { scene.done() > 5 }).await;
    scene.stop_at_work(&first, 4).await;
    let _other = scene.worker();
    scene.finished(JOBS).await;
    assert!(scene.resets().await >= 4, "the paused one's jobs were run by the other\n{}", scene.log());
    all_done(&scene, JOBS).await;
    first.signal(Signal::CONT);
    assert_eq!(first.exit_code().await, Some(1), "its late acknowledgement is refused");
    all_done(&scene, JOBS).await;
}

/// An error of Redis ends an apalis worker, so somebody starts others, as a supervisor does.
#[tokio::test]
async fn two_daemons_and_a_restart_of_redis_lose_nothing() {
    let mut scene = scene(CONFIG).await;
    let _daemons = [scene.daemon(), scene.daemon()];
    scene.enqueue(JOBS, 100);
    let mut first = scene.worker();
    eventually("it works", || async { scene.done() > 5 }).await;
    scene.stop_at_work(&first, 4).await;
    let _other = scene.worker();
    eventually("work goes on", || async { scene.done() > 30 }).await;
    first.kill();
    scene.server.inner.restart().await.unwrap();
    let _next = scene.worker();
    scene.finished(JOBS).await;
    assert!(scene.resets().await >= 4, "what the killed one held came back\n{}", scene.log());
    all_done(&scene, JOBS).await;
}

#[tokio::test]
async fn where_its_own_recovery_is_first_nothing_is_moved_again() {
    let mut scene = scene(&CONFIG.replace("5s", "9s")).await;
    scene.env = vec![("PEER_MISSED_BEATS", "4")];
    let _daemon = scene.daemon();
    scene.enqueue(JOBS, 100);
    let mut first = scene.worker();
    eventually("it works", || async { scene.done() > 5 }).await;
    scene.stop_at_work(&first, 4).await;
    let _other = scene.worker();
    first.kill();
    scene.finished(JOBS).await;
    let twice = scene.runs().values().filter(|(begun, _)| *begun > 1).count();
    assert!((1..=HELD).contains(&twice), "only what the killed one held was begun again: {twice}");
    all_done(&scene, JOBS).await;
    assert_eq!(scene.resets().await, 0, "{}", scene.log());
}

/// It sleeps first, so that its worker could note that it has begun it.
#[tokio::test]
async fn a_job_that_ends_its_workers_is_set_aside() {
    let mut scene = scene(&CONFIG.replace("5s", "3s")).await;
    scene.env.push(("PEER_FATAL", "job-0"));
    let _daemon = scene.daemon();
    let mut workers = [scene.worker(), scene.worker()];
    scene.enqueue(1, 300);
    let mut deaths = 0;
    let began = std::time::Instant::now();
    while scene.count()["dead"] == 0 {
        assert!(
            began.elapsed() < Duration::from_secs(58),
            "after {deaths} deaths it still comes back\n{}",
            scene.log()
        );
        for one in &mut workers {
            if one.0.try_wait().unwrap().is_some() {
                deaths += 1;
                *one = scene.worker();
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((deaths, scene.resets().await), (4, 3), "{}", scene.log());
    let count = scene.count();
    assert_eq!(
        (&count["pending"], &count["running"], &count["dead"]),
        (&0.into(), &0.into(), &1.into()),
        "{count}"
    );
}
