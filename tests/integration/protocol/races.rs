//! Each race by hand: a sweeper looks, something happens, the sweeper acts; or a copy of a command arrives late.

use std::time::Duration;

use backstop::core::words::Cause;
use backstop::native::fresh_nonce;
use backstop::native::scripts::adopt::{Adopt, Adopted};
use backstop::native::scripts::apply::ApplyAnswer;
use backstop::native::scripts::beat::{BeatWord, Mark, StopWhy};
use backstop::native::scripts::cancel::{Cancel, Cancelled};
use backstop::native::scripts::complete::Completed;
use backstop::native::scripts::declare::{Declare, Declared};
use backstop::native::scripts::discard::{Discard, Discarded};
use backstop::native::scripts::enqueue::{Enqueue, Enqueued, NewTask};
use backstop::native::scripts::expire::{Expire, ExpireAnswer, Expired};
use backstop::native::scripts::extend::{Extend, Extended};
use backstop::native::scripts::fail::{Fail, Failed};
use backstop::native::scripts::forget::{Forget, Forgotten};
use backstop::native::scripts::leave::{Leave, LeaveAnswer};
use backstop::native::scripts::redrive::{Redrive, Redriven, SeenDead};
use backstop::native::scripts::register::{RegisterAnswer, Wanted};
use backstop::native::scripts::release::{Release, Released};
use backstop::native::scripts::reset::{Reset, ResetByHand};
use backstop::native::scripts::switch::{Switch, SwitchAnswer};
use backstop::native::scripts::take::{Take, TakeAnswer, Taken};

use super::{Scene, nonce, pair, registration, reset_of, task};

fn fail(task: &Taken, is_final: bool) -> Fail {
    Fail { id: task.id.clone(), token: task.token.clone(), error: b"x".to_vec(), jitter: 0, is_final }
}

impl Scene {
    async fn adopt(&self, session: &backstop::core::id::Session, task: &Taken) -> Adopted {
        let adopt =
            Adopt { session: session.clone(), nonce: fresh_nonce().unwrap(), pairs: vec![pair(task)] };
        self.queue.run(&adopt).await.unwrap().remove(0)
    }

    async fn release(&self, session: &backstop::core::id::Session, task: &Taken) -> Released {
        let release = Release { session: session.clone(), delay: Duration::ZERO, pairs: vec![pair(task)] };
        self.queue.run(&release).await.unwrap()[0]
    }

    async fn seen_dead(&self, task: &Taken) -> SeenDead {
        let died = self.snapshot().await.zset("dead")[&task.id] as i64;
        SeenDead { id: task.id.clone(), token: task.token.clone(), died_at_ms: died }
    }

    async fn redrive(&self, seen: &SeenDead) -> Redriven {
        let redrive = Redrive { deadline: None, by: "me".into(), dead: vec![seen.clone()] };
        self.queue.run(&redrive).await.unwrap()[0]
    }
}

#[tokio::test]
async fn a_heartbeat_that_returns_after_the_look_saves_all_tasks() {
    let scene = Scene::new().await;
    let (agent, task) = scene.running("a", "t").await;
    let verdict = scene.verdict(&agent, &task).await;
    scene.beat(&agent, 1, &[(&task, Mark::None)]).await;
    assert!(!scene.apply(&verdict).await, "it beats");
    let seen = verdict.seen_beat_ms.unwrap();
    let declare = Declare { session: agent.to_string(), seen_beat_ms: seen };
    assert_eq!(scene.queue.run(&declare).await.unwrap(), Declared::Alive);
    let forget = Forget { session: agent.to_string(), seen_beat_ms: seen };
    assert_eq!(scene.queue.run(&forget).await.unwrap(), Forgotten::Alive);
    assert_eq!(scene.complete(&task).await, Completed::Completed);
}

#[tokio::test]
async fn a_task_that_was_completed_after_the_look_is_not_moved() {
    let scene = Scene::new().await;
    let (agent, task) = scene.running("a", "t").await;
    let verdict = scene.verdict(&agent, &task).await;
    assert_eq!(scene.complete(&task).await, Completed::Completed);
    let before = scene.snapshot().await;
    assert!(!scene.apply(&verdict).await);
    assert_eq!(scene.snapshot().await.essence(), before.essence());
}

#[tokio::test]
async fn a_task_that_its_silent_agent_took_again_after_the_look_is_not_moved() {
    let scene = Scene::new().await;
    let (agent, first) = scene.running("a", "t").await;
    let verdict = scene.verdict(&agent, &first).await;
    assert_eq!(scene.release(&agent, &first).await, Released::Released);
    let second = scene.take(&agent).await.unwrap();
    assert_ne!(first.token, second.token);
    assert!(!scene.apply(&verdict).await, "taking is no heartbeat, yet the token is another");
    assert_eq!(scene.complete(&second).await, Completed::Completed);
}

#[tokio::test]
async fn a_task_that_another_agent_runs_now_is_not_moved_by_a_verdict_on_the_former() {
    let scene = Scene::new().await;
    let (agent, task) = scene.running("a", "t").await;
    let verdict = scene.verdict(&agent, &task).await;
    assert!(scene.apply(&verdict).await);
    let other = scene.register("b").await;
    let theirs = scene.take(&other).await.unwrap();
    assert!(!scene.apply(&verdict).await);
    assert_eq!(scene.complete(&task).await, Completed::Late);
    assert_eq!(scene.complete(&theirs).await, Completed::Completed);
}

#[tokio::test]
async fn two_sweepers_with_one_page_move_each_task_once() {
    let scene = Scene::new().await;
    let (agent, task) = scene.running("a", "t").await;
    let verdict = scene.verdict(&agent, &task).await;
    assert!(scene.apply(&verdict).await);
    let before = scene.snapshot().await;
    assert!(!scene.apply(&verdict).await);
    let after = scene.snapshot().await;
    assert_eq!(after.essence(), before.essence());
    assert_eq!((after.figure("t", "abandonments"), after.stat("reset:agent_lost")), (1, 1));
}

#[tokio::test]
async fn a_session_that_took_a_task_after_the_look_is_not_forgotten() {
    let scene = Scene::new().await;
    let agent = scene.register("a").await;
    scene.age(40).await;
    let page = scene.page().await;
    let seen_beat_ms = page.facts.silent[0].beat_ms.unwrap();
    scene.enqueue("t").await;
    scene.take(&agent).await.unwrap();
    let forget = Forget { session: agent.to_string(), seen_beat_ms };
    assert_eq!(scene.queue.run(&forget).await.unwrap(), Forgotten::Holds);
    assert!(scene.snapshot().await.zset("agents").contains_key(agent.as_str()));
}

#[tokio::test]
async fn a_forgotten_session_takes_and_adopts_nothing_until_it_registers_anew() {
    let scene = Scene::new().await;
    let (old, task) = scene.running("a", "t").await;
    let agent = scene.register("a").await;
    scene.age(40).await;
    let seen_beat_ms = scene.snapshot().await.zset("agents")[agent.as_str()] as i64;
    let forget = Forget { session: agent.to_string(), seen_beat_ms };
    assert_eq!(scene.queue.run(&forget).await.unwrap(), Forgotten::Forgotten);
    assert_eq!(scene.adopt(&agent, &task).await, Adopted::Lost);
    scene.enqueue("u").await;
    let take = Take { session: agent.clone(), nonce: nonce(5), most: 1 };
    assert_eq!(scene.queue.run(&take).await.unwrap(), TakeAnswer::Lost);
    assert_eq!(scene.beat(&agent, 1, &[]).await.word, BeatWord::Lost);
    assert!(
        !scene.snapshot().await.zset("agents").contains_key(agent.as_str()),
        "a beat brings nothing back"
    );
    assert_eq!(scene.snapshot().await.holder("t").unwrap().0, old.as_str());
    let state = scene.snapshot().await.hash("agent:a")["state"].clone();
    assert_eq!(state, "lost");
}

#[tokio::test]
async fn forgetting_a_superseded_session_leaves_its_successor_alone() {
    let scene = Scene::new().await;
    let (old, task) = scene.running("a", "t").await;
    scene.register("a").await;
    assert_eq!(scene.release(&old, &task).await, Released::Released);
    scene.age(40).await;
    let seen_beat_ms = scene.snapshot().await.zset("agents")[old.as_str()] as i64;
    let declare = Declare { session: old.to_string(), seen_beat_ms };
    assert_eq!(scene.queue.run(&declare).await.unwrap(), Declared::Already);
    let forget = Forget { session: old.to_string(), seen_beat_ms };
    assert_eq!(scene.queue.run(&forget).await.unwrap(), Forgotten::Forgotten);
    assert_eq!(scene.snapshot().await.hash("agent:a")["state"], "active");
}

#[tokio::test]
async fn a_registration_after_the_look_gives_the_new_process_its_time_to_adopt() {
    let scene = Scene::new().await;
    let (old, task) = scene.running("a", "t").await;
    scene.age(15).await;
    let before = scene.snapshot().await.zset("agents")[old.as_str()] as i64;
    let new = scene.register("a").await;
    assert!(!scene.apply(&reset_of(&old, before, &[&task])).await, "its heartbeat was set anew");
    let Adopted::Adopted(mine) = scene.adopt(&new, &task).await else { panic!("not adopted") };
    assert_eq!((mine.attempt, mine.abandonments), (2, 1));
    assert_eq!(scene.complete(&task).await, Completed::Late);
    assert_eq!(scene.complete(&mine).await, Completed::Completed);
}

#[tokio::test]
async fn a_crash_loop_does_not_keep_a_former_sessions_tasks_for_ever() {
    let scene = Scene::new().await;
    let (oldest, _) = scene.running("a", "t").await;
    scene.enqueue("u").await;
    let second = scene.register("a").await;
    scene.take(&second).await.unwrap();
    let given = scene.snapshot().await.zset("agents")[oldest.as_str()];
    scene.age(20).await;
    let third = scene.register("a").await;
    let beats = scene.snapshot().await.zset("agents");
    assert!(beats[oldest.as_str()] <= given - 20_000.0, "only the direct predecessor gets time");
    assert!(beats[second.as_str()] > beats[oldest.as_str()]);
    assert!(beats.contains_key(third.as_str()));
}

#[tokio::test]
async fn a_task_that_was_taken_in_time_is_not_expired_by_an_older_look() {
    let scene = Scene::new().await;
    let deadline = Some(Duration::from_secs(30));
    scene.queue.run(&Enqueue { tasks: vec![NewTask { deadline, ..task("t") }] }).await.unwrap();
    let agent = scene.register("a").await;
    let mine = scene.take(&agent).await.unwrap();
    scene.age(31).await;
    let expire = Expire { ids: vec!["t".into()] };
    assert_eq!(scene.queue.run(&expire).await.unwrap(), ExpireAnswer::Done(vec![Expired::Skipped]));
    assert_eq!(scene.complete(&mine).await, Completed::Completed);
}

#[tokio::test]
async fn a_task_that_has_time_left_is_not_expired_and_one_without_is() {
    let scene = Scene::new().await;
    let deadline = Some(Duration::from_secs(30));
    scene.queue.run(&Enqueue { tasks: vec![NewTask { deadline, ..task("t") }] }).await.unwrap();
    let expire = Expire { ids: vec!["t".into()] };
    assert_eq!(scene.queue.run(&expire).await.unwrap(), ExpireAnswer::Done(vec![Expired::Skipped]));
    scene.age(31).await;
    assert_eq!(scene.queue.run(&expire).await.unwrap(), ExpireAnswer::Done(vec![Expired::Expired]));
    assert_eq!(scene.queue.run(&expire).await.unwrap(), ExpireAnswer::Done(vec![Expired::Skipped]));
    assert_eq!(scene.snapshot().await.stat("expired"), 1);
}

#[tokio::test]
async fn a_completion_that_withdrew_a_dead_letter_leaves_nothing_to_redrive() {
    let scene = Scene::new().await;
    let (agent, task) = scene.running("a", "t").await;
    let mut verdict = scene.verdict(&agent, &task).await;
    verdict.action = backstop::core::words::Action::DeadLetter;
    assert!(scene.apply(&verdict).await);
    let seen = scene.seen_dead(&task).await;
    assert_eq!(scene.complete(&task).await, Completed::Withdrawn);
    assert_eq!(scene.redrive(&seen).await, Redriven::Changed);
    let discard = Discard { by: "me".into(), dead: vec![seen] };
    assert_eq!(scene.queue.run(&discard).await.unwrap(), [Discarded::Changed]);
    let after = scene.snapshot().await;
    assert_eq!((after.stat("completed"), after.stat("discarded"), after.stat("false_resets")), (1, 0, 1));
}

#[tokio::test]
async fn a_completion_after_a_redrive_withdraws_what_nobody_has_taken() {
    let scene = Scene::new().await;
    let (agent, task) = scene.running("a", "t").await;
    let mut verdict = scene.verdict(&agent, &task).await;
    verdict.action = backstop::core::words::Action::DeadLetter;
    assert!(scene.apply(&verdict).await);
    assert_eq!(scene.redrive(&scene.seen_dead(&task).await).await, Redriven::Redriven);
    assert_eq!(scene.complete(&task).await, Completed::Withdrawn);
    assert!(scene.take(&scene.register("b").await).await.is_none());
}

#[tokio::test]
async fn a_late_copy_of_redrive_or_discard_spares_a_later_death() {
    let scene = Scene::new().await;
    let (agent, first) = scene.running("a", "t").await;
    assert_eq!(scene.queue.run(&fail(&first, true)).await.unwrap(), Failed::Dead);
    let seen = scene.seen_dead(&first).await;
    assert_eq!(scene.redrive(&seen).await, Redriven::Redriven);
    let second = scene.take(&agent).await.unwrap();
    assert_eq!(scene.queue.run(&fail(&second, true)).await.unwrap(), Failed::Dead);
    assert_eq!(scene.redrive(&seen).await, Redriven::Changed);
    let discard = Discard { by: "me".into(), dead: vec![seen.clone()] };
    assert_eq!(scene.queue.run(&discard).await.unwrap(), [Discarded::Changed]);
    let other_time = SeenDead { died_at_ms: seen.died_at_ms - 1, token: second.token.clone(), ..seen };
    assert_eq!(scene.redrive(&other_time).await, Redriven::Changed);
}

#[tokio::test]
async fn a_cancel_of_a_waiting_task_does_not_hit_one_that_was_taken_meanwhile() {
    let scene = Scene::new().await;
    scene.enqueue("t").await;
    let seen = scene.snapshot().await.field("t", "enqueued_at").unwrap();
    let agent = scene.register("a").await;
    let task = scene.take(&agent).await.unwrap();
    let cancel = Cancel { id: "t".into(), seen, by: "me".into() };
    assert_eq!(scene.queue.run(&cancel).await.unwrap(), Cancelled::Changed);
    assert!(scene.beat(&agent, 1, &[(&task, Mark::None)]).await.stop.is_empty());
}

#[tokio::test]
async fn a_cancel_of_a_running_task_does_not_hit_its_next_attempt() {
    let scene = Scene::new().await;
    let (agent, first) = scene.running("a", "t").await;
    let cancel = Cancel { id: "t".into(), seen: first.token.clone(), by: "me".into() };
    scene.release(&agent, &first).await;
    assert_eq!(scene.queue.run(&cancel).await.unwrap(), Cancelled::Changed);
    let second = scene.take(&agent).await.unwrap();
    assert_eq!(scene.queue.run(&cancel).await.unwrap(), Cancelled::Changed);
    assert_eq!(scene.complete(&second).await, Completed::Completed);
}

#[tokio::test]
async fn a_cancelled_task_is_discarded_by_whatever_gives_it_back() {
    for way in ["release", "fail", "adopt", "reset"] {
        let scene = Scene::new().await;
        let (agent, task) = scene.running("a", "t").await;
        let cancel = Cancel { id: "t".into(), seen: task.token.clone(), by: "me".into() };
        assert_eq!(scene.queue.run(&cancel).await.unwrap(), Cancelled::Revoked);
        let stop = scene.beat(&agent, 1, &[(&task, Mark::None)]).await.stop;
        assert_eq!(stop, [(task.id.clone(), task.token.clone(), StopWhy::Cancelled)]);
        match way {
            "release" => assert_eq!(scene.release(&agent, &task).await, Released::Discarded),
            "fail" => assert_eq!(scene.queue.run(&fail(&task, false)).await.unwrap(), Failed::Discarded),
            "adopt" => {
                let next = scene.register("a").await;
                assert_eq!(scene.adopt(&next, &task).await, Adopted::Discarded);
            }
            _ => {
                let reset = Reset { by: "me".into(), pairs: vec![pair(&task)] };
                assert_eq!(scene.queue.run(&reset).await.unwrap(), [ResetByHand::Discarded]);
            }
        }
        let after = scene.snapshot().await;
        assert_eq!((after.stat("discarded"), after.stats("abandoned")), (1, 0), "{way}");
        assert_eq!(scene.enqueue("t").await, Enqueued::Exists, "{way}");
    }
}

#[tokio::test]
async fn a_late_copy_of_take_gives_other_tokens_and_the_beats_show_what_nobody_knows() {
    let scene = Scene::new().await;
    scene.enqueue("t").await;
    let agent = scene.register("a").await;
    let take = Take { session: agent.clone(), nonce: nonce(7), most: 1 };
    let TakeAnswer::Took(lost) = scene.queue.run(&take).await.unwrap() else { panic!("nothing taken") };
    assert!(matches!(scene.queue.run(&take).await.unwrap(), TakeAnswer::Empty(None)));
    let answer = scene.beat(&agent, 1, &[]).await;
    assert_eq!(answer.unlisted, [pair(&lost[0])]);
    assert_eq!(scene.release(&agent, &lost[0]).await, Released::Released);
    let TakeAnswer::Took(again) = scene.queue.run(&take).await.unwrap() else { panic!("nothing taken") };
    assert_ne!(again[0].token, lost[0].token, "the same nonce, and another attempt");
    assert_eq!(scene.complete(&lost[0]).await, Completed::Gone);
    assert_eq!(scene.complete(&again[0]).await, Completed::Completed);
}

#[tokio::test]
async fn an_older_beat_rolls_no_checkpoint_back() {
    let scene = Scene::new().await;
    let (agent, task) = scene.running("a", "t").await;
    scene.beat(&agent, 2, &[(&task, Mark::Checkpoint(b"new".to_vec()))]).await;
    scene.age(10).await;
    let before = scene.snapshot().await;
    scene.beat(&agent, 1, &[(&task, Mark::Checkpoint(b"old".to_vec()))]).await;
    scene.beat(&agent, 2, &[(&task, Mark::Checkpoint(b"other".to_vec()))]).await;
    let after = scene.snapshot().await;
    assert_eq!(after.text("checkpoint:t").as_deref(), Some("new"));
    assert!(
        after.zset("agents")[agent.as_str()] > before.zset("agents")[agent.as_str()],
        "it is a sign of life"
    );
    assert_eq!(after.hash("agent:a")["beat"], "2");
}

#[tokio::test]
async fn a_superseded_sessions_beat_writes_nothing_and_names_what_it_lost() {
    let scene = Scene::new().await;
    let (old, task) = scene.running("a", "t").await;
    scene.enqueue("u").await;
    let kept = scene.take(&old).await.unwrap();
    let new = scene.register("a").await;
    assert!(matches!(scene.adopt(&new, &task).await, Adopted::Adopted(_)));
    let before = scene.snapshot().await;
    let mark = Mark::Checkpoint(b"x".to_vec());
    let answer = scene.beat(&old, 9, &[(&task, mark.clone()), (&kept, mark)]).await;
    assert_eq!(answer.word, BeatWord::Superseded);
    assert_eq!(answer.stop, [(task.id.clone(), task.token.clone(), StopWhy::Gone)]);
    assert_eq!(scene.snapshot().await.essence(), before.essence());
}

#[tokio::test]
async fn a_declared_agent_that_beats_is_active_again_and_stays_drained() {
    let scene = Scene::new().await;
    let agent = scene.register("a").await;
    let key = scene.queue.keys().agent("a");
    scene.queue.store().command(&["HSET", &key, "draining", "wait"]).await.unwrap();
    scene.age(40).await;
    let seen_beat_ms = scene.page().await.facts.silent[0].beat_ms.unwrap();
    let declare = Declare { session: agent.to_string(), seen_beat_ms };
    assert_eq!(scene.queue.run(&declare).await.unwrap(), Declared::Lost);
    assert_eq!(scene.queue.run(&declare).await.unwrap(), Declared::Already);
    assert_eq!(scene.beat(&agent, 1, &[]).await.word, BeatWord::Drain);
    let after = scene.snapshot().await;
    assert_eq!((after.hash("agent:a")["state"].as_str(), after.stat("refuted")), ("active", 1));
    scene.enqueue("t").await;
    let take = Take { session: agent, nonce: nonce(1), most: 1 };
    assert_eq!(scene.queue.run(&take).await.unwrap(), TakeAnswer::Draining);
}

#[tokio::test]
async fn a_late_copy_of_complete_says_already_and_only_to_the_token_that_completed() {
    let scene = Scene::new().await;
    let (agent, first) = scene.running("a", "t").await;
    scene.given_up(&agent, &first).await;
    let other = scene.register("b").await;
    let second = scene.take(&other).await.unwrap();
    assert_eq!(scene.complete(&second).await, Completed::Completed);
    assert_eq!(scene.complete(&second).await, Completed::Already);
    assert_eq!(scene.complete(&first).await, Completed::Late);
    assert_eq!(scene.complete(&first).await, Completed::Late);
    let after = scene.snapshot().await;
    assert_eq!((after.stat("completed"), after.stat("late")), (1, 1), "each token proves a false reset once");
}

#[tokio::test]
async fn a_discarded_task_is_not_answered_as_completed() {
    let scene = Scene::new().await;
    let (_, task) = scene.running("a", "t").await;
    assert_eq!(scene.queue.run(&fail(&task, true)).await.unwrap(), Failed::Dead);
    let discard = Discard { by: "me".into(), dead: vec![scene.seen_dead(&task).await] };
    assert_eq!(scene.queue.run(&discard).await.unwrap(), [Discarded::Discarded]);
    assert_eq!(scene.complete(&task).await, Completed::Gone);
}

#[tokio::test]
async fn a_completion_from_an_earlier_life_of_the_id_does_not_complete_the_next() {
    let scene = Scene::new().await;
    let (agent, first) = scene.running("a", "t").await;
    assert_eq!(scene.complete(&first).await, Completed::Completed);
    // Its stub lapses; the id is used again, and the client's nonce too.
    scene.queue.store().command(&["DEL", &scene.queue.keys().named("done:t")]).await.unwrap();
    assert_eq!(scene.enqueue("t").await, Enqueued::Enqueued);
    let bits = first.token.rsplit('-').next().unwrap();
    let take = Take { session: agent, nonce: backstop::core::id::Nonce::new(bits).unwrap(), most: 1 };
    assert!(matches!(scene.queue.run(&take).await.unwrap(), TakeAnswer::Took(_)));
    assert_eq!(scene.complete(&first).await, Completed::Gone);
    assert_eq!(scene.snapshot().await.stat("completed"), 1);
}

#[tokio::test]
async fn the_stub_of_a_task_that_was_ever_abandoned_is_kept_for_a_day() {
    let scene = Scene::new().await;
    let (agent, task) = scene.running("a", "t").await;
    let (_, quiet) = scene.running("b", "u").await;
    scene.given_up(&agent, &task).await;
    assert_eq!(scene.complete(&task).await, Completed::Withdrawn);
    assert_eq!(scene.complete(&quiet).await, Completed::Completed);
    let mut kept = Vec::new();
    for stub in ["done:t", "done:u"] {
        let key = scene.queue.keys().named(stub);
        kept.push(crate::support::number(scene.queue.store(), &["TTL", &key]).await);
    }
    assert!(kept[0] > 86_000 && (100..=120).contains(&kept[1]), "{kept:?}");
}

#[tokio::test]
async fn late_copies_of_fail_and_release_do_not_touch_the_next_attempt() {
    let scene = Scene::new().await;
    let (agent, first) = scene.running("a", "t").await;
    assert!(matches!(scene.queue.run(&fail(&first, false)).await.unwrap(), Failed::Retried(_)));
    assert_eq!(scene.queue.run(&fail(&first, false)).await.unwrap(), Failed::Late, "a repeat");
    assert_eq!(scene.release(&agent, &first).await, Released::Late);
    scene.age(10).await;
    let second = scene.take(&agent).await.unwrap();
    let before = scene.snapshot().await;
    assert_eq!(scene.queue.run(&fail(&first, false)).await.unwrap(), Failed::Late);
    assert_eq!(scene.release(&agent, &first).await, Released::Late);
    assert_eq!(scene.snapshot().await.essence(), before.essence());
    assert_eq!((second.failures, second.abandonments), (1, 0));
}

#[tokio::test]
async fn another_identitys_task_is_not_given_back() {
    let scene = Scene::new().await;
    let (_, task) = scene.running("a", "t").await;
    let stranger = scene.register("b").await;
    assert_eq!(scene.release(&stranger, &task).await, Released::Late);
    assert_eq!(scene.adopt(&stranger, &task).await, Adopted::NotYours);
    assert_eq!(scene.complete(&task).await, Completed::Completed);
}

#[tokio::test]
async fn giving_back_is_charged_if_it_was_revoked_or_a_predecessors() {
    let scene = Scene::new().await;
    let (agent, task) = scene.running("a", "t").await;
    let mut revoke = scene.verdict(&agent, &task).await;
    scene.age(4000).await;
    (revoke.seen_beat_ms, revoke.cause) = (None, Cause::StartToClose);
    revoke.action = backstop::core::words::Action::Revoke;
    assert!(scene.apply(&revoke).await);
    assert!(!scene.apply(&revoke).await, "its limit is the grace now");
    assert_eq!(scene.release(&agent, &task).await, Released::Reset);
    let again = scene.take(&agent).await.unwrap();
    assert_eq!(again.abandonments, 1);
    let next = scene.register("a").await;
    assert_eq!(scene.release(&next, &again).await, Released::Reset);
    assert_eq!(scene.take(&next).await.unwrap().abandonments, 2);
}

#[tokio::test]
async fn a_late_copy_of_adopt_gives_the_same_token_and_charges_once() {
    let scene = Scene::new().await;
    let (_, task) = scene.running("a", "t").await;
    let next = scene.register("a").await;
    let adopt = Adopt { session: next.clone(), nonce: nonce(3), pairs: vec![pair(&task)] };
    let first = scene.queue.run(&adopt).await.unwrap();
    let before = scene.snapshot().await;
    assert_eq!(scene.queue.run(&adopt).await.unwrap(), first);
    assert_eq!(scene.snapshot().await.essence(), before.essence());
    assert_eq!(before.figure("t", "abandonments"), 1);
    let Adopted::Adopted(mine) = &first[0] else { panic!("{first:?}") };
    assert_eq!(scene.complete(mine).await, Completed::Completed);
    assert_eq!(scene.queue.run(&adopt).await.unwrap(), [Adopted::NotYours]);
}

#[tokio::test]
async fn a_task_that_was_adopted_once_too_often_ends_as_a_dead_letter() {
    let scene = Scene::new().await;
    let (_, mut task) = scene.running("a", "t").await;
    for _ in 0..3 {
        let next = scene.register("a").await;
        let Adopted::Adopted(mine) = scene.adopt(&next, &task).await else { panic!("not adopted") };
        task = *mine;
    }
    let last = scene.register("a").await;
    assert_eq!(scene.adopt(&last, &task).await, Adopted::Dead);
    assert_eq!(scene.adopt(&last, &task).await, Adopted::NotYours);
    assert_eq!(scene.snapshot().await.stat("abandoned_dead"), 1);
}

#[tokio::test]
async fn a_superseded_session_takes_and_adopts_nothing_and_still_completes() {
    let scene = Scene::new().await;
    let (first, task) = scene.running("a", "t").await;
    let second = scene.register("a").await;
    scene.enqueue("u").await;
    let theirs = scene.take(&second).await.unwrap();
    scene.enqueue("v").await;
    let take = Take { session: first.clone(), nonce: nonce(1), most: 1 };
    assert_eq!(scene.queue.run(&take).await.unwrap(), TakeAnswer::Superseded);
    assert_eq!(scene.adopt(&first, &theirs).await, Adopted::Lost);
    assert_eq!(scene.complete(&task).await, Completed::Completed);
}

#[tokio::test]
async fn a_late_copy_of_leave_does_not_end_the_next_session() {
    let scene = Scene::new().await;
    let old = scene.register("a").await;
    assert_eq!(scene.queue.run(&Leave { session: old.clone() }).await.unwrap(), LeaveAnswer::Left);
    let (new, task) = scene.running("a", "t").await;
    assert_eq!(scene.queue.run(&Leave { session: old }).await.unwrap(), LeaveAnswer::Left);
    assert_eq!(scene.snapshot().await.hash("agent:a")["state"], "active");
    let holds = LeaveAnswer::Holds(vec![pair(&task)]);
    assert_eq!(scene.queue.run(&Leave { session: new.clone() }).await.unwrap(), holds);
    assert_eq!(scene.complete(&task).await, Completed::Completed);
    assert_eq!(scene.queue.run(&Leave { session: new }).await.unwrap(), LeaveAnswer::Left);
    assert!(scene.snapshot().await.zset("agents").is_empty());
}

#[tokio::test]
async fn a_late_copy_of_register_gives_the_same_session_or_says_that_it_was_superseded() {
    let scene = Scene::new().await;
    for forgetful in [false, true] {
        let identity = format!("a{forgetful}");
        let old = registration(&identity, nonce(10 + u64::from(forgetful)));
        let first = scene.queue.run(&old).await.unwrap();
        if forgetful {
            // The pool's memory of a nonce lapses after an hour; the identity's own doesn't.
            let key = scene.queue.keys().named(&format!("nonce:{}", old.nonce.as_str()));
            scene.queue.store().command(&["DEL", &key]).await.unwrap();
        }
        assert_eq!(scene.queue.run(&old).await.unwrap(), first);
        let new = scene.register(&identity).await;
        assert_eq!(scene.queue.run(&old).await.unwrap(), RegisterAnswer::Superseded);
        assert_eq!(scene.snapshot().await.hash(&format!("agent:{identity}"))["session"], new.as_str());
    }
}

#[tokio::test]
async fn two_nonces_of_one_pool_get_two_identities_and_a_repeat_none() {
    let scene = Scene::new().await;
    let wanted = Wanted::Pool { prefix: backstop::core::id::Identity::new("p").unwrap(), size: 2 };
    let ask = |bits| super::Register { wanted: wanted.clone(), ..registration("p", nonce(bits)) };
    let first = scene.queue.run(&ask(1)).await.unwrap();
    let second = scene.queue.run(&ask(2)).await.unwrap();
    assert_ne!(first, second);
    assert_eq!(scene.queue.run(&ask(1)).await.unwrap(), first);
    scene.age(100_000).await;
    assert_eq!(scene.queue.run(&ask(3)).await.unwrap(), RegisterAnswer::PoolFull, "silent is not free");
}

#[tokio::test]
async fn one_that_was_lost_gets_no_session_once_its_identity_has_another() {
    let scene = Scene::new().await;
    let old = scene.register("a").await;
    let new = scene.register("a").await;
    let mut again = registration("a", nonce(4));
    again.lost = Some(old);
    assert_eq!(scene.queue.run(&again).await.unwrap(), RegisterAnswer::Superseded);
    again.lost = Some(new);
    assert!(matches!(scene.queue.run(&again).await.unwrap(), RegisterAnswer::Registered { .. }));
}

#[tokio::test]
async fn an_enqueue_after_the_end_adds_nothing() {
    let scene = Scene::new().await;
    let (_, task) = scene.running("a", "t").await;
    assert_eq!(scene.enqueue("t").await, Enqueued::Exists, "it runs");
    assert_eq!(scene.complete(&task).await, Completed::Completed);
    assert_eq!(scene.enqueue("t").await, Enqueued::Exists, "it was done");
    let twice = Enqueue { tasks: vec![super::task("u"), super::task("u")] };
    assert_eq!(scene.queue.run(&twice).await.unwrap(), [Enqueued::Enqueued, Enqueued::Exists]);
    assert_eq!(scene.snapshot().await.stat("enqueued"), 2);
}

#[tokio::test]
async fn a_late_copy_of_extend_moves_no_other_attempts_limit() {
    let scene = Scene::new().await;
    let (agent, first) = scene.running("a", "t").await;
    let limit_ms = scene.snapshot().await.now + 9_000_000;
    let extend = Extend { id: "t".into(), token: first.token.clone(), limit_ms, by: "me".into() };
    assert_eq!(scene.queue.run(&extend).await.unwrap(), Extended::Extended);
    assert_eq!(scene.snapshot().await.figure("t", "limit"), limit_ms);
    scene.release(&agent, &first).await;
    assert_eq!(scene.queue.run(&extend).await.unwrap(), Extended::Changed);
    scene.take(&agent).await.unwrap();
    assert_eq!(scene.queue.run(&extend).await.unwrap(), Extended::Changed);
    assert!(scene.snapshot().await.figure("t", "limit") < limit_ms);
}

#[tokio::test]
async fn a_task_that_was_extended_after_the_look_keeps_running() {
    let scene = Scene::new().await;
    let (agent, task) = scene.running("a", "t").await;
    scene.age(4000).await;
    let mut verdict = reset_of(&agent, 0, &[&task]);
    (verdict.seen_beat_ms, verdict.cause) = (None, Cause::StartToClose);
    let limit_ms = scene.snapshot().await.now + 60_000;
    let extend = Extend { id: "t".into(), token: task.token.clone(), limit_ms, by: "me".into() };
    assert_eq!(scene.queue.run(&extend).await.unwrap(), Extended::Extended);
    assert!(!scene.apply(&verdict).await);
    scene.age(61).await;
    assert!(scene.apply(&verdict).await);
}

#[tokio::test]
async fn a_late_copy_of_a_switch_undoes_no_later_change() {
    let scene = Scene::new().await;
    let pause =
        |seen_change| Switch { seen_change, by: "me".into(), fields: vec![("paused".into(), "1".into())] };
    let resume =
        |seen_change| Switch { seen_change, by: "me".into(), fields: vec![("paused".into(), String::new())] };
    assert_eq!(scene.queue.run(&pause(0)).await.unwrap(), SwitchAnswer::Switched(1));
    assert_eq!(scene.queue.run(&resume(1)).await.unwrap(), SwitchAnswer::Switched(2));
    assert_eq!(scene.queue.run(&pause(0)).await.unwrap(), SwitchAnswer::Changed(2));
    assert_eq!(scene.snapshot().await.hash("control")["paused"], "");
}

#[tokio::test]
async fn an_unknown_server_or_an_open_grace_holds_every_verdict() {
    let scene = Scene::new().await;
    let (agent, task) = scene.running("a", "t").await;
    let deadline = Some(Duration::from_secs(1));
    scene.queue.run(&Enqueue { tasks: vec![NewTask { deadline, ..super::task("u") }] }).await.unwrap();
    let verdict = scene.verdict(&agent, &task).await;
    let seen_beat_ms = verdict.seen_beat_ms.unwrap();
    let control = scene.queue.keys().named("control");
    let far = (scene.snapshot().await.now + 60_000).to_string();
    for (field, value) in [("run_id", "another"), ("grace_until", far.as_str())] {
        let known = scene.snapshot().await.hash("control")[field].clone();
        scene.queue.store().command(&["HSET", &control, field, value]).await.unwrap();
        let before = scene.snapshot().await;
        let session = agent.to_string();
        assert_eq!(scene.queue.run(&verdict).await.unwrap(), ApplyAnswer::Held, "{field}");
        let declare = Declare { session: session.clone(), seen_beat_ms };
        assert_eq!(scene.queue.run(&declare).await.unwrap(), Declared::Held, "{field}");
        let forget = Forget { session, seen_beat_ms };
        assert_eq!(scene.queue.run(&forget).await.unwrap(), Forgotten::Held, "{field}");
        let expire = Expire { ids: vec!["u".into()] };
        assert_eq!(scene.queue.run(&expire).await.unwrap(), ExpireAnswer::Held, "{field}");
        assert_eq!(scene.snapshot().await.essence(), before.essence());
        scene.queue.store().command(&["HSET", &control, field, &known]).await.unwrap();
    }
    assert!(scene.apply(&verdict).await);
}
