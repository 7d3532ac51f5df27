//! Work that is done elsewhere: whose a handle is, and what a hook's word may do.

mod hung_systems;

use std::time::Duration;

use backstop::core::external::Hook;
use backstop::core::id::Session;
use backstop::core::policy::{LateResults, QueuePolicy};
use backstop::core::words::{Action, Cause};
use backstop::native::Command;
use backstop::native::scripts::adopt::{Adopt, Adopted};
use backstop::native::scripts::apply::{Apply, ApplyAnswer};
use backstop::native::scripts::beat::Mark;
use backstop::native::scripts::cancel::Cancel;
use backstop::native::scripts::complete::Completed;
use backstop::native::scripts::dismiss::{Dismiss, Dismissed, How};
use backstop::native::scripts::enqueue::Enqueued;
use backstop::native::scripts::external::{External, Recorded};
use backstop::native::scripts::fail::Failed;
use backstop::native::scripts::observe::{Observe, Page};
use backstop::native::scripts::redrive::{Redrive, SeenDead};
use backstop::native::scripts::release::Released;
use backstop::native::scripts::settle::{Settle, Settled};
use backstop::native::scripts::take::Taken;

use super::scene::{LOST, Pair, Scene, by_limit, by_silence, look, page, registered};

const JOB: &str = "job \"7\"\n; é";

async fn record(scene: &Scene, pair: &Pair, handle: &str, number: u64) -> Recorded {
    scene.run(&recording(pair, handle, number)).await
}

fn recording((id, token): &Pair, handle: &str, number: u64) -> External {
    let (id, token, handle) = (id.clone(), token.clone(), handle.to_owned());
    External { id, token, task_type: "kind".to_owned(), handle, number }
}

/// A task `t` that runs in a session `a`, and elsewhere.
async fn running(scene: &mut Scene) -> (Session, Pair) {
    let (session, pair) = scene.running().await;
    assert_eq!(record(scene, &pair, JOB, 1).await, Recorded::Recorded);
    (session, pair)
}

async fn unwanted(scene: &Scene) -> Vec<String> {
    let entries = scene.store().range(&scene.key("unwanted"), 0, 100).await.unwrap();
    entries.into_iter().map(|(entry, _)| entry).collect()
}

fn entry(handle: &str) -> Vec<String> {
    vec![format!("kind t {handle}")]
}

/// The next attempt of `t`, by anybody.
async fn next(scene: &mut Scene) -> Taken {
    let session = scene.register("b").await;
    scene.take(&session).await.remove(0)
}

fn pair(taken: &Taken) -> Pair {
    (taken.id.clone(), taken.token.clone())
}

async fn seen(scene: &Scene) -> Page {
    page(scene.run(&Observe { handles: true, ..look(Duration::ZERO) }).await)
}

/// What a sweeper that saw this page makes of a hook's word.
fn settle(page: &Page, action: Action) -> Settle {
    let (session, silent) = match page.facts.silent.first() {
        Some(session) => (session, true),
        None => (&page.facts.overdue[0], false),
    };
    let task = &session.tasks[0];
    Settle {
        session: session.session.clone(),
        seen_beat_ms: session.beat_ms.filter(|_| silent),
        cause: if silent { Cause::AgentLost } else { Cause::StartToClose },
        id: task.id.clone(),
        token: task.token.clone(),
        handle: task.external.clone().unwrap(),
        action,
        delay: Duration::ZERO,
        jitter: 0,
    }
}

#[tokio::test]
async fn a_handle_comes_back_as_it_was_to_whoever_goes_on_with_the_task() {
    let mut scene = Scene::new().await;
    let (_, held) = running(&mut scene).await;
    let registration = scene.registration("a");
    let (successor, left) = registered(scene.run(&registration).await);
    assert_eq!(left[0].external.as_deref(), Some(JOB));
    let adopt = Adopt { session: successor.clone(), nonce: scene.nonce(), pairs: vec![held] };
    let Adopted::Adopted(adopted) = scene.run(&adopt).await.remove(0) else { panic!("not adopted") };
    assert_eq!(adopted.external.as_deref(), Some(JOB));
    scene.release(&successor, &pair(&adopted)).await;
    let again = next(&mut scene).await;
    assert_eq!((again.attempt, again.external.as_deref()), (3, Some(JOB)));
    scene.complete(&pair(&again)).await;
    assert!(unwanted(&scene).await.is_empty(), "who completes a task knows that its work is over");
}

#[tokio::test]
async fn an_agents_death_keeps_the_handle_and_a_hung_run_loses_it() {
    let mut scene = Scene::new().await;
    running(&mut scene).await;
    scene.elapse(2 * LOST).await;
    scene.apply(&scene.observe().await, Action::Reset).await;
    let second = next(&mut scene).await;
    assert_eq!(second.external.as_deref(), Some(JOB));
    // Its agent lives, and the run has passed its limit.
    let session = Session::new(field(&scene, "session").await).unwrap();
    scene.elapse(Duration::from_secs(3600)).await;
    scene.beat(&session, 1, &[pair(&second)], Mark::None).await;
    scene.apply_overdue(&scene.observe().await, Action::Reset).await;
    assert_eq!(unwanted(&scene).await, entry(JOB));
    assert_eq!(next(&mut scene).await.external, None, "it begins anew");
}

/// Both are given back by agents: a predecessor's task by its successor, a hung one by its own.
#[tokio::test]
async fn what_is_given_back_keeps_its_handle_unless_it_was_told_to_stop() {
    let mut scene = Scene::new().await;
    let (_, held) = running(&mut scene).await;
    let successor = scene.register("a").await;
    assert_eq!(scene.release(&successor, &held).await, Released::Reset);
    let second = scene.take_one(&successor).await;
    assert!(unwanted(&scene).await.is_empty());
    scene.elapse(Duration::from_secs(3600)).await;
    scene.beat(&successor, 1, std::slice::from_ref(&second), Mark::None).await;
    scene.apply_overdue(&scene.observe().await, Action::Revoke).await;
    assert_eq!(scene.release(&successor, &second).await, Released::Reset);
    assert_eq!(unwanted(&scene).await, entry(JOB));
}

async fn field(scene: &Scene, name: &str) -> String {
    scene.store().hash(&scene.queue.keys().task("t")).await.unwrap().remove(name).unwrap_or_default()
}

#[tokio::test]
async fn each_end_without_a_result_makes_the_handle_unwanted_in_the_same_step() {
    for end in ["fail", "fail for good", "poison", "expire", "cancel", "discard"] {
        let mut scene = Scene::new().await;
        let (session, held) = running(&mut scene).await;
        let (id, token) = held.clone();
        match end {
            "fail" => assert!(matches!(scene.fail(&held).await, Failed::Retried(_))),
            "fail for good" => {
                scene.publish(&strict()).await;
                assert_eq!(scene.fail(&held).await, Failed::Dead);
            }
            "poison" | "expire" => {
                scene.elapse(2 * LOST).await;
                scene.plain(&["HSET", &scene.queue.keys().task("t"), "deadline", "1"]).await;
                let action = if end == "poison" { Action::DeadLetter } else { Action::Expire };
                scene.apply(&scene.observe().await, action).await;
            }
            "cancel" => {
                scene.run(&Cancel { id, seen: token, by: "me".into() }).await;
                scene.release(&session, &held).await;
            }
            _ => {
                scene.release(&session, &held).await;
                let seen = field(&scene, "enqueued_at").await;
                scene.run(&Cancel { id, seen, by: "me".into() }).await;
            }
        }
        assert_eq!(unwanted(&scene).await, entry(JOB), "{end}");
    }
}

fn strict() -> QueuePolicy {
    let mut policy = QueuePolicy::default();
    policy.task.max_failures = 0;
    policy
}

#[tokio::test]
async fn a_dead_letter_that_is_redriven_begins_anew() {
    let mut scene = Scene::new().await;
    let (_, held) = running(&mut scene).await;
    scene.publish(&strict()).await;
    scene.fail(&held).await;
    let died = scene.store().range(&scene.key("dead"), 0, 1).await.unwrap()[0].1;
    let seen = SeenDead { id: held.0.clone(), token: held.1.clone(), died_at_ms: died };
    scene.run(&Redrive { deadline: None, by: "me".into(), dead: vec![seen] }).await;
    assert_eq!(next(&mut scene).await.external, None);
}

#[tokio::test]
async fn what_was_begun_by_an_attempt_that_lost_its_task_is_kept_for_the_next_or_unwanted() {
    let mut scene = Scene::new().await;
    let (_, held) = scene.abandoned().await;
    scene.apply(&scene.observe().await, Action::Reset).await;
    assert_eq!(record(&scene, &held, JOB, 1).await, Recorded::Late);
    assert!(unwanted(&scene).await.is_empty());
    let second = next(&mut scene).await;
    assert_eq!(second.external.as_deref(), Some(JOB), "nobody begins it a second time");
    // By now another attempt has the task: a copy of what it has already harms nothing, anything else is nobody's.
    assert_eq!(record(&scene, &held, JOB, 1).await, Recorded::Late);
    assert!(
        unwanted(&scene).await.is_empty(),
        "a late copy must not get the work of the next attempt cancelled"
    );
    assert_eq!(record(&scene, &held, "another", 2).await, Recorded::Late);
    assert_eq!(unwanted(&scene).await, entry("another"));
    scene.complete(&pair(&second)).await;
    assert_eq!(record(&scene, &held, "a third", 3).await, Recorded::Gone);
    assert_eq!(unwanted(&scene).await.len(), 2);
}

#[tokio::test]
async fn a_new_handle_makes_the_old_one_unwanted_and_one_that_comes_again_is_wanted() {
    let mut scene = Scene::new().await;
    let (_, held) = running(&mut scene).await;
    assert_eq!(record(&scene, &held, JOB, 1).await, Recorded::Recorded);
    assert!(unwanted(&scene).await.is_empty(), "the same again is the same");
    record(&scene, &held, "second", 2).await;
    assert_eq!(unwanted(&scene).await, entry(JOB));
    assert_eq!(record(&scene, &held, JOB, 1).await, Recorded::Late, "a late copy of the first");
    assert_eq!(unwanted(&scene).await, entry(JOB), "the work that somebody waits for goes on");
    record(&scene, &held, JOB, 3).await;
    assert_eq!(unwanted(&scene).await, entry("second"));
}

#[tokio::test]
async fn a_hook_that_says_succeeded_completes_the_task_and_the_agents_own_word_is_a_repeat() {
    let mut scene = Scene::new().await;
    let (_, held) = running(&mut scene).await;
    scene.elapse(2 * LOST).await;
    let collect = settle(&seen(&scene).await, Action::Collect);
    assert_eq!(scene.run(&collect).await, Settled::Done);
    assert_eq!(scene.complete(&held).await, Completed::Already);
    assert_eq!(scene.run(&collect).await, Settled::Skipped);
    let stats = scene.store().hash(&scene.key("stats")).await.unwrap();
    for total in ["abandoned:agent_lost", "collected", "completed", "recovered"] {
        assert_eq!(stats.get(total).map(String::as_str), Some("1"), "{total}");
    }
}

#[tokio::test]
async fn a_hook_that_says_failed_or_ended_is_a_failure_or_a_reset_without_a_handle() {
    for (action, limited) in [(Action::Fail, false), (Action::Fail, true), (Action::Reset, false)] {
        let mut scene = Scene::new().await;
        running(&mut scene).await;
        if limited {
            scene.publish(&strict()).await;
        }
        scene.elapse(2 * LOST).await;
        let settled = scene.run(&settle(&seen(&scene).await, action)).await;
        assert_eq!(settled, if limited { Settled::Dead } else { Settled::Done });
        assert!(unwanted(&scene).await.is_empty(), "it is over there");
        if !limited {
            scene.elapse(Duration::from_secs(10)).await;
            let again = next(&mut scene).await;
            assert_eq!(again.external, None);
            let charged = (again.failures, again.abandonments);
            assert_eq!(charged, if action == Action::Fail { (1, 0) } else { (0, 1) });
        }
    }
}

#[tokio::test]
async fn a_hooks_word_about_what_is_not_so_any_more_does_nothing() {
    for what in ["it beat", "another attempt", "another handle", "cancelled", "completed", "a grace"] {
        let mut scene = Scene::new().await;
        let (session, held) = running(&mut scene).await;
        scene.elapse(2 * LOST).await;
        let page = seen(&scene).await;
        let expected = if what == "a grace" { Settled::Held } else { Settled::Skipped };
        match what {
            "it beat" => drop(scene.beat(&session, 1, std::slice::from_ref(&held), Mark::None).await),
            "another attempt" => {
                scene.release(&session, &held).await;
                scene.take_one(&session).await;
            }
            "another handle" => drop(record(&scene, &held, "another", 2).await),
            "cancelled" => {
                let (id, seen) = held.clone();
                scene.run(&Cancel { id, seen, by: "me".into() }).await;
            }
            "completed" => drop(scene.complete(&held).await),
            _ => {
                let later = (page.facts.now_ms + 60_000).to_string();
                scene.plain(&["HSET", &scene.key("control"), "grace_until", &later]).await;
            }
        }
        let before = scene.dump().await;
        for action in [Action::Collect, Action::Fail, Action::Reset, Action::DeadLetter] {
            assert_eq!(scene.run(&settle(&page, action)).await, expected, "{what}");
        }
        assert_eq!(scene.dump().await, before, "{what}");
    }
}

#[tokio::test]
async fn a_run_within_its_limits_is_not_settled_while_its_agent_lives() {
    let mut scene = Scene::new().await;
    let (session, held) = running(&mut scene).await;
    scene.elapse(Duration::from_secs(3601)).await;
    scene.beat(&session, 1, std::slice::from_ref(&held), Mark::None).await;
    let overdue = seen(&scene).await;
    let mine = scene.queue.keys().running(session.as_str());
    let later = (overdue.facts.now_ms + 60_000).to_string();
    scene.plain(&["ZADD", &mine, &later, "t"]).await;
    assert_eq!(scene.run(&settle(&overdue, Action::Reset)).await, Settled::Skipped);
    scene.plain(&["ZADD", &mine, "1", "t"]).await;
    assert_eq!(scene.run(&settle(&overdue, Action::Reset)).await, Settled::Done);
}

#[tokio::test]
async fn what_has_ended_is_forgotten_once() {
    let mut scene = Scene::new().await;
    let (_, held) = running(&mut scene).await;
    scene.fail(&held).await;
    let dismiss = Dismiss { by: "me".into(), how: How::Ended, jitter: 0, entries: entry(JOB) };
    assert_eq!(scene.run(&dismiss).await, [Dismissed::Dismissed]);
    assert_eq!(scene.run(&dismiss).await, [Dismissed::Gone]);
    assert!(unwanted(&scene).await.is_empty());
}

#[tokio::test]
async fn what_cannot_be_remembered_is_counted() {
    let mut scene = Scene::new().await;
    let (_, held) = running(&mut scene).await;
    scene.plain(&["SET", &scene.key("unwanted"), "not what it should be"]).await;
    assert!(matches!(scene.fail(&held).await, Failed::Retried(_)), "the task itself is not held up");
    let stats = scene.store().hash(&scene.key("stats")).await.unwrap();
    assert_eq!(stats.get("external_dropped").map(String::as_str), Some("1"));
}

#[tokio::test]
async fn a_late_copy_of_a_recording_brings_back_nothing_that_is_over() {
    let mut scene = Scene::new().await;
    let (_, held) = running(&mut scene).await;
    let copy = recording(&held, JOB, 1);
    scene.elapse(2 * LOST).await;
    // The hook said that it ended: the next attempt begins anew.
    assert_eq!(scene.run(&settle(&seen(&scene).await, Action::Reset)).await, Settled::Done);
    assert_eq!(scene.run(&copy).await, Recorded::Late);
    assert_eq!(next(&mut scene).await.external, None);
    // A run that hung: its handle stays unwanted.
    let mut scene = Scene::new().await;
    let held = hung_systems::hung(&mut scene, "the sweeper").await;
    assert_eq!(scene.run(&recording(&held, JOB, 1)).await, Recorded::Late);
    assert_eq!(unwanted(&scene).await, entry(JOB));
    // It is complete: what it recorded before is no news.
    let mut scene = Scene::new().await;
    let (_, held) = running(&mut scene).await;
    scene.complete(&held).await;
    assert_eq!(scene.run(&recording(&held, JOB, 1)).await, Recorded::Gone);
    assert!(unwanted(&scene).await.is_empty());
}

#[tokio::test]
async fn what_was_collected_is_remembered_for_as_long_as_what_was_completed() {
    let mut scene = Scene::new().await;
    scene
        .publish(&QueuePolicy { keep_done: Duration::from_secs(7 * 86_400), ..QueuePolicy::default() })
        .await;
    running(&mut scene).await;
    scene.elapse(2 * LOST).await;
    scene.run(&settle(&seen(&scene).await, Action::Collect)).await;
    scene.elapse(Duration::from_secs(2 * 86_400)).await;
    assert_eq!(scene.enqueue("t").await, Enqueued::Exists);
}

#[tokio::test]
async fn a_handle_that_is_no_text_is_refused_before_anything_is_written() {
    let mut scene = Scene::new().await;
    let (_, (id, token)) = scene.running().await;
    let before = scene.dump().await;
    let script = External {
        id: String::new(),
        token: String::new(),
        task_type: String::new(),
        handle: String::new(),
        number: 1,
    };
    for handle in [
        &b""[..],
        b"\xff",
        b"job\x80",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe2x\x82\xac",
        &[b'x'; 1025],
    ] {
        let mut args = backstop::store::Args::default();
        args.push("1").push(&id).push(&token).push("kind").push(handle).int(1);
        let error = scene.store().run(script.script(), scene.queue.keys().fixed(), &args).await.unwrap_err();
        assert!(error.to_string().contains("1 to 1024 bytes of UTF-8"), "{handle:?}: {error}");
        assert_eq!(scene.dump().await, before, "{handle:?}");
    }
    for (n, handle) in ["aé€😀\u{0}\n\"", "x", &"ä".repeat(512)].into_iter().enumerate() {
        assert_eq!(
            record(&scene, &(id.clone(), token.clone()), handle, n as u64 + 1).await,
            Recorded::Recorded
        );
    }
}
