//! Runs that hang: their tasks wait for the end of their work elsewhere.

use super::*;

/// A task whose run hung while its agent lived, taken from it; its work elsewhere can be cancelled.
pub(super) async fn hung(scene: &mut Scene, by: &str) -> Pair {
    let mut policy = QueuePolicy::default();
    policy.task.external.cancel = Some(Hook::Command(vec!["cancel".into()]));
    scene.publish(&policy).await;
    let (session, held) = running(scene).await;
    scene.elapse(Duration::from_secs(3600)).await;
    scene.beat(&session, 1, std::slice::from_ref(&held), Mark::None).await;
    let overdue = scene.observe().await;
    if by == "the sweeper" {
        scene.apply_overdue(&overdue, Action::Reset).await;
    } else {
        scene.apply_overdue(&overdue, Action::Revoke).await;
        assert_eq!(scene.release(&session, &held).await, Released::Reset);
    }
    held
}

#[tokio::test]
async fn a_hung_runs_task_is_handed_out_once_its_work_is_known_to_have_ended_or_its_time_is_over() {
    for by in ["the sweeper", "its agent"] {
        for how in [Some(How::Ended), Some(How::Cannot), Some(How::ByHand), None] {
            let mut scene = Scene::new().await;
            hung(&mut scene, by).await;
            assert_eq!(unwanted(&scene).await, entry(JOB));
            let other = scene.register("b").await;
            assert!(scene.take(&other).await.is_empty(), "{by}: it waits");
            match how {
                Some(how) => {
                    let dismiss = Dismiss { by: "me".into(), how, jitter: 0, entries: entry(JOB) };
                    let kept = how == How::Cannot;
                    let answer = scene.run(&dismiss).await;
                    assert_eq!(answer, [if kept { Dismissed::Kept } else { Dismissed::Dismissed }]);
                    assert_eq!(unwanted(&scene).await.is_empty(), !kept, "{how:?}");
                }
                None => scene.elapse(Duration::from_secs(3600)).await,
            }
            let again = next(&mut scene).await;
            assert_eq!((again.attempt, again.external), (2, None), "{by}, {how:?}");
        }
    }
}

#[tokio::test]
async fn what_succeeded_or_failed_while_its_task_waited_is_not_done_again() {
    for (how, done) in [(How::Succeeded, true), (How::Failed, false)] {
        let mut scene = Scene::new().await;
        let held = hung(&mut scene, "the sweeper").await;
        let dismiss = Dismiss { by: "me".into(), how, jitter: 0, entries: entry(JOB) };
        assert_eq!(scene.run(&dismiss).await, [Dismissed::Dismissed]);
        if done {
            assert_eq!(scene.complete(&held).await, Completed::Already);
        } else {
            scene.elapse(Duration::from_secs(10)).await;
            let again = next(&mut scene).await;
            assert_eq!((again.failures, again.abandonments), (1, 1));
        }
    }
}

#[tokio::test]
async fn a_word_about_work_reaches_no_task_that_does_not_wait_for_it() {
    for how in [How::Ended, How::Succeeded, How::Failed, How::Cannot] {
        let mut scene = Scene::new().await;
        hung(&mut scene, "the sweeper").await;
        // Its time is over, and somebody has it.
        scene.elapse(Duration::from_secs(3600)).await;
        let second = next(&mut scene).await;
        let dismiss = Dismiss { by: "me".into(), how, jitter: 0, entries: entry(JOB) };
        scene.run(&dismiss).await;
        assert_eq!(scene.complete(&pair(&second)).await, Completed::Completed, "{how:?}");
    }
}

#[tokio::test]
async fn a_word_about_one_piece_of_work_is_none_about_another() {
    let mut scene = Scene::new().await;
    hung(&mut scene, "the sweeper").await;
    scene.plain(&["ZADD", &scene.key("unwanted"), "1", "kind t another"]).await;
    let dismiss =
        |handle| Dismiss { by: "me".into(), how: How::Succeeded, jitter: 0, entries: entry(handle) };
    assert_eq!(scene.run(&dismiss("another")).await, [Dismissed::Dismissed]);
    let other = scene.register("b").await;
    assert!(scene.take(&other).await.is_empty(), "it waits for the end of its own");
    // Its time is over; the agent of the next attempt dies, and the task waits for another reason.
    scene.elapse(Duration::from_secs(3600)).await;
    scene.beat(&other, 1, &[], Mark::None).await;
    let second = scene.take_one(&other).await;
    scene.elapse(2 * LOST).await;
    let lost = scene.observe().await;
    let seen = lost.facts.silent.iter().find(|seen| seen.session == other.as_str()).unwrap();
    let later = Apply { delay: Duration::from_secs(10), ..by_silence(seen, Action::Reset) };
    assert_eq!(scene.run(&later).await, ApplyAnswer::Done(vec![true]));
    assert_eq!(scene.run(&dismiss(JOB)).await, [Dismissed::Dismissed]);
    assert_eq!(
        scene.complete(&second).await,
        Completed::Withdrawn,
        "it is not complete by the work of an attempt before"
    );
}

#[tokio::test]
async fn what_hung_is_completed_by_its_work_only_where_late_results_count_and_is_counted_once() {
    let mut scene = Scene::new().await;
    let held = hung(&mut scene, "the sweeper").await;
    let mut policy = QueuePolicy::default();
    policy.task.late_results = LateResults::Refuse;
    scene.publish(&policy).await;
    let dismiss = Dismiss { by: "me".into(), how: How::Succeeded, jitter: 0, entries: entry(JOB) };
    scene.run(&dismiss).await;
    assert_eq!(scene.complete(&held).await, Completed::Late);
    assert_eq!(next(&mut scene).await.attempt, 2);
}

#[tokio::test]
async fn a_word_about_a_damaged_record_moves_nothing_and_costs_the_others_nothing() {
    for lacks in ["token", "type"] {
        for how in [How::Ended, How::Succeeded, How::Failed] {
            let mut scene = Scene::new().await;
            hung(&mut scene, "the sweeper").await;
            scene.plain(&["HDEL", &scene.queue.keys().task("t"), lacks]).await;
            let dismiss = Dismiss { by: "me".into(), how, jitter: 0, entries: entry(JOB) };
            assert_eq!(scene.run(&dismiss).await, [Dismissed::Dismissed], "{lacks}, {how:?}");
            let waits = scene.store().range(&scene.key("delayed"), 0, 1).await.unwrap();
            assert_eq!(waits.len(), 1, "{lacks}, {how:?}: it stands where it stood");
        }
    }
}

#[tokio::test]
async fn nobody_waits_for_the_end_of_work_that_is_not_remembered() {
    let mut scene = Scene::new().await;
    scene.plain(&["SET", &scene.key("unwanted"), "not what it should be"]).await;
    hung(&mut scene, "the sweeper").await;
    assert_eq!(next(&mut scene).await.attempt, 2, "it is handed out at once");
}

#[tokio::test]
async fn a_delay_of_its_own_outlasts_the_end_of_the_work() {
    let mut scene = Scene::new().await;
    let mut policy = QueuePolicy::default();
    policy.task.external.cancel = Some(Hook::Command(vec!["cancel".into()]));
    scene.publish(&policy).await;
    let (session, held) = running(&mut scene).await;
    scene.elapse(Duration::from_secs(3600)).await;
    scene.beat(&session, 1, &[held], Mark::None).await;
    let overdue = scene.observe().await;
    let apply =
        Apply { delay: Duration::from_secs(60), ..by_limit(&overdue.facts.overdue[0], Action::Reset) };
    scene.run(&apply).await;
    scene.run(&Dismiss { by: "me".into(), how: How::Ended, jitter: 0, entries: entry(JOB) }).await;
    let other = scene.register("b").await;
    assert!(scene.take(&other).await.is_empty());
    scene.elapse(Duration::from_secs(60)).await;
    scene.beat(&other, 1, &[], Mark::None).await;
    assert_eq!(scene.take(&other).await.len(), 1);
}
