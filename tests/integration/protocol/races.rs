//! What happens between a look and the act that follows from it, and what a late copy of a command does.

use std::time::Duration;

use backstop::core::id::Session;
use backstop::core::policy::{AgeLimit, LimitAction, QueuePolicy};
use backstop::native::scripts::apply::{Applied, ApplyAnswer, Do};
use backstop::native::scripts::beat::Mark;
use backstop::native::scripts::cancel::{Cancel, Cancelled};
use backstop::native::scripts::complete::Completed;
use backstop::native::scripts::enqueue::Enqueue;
use backstop::native::scripts::extend::{Extend, Extended};

use super::scene::{LOST, Pair, Scene, task};

fn skipped() -> ApplyAnswer {
    ApplyAnswer::Done(vec![Applied::Skipped])
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
    assert_eq!(scene.apply(&page, Do::Reset).await, skipped());
    assert_eq!(scene.complete(&pair).await, Completed::Completed);
}

#[tokio::test]
async fn a_cancelled_task_is_discarded_by_the_verdict_of_a_sweeper_that_had_not_seen_it() {
    let mut scene = Scene::new().await;
    let (_, pair) = scene.abandoned().await;
    let page = scene.observe().await;
    assert_eq!(cancel(&scene, &pair).await, Cancelled::Revoked);
    assert_eq!(scene.apply(&page, Do::Reset).await, ApplyAnswer::Done(vec![Applied::Discarded]));
}

#[tokio::test]
async fn an_alert_does_not_take_the_fence_from_a_task_that_was_cancelled_meanwhile() {
    let mut scene = Scene::new().await;
    let (_, pair) = overdue(&mut scene, LimitAction::Alert).await;
    let page = scene.observe().await;
    assert_eq!(cancel(&scene, &pair).await, Cancelled::Revoked);
    assert_eq!(scene.apply_overdue(&page, Do::Alert).await, skipped());
    scene.elapse(Duration::from_secs(31)).await;
    assert_eq!(scene.observe().await.overdue.len(), 1, "nobody would ever look at it again");
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
    assert_eq!(scene.observe().await.overdue, []);
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
    let limit_ms = page.now_ms + 60_000;
    assert_eq!(scene.run(&Extend { id, token, limit_ms, by: "me".to_owned() }).await, Extended::Extended);
    assert_eq!(scene.apply(&page, Do::Expire).await, skipped());
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
    assert_eq!(scene.apply_overdue(&page, Do::Alert).await, ApplyAnswer::Done(vec![Applied::Alerted]));
    scene.elapse(Duration::from_secs(2)).await;
    assert_eq!(scene.apply_overdue(&page, Do::Alert).await, skipped());
}
