//! What happens between a look and the act that follows from it, and what a late copy of a command does.

use std::time::Duration;

use backstop::core::id::Session;
use backstop::core::policy::{AgeLimit, LimitAction, QueuePolicy};
use backstop::core::words::Action;
use backstop::native::scripts::adopt::{Adopt, Adopted};
use backstop::native::scripts::apply::{Apply, ApplyAnswer};
use backstop::native::scripts::beat::{BeatWord, Mark, StopWhy};
use backstop::native::scripts::cancel::{Cancel, Cancelled};
use backstop::native::scripts::complete::Completed;
use backstop::native::scripts::declare::{Declare, Declared};
use backstop::native::scripts::enqueue::{Enqueue, Enqueued};
use backstop::native::scripts::expire::{Expire, ExpireAnswer, Expired};
use backstop::native::scripts::extend::{Extend, Extended};
use backstop::native::scripts::forget::{Forget, Forgotten};
use backstop::native::scripts::observe::Page;
use backstop::native::scripts::redrive::{Redrive, Redriven, SeenDead};
use backstop::native::scripts::take::TakeAnswer;
use backstop::store::Reply;

use super::scene::{LOST, Pair, Scene, by_silence, task};

fn skipped() -> ApplyAnswer {
    ApplyAnswer::Done(vec![false])
}

async fn cancel(scene: &Scene, pair: &Pair) -> Cancelled {
    let (id, seen) = pair.clone();
    scene.run(&Cancel { id, seen, by: "me".to_owned() }).await
}

/// A policy under which tasks may run for a second, and then this happens.
fn limited(action: LimitAction) -> QueuePolicy {
    let mut policy = QueuePolicy::default();
    policy.task.start_to_close = AgeLimit { limit: Some(Duration::from_secs(1)), action };
    policy
}

/// A task past its limit whose session beats.
async fn overdue(scene: &mut Scene, action: LimitAction) -> (Session, Pair) {
    scene.publish(&limited(action)).await;
    let (session, pair) = scene.running().await;
    scene.elapse(Duration::from_secs(2)).await;
    (session, pair)
}

#[tokio::test]
async fn leaves_task_when_heartbeat_returns_between_observe_and_apply() {
    let mut scene = Scene::new().await;
    let (session, pair) = scene.abandoned().await;
    let page = scene.observe().await;
    scene.beat(&session, 1, std::slice::from_ref(&pair), Mark::None).await;
    assert_eq!(scene.apply(&page, Action::Reset).await, skipped());
    assert_eq!(scene.complete(&pair).await, Completed::Completed);
}

#[tokio::test]
async fn a_cancelled_task_is_not_handed_out_again_by_a_sweeper_that_had_not_seen_it() {
    let mut scene = Scene::new().await;
    let (_, pair) = scene.abandoned().await;
    let page = scene.observe().await;
    assert_eq!(cancel(&scene, &pair).await, Cancelled::Revoked);
    assert_eq!(scene.apply(&page, Action::DeadLetter).await, skipped());
    // A reset doesn't read whether a task was cancelled; who takes it next does.
    assert_eq!(scene.apply(&page, Action::Reset).await, ApplyAnswer::Done(vec![true]));
    let other = scene.register("b").await;
    assert_eq!(scene.take(&other).await, []);
    assert_eq!(scene.dump().await.hash(&scene.key("stats"))["discarded"], "1");
}

#[tokio::test]
async fn the_sweeper_is_called_for_a_running_task_that_a_person_cancels() {
    let mut scene = Scene::new().await;
    let (_, pair) = scene.running().await;
    assert_eq!(scene.observe().await.facts.overdue, []);
    assert_eq!(cancel(&scene, &pair).await, Cancelled::Revoked);
    let overdue = scene.observe().await.facts.overdue;
    assert!(overdue.len() == 1 && overdue[0].tasks[0].cancelled, "{overdue:?}");
}

#[tokio::test]
async fn an_alert_does_not_take_the_fence_from_a_task_that_was_cancelled_meanwhile() {
    let mut scene = Scene::new().await;
    let (_, pair) = overdue(&mut scene, LimitAction::Alert).await;
    let page = scene.observe().await;
    assert_eq!(cancel(&scene, &pair).await, Cancelled::Revoked);
    assert_eq!(scene.apply_overdue(&page, Action::Alert).await, skipped());
    scene.elapse(Duration::from_secs(31)).await;
    assert_eq!(scene.observe().await.facts.overdue.len(), 1, "nobody would ever look at it again");
}

#[tokio::test]
async fn a_limit_of_an_earlier_attempt_does_not_bind_the_next_one() {
    let mut scene = Scene::new().await;
    let (session, pair) = overdue(&mut scene, LimitAction::Reset).await;
    scene.release(&session, &pair).await;
    let mut policy = QueuePolicy::default();
    policy.task.start_to_close.limit = None;
    policy.task.task_heartbeat_timeout = Some(Duration::from_secs(30));
    scene.publish(&policy).await;
    let pair = scene.take_one(&session).await;
    scene.beat(&session, 1, &[pair], Mark::Alive).await;
    assert_eq!(scene.observe().await.facts.overdue, []);
}

#[tokio::test]
async fn a_person_who_extends_a_task_keeps_it_from_expiring_by_an_older_page() {
    let mut scene = Scene::new().await;
    let mut new = task("t");
    new.deadline = Some(Duration::from_secs(10));
    scene.run(&Enqueue { tasks: vec![new] }).await;
    let session = scene.register("a").await;
    let (id, token) = scene.take_one(&session).await;
    scene.elapse(2 * LOST).await;
    let page = scene.observe().await;
    let limit_ms = page.facts.now_ms + 60_000;
    assert_eq!(scene.run(&Extend { id, token, limit_ms, by: "me".to_owned() }).await, Extended::Extended);
    assert_eq!(scene.apply(&page, Action::Expire).await, skipped());
}

#[tokio::test]
async fn two_sweepers_with_the_same_page_alert_once_though_another_limit_passes_meanwhile() {
    let mut scene = Scene::new().await;
    let mut policy = limited(LimitAction::Alert);
    policy.task.task_heartbeat_timeout = Some(Duration::from_secs(3));
    scene.publish(&policy).await;
    scene.running().await;
    scene.elapse(Duration::from_secs(2)).await;
    let page = scene.observe().await;
    assert_eq!(scene.apply_overdue(&page, Action::Alert).await, ApplyAnswer::Done(vec![true]));
    scene.elapse(Duration::from_secs(2)).await;
    assert_eq!(scene.apply_overdue(&page, Action::Alert).await, skipped());
}

#[tokio::test]
async fn a_completion_between_observe_and_apply_stands() {
    let mut scene = Scene::new().await;
    let (_, pair) = scene.abandoned().await;
    let page = scene.observe().await;
    assert_eq!(scene.complete(&pair).await, Completed::Completed);
    assert_eq!(scene.apply(&page, Action::Reset).await, skipped());
    assert_eq!(scene.enqueue("t").await, Enqueued::Exists);
}

#[tokio::test]
async fn a_new_attempt_is_not_moved_by_a_verdict_about_the_last_one() {
    let mut scene = Scene::new().await;
    let (session, pair) = scene.abandoned().await;
    let page = scene.observe().await;
    // Neither giving back nor taking is a sign of life: the session is as silent as the page says.
    scene.release(&session, &pair).await;
    let next = scene.take_one(&session).await;
    for action in [Action::Reset, Action::DeadLetter, Action::Revoke] {
        assert_eq!(scene.apply(&page, action).await, skipped(), "{action:?}");
    }
    assert_eq!(scene.complete(&next).await, Completed::Completed);
}

#[tokio::test]
async fn a_limit_that_was_moved_between_observe_and_apply_counts() {
    let mut scene = Scene::new().await;
    let (_, (id, token)) = overdue(&mut scene, LimitAction::Reset).await;
    let page = scene.observe().await;
    let limit_ms = page.facts.now_ms + 60_000;
    scene.run(&Extend { id, token, limit_ms, by: "me".to_owned() }).await;
    for action in [Action::Reset, Action::Revoke, Action::Alert, Action::DeadLetter] {
        assert_eq!(scene.apply_overdue(&page, action).await, skipped());
    }
    assert_eq!(scene.observe().await.facts.overdue, []);
}

#[tokio::test]
async fn an_order_to_stop_does_not_reach_the_next_attempt_though_it_too_is_overdue() {
    let mut scene = Scene::new().await;
    let (session, pair) = overdue(&mut scene, LimitAction::Revoke).await;
    let page = scene.observe().await;
    scene.release(&session, &pair).await;
    scene.take_one(&session).await;
    scene.elapse(Duration::from_secs(2)).await;
    for action in [Action::Revoke, Action::Alert, Action::Reset] {
        assert_eq!(scene.apply_overdue(&page, action).await, skipped());
    }
}

#[tokio::test]
async fn extending_a_task_takes_back_the_order_to_stop() {
    let mut scene = Scene::new().await;
    let (session, pair) = overdue(&mut scene, LimitAction::Revoke).await;
    let page = scene.observe().await;
    assert_eq!(scene.apply_overdue(&page, Action::Revoke).await, ApplyAnswer::Done(vec![true]));
    assert_eq!(scene.apply_overdue(&page, Action::Revoke).await, skipped());
    let told = scene.beat(&session, 1, std::slice::from_ref(&pair), Mark::None).await.stop;
    assert_eq!(told, [(pair.0.clone(), pair.1.clone(), StopWhy::Revoked)]);
    let (id, token) = pair.clone();
    let limit_ms = page.facts.now_ms + 60_000;
    scene.run(&Extend { id, token, limit_ms, by: "me".to_owned() }).await;
    assert_eq!(scene.beat(&session, 2, &[pair], Mark::None).await.stop, []);
}

#[tokio::test]
async fn a_session_that_takes_between_observe_and_forget_is_not_forgotten() {
    let mut scene = Scene::new().await;
    let session = scene.register("a").await;
    scene.elapse(2 * LOST).await;
    let page = scene.observe().await;
    scene.enqueue("t").await;
    scene.take_one(&session).await;
    assert_eq!(forget(&scene, &page).await, Forgotten::Holds);
}

#[tokio::test]
async fn a_session_that_beats_between_observe_and_forget_or_declare_is_alive() {
    let mut scene = Scene::new().await;
    let session = scene.register("a").await;
    scene.elapse(2 * LOST).await;
    let page = scene.observe().await;
    scene.beat(&session, 1, &[], Mark::None).await;
    assert_eq!(forget(&scene, &page).await, Forgotten::Alive);
    assert_eq!(declare(&scene, &page).await, Declared::Alive);
}

#[tokio::test]
async fn forgetting_a_former_session_leaves_its_successor_alive() {
    let mut scene = Scene::new().await;
    let (_, pair) = scene.abandoned().await;
    let newer = scene.register("a").await;
    scene.complete(&pair).await;
    scene.elapse(2 * LOST).await;
    scene.beat(&newer, 1, &[], Mark::None).await;
    let page = scene.observe().await;
    assert_eq!(page.facts.silent.len(), 1);
    assert_eq!(declare(&scene, &page).await, Declared::Already);
    assert_eq!(forget(&scene, &page).await, Forgotten::Forgotten);
    assert_eq!(scene.dump().await.hash(&scene.key("agent:a"))["state"], "active");
    assert_eq!(forget(&scene, &page).await, Forgotten::Alive);
}

#[tokio::test]
async fn a_forgotten_session_takes_nothing_and_its_beat_does_not_bring_it_back() {
    let mut scene = Scene::new().await;
    let session = scene.register("a").await;
    scene.elapse(2 * LOST).await;
    let page = scene.observe().await;
    assert_eq!(forget(&scene, &page).await, Forgotten::Forgotten);
    assert_eq!(scene.beat(&session, 1, &[], Mark::None).await.word, BeatWord::Lost);
    scene.enqueue("t").await;
    let take = scene.taking(&session);
    assert_eq!(scene.run(&take).await, TakeAnswer::Lost);
}

#[tokio::test]
async fn a_successor_that_registers_between_observe_and_apply_gets_its_time_to_adopt() {
    let mut scene = Scene::new().await;
    let (_, pair) = scene.abandoned().await;
    let page = scene.observe().await;
    let successor = scene.register("a").await;
    assert_eq!(scene.apply(&page, Action::Reset).await, skipped());
    let adopt = Adopt { session: successor, nonce: scene.nonce(), pairs: vec![pair] };
    assert!(matches!(scene.run(&adopt).await[..], [Adopted::Adopted(_)]));
}

#[tokio::test]
async fn two_sweepers_with_the_same_page_reset_once() {
    let mut scene = Scene::new().await;
    scene.abandoned().await;
    let page = scene.observe().await;
    assert_eq!(scene.apply(&page, Action::Reset).await, ApplyAnswer::Done(vec![true]));
    let before = scene.dump().await;
    for action in [Action::Reset, Action::DeadLetter, Action::Expire, Action::Discard] {
        assert_eq!(scene.apply(&page, action).await, skipped());
    }
    assert_eq!(scene.dump().await, before);
}

#[tokio::test]
async fn a_cancelled_task_is_no_dead_letter_though_its_deadline_passed_before_anyone_took_it() {
    for taken in [false, true] {
        let mut scene = Scene::new().await;
        let mut new = task("t");
        new.deadline = Some(Duration::from_secs(90));
        scene.run(&Enqueue { tasks: vec![new] }).await;
        let session = scene.register("a").await;
        let pair = scene.take_one(&session).await;
        scene.elapse(2 * LOST).await;
        let page = scene.observe().await;
        assert_eq!(cancel(&scene, &pair).await, Cancelled::Revoked);
        assert_eq!(scene.apply(&page, Action::Reset).await, ApplyAnswer::Done(vec![true]));
        scene.elapse(2 * LOST).await;
        if taken {
            let other = scene.register("b").await;
            assert_eq!(scene.take(&other).await, []);
        } else {
            let expire = Expire { ids: vec!["t".to_owned()] };
            assert_eq!(scene.run(&expire).await, ExpireAnswer::Done(vec![Expired::Discarded]));
        }
        let dump = scene.dump().await;
        assert_eq!(dump.hash(&scene.key("stats"))["discarded"], "1");
        assert!(dump.zset(&scene.key("dead")).is_empty() && dump.zset(&scene.key("expiring")).is_empty());
    }
}

#[tokio::test]
async fn a_redriven_task_begins_without_what_it_was_charged() {
    let mut scene = Scene::new().await;
    let mut new = task("t");
    new.deadline = Some(Duration::from_secs(90));
    scene.run(&Enqueue { tasks: vec![new] }).await;
    let session = scene.register("a").await;
    let first = scene.take_one(&session).await;
    scene.fail(&first).await;
    scene.elapse(2 * LOST).await;
    let pair = scene.take_one(&session).await;
    let page = scene.observe().await;
    assert_eq!(scene.apply(&page, Action::Reset).await, ApplyAnswer::Done(vec![true]));
    scene.elapse(2 * LOST).await;
    let expire = Expire { ids: vec!["t".to_owned()] };
    assert_eq!(scene.run(&expire).await, ExpireAnswer::Done(vec![Expired::Expired]));
    let dead = vec![died(&scene, &pair.1).await];
    let redrive = Redrive { deadline: Some(LOST), by: "me".to_owned(), dead };
    assert_eq!(scene.run(&redrive).await, [Redriven::Redriven]);
    let session = scene.register("b").await;
    let taken = scene.take(&session).await;
    assert_eq!((taken[0].attempt, taken[0].failures, taken[0].abandonments), (3, 0, 0));
}

#[tokio::test]
async fn a_task_that_was_redriven_with_a_new_deadline_does_not_expire_by_an_older_page() {
    let mut scene = Scene::new().await;
    let mut new = task("t");
    new.deadline = Some(Duration::from_secs(1));
    scene.run(&Enqueue { tasks: vec![new] }).await;
    scene.elapse(Duration::from_secs(2)).await;
    let page = scene.observe().await;
    let expire = Expire { ids: page.facts.expired.into_iter().map(|(id, _)| id).collect() };
    assert_eq!(scene.run(&expire).await, ExpireAnswer::Done(vec![Expired::Expired]));
    assert_eq!(scene.run(&expire).await, ExpireAnswer::Done(vec![Expired::Skipped]));
    let redrive = |deadline| Redrive { deadline, by: "me".to_owned(), dead: vec![] };
    let dead = vec![died(&scene, "").await];
    assert_eq!(scene.run(&Redrive { dead: dead.clone(), ..redrive(None) }).await, [Redriven::DeadlinePassed]);
    let later = Some(Duration::from_secs(60));
    assert_eq!(scene.run(&Redrive { dead, ..redrive(later) }).await, [Redriven::Redriven]);
    assert_eq!(scene.run(&expire).await, ExpireAnswer::Done(vec![Expired::Skipped]));
    let session = scene.register("a").await;
    scene.take_one(&session).await;
    scene.elapse(2 * LOST).await;
    assert_eq!(scene.run(&expire).await, ExpireAnswer::Done(vec![Expired::Skipped]), "it runs");
}

#[tokio::test]
async fn a_dead_letter_that_was_completed_late_is_not_redriven() {
    let mut scene = Scene::new().await;
    let (_, pair) = scene.abandoned().await;
    let page = scene.observe().await;
    assert_eq!(scene.apply(&page, Action::DeadLetter).await, ApplyAnswer::Done(vec![true]));
    let dead = vec![died(&scene, &pair.1).await];
    assert_eq!(scene.complete(&pair).await, Completed::Withdrawn);
    let redrive = Redrive { deadline: None, by: "me".to_owned(), dead };
    assert_eq!(scene.run(&redrive).await, [Redriven::Changed]);
}

#[tokio::test]
async fn a_late_result_withdraws_the_replacement_until_it_is_taken_and_is_refused_from_then_on() {
    for taken in [false, true] {
        let mut scene = Scene::new().await;
        let (_, pair) = scene.abandoned().await;
        let page = scene.observe().await;
        scene.apply(&page, Action::Reset).await;
        let other = scene.register("b").await;
        if taken {
            let second = scene.take_one(&other).await;
            assert_eq!(scene.complete(&pair).await, Completed::Late);
            assert_eq!(scene.complete(&second).await, Completed::Completed);
            assert_eq!(scene.complete(&pair).await, Completed::Late);
        } else {
            assert_eq!(scene.complete(&pair).await, Completed::Withdrawn);
            assert_eq!(scene.complete(&pair).await, Completed::Already);
            assert_eq!(scene.take(&other).await, []);
        }
        let stats = scene.dump().await.hash(&scene.key("stats"));
        assert_eq!(stats[if taken { "late" } else { "false_resets" }], "1");
        // A result may come a day late and is still known as one.
        let Reply::Int(left) = scene.store().command(&["PTTL", &scene.key("done:t")]).await.unwrap() else {
            panic!("no number")
        };
        assert!(left > 23 * 3_600_000, "{left}");
    }
}

#[tokio::test]
async fn a_withdrawn_replacement_stands_nowhere_any_more() {
    for (action, delay) in [(Action::Reset, 0), (Action::Reset, 60), (Action::DeadLetter, 0)] {
        let mut scene = Scene::new().await;
        let mut new = task("t");
        new.deadline = Some(Duration::from_secs(3600));
        scene.run(&Enqueue { tasks: vec![new] }).await;
        let session = scene.register("a").await;
        let pair = scene.take_one(&session).await;
        scene.elapse(2 * LOST).await;
        let page = scene.observe().await;
        let apply = Apply { delay: Duration::from_secs(delay), ..by_silence(&page.facts.silent[0], action) };
        assert_ne!(scene.run(&apply).await, skipped());
        assert_eq!(scene.complete(&pair).await, Completed::Withdrawn);
        let left = scene.dump().await;
        for index in ["pending", "delayed", "dead", "expiring"] {
            assert!(left.zset(&scene.key(index)).is_empty(), "{action:?}: {index}");
        }
    }
}

#[tokio::test]
async fn a_waiting_task_that_was_taken_meanwhile_is_not_cancelled_by_what_a_person_saw() {
    let mut scene = Scene::new().await;
    scene.enqueue("t").await;
    let seen = scene.dump().await.hash(&scene.key("task:t"))["enqueued_at"].clone();
    let session = scene.register("a").await;
    let pair = scene.take_one(&session).await;
    assert_eq!(cancel(&scene, &("t".to_owned(), seen)).await, Cancelled::Changed);
    assert_eq!(scene.complete(&pair).await, Completed::Completed);
}

async fn died(scene: &Scene, token: &str) -> SeenDead {
    let at = scene.dump().await.zset(&scene.key("dead"))["t"];
    #[allow(clippy::cast_possible_truncation, reason = "a time in ms")]
    SeenDead { id: "t".to_owned(), token: token.to_owned(), died_at_ms: at as i64 }
}

async fn forget(scene: &Scene, page: &Page) -> Forgotten {
    let seen = &page.facts.silent[0];
    scene.run(&Forget { session: seen.session.clone(), seen_beat_ms: seen.beat_ms.unwrap() }).await
}

async fn declare(scene: &Scene, page: &Page) -> Declared {
    let seen = &page.facts.silent[0];
    scene.run(&Declare { session: seen.session.clone(), seen_beat_ms: seen.beat_ms.unwrap() }).await
}
