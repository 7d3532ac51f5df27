//! What keeps one process, one death or one wrong clock from doing more than it may.

use std::time::Duration;

use backstop::core::id::Session;
use backstop::core::policy::{LateResults, QueuePolicy};
use backstop::core::words::{Action, Guard};
use backstop::native::scripts::adopt::{Adopt, Adopted};
use backstop::native::scripts::apply::ApplyAnswer;
use backstop::native::scripts::beat::{BeatWord, Mark};
use backstop::native::scripts::cancel::{Cancel, Cancelled};
use backstop::native::scripts::complete::Completed;
use backstop::native::scripts::declare::{Declare, Declared};
use backstop::native::scripts::enqueue::Enqueue;
use backstop::native::scripts::expire::{Expire, ExpireAnswer};
use backstop::native::scripts::extend::{Extend, Extended};
use backstop::native::scripts::fail::Failed;
use backstop::native::scripts::forget::{Forget, Forgotten};
use backstop::native::scripts::leave::{Leave, LeaveAnswer};
use backstop::native::scripts::note::Note;
use backstop::native::scripts::release::Released;
use backstop::native::scripts::reset::{Reset, ResetByHand};
use backstop::native::scripts::switch::Switch;
use backstop::native::scripts::take::TakeAnswer;

use super::scene::{LOST, Pair, Scene, by_silence, look, page, task};
use backstop::private_server::Fsync;

const GRACE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn after_a_restart_nothing_is_moved_before_a_sweeper_has_looked_and_its_grace_is_over() {
    let mut scene = Scene::on(Fsync::Always).await;
    scene.observe().await;
    let (session, pair) = scene.abandoned().await;
    let seen = scene.observe().await.facts.silent.remove(0);
    scene.restart().await;
    for looked in [false, true] {
        if looked {
            let page = page(scene.run(&look(GRACE)).await);
            assert!(page.grace_until_ms > page.facts.now_ms && !page.figures.known_server);
        }
        all_are_held(&scene, seen.beat_ms.unwrap(), &session).await;
        assert_eq!(scene.run(&by_silence(&seen, Action::Reset)).await, ApplyAnswer::Held);
    }
    // The one that died over it is judged by what a look finds after the grace.
    scene.elapse(GRACE).await;
    let page = scene.observe().await;
    assert!(matches!(scene.apply(&page, Action::Reset).await, ApplyAnswer::Done(_)));
    assert_eq!(scene.complete(&pair).await, Completed::Withdrawn);
}

async fn all_are_held(scene: &Scene, seen_beat_ms: i64, session: &Session) {
    let session = session.to_string();
    let declare = Declare { session: session.clone(), seen_beat_ms };
    assert_eq!(scene.run(&declare).await, Declared::Held);
    assert_eq!(scene.run(&Forget { session, seen_beat_ms }).await, Forgotten::Held);
    assert_eq!(scene.run(&Expire { ids: vec!["t".to_owned()] }).await, ExpireAnswer::Held);
}

#[tokio::test]
async fn an_override_ends_the_grace_and_one_that_was_ended_does_not() {
    let mut scene = Scene::on(Fsync::Off).await;
    let page = page(scene.run(&look(GRACE)).await);
    let (session, _) = scene.abandoned().await;
    scene
        .plain(&["HSET", &scene.key("control"), "grace_until", &(page.facts.now_ms + 60_000).to_string()])
        .await;
    let beat = scene.observe().await.facts.silent[0].beat_ms.unwrap();
    let declare = Declare { session: session.to_string(), seen_beat_ms: beat };
    let switch = |seen_change, until: String| Switch {
        seen_change,
        by: "me".to_owned(),
        fields: vec![("override:redis_changed".to_owned(), until)],
    };
    scene.run(&switch(0, String::new())).await;
    assert_eq!(scene.run(&declare).await, Declared::Held);
    scene.run(&switch(1, (page.facts.now_ms + 60_000).to_string())).await;
    assert_eq!(scene.run(&declare).await, Declared::Lost);
    assert_eq!(scene.run(&declare).await, Declared::Already);
}

#[tokio::test]
async fn a_crash_loop_gives_a_task_its_time_to_be_adopted_once() {
    let mut scene = Scene::new().await;
    let (first, _) = scene.abandoned().await;
    scene.register("a").await;
    let given = scene.dump().await.zset(&scene.key("agents"))[first.as_str()];
    assert_eq!(scene.observe().await.facts.silent, []);
    scene.elapse(Duration::from_secs(20)).await;
    scene.register("a").await;
    let left = scene.dump().await.zset(&scene.key("agents"))[first.as_str()];
    assert!((left - (given - 20_000.0)).abs() < 0.5, "{given} became {left}");
}

#[tokio::test]
async fn a_beat_undoes_being_lost_and_not_a_drain() {
    let mut scene = Scene::new().await;
    let session = scene.register("a").await;
    scene.plain(&["HSET", &scene.key("agent:a"), "draining", "wait"]).await;
    scene.elapse(2 * LOST).await;
    let page = scene.observe().await;
    let seen_beat_ms = page.facts.silent[0].beat_ms.unwrap();
    let declare = Declare { session: session.to_string(), seen_beat_ms };
    assert_eq!(scene.run(&declare).await, Declared::Lost);
    for number in 1..=2 {
        assert_eq!(scene.beat(&session, number, &[], Mark::None).await.word, BeatWord::Drain);
    }
    assert_eq!(scene.dump().await.hash(&scene.key("agent:a"))["state"], "active");
}

#[tokio::test]
async fn two_sessions_are_told_apart_though_a_failover_gave_both_the_same_number() {
    let mut scene = Scene::new().await;
    let first = scene.register("a").await;
    scene.plain(&["HSET", &scene.key("control"), "incarnation", "0"]).await;
    let second = scene.register("a").await;
    assert_ne!(first, second);
    assert_eq!(scene.beat(&first, 1, &[], Mark::None).await.word, BeatWord::Superseded);
}

/// Tokens, sessions and incarnations that nobody gave out: each is answered by a word, and nothing moves.
#[tokio::test]
async fn what_a_stranger_shows_is_answered_and_moves_nothing() {
    let mut scene = Scene::new().await;
    let (session, held) = scene.running().await;
    let before = scene.dump().await;
    let long = "x".repeat(5000);
    for token in ["", "x", "1-1-", "9-9-ffffffffffffffff", "1-1-ffffffffffffffff\n'", "-1--1-0", &long] {
        let pair = (held.0.clone(), token.to_owned());
        assert_eq!(scene.complete(&pair).await, Completed::Gone, "{token:?}");
        assert_eq!(scene.fail(&pair).await, Failed::Late, "{token:?}");
        assert_eq!(scene.release(&session, &pair).await, Released::Late, "{token:?}");
        let adopt = Adopt { session: session.clone(), nonce: scene.nonce(), pairs: vec![pair] };
        assert_eq!(scene.run(&adopt).await, [Adopted::NotYours], "{token:?}");
        assert_eq!(scene.dump().await, before, "{token:?}");
    }
    for (name, word) in [
        ("zz.9-00000000", BeatWord::Lost),
        ("a.99-00000000", BeatWord::Superseded),
        ("a.1-ffffffff", BeatWord::Superseded),
    ] {
        let stranger = Session::new(name).unwrap();
        assert_eq!(
            scene.beat(&stranger, 1, std::slice::from_ref(&held), Mark::None).await.word,
            word,
            "{name}"
        );
        let take = scene.taking(&stranger);
        let expected = if word == BeatWord::Lost { TakeAnswer::Lost } else { TakeAnswer::Superseded };
        assert_eq!(scene.run(&take).await, expected, "{name}");
        let adopt = Adopt { session: stranger.clone(), nonce: scene.nonce(), pairs: vec![held.clone()] };
        assert_eq!(scene.run(&adopt).await, [Adopted::Lost], "{name}");
        assert_eq!(scene.run(&Leave { session: stranger }).await, LeaveAnswer::Left, "{name}");
        assert_eq!(scene.dump().await, before, "{name}");
    }
    assert_eq!(scene.complete(&held).await, Completed::Completed);
}

#[tokio::test]
async fn a_run_that_is_told_to_stop_leaves_its_checkpoint_all_the_same() {
    let mut scene = Scene::new().await;
    let (session, pair) = revoked(&mut scene).await;
    let held = std::slice::from_ref(&pair);
    let beat = scene.beat(&session, 2, held, Mark::Checkpoint(b"half way".to_vec())).await;
    assert_eq!(beat.stop.len(), 1);
    scene.release(&session, &pair).await;
    let other = scene.register("b").await;
    assert_eq!(scene.take(&other).await[0].checkpoint, b"half way");
}

/// A task whose agent was told to stop by a limit.
async fn revoked(scene: &mut Scene) -> (Session, Pair) {
    let (session, pair) = scene.running().await;
    scene.elapse(Duration::from_secs(3601)).await;
    scene.beat(&session, 1, std::slice::from_ref(&pair), Mark::None).await;
    let page = scene.observe().await;
    scene.apply_overdue(&page, Action::Revoke).await;
    (session, pair)
}

#[tokio::test]
async fn giving_a_task_back_costs_nothing_unless_it_was_told_to_stop_or_is_a_predecessors() {
    let mut scene = Scene::new().await;
    let (session, pair) = scene.running().await;
    assert_eq!(scene.release(&session, &pair).await, Released::Released);

    let mut scene = Scene::new().await;
    let (session, pair) = revoked(&mut scene).await;
    assert_eq!(scene.release(&session, &pair).await, Released::Reset);

    let mut scene = Scene::new().await;
    let (_, pair) = scene.running().await;
    let successor = scene.register("a").await;
    let stranger = scene.register("b").await;
    assert_eq!(scene.release(&stranger, &pair).await, Released::Late);
    assert_eq!(scene.release(&successor, &pair).await, Released::Reset);
    assert_eq!(scene.dump().await.hash(&scene.key("task:t"))["abandonments"], "1");
}

#[tokio::test]
async fn a_cancelled_task_ends_whichever_way_it_is_given_up() {
    for way in ["release", "fail", "adopt", "reset"] {
        let mut scene = Scene::new().await;
        let (session, pair) = scene.running().await;
        let (id, seen) = pair.clone();
        assert_eq!(scene.run(&Cancel { id, seen, by: "me".to_owned() }).await, Cancelled::Revoked);
        match way {
            "release" => assert_eq!(scene.release(&session, &pair).await, Released::Discarded),
            "fail" => assert_eq!(scene.fail(&pair).await, Failed::Discarded),
            "reset" => {
                let reset = Reset { by: "me".to_owned(), pairs: vec![pair] };
                assert_eq!(scene.run(&reset).await, [ResetByHand::Discarded]);
            }
            _ => {
                let session = scene.register("a").await;
                let adopt = Adopt { session, nonce: scene.nonce(), pairs: vec![pair] };
                assert_eq!(scene.run(&adopt).await, [Adopted::Discarded]);
            }
        }
        assert_eq!(scene.dump().await.hash(&scene.key("stats"))["discarded"], "1", "{way}");
    }
}

#[tokio::test]
async fn an_adopted_task_was_not_told_to_stop_and_has_none_of_its_predecessors_limits() {
    let mut scene = Scene::new().await;
    let (_, pair) = revoked(&mut scene).await;
    let mut policy = QueuePolicy::default();
    policy.task.start_to_close.limit = None;
    scene.publish(&policy).await;
    let session = scene.register("a").await;
    let adopt = Adopt { session: session.clone(), nonce: scene.nonce(), pairs: vec![pair] };
    let [Adopted::Adopted(taken)] = &scene.run(&adopt).await[..] else { panic!("not adopted") };
    let pair = (taken.id.clone(), taken.token.clone());
    assert_eq!(scene.beat(&session, 1, &[pair], Mark::None).await.stop, []);
    let record = scene.dump().await.hash(&scene.key("task:t"));
    assert!(!record.contains_key("limit") && !record.contains_key("revoked_at"), "{record:?}");
}

#[tokio::test]
async fn a_waiting_task_past_its_deadline_is_set_aside_and_not_handed_out() {
    let mut scene = Scene::new().await;
    let mut new = task("t");
    new.deadline = Some(Duration::from_secs(1));
    scene.run(&Enqueue { tasks: vec![new] }).await;
    let session = scene.register("a").await;
    scene.elapse(Duration::from_secs(2)).await;
    assert_eq!(scene.take(&session).await, []);
    let left = scene.dump().await;
    assert_eq!(left.zset(&scene.key("dead")).len(), 1);
    assert!(left.zset(&scene.key("pending")).is_empty() && left.zset(&scene.key("expiring")).is_empty());
}

#[tokio::test]
async fn a_heartbeat_from_the_future_does_not_outlive_its_session() {
    let mut scene = Scene::new().await;
    let (session, _) = scene.running().await;
    let far = (i64::MAX / 1024).to_string();
    scene.plain(&["ZADD", &scene.key("agents"), &far, session.as_str()]).await;
    scene.observe().await;
    scene.elapse(2 * LOST).await;
    assert_eq!(scene.observe().await.facts.silent.len(), 1);
}

#[tokio::test]
async fn the_sweeper_is_called_as_soon_as_a_shorter_limit_joins_and_not_by_one_that_has_gone() {
    let mut scene = Scene::new().await;
    let (session, long) = scene.running().await;
    let mut policy = QueuePolicy::default();
    policy.task.start_to_close.limit = Some(Duration::from_secs(10));
    scene.publish(&policy).await;
    scene.enqueue("short").await;
    let short = scene.take_one(&session).await;
    scene.elapse(Duration::from_secs(11)).await;
    scene.beat(&session, 1, &[], Mark::None).await;
    let ids = |seen: &[backstop::core::facts::TaskFacts]| {
        seen.iter().map(|task| task.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&scene.observe().await.facts.overdue[0].tasks), ["short"]);
    scene.complete(&short).await;
    assert_eq!(scene.observe().await.facts.overdue, []);
    let due = scene.dump().await.zset(&scene.key("due"))[session.as_str()];
    let first = scene.dump().await.zset(&scene.key(&format!("running:{session}")))[&long.0];
    assert!((due - first).abs() < 0.5, "{due} {first}");
}

#[tokio::test]
async fn the_sweeper_is_called_for_an_adopted_task_and_for_a_sign_of_life_under_a_shorter_policy() {
    let mut scene = Scene::new().await;
    let (_, pair) = scene.running().await;
    let mut policy = QueuePolicy::default();
    policy.task.task_heartbeat_timeout = Some(Duration::from_secs(20));
    scene.publish(&policy).await;
    let session = scene.register("a").await;
    let adopt = Adopt { session: session.clone(), nonce: scene.nonce(), pairs: vec![pair] };
    let [Adopted::Adopted(taken)] = &scene.run(&adopt).await[..] else { panic!("not adopted") };
    let due = scene.dump().await.zset(&scene.key("due"))[session.as_str()];
    policy.task.task_heartbeat_timeout = Some(Duration::from_secs(5));
    scene.publish(&policy).await;
    scene.beat(&session, 1, &[(taken.id.clone(), taken.token.clone())], Mark::Alive).await;
    let sooner = scene.dump().await.zset(&scene.key("due"))[session.as_str()];
    assert!(sooner < due, "{sooner} {due}");
}

#[tokio::test]
async fn a_queue_that_remembers_nothing_of_what_is_done_completes_all_the_same() {
    let mut scene = Scene::new().await;
    scene.publish(&QueuePolicy { keep_done: Duration::ZERO, ..QueuePolicy::default() }).await;
    let (_, pair) = scene.running().await;
    assert_eq!(scene.complete(&pair).await, Completed::Completed);
}

#[tokio::test]
async fn a_refused_completion_sent_again_counts_nothing_anew() {
    let mut scene = Scene::new().await;
    let mut policy = QueuePolicy::default();
    policy.task.late_results = LateResults::Refuse;
    scene.publish(&policy).await;
    let (_, pair) = scene.abandoned().await;
    let page = scene.observe().await;
    scene.apply(&page, Action::Reset).await;
    assert_eq!(scene.complete(&pair).await, Completed::Late);
    let before = scene.dump().await;
    assert_eq!(scene.complete(&pair).await, Completed::Late);
    assert_eq!(scene.dump().await, before);
}

#[tokio::test]
async fn a_task_that_shows_life_is_not_called_silent_once_its_type_need_not_show_any() {
    let mut scene = Scene::new().await;
    let mut policy = QueuePolicy::default();
    policy.task.task_heartbeat_timeout = Some(Duration::from_secs(20));
    scene.publish(&policy).await;
    let (session, pair) = scene.running().await;
    policy.task.task_heartbeat_timeout = None;
    scene.publish(&policy).await;
    for number in 1..=3 {
        scene.elapse(Duration::from_secs(10)).await;
        scene.beat(&session, number, std::slice::from_ref(&pair), Mark::Alive).await;
        assert!(scene.observe().await.facts.overdue.is_empty(), "after beat {number}");
    }
}

/// When the sweeper is called for a session, and where its first task stands.
async fn called_and_first(scene: &Scene, session: &Session) -> (f64, f64) {
    let dump = scene.dump().await;
    let running = dump.zset(&scene.key(&format!("running:{session}")));
    let first = running.into_values().fold(f64::INFINITY, f64::min);
    (dump.zset(&scene.key("due"))[session.as_str()], first)
}

#[tokio::test]
async fn a_longer_limit_that_joins_does_not_put_the_sweeper_off() {
    let mut scene = Scene::new().await;
    let (session, _) = scene.running().await;
    let mut policy = QueuePolicy::default();
    policy.task.start_to_close.limit = Some(Duration::from_secs(36_000));
    scene.publish(&policy).await;
    scene.enqueue("long").await;
    scene.take_one(&session).await;
    let (called, first) = called_and_first(&scene, &session).await;
    assert!(called <= first, "{called} {first}");
}

#[tokio::test]
async fn the_sweeper_is_called_for_what_a_person_cancelled_or_gave_less_time() {
    let mut scene = Scene::new().await;
    let (session, (id, token)) = scene.running().await;
    let now = scene.observe().await.facts.now_ms;
    let extend = Extend { id: id.clone(), token: token.clone(), limit_ms: now + 60_000, by: "me".to_owned() };
    assert_eq!(scene.run(&extend).await, Extended::Extended);
    let (called, first) = called_and_first(&scene, &session).await;
    assert!(called <= first, "{called} {first}");
    let cancel = Cancel { id, seen: token, by: "me".to_owned() };
    assert_eq!(scene.run(&cancel).await, Cancelled::Revoked);
    let overdue = scene.observe().await.facts.overdue;
    assert!(overdue.len() == 1 && overdue[0].tasks[0].cancelled, "{overdue:?}");
}

#[tokio::test]
async fn a_task_that_is_only_listed_has_shown_no_life_of_its_own() {
    let mut scene = Scene::new().await;
    let mut policy = QueuePolicy::default();
    policy.task.task_heartbeat_timeout = Some(Duration::from_secs(20));
    scene.publish(&policy).await;
    let (session, pair) = scene.running().await;
    scene.elapse(Duration::from_secs(21)).await;
    scene.beat(&session, 1, std::slice::from_ref(&pair), Mark::None).await;
    assert_eq!(scene.observe().await.facts.overdue.len(), 1);
    scene.beat(&session, 2, std::slice::from_ref(&pair), Mark::Alive).await;
    assert_eq!(scene.observe().await.facts.overdue, []);
}

#[tokio::test]
async fn more_time_does_not_take_back_that_a_task_was_cancelled() {
    let mut scene = Scene::new().await;
    let (_, (id, token)) = scene.running().await;
    let limit_ms = scene.observe().await.facts.now_ms + 60_000;
    let cancel = Cancel { id: id.clone(), seen: token.clone(), by: "me".to_owned() };
    assert_eq!(scene.run(&cancel).await, Cancelled::Revoked);
    let extend = Extend { id, token, limit_ms, by: "me".to_owned() };
    assert_eq!(scene.run(&extend).await, Extended::Changed);
}

#[tokio::test]
async fn a_grace_is_lengthened_and_never_shortened() {
    let scene = Scene::new().await;
    let grace = |long| Note { grace: Some((Guard::ClockJumped, long)), fields: Vec::new() };
    scene.run(&grace(GRACE)).await;
    let open = scene.observe().await.grace_until_ms;
    scene.run(&grace(GRACE / 2)).await;
    assert_eq!(scene.observe().await.grace_until_ms, open);
    scene.run(&grace(GRACE * 2)).await;
    assert!(scene.observe().await.grace_until_ms > open);
}

#[tokio::test]
async fn no_session_runs_more_than_256_tasks_however_it_comes_by_them() {
    let mut scene = Scene::new().await;
    for page in 0..6 {
        let tasks = (0..50).map(|n| task(&format!("t{page}-{n}"))).collect();
        scene.run(&Enqueue { tasks }).await;
    }
    let former = scene.register("a").await;
    let pair = scene.take(&former).await.remove(0);
    let session = scene.register("a").await;
    let mut held = 0;
    for _ in 0..5 {
        held += scene.take(&session).await.len();
    }
    assert_eq!(held, 250);
    for _ in 0..6 {
        scene.enqueue(&format!("more{held}")).await;
        held += scene.take(&session).await.len();
    }
    assert_eq!(held, 256);
    scene.enqueue("one-too-many").await;
    assert_eq!(scene.take(&session).await, []);
    let adopt = Adopt { session, nonce: scene.nonce(), pairs: vec![(pair.id, pair.token)] };
    assert_eq!(scene.run(&adopt).await, [Adopted::Full]);
}
