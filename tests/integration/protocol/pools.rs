//! Names out of a pool: whose turn it is.

use backstop::core::id::Identity;
use backstop::native::scripts::declare::{Declare, Declared};
use backstop::native::scripts::forget::{Forget, Forgotten};
use backstop::native::scripts::register::{Register, RegisterAnswer, Wanted};

use super::scene::{LOST, Scene, registered};

#[tokio::test]
async fn a_pool_gives_out_what_is_free_or_lost_and_never_what_is_only_silent() {
    let mut scene = Scene::new().await;
    let mut sessions = Vec::new();
    for _ in 0..2 {
        let RegisterAnswer::Registered { session, .. } = from_pool(&mut scene).await else { panic!("full") };
        sessions.push(session);
    }
    assert_ne!(sessions[0].identity(), sessions[1].identity());
    scene.elapse(2 * LOST).await;
    assert_eq!(from_pool(&mut scene).await, RegisterAnswer::PoolFull);
    let page = scene.observe().await;
    let seen = page.facts.silent.iter().find(|seen| seen.session == sessions[1].as_str()).unwrap();
    let declare = Declare { session: seen.session.clone(), seen_beat_ms: seen.beat_ms.unwrap() };
    assert_eq!(scene.run(&declare).await, Declared::Lost);
    let (session, _) = registered(from_pool(&mut scene).await);
    assert_eq!(session.identity(), sessions[1].identity());
}

#[tokio::test]
async fn a_pool_gives_out_a_name_that_is_drained_only_when_there_is_no_other() {
    let mut scene = Scene::new().await;
    scene
        .plain(&["HSET", &scene.queue.keys().agent("p-0"), "session", "p-0.1-00000000", "draining", "wait"])
        .await;
    for name in ["p-1", "p-0"] {
        assert_eq!(registered(from_pool(&mut scene).await).0.identity(), name);
    }
}

#[tokio::test]
async fn one_of_a_pool_that_was_lost_goes_on_under_any_identity_that_is_free() {
    let mut scene = Scene::new().await;
    let (first, _) = registered(from_pool(&mut scene).await);
    let (second, _) = registered(from_pool(&mut scene).await);
    scene.elapse(2 * LOST).await;
    for seen in scene.observe().await.facts.silent {
        let forget = Forget { session: seen.session, seen_beat_ms: seen.beat_ms.unwrap() };
        assert_eq!(scene.run(&forget).await, Forgotten::Forgotten);
    }
    // Both wake up, in the other order: the first free identity is not the one that the second had.
    for lost in [second, first] {
        let again = Register { lost: Some(lost), ..pooled(&mut scene) };
        registered(scene.run(&again).await);
    }
}

fn pooled(scene: &mut Scene) -> Register {
    let wanted = Wanted::Pool { prefix: Identity::new("p").unwrap(), size: 2 };
    Register { wanted, ..scene.registration("p") }
}

async fn from_pool(scene: &mut Scene) -> RegisterAnswer {
    let register = pooled(scene);
    scene.run(&register).await
}
