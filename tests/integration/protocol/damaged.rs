use std::time::Duration;

use backstop::core::policy::QueuePolicy;
use backstop::core::words::Action;
use backstop::native::scripts::apply::ApplyAnswer;
use backstop::native::scripts::beat::Mark;
use backstop::native::scripts::complete::Completed;
use backstop::native::scripts::enqueue::Enqueue;
use backstop::native::scripts::fail::Failed;
use backstop::native::scripts::leave::{Leave, LeaveAnswer};
use backstop::native::scripts::reconcile::{Reconcile, Reconciled};
use backstop::native::scripts::register::{Register, RegisterAnswer, Wanted};
use backstop::native::scripts::reset::{Reset, ResetByHand};
use backstop::store::{Options, Store};

use super::scene::{Scene, look, page, registered, task};
use crate::support::number;

impl Scene {
    async fn overwrite(&self, key: &str) {
        self.plain(&["DEL", key]).await;
        self.plain(&["SET", key, "of the wrong type"]).await;
    }
}

#[tokio::test]
async fn a_record_without_its_number_goes_to_the_end_and_takes_nobody_with_it() {
    let mut scene = Scene::new().await;
    for id in ["t1", "t2", "t3"] {
        scene.enqueue(id).await;
    }
    let a = scene.register("a").await;
    scene.take(&a).await;
    let key = scene.queue.keys().task("t2");
    scene.plain(&["HDEL", &key, "seq"]).await;
    scene.elapse(Duration::from_secs(100)).await;
    let page = scene.observe().await;
    assert_eq!(scene.apply(&page, Action::Reset).await, ApplyAnswer::Done(vec![true; 3]));
    scene.plain(&["HDEL", &key, "seq"]).await;
    let b = scene.register("b").await;
    let ids: Vec<_> = scene.take(&b).await.into_iter().map(|task| task.id).collect();
    assert_eq!(ids, ["t1", "t3", "t2"]);
}

#[tokio::test]
async fn an_identity_comes_back_though_what_its_former_session_ran_cannot_be_read() {
    let mut scene = Scene::new().await;
    let (a, _) = scene.running().await;
    scene.overwrite(&scene.queue.keys().running(a.as_str())).await;
    let register = scene.registration(a.identity());
    let (again, held) = registered(scene.run(&register).await);
    assert!(held.is_empty() && again != a);
    assert_eq!(scene.run(&Leave { session: again }).await, LeaveAnswer::Left);
}

#[tokio::test]
async fn a_pool_passes_over_a_name_whose_record_is_none() {
    let mut scene = Scene::new().await;
    scene.overwrite(&scene.queue.keys().agent("p-0")).await;
    let prefix = backstop::core::id::Identity::new("p").unwrap();
    let register = Register { wanted: Wanted::Pool { prefix, size: 2 }, ..scene.registration("unused") };
    let (session, _) = registered(scene.run(&register).await);
    assert_eq!(session.identity(), "p-1");
    let register = Register { nonce: scene.nonce(), ..register };
    assert_eq!(scene.run(&register).await, RegisterAnswer::PoolFull);
}

#[tokio::test]
async fn a_running_set_that_is_none_keeps_neither_results_nor_the_tasks_beside_it() {
    let mut scene = Scene::new().await;
    let (a, first) = scene.running().await;
    scene.enqueue("other").await;
    let b = scene.register("b").await;
    let second = scene.take_one(&b).await;
    scene.overwrite(&scene.queue.keys().running(a.as_str())).await;
    let pairs = vec![second.clone(), first.clone()];
    assert_eq!(scene.run(&Reset { by: "me".into(), pairs }).await, [ResetByHand::Reset; 2]);
    let c = scene.register("c").await;
    let taken = scene.take(&c).await;
    scene.overwrite(&scene.queue.keys().running(c.as_str())).await;
    let pair = (taken[0].id.clone(), taken[0].token.clone());
    assert_eq!(scene.complete(&pair).await.as_str(), "completed");
}

#[tokio::test]
async fn who_leaves_takes_entries_along_that_no_record_stands_for() {
    let mut scene = Scene::new().await;
    let (a, pair) = scene.running().await;
    scene.plain(&["DEL", &scene.queue.keys().task(&pair.0)]).await;
    assert_eq!(scene.run(&Leave { session: a.clone() }).await, LeaveAnswer::Left);
    assert_eq!(number(scene.store(), &["EXISTS", &scene.queue.keys().running(a.as_str())]).await, 0);
}

#[tokio::test]
async fn without_the_right_to_hint_at_work_a_task_is_added_all_the_same() {
    let scene = Scene::new().await;
    scene.plain(&["ACL", "SETUSER", "mute", "on", ">secret", "+@all", "~*", "resetchannels"]).await;
    let url = format!("{}?user=mute&pass=secret", scene.server.url());
    let store = Store::connect(&url, &Options::default()).unwrap();
    let mut client = backstop::agent::Client::new(store, scene.queue.name().clone());
    client.enqueue("x").await.expect("nobody heard of it, and it is there");
    assert_eq!(number(scene.store(), &["ZCARD", &scene.key("pending")]).await, 1);
}

#[tokio::test]
async fn what_an_index_has_lost_is_put_back_to_where_it_may_be() {
    let mut scene = Scene::new().await;
    let (a, running) = scene.running().await;
    for id in ["dead", "waits"] {
        scene.enqueue(id).await;
    }
    scene.plain(&["HSET", &scene.queue.keys().task("dead"), "session", "!poison"]).await;
    for index in ["pending", "agents", "due"] {
        scene.plain(&["DEL", &scene.key(index)]).await;
    }
    let ids = vec![running.0.clone(), "dead".into(), "waits".into()];
    let reconcile = Reconcile { repair: true, session: None, ids };
    assert_eq!(scene.run(&reconcile).await, [Reconciled::Homeless; 3]);
    assert_eq!(scene.run(&reconcile).await, [Reconciled::Sound; 3]);
    for (index, member) in
        [("agents", a.as_str()), ("due", a.as_str()), ("dead", "dead"), ("pending", "waits")]
    {
        let rank = scene.store().command(&["ZRANK", &scene.key(index), member]).await.unwrap();
        assert_eq!(rank, backstop::store::Reply::Int(0), "{member} in {index}");
    }
}

/// Numbers of a record that are none, as a hand or another program may leave them: the queue goes on, and so does the task.
#[tokio::test]
async fn numbers_of_a_record_that_are_none_hold_up_nobody() {
    let fields = [
        "attempt",
        "seq",
        "enqueued_at",
        "deadline",
        "taken_at",
        "limit",
        "alive_until",
        "failures",
        "abandonments",
        "revoked_at",
    ];
    for field in fields {
        for garbage in ["tomorrow", "nan", "inf", "-1e999", "0x", " ", " 5", "5e12", "9999999999999999999"] {
            let what = format!("{field} = {garbage:?}");
            let mut scene = Scene::new().await;
            let mut policy = QueuePolicy::default();
            policy.task.task_heartbeat_timeout = Some(Duration::from_secs(60));
            scene.publish(&policy).await;
            let mut damaged = task("t1");
            damaged.deadline = Some(Duration::from_secs(3600));
            scene.run(&Enqueue { tasks: vec![damaged, task("t2")] }).await;
            let key = scene.queue.keys().task("t1");
            let damage = ["HSET", &key, field, garbage];
            // While it waits, while it runs, while it waits again, and when it has failed.
            scene.plain(&damage).await;
            let a = scene.register("a").await;
            let taken: Vec<_> = scene.take(&a).await.into_iter().map(|task| (task.id, task.token)).collect();
            assert_eq!(taken.len(), 2, "{what}");
            scene.plain(&damage).await;
            let beat = scene.beat(&a, 1, &taken, Mark::Alive).await;
            assert!(beat.unlisted.is_empty(), "{what}");
            scene.elapse(Duration::from_secs(100)).await;
            let seen = page(scene.run(&look(Duration::ZERO)).await);
            assert_eq!(scene.apply(&seen, Action::Reset).await, ApplyAnswer::Done(vec![true; 2]), "{what}");
            scene.plain(&damage).await;
            let b = scene.register("b").await;
            let again = scene.take(&b).await;
            assert_eq!(again.len(), 2, "{what}");
            scene.plain(&damage).await;
            let t1 = again.iter().find(|task| task.id == "t1").unwrap();
            assert!(
                matches!(scene.fail(&(t1.id.clone(), t1.token.clone())).await, Failed::Retried(_)),
                "{what}"
            );
            scene.plain(&damage).await;
            scene.elapse(Duration::from_secs(10)).await;
            let last = scene.take_one(&b).await;
            scene.plain(&damage).await;
            assert_eq!(scene.complete(&last).await, Completed::Completed, "{what}");
        }
    }
}
