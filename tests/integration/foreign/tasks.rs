//! Tasks that show life for themselves: clocks that are wrong, what is due later, copies, pauses, versions, and two at once.

mod celery;
mod streams;

use backstop::core::words::{Action, Guard};

use super::*;
use crate::cli::{json, run};

const ENFORCE: &str = "mode = \"enforce\"\n";

fn resets(report: &QueueReport) -> u64 {
    report.summary.did(Action::Reset)
}

async fn scene(preset: &str, more: &str) -> Scene {
    let scene = Scene::new(preset, &format!("{ENFORCE}{more}")).await;
    scene.play("register", "one", "").await;
    scene
}

/// Lets an agent take so many and die.
async fn lose(scene: &Scene, n: usize) {
    scene.enqueue(n).await;
    scene.take("one", 0..n).await;
    scene.die("one").await;
}

#[tokio::test]
async fn a_clock_that_is_an_hour_behind_makes_no_task_lost() {
    for (preset, lease) in [("asynq", "asynq:{low.mail}:lease"), ("rq", "rq:wip:low.mail")] {
        let mut scene = scene(preset, "").await;
        scene.enqueue(1).await;
        scene.take("one", 0..1).await;
        let entry = match scene.store().command(&["ZRANGE", lease, "0", "0"]).await.unwrap() {
            Reply::List(entries) => match &entries[0] {
                Reply::Bytes(bytes) => String::from_utf8(bytes.clone()).unwrap(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        for beat in 0..40 {
            // Each beat of its agent moves the score, an hour in the past; beats come less often than lost_after.
            let at = scene.store().server_time().await.unwrap() / 1000 - 3600 + beat / 8;
            scene.store().command(&["ZADD", lease, &at.to_string(), &entry]).await.unwrap();
            let report = scene.pass().await;
            assert_eq!(resets(&report), 0, "{preset}");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
}

#[tokio::test]
async fn nothing_goes_back_to_a_queue_that_is_paused() {
    let paused: [(&str, &[&str], &[&str]); 2] = [
        ("asynq", &["SET", "asynq:{low.mail}:paused", "1"], &["DEL", "asynq:{low.mail}:paused"]),
        ("bullmq", &["HSET", "bull:low.mail:meta", "paused", "1"], &["HDEL", "bull:low.mail:meta", "paused"]),
    ];
    for (preset, pause, resume) in paused {
        let mut scene = scene(preset, "").await;
        lose(&scene, 2).await;
        scene.store().command(pause).await.unwrap();
        let report = scene.passes(&[], preset, |report| report.lost_running == 2).await;
        assert_eq!(resets(&report), 0, "{preset}");
        scene.store().command(resume).await.unwrap();
        scene.passes(&[], preset, |report| resets(report) == 2).await;
    }
}

#[tokio::test]
async fn a_version_that_is_not_known_is_observed_only() {
    let mut scene = scene("bullmq", "").await;
    lose(&scene, 1).await;
    scene.store().command(&["HSET", "bull:low.mail:meta", "version", "bullmq:7.0.1"]).await.unwrap();
    let report = scene.passes(&[], "it is held", |report| report.summary.held() == 1).await;
    assert_eq!(report.guards[0].guard, Guard::UnknownVersion);
    assert!(report.guards[0].reason.contains("7.0.1"), "{:?}", report.guards);
    let (_, out, _) = run(&scene.server, &["layout", "check", "bullmq"]);
    assert!(out.contains("7.0.1"), "{out}");
    scene.store().command(&["HSET", "bull:low.mail:meta", "version", "bullmq:6.7.0"]).await.unwrap();
    scene.passes(&[], "it is moved", |report| resets(report) == 1).await;
}

#[tokio::test]
async fn an_active_task_without_a_lease_comes_back_too() {
    let mut scene = scene("asynq", "").await;
    scene.enqueue(2).await;
    scene.take("one", 0..2).await;
    scene.store().command(&["ZREM", "asynq:{low.mail}:lease", &id(0)]).await.unwrap();
    scene.passes(&["one"], "it is lost", |report| resets(report) == 1).await;
    assert_eq!(list(&scene.store(), "asynq:{low.mail}:pending").await, [id(0)]);
}

#[tokio::test]
async fn half_a_record_is_taken_out_and_not_put_back_and_a_finished_job_is_left_to_its_system() {
    let mut first = scene("asynq", "").await;
    lose(&first, 2).await;
    first.store().command(&["HDEL", &format!("asynq:{{low.mail}}:t:{}", id(0)), "msg"]).await.unwrap();
    let report = first.passes(&[], "the other is lost", |report| resets(report) == 1).await;
    assert_eq!(report.summary.skipped.values().sum::<u64>(), 1, "{:?}", report.summary);
    assert_eq!(list(&first.store(), "asynq:{low.mail}:pending").await, [id(1)]);
    let mut second = scene("rq", "").await;
    lose(&second, 2).await;
    second.store().command(&["HSET", &format!("rq:job:{}", id(0)), "status", "finished"]).await.unwrap();
    second.passes(&[], "the other is lost", |report| resets(report) == 1).await;
    for _ in 0..5 {
        let report = second.passes(&[], "it passes", |_| true).await;
        assert_eq!((resets(&report), report.lost_running), (0, 0));
    }
    assert_eq!(list(&second.store(), "rq:queue:low.mail").await, [id(1)]);
}

/// With one worker that dies nobody else may hold anything: that is no reason to wait for ever.
#[tokio::test]
async fn when_most_of_what_runs_is_lost_a_page_moves_at_a_time() {
    let mut scene = scene("bullmq", "").await;
    let mut settings = sweeping(&scene.settings);
    settings.mass_loss = MassLossLimits { pace: Duration::from_millis(300), ..MassLossLimits::default() };
    scene.sweeper = Sweeper::new(scene.store(), settings, Arc::new(NoObserver));
    lose(&scene, 120).await;
    let mut moved = Vec::new();
    while moved.iter().sum::<u64>() < 120 {
        let report = scene.passes(&[], "a page moves", |report| resets(report) > 0).await;
        assert_eq!(report.guards[0].guard, Guard::MassLoss);
        moved.push(resets(&report));
    }
    assert_eq!(moved, [30, 30, 30, 30]);
}

#[tokio::test]
async fn two_sweepers_and_workers_that_finish_meanwhile_move_each_task_once() {
    for preset in ["bullmq", "asynq", "rq", "celery", "streams"] {
        let mut scene = scene(preset, "").await;
        scene.enqueue(150).await;
        scene.take("one", 0..100).await;
        scene.take("two", 100..140).await;
        scene.die("one").await;
        let mut other = Sweeper::new(scene.store(), sweeping(&scene.settings), Arc::new(NoObserver));
        let name = QueueName::new(NAME).unwrap();
        let queues = [(name.clone(), scene.settings.policy_of(&name).clone())];
        let began = std::time::Instant::now();
        let mut finished = 100;
        while scene.held_shared("one").await > 0 {
            scene.beat_shared(&["two"]).await;
            let stop = CancellationToken::new();
            let (one, two) =
                tokio::join!(scene.sweeper.run_once(&queues, &stop), other.run_once(&queues, &stop));
            assert!(one.failed.is_none() && two.failed.is_none());
            // Workers that live go on, so that places in a list change between look and move.
            if finished < 130 {
                scene.ack_shared("two", &id(finished)).await;
                finished += 1;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{preset}");
        }
        let stats = ["HGET", "backstop:{watched}:stats", "reset:agent_lost"];
        assert_eq!(number(&scene.store(), &stats).await, 100, "{preset}: each was moved once");
        let waiting = match scene.waiting_shared().await {
            Some(waiting) => waiting,
            None => list(&scene.store(), scene.fixture.places().waiting).await,
        };
        let mut unique = waiting.clone();
        unique.sort();
        unique.dedup();
        assert_eq!((waiting.len(), unique.len()), (110, 110), "{preset}");
    }
}

#[tokio::test]
async fn check_and_explain_say_what_is_found_and_what_nobody_can_tell() {
    for preset in ["bullmq", "asynq", "rq", "celery", "streams"] {
        let mut scene = scene(preset, "").await;
        scene.enqueue(4).await;
        scene.take("one", 0..2).await;
        scene.take("two", 2..3).await;
        scene.die("one").await;
        if preset == "celery" || preset == "streams" {
            tokio::time::sleep(Duration::from_millis(1100)).await;
        }
        scene.beat_shared(&["two"]).await;
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("c.toml");
        let text = format!(
            "[foreign.{NAME}]\npreset = {preset:?}\nheartbeat_timeout = \"1s\"\nqueues = [{QUEUE:?}]\n"
        );
        std::fs::write(&config, text).unwrap();
        let config = config.to_str().unwrap();
        let found = json(&scene.server, &["layout", "check", NAME, "--json", "--config", config]);
        let system = &found["systems"][0];
        assert_eq!(
            (
                &system["life"],
                &system["running"],
                &system["silent"],
                &system["pending"],
                &system["would_reset"]
            ),
            (&"task".into(), &3.into(), &2.into(), &1.into(), &2.into()),
            "{preset}: {system}"
        );
        let name = if preset == "streams" { scene.entry_of("one", &id(0)) } else { id(0) };
        let told = json(&scene.server, &["explain", &name, "--json", "--config", config]);
        let place = &told["task"]["places"][0];
        assert_eq!(
            (&place["state"], &place["shows"]),
            (&"running".into(), &"it looks silent".into()),
            "{preset}: {told}"
        );
        scene.passes(&["two"], "it is lost", |report| resets(report) == 2).await;
        let (code, out, err) = run(&scene.server, &["explain", &name, "--queue", NAME, "--config", config]);
        assert_eq!(code, 0, "{preset}: {err}");
        assert!(out.contains("what moved, why agent_lost") && out.contains("unknown  "), "{preset}: {out}");
        // The copy of a stream's entry has a name of its own.
        assert!(
            preset == "streams" || out.contains("state    pending") && out.contains("charged  1 of"),
            "{preset}: {out}"
        );
    }
}

/// The keys of other systems lie in many slots there, and no script may move between them.
#[tokio::test]
async fn a_cluster_is_refused() {
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (port, bus) = (free().to_string(), free().to_string());
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("nodes.conf");
    let cluster =
        ["--cluster-enabled", "yes", "--port", &port, "--bind", "127.0.0.1", "--cluster-port", &bus];
    let nodes = ["--cluster-config-file", config.to_str().unwrap()];
    let server = Server::with(backstop::private_server::Fsync::Off, &[&cluster[..], &nodes].concat()).await;
    server.store().command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await.unwrap();
    crate::support::eventually("it is up", || async { server.store().command(&["GET", "x"]).await.is_ok() })
        .await;
    let (code, _, err) = run(&server, &["layout", "check", "asynq"]);
    assert!(code == 1 && err.contains("this is a Redis cluster") && err.contains("foreign.asynq"), "{err}");
    let settings = settings("[foreign.watched]\npreset = \"asynq\"\nmode = \"enforce\"\n");
    let mut sweeper = Sweeper::new(server.store(), sweeping(&settings), Arc::new(NoObserver));
    let name = QueueName::new(NAME).unwrap();
    let queues = [(name.clone(), settings.policy_of(&name).clone())];
    let pass = sweeper.run_once(&queues, &CancellationToken::new()).await;
    let refused = pass.queues[0].1.as_ref().unwrap_err().to_string();
    assert!(refused.contains("this is a Redis cluster"), "{refused}");
}

#[tokio::test]
async fn a_right_that_is_missing_leaves_a_shared_list_as_it_is() {
    for (preset, right) in [("bullmq", "lset"), ("bullmq", "hincrby"), ("streams", "xack"), ("rq", "zrem")] {
        let mut scene = scene(preset, "").await;
        lose(&scene, 2).await;
        let user = ["ACL", "SETUSER", "half", "on", ">secret", "~*", "&*", "+@all", &format!("-{right}")];
        scene.store().command(&user).await.unwrap();
        let url = format!("{}?user=half&pass=secret", scene.server.url());
        scene.watch_through(Store::connect(&url, &backstop::store::Options::default()).unwrap());
        let name = QueueName::new(NAME).unwrap();
        let queues = [(name.clone(), scene.settings.policy_of(&name).clone())];
        let mut refused = String::new();
        for _ in 0..500 {
            scene.beat_shared(&[]).await;
            let pass = scene.sweeper.run_once(&queues, &CancellationToken::new()).await;
            if let Err(error) = &pass.queues[0].1 {
                refused = error.to_string();
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(refused.to_lowercase().contains(right), "{preset}: it says which right: {refused:?}");
        assert_eq!(scene.held_shared("one").await, 2, "{preset} without {right}: nothing was taken out");
    }
}

/// As after a reboot of everything: nobody lives, and the sweeper has never seen anybody live.
#[tokio::test]
async fn where_times_are_plausible_the_dead_are_believed_to_be_dead() {
    for preset in ["asynq", "rq", "celery", "streams"] {
        let mut scene = scene(preset, "").await;
        lose(&scene, 2).await;
        let mut moved = 0;
        while moved < 2 {
            moved += resets(&scene.passes(&[NOBODY], preset, |report| resets(report) > 0).await);
        }
    }
    // In seconds where milliseconds are meant, everybody died decades ago.
    let mut scene = scene("asynq", "layout.heartbeat.unit = \"ms\"\n").await;
    lose(&scene, 2).await;
    let report = scene.passes(&[NOBODY], "it is held", |report| report.summary.held() == 2).await;
    assert_eq!(report.guards[0].guard, Guard::Unproven);
}

/// The lock's name is made of the task's, which is a hash where the entry is a payload: look and script must agree.
#[tokio::test]
async fn of_payloads_without_a_name_the_lock_is_the_same_for_look_and_script() {
    let own = r#"
heartbeat = { of = "task", key = "lock:{id}" }
running = { list = "mine:busy", id = "name" }
pending = { list = "mine:todo", take = "right" }
dead.list = "mine:dead"
"#;
    let text =
        format!("[foreign.{NAME}]\nmode = \"enforce\"\nlost_after = \"50ms\"\n[foreign.{NAME}.layout]{own}");
    let (server, settings) = (Server::start().await, settings(&text));
    let mut sweeper = Sweeper::new(server.store(), sweeping(&settings), Arc::new(NoObserver));
    let store = server.store();
    for name in ["a", "b"] {
        store.command(&["LPUSH", "mine:busy", &format!("{{\"name\":\"{name}\"}}")]).await.unwrap();
    }
    store.command(&["SET", "lock:a", "1"]).await.unwrap();
    let name = QueueName::new(NAME).unwrap();
    let queues = [(name.clone(), settings.policy_of(&name).clone())];
    for _ in 0..40 {
        sweeper.run_once(&queues, &CancellationToken::new()).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(list(&store, "mine:busy").await, ["{\"name\":\"a\"}"]);
    assert_eq!(list(&store, "mine:todo").await, ["{\"name\":\"b\"}"]);
}

/// A week of observing must count all that would have been moved, also where that is more than a pass looks at.
#[tokio::test]
async fn observing_counts_each_loss_once_and_all_of_them() {
    let mut scene = Scene::new("bullmq", "").await;
    let store = scene.store();
    let fill = "for i = 1, 4000 do redis.call('LPUSH', KEYS[1], 'j' .. i) redis.call('HSET', 'bull:low.mail:j' .. i, 'name', 'x') end";
    store.command(&["EVAL", fill, "1", "bull:low.mail:active"]).await.unwrap();
    let mut counted = 0;
    while counted < 4000 {
        let report =
            scene.passes(&[], "more are counted", |report| !report.summary.observed.is_empty()).await;
        counted += report.summary.observed.values().sum::<u64>();
    }
    let report = scene.passes(&[], "it passes", |_| true).await;
    assert_eq!((counted, report.lost_running, report.summary.observed.len()), (4000, 4000, 0));
    // One shows life, and is lost again: that is another loss.
    store.command(&["SET", "bull:low.mail:j7:lock", "1", "PX", "60"]).await.unwrap();
    scene.pass().await;
    let report = scene.passes(&[], "it is lost again", |report| !report.summary.observed.is_empty()).await;
    assert_eq!(report.summary.observed.values().sum::<u64>(), 1);
}
