//! Commands that arrive twice, or late: after others that the sender sent later.

use std::time::Duration;

use backstop::core::id::Session;
use backstop::native::scripts::adopt::{Adopt, Adopted};
use backstop::native::scripts::beat::{BeatWord, Drain, Mark, StopWhy};
use backstop::native::scripts::cancel::{Cancel, Cancelled};
use backstop::native::scripts::complete::Completed;
use backstop::native::scripts::discard::{Discard, Discarded};
use backstop::native::scripts::enqueue::Enqueued;
use backstop::native::scripts::extend::{Extend, Extended};
use backstop::native::scripts::fail::{Fail, Failed};
use backstop::native::scripts::leave::{Leave, LeaveAnswer};
use backstop::native::scripts::redrive::{Redrive, Redriven, SeenDead};
use backstop::native::scripts::register::RegisterAnswer;
use backstop::native::scripts::release::Released;
use backstop::native::scripts::reset::{Reset, ResetByHand};
use backstop::native::scripts::steer::{Steer, Steered};
use backstop::native::scripts::switch::{Switch, SwitchAnswer};
use backstop::native::scripts::take::{Take, TakeAnswer};

use super::scene::{Pair, Scene, failing, registered};

fn by() -> String {
    "me".to_owned()
}

/// The same id completes and is enqueued again, after its memory has lapsed, and runs.
async fn second_life(scene: &mut Scene, session: &Session, first: &Pair) -> Pair {
    assert_eq!(scene.complete(first).await, Completed::Completed);
    // Two lives never begin in the same millisecond: the memory of the first lasts longer than that.
    tokio::time::sleep(Duration::from_millis(2)).await;
    scene.plain(&["DEL", &scene.key("done:t")]).await;
    assert_eq!(scene.enqueue("t").await, Enqueued::Enqueued);
    scene.take_one(session).await
}

async fn died(scene: &Scene, pair: &Pair) -> SeenDead {
    let at = scene.dump().await.zset(&scene.key("dead"))["t"];
    #[allow(clippy::cast_possible_truncation, reason = "a time in ms")]
    SeenDead { id: pair.0.clone(), token: pair.1.clone(), died_at_ms: at as i64 }
}

#[tokio::test]
async fn a_completion_sent_again_is_known_as_done_and_one_of_another_life_is_not() {
    let mut scene = Scene::new().await;
    let (session, first) = scene.running().await;
    let second = second_life(&mut scene, &session, &first).await;
    assert_ne!(first.1.split('-').nth(1), second.1.split('-').nth(1));
    assert_eq!(scene.complete(&first).await, Completed::Gone);
    assert_eq!(scene.complete(&second).await, Completed::Completed);
    assert_eq!(scene.complete(&second).await, Completed::Already);
    assert_eq!(scene.complete(&first).await, Completed::Gone);
}

#[tokio::test]
async fn a_token_tells_two_lives_apart_even_when_one_nonce_made_both() {
    let mut scene = Scene::new().await;
    scene.enqueue("t").await;
    let session = scene.register("a").await;
    let take = scene.taking(&session);
    let TakeAnswer::Took(first) = scene.run(&take).await else { panic!("nothing taken") };
    scene.complete(&("t".to_owned(), first[0].token.clone())).await;
    scene.plain(&["DEL", &scene.key("done:t")]).await;
    scene.enqueue("t").await;
    let TakeAnswer::Took(second) = scene.run(&take).await else { panic!("nothing taken") };
    assert_ne!(first[0].token, second[0].token);
}

#[tokio::test]
async fn a_discarded_task_is_never_told_to_have_been_completed() {
    let mut scene = Scene::new().await;
    let (session, pair) = scene.running().await;
    scene.run(&Cancel { id: "t".to_owned(), seen: pair.1.clone(), by: by() }).await;
    assert_eq!(scene.release(&session, &pair).await, Released::Discarded);
    assert_eq!(scene.complete(&pair).await, Completed::Gone);
    assert_eq!(scene.enqueue("t").await, Enqueued::Exists);
}

#[tokio::test]
async fn an_enqueue_sent_again_adds_nothing_before_or_after_the_task_is_done() {
    let mut scene = Scene::new().await;
    let (session, pair) = scene.running().await;
    assert_eq!(scene.enqueue("t").await, Enqueued::Exists);
    scene.complete(&pair).await;
    assert_eq!(scene.enqueue("t").await, Enqueued::Exists);
    assert_eq!(scene.take(&session).await, []);
}

#[tokio::test]
async fn a_failure_or_release_sent_again_does_not_touch_the_next_attempt() {
    let mut scene = Scene::new().await;
    let (session, first) = scene.running().await;
    assert!(matches!(scene.fail(&first).await, Failed::Retried(_)));
    assert_eq!(scene.fail(&first).await, Failed::Late);
    assert_eq!(scene.release(&session, &first).await, Released::Late);
    scene.elapse(Duration::from_secs(5)).await;
    let second = scene.take_one(&session).await;
    assert_eq!(scene.run(&failing(&first)).await, Failed::Late);
    assert_eq!(scene.release(&session, &first).await, Released::Late);
    assert_eq!(scene.complete(&second).await, Completed::Completed);
}

#[tokio::test]
async fn a_failure_is_the_tokens_last_word() {
    let mut scene = Scene::new().await;
    let (_, pair) = scene.running().await;
    scene.fail(&pair).await;
    assert_eq!(scene.complete(&pair).await, Completed::Gone);
}

#[tokio::test]
async fn a_registration_sent_again_gives_the_same_session_whatever_has_lapsed() {
    let mut scene = Scene::new().await;
    let register = scene.registration("a");
    let first = scene.run(&register).await;
    assert_eq!(scene.run(&register).await, first);
    scene.plain(&["DEL", &scene.key(&format!("nonce:{}", register.nonce.as_str()))]).await;
    assert_eq!(scene.run(&register).await, first);
    let newer = scene.register("a").await;
    assert_eq!(scene.run(&register).await, RegisterAnswer::Superseded);
    scene.plain(&["DEL", &scene.key(&format!("nonce:{}", register.nonce.as_str()))]).await;
    assert_eq!(scene.run(&register).await, RegisterAnswer::Superseded);
    assert_eq!(scene.beat(&newer, 1, &[], Mark::None).await.word, BeatWord::GoOn);
}

#[tokio::test]
async fn a_take_that_arrives_after_its_session_has_left_takes_nothing() {
    let mut scene = Scene::new().await;
    let session = scene.register("a").await;
    assert_eq!(scene.run(&Leave { session: session.clone() }).await, LeaveAnswer::Left);
    scene.enqueue("t").await;
    let take = Take { session: session.clone(), nonce: scene.nonce(), most: 1 };
    assert_eq!(scene.run(&take).await, TakeAnswer::Lost);
    scene.register("a").await;
    assert_eq!(scene.run(&take).await, TakeAnswer::Superseded);
}

#[tokio::test]
async fn an_older_sessions_leaving_does_not_end_the_newer_one() {
    let mut scene = Scene::new().await;
    let older = scene.register("a").await;
    let newer = scene.register("a").await;
    assert_eq!(scene.run(&Leave { session: older }).await, LeaveAnswer::Left);
    let agent = scene.dump().await.hash(&scene.key("agent:a"));
    assert_eq!(agent["state"], "active");
    assert_eq!(scene.take(&newer).await, []);
}

#[tokio::test]
async fn an_older_beat_keeps_the_session_alive_and_rolls_no_checkpoint_back() {
    let mut scene = Scene::new().await;
    let (session, pair) = scene.running().await;
    let pairs = [pair.clone()];
    scene.beat(&session, 2, &pairs, Mark::Checkpoint(b"two".to_vec())).await;
    scene.elapse(Duration::from_secs(60)).await;
    scene.beat(&session, 1, &pairs, Mark::Checkpoint(b"one".to_vec())).await;
    assert_eq!(scene.observe().await.facts.silent, []);
    assert_eq!(scene.dump().await.string(&scene.key("checkpoint:t")), Some("two".to_owned()));
}

#[tokio::test]
async fn a_superseded_sessions_beat_writes_nothing_and_still_learns_what_it_lost() {
    let mut scene = Scene::new().await;
    let (older, pair) = scene.running().await;
    scene.enqueue("kept").await;
    let kept = scene.take_one(&older).await;
    let newer = scene.registration("a");
    let (newer, held) = registered(scene.run(&newer).await);
    let mut told: Vec<_> = held.iter().map(|task| (task.id.as_str(), task.token.as_str())).collect();
    told.sort_unstable();
    assert_eq!(told, [(kept.0.as_str(), kept.1.as_str()), (pair.0.as_str(), pair.1.as_str())]);
    let adopt = Adopt { session: newer, nonce: scene.nonce(), pairs: vec![pair.clone()] };
    scene.run(&adopt).await;
    let before = scene.dump().await;
    let listed = [pair.clone(), kept];
    let answer = scene.beat(&older, 9, &listed, Mark::Checkpoint(b"x".to_vec())).await;
    assert_eq!(answer.word, BeatWord::Superseded);
    assert_eq!(answer.stop, [(pair.0, pair.1, StopWhy::Gone)]);
    assert_eq!(scene.dump().await, before);
}

#[tokio::test]
async fn an_adoption_sent_again_charges_once_and_one_too_many_ends_as_a_dead_letter() {
    let mut scene = Scene::new().await;
    let (_, mut pair) = scene.running().await;
    for charged in 1..=3 {
        let session = scene.register("a").await;
        let adopt = Adopt { session, nonce: scene.nonce(), pairs: vec![pair.clone()] };
        let first = scene.run(&adopt).await;
        assert_eq!(scene.run(&adopt).await, first);
        let [Adopted::Adopted(taken)] = first.as_slice() else { panic!("{first:?}") };
        assert_eq!(taken.abandonments, charged);
        pair.1.clone_from(&taken.token);
    }
    let session = scene.register("a").await;
    let adopt = Adopt { session, nonce: scene.nonce(), pairs: vec![pair] };
    assert_eq!(scene.run(&adopt).await, [Adopted::Dead]);
    assert_eq!(scene.run(&adopt).await, [Adopted::NotYours]);
}

#[tokio::test]
async fn an_adoption_of_an_attempt_that_has_ended_does_not_take_the_next_one() {
    let mut scene = Scene::new().await;
    let (session, first) = scene.running().await;
    scene.release(&session, &first).await;
    let second = scene.take_one(&session).await;
    let successor = scene.register("a").await;
    let adopt = Adopt { session: successor, nonce: scene.nonce(), pairs: vec![first] };
    assert_eq!(scene.run(&adopt).await, [Adopted::NotYours]);
    assert_eq!(scene.complete(&second).await, Completed::Completed);
}

#[tokio::test]
async fn an_adoption_by_a_session_that_is_superseded_or_forgotten_is_refused() {
    let mut scene = Scene::new().await;
    let (_, pair) = scene.running().await;
    let second = scene.register("a").await;
    scene.plain(&["ZREM", &scene.key("agents"), second.as_str()]).await;
    let adopt = Adopt { session: second.clone(), nonce: scene.nonce(), pairs: vec![pair] };
    assert_eq!(scene.run(&adopt).await, [Adopted::Lost]);
    scene.register("a").await;
    scene.plain(&["ZADD", &scene.key("agents"), "1", second.as_str()]).await;
    assert_eq!(scene.run(&adopt).await, [Adopted::Lost]);
}

#[tokio::test]
async fn nobody_adopts_or_gives_back_what_another_identity_runs() {
    let mut scene = Scene::new().await;
    let (_, pair) = scene.running().await;
    let stranger = scene.register("b").await;
    let adopt = Adopt { session: stranger.clone(), nonce: scene.nonce(), pairs: vec![pair.clone()] };
    assert_eq!(scene.run(&adopt).await, [Adopted::NotYours]);
    assert_eq!(scene.release(&stranger, &pair).await, Released::Late);
    assert_eq!(scene.complete(&pair).await, Completed::Completed);
}

#[tokio::test]
async fn a_session_that_runs_something_does_not_leave() {
    let mut scene = Scene::new().await;
    let (session, pair) = scene.running().await;
    let leave = Leave { session: session.clone() };
    assert_eq!(scene.run(&leave).await, LeaveAnswer::Holds(vec![pair.clone()]));
    assert!(scene.dump().await.zset(&scene.key("agents")).contains_key(session.as_str()));
    scene.release(&session, &pair).await;
    assert_eq!(scene.run(&leave).await, LeaveAnswer::Left);
}

#[tokio::test]
async fn what_a_person_asked_for_an_attempt_does_not_hit_the_next_one() {
    let mut scene = Scene::new().await;
    let (session, (id, token)) = scene.running().await;
    let pair = (id.clone(), token.clone());
    let limit_ms = i64::MAX / 1024;
    let cancel = Cancel { id: id.clone(), seen: token.clone(), by: by() };
    let extend = Extend { id, token, limit_ms, by: by() };
    let reset = Reset { by: by(), pairs: vec![pair.clone()] };
    assert_eq!(scene.run(&extend).await, Extended::Extended);
    assert_eq!(scene.run(&reset).await, [ResetByHand::Reset]);
    assert_eq!(scene.run(&reset).await, [ResetByHand::Changed]);
    let next = scene.take_one(&session).await;
    assert_eq!(scene.run(&extend).await, Extended::Changed);
    assert_eq!(scene.run(&cancel).await, Cancelled::Changed);
    assert_eq!(scene.run(&reset).await, [ResetByHand::Changed]);
    assert_eq!(scene.complete(&next).await, Completed::Completed);
}

#[tokio::test]
async fn cancelling_a_waiting_task_does_not_hit_its_next_life() {
    let mut scene = Scene::new().await;
    let (session, first) = scene.running().await;
    let record = scene.dump().await.hash(&scene.key("task:t"));
    let cancel = Cancel { id: "t".to_owned(), seen: record["enqueued_at"].clone(), by: by() };
    let second = second_life(&mut scene, &session, &first).await;
    scene.release(&session, &second).await;
    assert_eq!(scene.run(&cancel).await, Cancelled::Changed);
}

#[tokio::test]
async fn redriving_or_discarding_names_one_death_and_hits_no_other() {
    let mut scene = Scene::new().await;
    let (session, first) = scene.running().await;
    scene.run(&Fail { is_final: true, ..failing(&first) }).await;
    let seen = died(&scene, &first).await;
    let redrive = Redrive { deadline: None, by: by(), dead: vec![seen.clone()] };
    let discard = Discard { by: by(), dead: vec![seen] };
    assert_eq!(scene.run(&redrive).await, [Redriven::Redriven]);
    assert_eq!(scene.run(&redrive).await, [Redriven::Changed]);
    let second = scene.take_one(&session).await;
    scene.run(&Fail { is_final: true, ..failing(&second) }).await;
    assert_eq!(scene.run(&redrive).await, [Redriven::Changed]);
    assert_eq!(scene.run(&discard).await, [Discarded::Changed]);
    let mut seen = died(&scene, &second).await;
    // Two deaths in one millisecond are told apart by their tokens.
    let twin = SeenDead { token: first.1.clone(), ..seen.clone() };
    let redrive = Redrive { deadline: None, by: by(), dead: vec![twin.clone()] };
    assert_eq!(scene.run(&redrive).await, [Redriven::Changed]);
    assert_eq!(scene.run(&Discard { by: by(), dead: vec![twin] }).await, [Discarded::Changed]);
    seen.died_at_ms += 1;
    assert_eq!(scene.run(&Discard { by: by(), dead: vec![seen.clone()] }).await, [Discarded::Changed]);
    assert_eq!(
        scene.run(&Redrive { deadline: None, by: by(), dead: vec![seen.clone()] }).await,
        [Redriven::Changed]
    );
    seen.died_at_ms -= 1;
    let discard = Discard { by: by(), dead: vec![seen] };
    assert_eq!(scene.run(&discard).await, [Discarded::Discarded]);
    assert_eq!(scene.run(&discard).await, [Discarded::Changed]);
}

#[tokio::test]
async fn a_pause_that_arrives_after_the_resumption_changes_nothing() {
    let scene = Scene::new().await;
    let switch = |seen_change, value: &str| Switch {
        seen_change,
        by: by(),
        fields: vec![("paused".to_owned(), value.to_owned())],
    };
    assert_eq!(scene.run(&switch(0, "1")).await, SwitchAnswer::Switched(1));
    assert_eq!(scene.run(&switch(1, "")).await, SwitchAnswer::Switched(2));
    assert_eq!(scene.run(&switch(0, "1")).await, SwitchAnswer::Changed(2));
    assert!(!scene.observe().await.figures.paused);
}

#[tokio::test]
async fn a_session_that_was_lost_does_not_supersede_the_one_that_replaced_it() {
    let mut scene = Scene::new().await;
    let (lost, _) = scene.abandoned().await;
    let newer = scene.register("a").await;
    let mut register = scene.registration("a");
    register.lost = Some(lost);
    assert_eq!(scene.run(&register).await, RegisterAnswer::Superseded);
    let mut register = scene.registration("a");
    register.lost = Some(newer);
    let (session, _) = registered(scene.run(&register).await);
    assert_eq!(scene.beat(&session, 1, &[], Mark::None).await.word, BeatWord::GoOn);
}

#[tokio::test]
async fn a_late_copy_of_an_agents_drain_does_not_undo_what_was_asked_since() {
    let mut scene = Scene::new().await;
    let first = scene.register("a").await;
    let steer =
        |seen_change, drain| Steer { by: "me".into(), identity: "a".parse().unwrap(), seen_change, drain };
    let drain = steer(0, Some(Drain::Release));
    assert_eq!(scene.run(&drain).await, Steered::Steered);
    assert_eq!(scene.beat(&first, 1, &[], Mark::None).await.drain, Some(Drain::Release));
    assert_eq!(scene.run(&drain).await, Steered::Changed, "a repeat");
    let second = scene.register("a").await;
    let beat = scene.beat(&second, 1, &[], Mark::None).await;
    assert_eq!(beat.drain, Some(Drain::Release), "it holds for the name");
    assert_eq!(scene.run(&steer(1, None)).await, Steered::Steered);
    assert_eq!(scene.run(&drain).await, Steered::Changed);
    assert_eq!(scene.beat(&second, 2, &[], Mark::None).await.drain, None);
    let nobody = Steer { identity: "nobody".parse().unwrap(), ..drain };
    assert_eq!(scene.run(&nobody).await, Steered::Gone);
}
