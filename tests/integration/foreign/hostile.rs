//! What isn't as it should be: said, and the rest goes on.

use backstop::core::words::{Action, Guard};

use super::*;

#[tokio::test]
async fn a_whole_fleet_that_falls_silent_is_left_alone() {
    let mut scene = Scene::new("rmq", "mode = \"enforce\"\n").await;
    let agents = ["one", "two", "three"];
    let mut settings = SweepSettings {
        owner: "test".into(),
        lease: None,
        interval: Duration::from_secs(3600),
        failover_grace: Duration::ZERO,
        mass_loss: MassLossLimits::default(),
        publishes: true,
        foreign: scene.settings.foreign.clone(),
    };
    settings.mass_loss.window = Duration::from_secs(60);
    scene.sweeper = Sweeper::new(scene.store(), settings, Arc::new(NoObserver));
    scene.enqueue(3).await;
    for (i, agent) in agents.into_iter().enumerate() {
        scene.play("register", agent, "").await;
        scene.take(agent, i..i + 1).await;
    }
    scene.pass().await;
    for agent in agents {
        scene.die(agent).await;
    }
    let report = scene.passes(&[NOBODY], "all are lost", |report| report.summary.held() > 0).await;
    assert_eq!(report.guards[0].guard, Guard::MassLoss);
    assert_eq!((report.summary.held(), report.summary.did(Action::Reset)), (3, 0));
}

#[tokio::test]
async fn a_clock_that_is_an_hour_ahead_or_behind_makes_nobody_dead() {
    for hours in [-1_i64, 1] {
        let mut scene = Scene::new("dramatiq", "mode = \"enforce\"\n").await;
        scene.enqueue(1).await;
        scene.take("0b1c-a", 0..1).await;
        for beat in 0..40 {
            let at = scene.store().server_time().await.unwrap() + hours * 3_600_000 + beat;
            scene
                .store()
                .command(&["ZADD", "dramatiq:__heartbeats__", &at.to_string(), "0b1c-a"])
                .await
                .unwrap();
            let report = scene.pass().await;
            assert_eq!(report.summary.did(Action::Reset), 0, "{hours} h");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn an_entry_without_a_record_is_not_put_back_and_the_others_are() {
    let mut scene = Scene::new("dramatiq", "mode = \"enforce\"\n").await;
    scene.play("register", "0b1c-a", "").await;
    scene.enqueue(3).await;
    scene.take("0b1c-a", 0..3).await;
    scene.store().command(&["HDEL", "dramatiq:low.mail.msgs", &id(1)]).await.unwrap();
    let report = scene.passes(&[], "it is lost", |report| report.summary.did(Action::Reset) > 0).await;
    assert_eq!(report.summary.did(Action::Reset), 2);
    assert_eq!(report.summary.skipped.values().sum::<u64>(), 1, "{:?}", report.summary);
    assert_eq!(size(&scene.store(), "LLEN", "dramatiq:low.mail").await, 2);
}

#[tokio::test]
async fn names_and_payloads_are_bytes_whatever_they_hold() {
    let mut scene = Scene::new("rmq", "mode = \"enforce\"\n").await;
    let store = scene.store();
    let agent: &[u8] = b"we{i}rd*[\xff]::x";
    let list = [b"rmq::connection::".as_slice(), agent, b"::queue::[q]::unacked"].concat();
    let payloads: [&[u8]; 3] = [b"", b"\x00\xff\r\n", b"{\"a\":[],\"n\":12345678901234567890}"];
    store.command(&[b"SADD".as_slice(), b"rmq::connections", agent]).await.unwrap();
    let queues = [b"rmq::connection::".as_slice(), agent, b"::queues"].concat();
    store.command(&[b"SADD".as_slice(), &queues, b"q"]).await.unwrap();
    for payload in payloads {
        store.command(&[b"LPUSH".as_slice(), &list, payload]).await.unwrap();
    }
    let report = scene.passes(&[], "it is lost", |report| report.summary.did(Action::Reset) > 0).await;
    assert_eq!(report.summary.did(Action::Reset), 3);
    for payload in payloads {
        let next = store.command(&["RPOP", "rmq::queue::[q]::ready"]).await.unwrap();
        assert_eq!(next, Reply::Bytes(payload.to_vec()), "in the order in which they were taken");
    }
}

#[tokio::test]
async fn a_waiting_list_of_another_type_moves_nothing() {
    let mut scene = Scene::new("rmq", "mode = \"enforce\"\n").await;
    scene.enqueue(2).await;
    scene.play("register", "one", "").await;
    scene.take("one", 0..2).await;
    scene.store().command(&["SET", "rmq::queue::[low.mail]::ready", "no list"]).await.unwrap();
    scene.die("one").await;
    // Another queue of the same agent is none the worse for it.
    for command in [
        ["SADD", "rmq::connection::one::queues", "other"],
        ["LPUSH", "rmq::connection::one::queue::[other]::unacked", "x"],
    ] {
        scene.store().command(&command).await.unwrap();
    }
    let report = scene.passes(&[], "it is lost", |report| report.summary.did(Action::Reset) > 0).await;
    assert_eq!((report.summary.did(Action::Reset), report.lost_running), (1, 2), "{report:?}");
    assert_eq!(size(&scene.store(), "LLEN", "rmq::connection::one::queue::[low.mail]::unacked").await, 2);
}

#[tokio::test]
async fn a_system_of_which_nobody_was_seen_to_live_is_left_alone() {
    let mut scene =
        Scene::new("rmq", "mode = \"enforce\"\nlayout.heartbeat.key = \"no:such:{agent}\"\n").await;
    scene.enqueue(1).await;
    scene.play("register", "one", "").await;
    scene.take("one", 0..1).await;
    let report = scene.passes(&["one"], "its tasks are held", |report| report.summary.held() > 0).await;
    assert_eq!(report.guards[0].guard, Guard::Unproven);
    assert_eq!(report.summary.did(Action::Reset), 0);
}

#[tokio::test]
async fn a_right_that_is_missing_moves_nothing() {
    let mut scene = Scene::new("rmq", "mode = \"enforce\"\n").await;
    scene.enqueue(2).await;
    scene.play("register", "one", "").await;
    scene.take("one", 0..2).await;
    let user = ["ACL", "SETUSER", "half", "on", ">secret", "~*", "&*", "+@all", "-rpush"];
    scene.store().command(&user).await.unwrap();
    let url = format!("{}?user=half&pass=secret", scene.server.url());
    let store = Store::connect(&url, &backstop::store::Options::default()).unwrap();
    scene.watch_through(store);
    scene.passes(&["one"], "it is seen", |_| true).await;
    scene.die("one").await;
    let name = QueueName::new(NAME).unwrap();
    let queues = [(name.clone(), scene.settings.policy_of(&name).clone())];
    let mut refused = String::new();
    for _ in 0..300 {
        scene.play("heartbeat", "other", "").await;
        let pass = scene.sweeper.run_once(&queues, &CancellationToken::new()).await;
        if let Err(error) = &pass.queues[0].1 {
            refused = error.to_string();
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(refused.to_lowercase().contains("rpush"), "it says which right: {refused:?}");
    let held = size(&scene.store(), "LLEN", "rmq::connection::one::queue::[low.mail]::unacked").await;
    assert_eq!(held, 2, "nothing was taken out");
}

#[tokio::test]
async fn a_score_that_is_no_number_loses_no_task() {
    let mut scene = Scene::new("redis-workflow", "mode = \"enforce\"\n").await;
    scene.enqueue(1).await;
    scene.take("a", 0..1).await;
    scene.store().command(&["HSET", &format!("task:{}", id(0)), "priority", "nan"]).await.unwrap();
    scene.passes(&[], "it is lost", |report| report.summary.did(Action::Reset) == 1).await;
    assert_eq!(size(&scene.store(), "ZCARD", "submitted:low.mail").await, 1);
}

/// An agent of redis.workflow keeps the names of tasks that failed, for ever.
#[tokio::test]
async fn names_that_do_not_run_hide_no_task_that_does() {
    for (more, add) in [("", "SADD"), ("layout.running.list = \"responsible:{agent}\"\n", "RPUSH")] {
        let mut scene = Scene::new("redis-workflow", &format!("mode = \"enforce\"\n{more}")).await;
        let store = scene.store();
        scene.enqueue(1).await;
        scene.take("a", 0..1).await;
        store.command(&["DEL", "responsible:a"]).await.unwrap();
        for n in 0..400 {
            // In the middle, so that whichever end is read first begins with the failed.
            if n == 200 {
                store.command(&[add, "responsible:a", &id(0)]).await.unwrap();
            }
            let name = format!("failed-{n}");
            store.command(&["HSET", &format!("task:{name}"), "workflow", "none"]).await.unwrap();
            store.command(&[add, "responsible:a", &name]).await.unwrap();
        }
        scene.passes(&[], "it is lost", |report| report.summary.did(Action::Reset) == 1).await;
        let size_of = if add == "SADD" { "SCARD" } else { "LLEN" };
        assert_eq!(size(&store, size_of, "responsible:a").await, 400, "the failed stay");
        let report = scene.pass().await;
        assert_eq!((report.summary.did(Action::Reset), report.lost_running), (0, 0), "{add}");
    }
}

/// Else old processes that still stand in an index would be lost anew with each look for names, and a healthy fleet would
/// seem to die.
#[tokio::test]
async fn an_idle_agents_death_counts_once() {
    let mut scene = Scene::new("dramatiq", "mode = \"enforce\"\n").await;
    let mut settings = sweeping(&scene.settings);
    settings.mass_loss = MassLossLimits::default();
    scene.sweeper = Sweeper::new(scene.store(), settings, Arc::new(NoObserver));
    scene.enqueue(1).await;
    scene.take("holds", 0..1).await;
    // Both are seen to live; one of them goes and held nothing.
    for _ in 0..3 {
        scene.passes(&["idle", "holds", "lives", "also"], "all live", |_| true).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let others = ["holds", "lives", "also"];
    scene.passes(&others, "it is lost", |report| report.figures.silent == 1).await;
    for _ in 0..10 {
        scene.passes(&others, "they live", |_| true).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let report = scene.passes(&others[1..], "one more is lost", |report| report.figures.silent > 0).await;
    assert_eq!(report.figures.sessions, 3, "the idle one is out of the fleet");
    assert!(report.guards.is_empty(), "two of four are no mass: {:?}", report.guards);
    assert_eq!(report.summary.did(Action::Reset), 1);
}
