//! Clients whose workers share one collection of what runs, and those that read a stream. Each goes through the same: one
//! worker killed among others, all dead, one paused that comes back, and two daemons while Redis restarts.

use super::*;

const JOBS: usize = 300;

struct Peer {
    interpreter: &'static str,
    program: &'static str,
    env: &'static [(&'static str, &'static str)],
    config: &'static str,
    /// How many jobs a worker holds at least when it is stopped or killed. One of Celery must have its hands full: what it
    /// just fetched stands in no key yet, and is lost with it.
    holds: u64,
}

/// One job at a time, which nobody beats for; RQ counts it as abandoned 240 s after it began. RQ itself would fail it then.
const RQ: Peer = Peer {
    interpreter: "python",
    program: "rq_peer.py",
    env: &[("PEER_RQ_WORKER", "simple")],
    config: "preset = \"rq\"\nheartbeat_timeout = \"1s\"\nlost_after = \"1s\"\nlayout.heartbeat.ahead = \"237s\"\n",
    holds: 1,
};
const CELERY: Peer = Peer {
    interpreter: "python",
    program: "celery_peer.py",
    env: &[],
    config: "preset = \"celery\"\nheartbeat_timeout = \"3s\"\nlost_after = \"1s\"\n",
    holds: 16,
};
const BULLMQ_5: Peer = Peer {
    interpreter: "node",
    program: "bullmq_peer.mjs",
    env: &[("PEER_BULLMQ", "5"), ("PEER_LOCK_MS", "2000"), ("PEER_STALLED_MS", "0")],
    config: "preset = \"bullmq\"\nlost_after = \"1s\"\n",
    holds: 4,
};
const BULLMQ_6: Peer =
    Peer { env: &[("PEER_BULLMQ", "6"), ("PEER_LOCK_MS", "2000"), ("PEER_STALLED_MS", "0")], ..BULLMQ_5 };
const TASKIQ: Peer = Peer {
    interpreter: "python",
    program: "taskiq_peer.py",
    env: &[("PEER_READ", "8")],
    config: "preset = \"streams\"\nqueues = [\"taskiq\"]\nheartbeat_timeout = \"3s\"\nlost_after = \"1s\"\n",
    holds: 4,
};
const FASTSTREAM: Peer = Peer {
    interpreter: "python",
    program: "faststream_peer.py",
    env: &[("PEER_READ", "8")],
    config: "preset = \"streams\"\nvars.group = \"workers\"\nheartbeat_timeout = \"3s\"\nlost_after = \"1s\"\n",
    holds: 4,
};

async fn scene(peer: &Peer) -> Scene {
    let mut scene = Scene::new(tool("ensure-peers", &[peer.interpreter]), peer.program, peer.config).await;
    scene.env = peer.env.to_vec();
    scene
}

impl Scene {
    fn held(&self) -> u64 {
        self.count()["running"].as_u64().unwrap()
    }

    fn working(&self) -> u64 {
        self.runs().values().filter(|(begun, done)| begun > done).count() as u64
    }

    /// All jobs are done, and by the client's own view nothing is left.
    async fn nothing_is_left(&self, jobs: usize) {
        self.finished(jobs).await;
        eventually("nobody holds anything", || async { self.held() == 0 }).await;
        let count = self.count();
        assert_eq!((&count["pending"], &count["dead"]), (&0.into(), &0.into()), "{count}\n{}", self.log());
    }
}

async fn killed(peer: &Peer) {
    let scene = scene(peer).await;
    let _daemon = scene.daemon();
    let _others = scene.first_of_three_is_killed(JOBS, peer.holds).await;
    scene.nothing_is_left(JOBS).await;
    assert!(
        scene.resets().await >= i64::try_from(peer.holds).unwrap(),
        "what it held came back\n{}",
        scene.log()
    );
    let twice = scene.runs().values().filter(|(begun, _)| *begun > 1).count();
    assert!((1..=8).contains(&twice), "only what the killed one ran was begun again: {twice}");
}

async fn all_dead(peer: &Peer) {
    let scene = scene(peer).await;
    let _daemon = scene.daemon();
    scene.enqueue(60, 100);
    let mut worker = scene.worker();
    eventually("it works", || async { scene.done() > 2 }).await;
    scene.stop_at_work(&worker, peer.holds).await;
    worker.kill();
    eventually("its jobs are back", || async { scene.held() == 0 }).await;
    let _next = scene.worker();
    scene.nothing_is_left(60).await;
}

async fn paused(peer: &Peer) {
    let scene = scene(peer).await;
    let _daemon = scene.daemon();
    scene.enqueue(JOBS, 100);
    let first = scene.worker();
    eventually("it works", || async { scene.done() > 5 }).await;
    scene.stop_at_work(&first, peer.holds).await;
    let _other = scene.worker();
    scene.finished(JOBS).await;
    assert!(scene.resets().await > 0, "the paused one's jobs were run by the other\n{}", scene.log());
    first.signal(Signal::CONT);
    // It does not know, and acknowledges what it finishes now.
    eventually("it finishes what it ran", || async { scene.working() == 0 }).await;
    scene.nothing_is_left(JOBS).await;
}

async fn restart(peer: &Peer) {
    let mut scene = scene(peer).await;
    let _daemons = [scene.daemon(), scene.daemon()];
    scene.enqueue(JOBS, 100);
    let mut first = scene.worker();
    eventually("it works", || async { scene.done() > 5 }).await;
    let other = scene.worker();
    eventually("both work", || async { scene.done() > 20 }).await;
    scene.stop_at_work(&first, 2 * peer.holds).await;
    // Neither may be fetching while Redis dies: a job that was fetched and not noted yet is lost by the client itself.
    scene.stop_at_work(&other, 2 * peer.holds).await;
    first.kill();
    scene.server.inner.restart().await.unwrap();
    other.signal(Signal::CONT);
    scene.nothing_is_left(JOBS).await;
}

macro_rules! goes_through {
    ($($name:ident: $peer:expr;)*) => { $(
        mod $name {
            use super::*;

            #[tokio::test]
            async fn a_killed_workers_jobs_are_finished_by_others_and_nothing_is_left_behind() {
                killed(&$peer).await;
            }

            #[tokio::test]
            async fn when_all_workers_are_dead_their_jobs_wait_for_new_ones() {
                all_dead(&$peer).await;
            }

            #[tokio::test]
            async fn a_paused_worker_that_comes_back_harms_nobody() {
                paused(&$peer).await;
            }

            #[tokio::test]
            async fn two_daemons_and_a_restart_of_redis_lose_nothing() {
                restart(&$peer).await;
            }
        }
    )* };
}

goes_through! {
    rq: RQ;
    celery: CELERY;
    bullmq_5: BULLMQ_5;
    bullmq_6: BULLMQ_6;
    taskiq: TASKIQ;
    faststream: FASTSTREAM;
}

/// The client puts the same jobs back at the same time.
#[tokio::test]
async fn a_clients_own_recovery_at_the_same_moment_loses_nothing() {
    let peers = [
        Peer {
            env: &[("PEER_BULLMQ", "6"), ("PEER_LOCK_MS", "2000"), ("PEER_STALLED_MS", "1000")],
            ..BULLMQ_6
        },
        Peer { env: &[("PEER_VISIBILITY_S", "4"), ("PEER_RESTORE_S", "1")], ..CELERY },
        Peer { env: &[("PEER_READ", "8"), ("PEER_IDLE_MS", "4000")], ..TASKIQ },
    ];
    for peer in &peers {
        let scene = scene(peer).await;
        let _daemon = scene.daemon();
        let _others = scene.first_of_three_is_killed(JOBS, peer.holds).await;
        scene.finished(JOBS).await;
        eventually("nobody holds anything", || async { scene.held() == 0 }).await;
        assert_eq!(scene.count()["pending"], 0, "{}", scene.log());
    }
}
