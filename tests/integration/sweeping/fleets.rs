//! Large fleets, which are asked to beat less often.

use backstop::native::scripts::publish::Publish;

use super::*;

#[tokio::test]
async fn publishing_the_same_policy_to_a_large_fleet_opens_no_grace() {
    let mut scene = Scene::new().await;
    scene.sweep().await;
    let agents = scene.queue.keys().named("agents");
    let now = scene.queue.store().server_time().await.unwrap().to_string();
    let names: Vec<String> = (0..9000).map(|n| format!("a-{n}.1-00000000")).collect();
    for some in names.chunks(1000) {
        let mut command = vec!["ZADD", agents.as_str()];
        some.iter().for_each(|name| command.extend([now.as_str(), name.as_str()]));
        scene.queue.store().command(&command).await.unwrap();
    }
    // As a daemon does that starts again.
    scene.sweeper = Sweeper::new(scene.server.store(), settings(), Arc::new(NoObserver));
    assert_eq!(scene.sweep().await.guards, []);
}

#[tokio::test]
async fn the_first_look_at_a_large_fleet_knows_how_seldom_it_beats() {
    let mut scene = Scene::new().await;
    scene.policy.session.heartbeat_interval = Duration::from_secs(1);
    scene.policy.session.heartbeat_timeout = Duration::from_secs(3);
    scene.policy.session.lost_after = Duration::from_secs(2);
    scene.enqueue(1).await;
    let (one, _) = scene.agent("one", 1).await;
    // 7500 sessions beat every 5 s, so one that is silent for 6 s has missed one beat.
    let agents = scene.queue.keys().named("agents");
    let now = scene.queue.store().server_time().await.unwrap();
    for chunk in (0..7500).collect::<Vec<_>>().chunks(500) {
        let mut command = vec!["ZADD".to_owned(), agents.clone()];
        command.extend(chunk.iter().flat_map(|i| [now.to_string(), format!("s{i}.1-00000000")]));
        scene.queue.store().command(&command.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap();
    }
    scene.silence(&one, 6).await;
    let report = scene.sweep().await;
    assert!(report.summary.done.is_empty() && report.figures.silent == 0, "{report:?}");
}

#[tokio::test]
async fn what_another_published_is_put_right_before_anybody_is_judged_by_it() {
    let mut scene = Scene::new().await;
    scene.policy.session.heartbeat_interval = Duration::from_secs(1);
    scene.policy.session.heartbeat_timeout = Duration::from_secs(3);
    scene.policy.session.lost_after = Duration::from_secs(2);
    scene.enqueue(1).await;
    let (one, _) = scene.agent("one", 1).await;
    scene.sweep().await;
    scene.queue.run(&Publish { policy: QueuePolicy::default() }).await.unwrap();
    // It was told to beat every 5 s, and is not late yet.
    scene.silence(&one, 6).await;
    let report = scene.sweep().await;
    assert!(report.summary.done.is_empty(), "{report:?}");
    let told = scene.queue.store().hash(&scene.queue.keys().named("policy")).await.unwrap();
    assert_eq!(told["_heartbeat_timeout"], "3000", "agents are told again what they are judged by");
}

#[tokio::test]
async fn a_pass_by_hand_tells_agents_nothing_and_judges_by_what_they_were_told() {
    let mut scene = Scene::new().await;
    scene.enqueue(1).await;
    let (one, _) = scene.agent("one", 1).await;
    scene.sweep().await;
    let before = scene.queue.store().hash(&scene.queue.keys().named("policy")).await.unwrap();
    let by_hand = SweepSettings { publishes: false, ..settings() };
    scene.sweeper = Sweeper::new(scene.server.store(), by_hand, Arc::new(NoObserver));
    scene.policy.session.heartbeat_timeout = Duration::from_secs(3);
    scene.policy.session.lost_after = Duration::from_secs(2);
    scene.silence(&one, 20).await;
    let report = scene.sweep().await;
    assert!(report.summary.done.is_empty() && report.figures.silent == 0, "{report:?}");
    let after = scene.queue.store().hash(&scene.queue.keys().named("policy")).await.unwrap();
    assert_eq!(after, before);
}
