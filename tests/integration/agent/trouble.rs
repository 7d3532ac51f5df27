//! What goes wrong around an agent costs no more than it must.

use backstop::store::Store;

use super::*;

#[tokio::test]
async fn a_listener_that_panics_costs_no_outcome() {
    let server = scene().await;
    enqueue(&server, 3).await;
    let deaf = Arc::new(|_: &str, _: &str, _: &str| panic!("a listener with a fault"));
    let account = agent(&server, "a").count(3).on_answer(deaf).build().unwrap().run(|_| async { Ok(()) });
    assert_eq!(account.await.unwrap().completed, 3);
}

#[tokio::test]
async fn an_outcome_that_is_refused_is_told_once_it_can_be() {
    let server = scene().await;
    enqueue(&server, 1).await;
    let go = CancellationToken::new();
    let went = go.clone();
    let running = agent(&server, "a").count(1).build().unwrap().run(move |_| {
        let went = went.clone();
        async move {
            went.cancelled().await;
            Ok(())
        }
    });
    let running = tokio::spawn(running);
    eventually("it runs", || async { total(&server, "taken").await == 1 }).await;
    let (store, keys) = (server.store(), server.queue("q").keys().clone());
    store.command(&["SET", &keys.named("expiring"), "of the wrong type"]).await.unwrap();
    go.cancel();
    let refused = async || match store.command(&["INFO", "errorstats"]).await.unwrap() {
        Reply::Bytes(bytes) => String::from_utf8(bytes).unwrap().contains("WRONGTYPE"),
        _ => false,
    };
    eventually("it is refused", || async { refused().await }).await;
    // Until it is told, beats list the task: one that they don't is given back after a few.
    let beats = async || number(&store, &["HGET", &keys.agent("a"), "beat"]).await;
    let before = beats().await;
    eventually("it beats on", || async { beats().await > before + 20 }).await;
    store.command(&["DEL", &keys.named("expiring")]).await.unwrap();
    assert_eq!(running.await.unwrap().unwrap().completed, 1);
    assert_eq!((total(&server, "completed").await, total(&server, "released").await), (1, 0));
}

#[tokio::test]
async fn a_policy_that_is_published_later_reaches_who_runs_already() {
    let server = Server::start().await;
    let mut patient = brisk();
    patient.session.stop_on_agent_after = StopOnAgent::Never;
    server.queue("q").run(&Publish { policy: patient }).await.unwrap();
    enqueue(&server, 1).await;
    let (told, stop) = (CancellationToken::new(), CancellationToken::new());
    let heard = told.clone();
    let running = agent(&server, "a").stop(stop.clone()).build().unwrap().run(move |task| {
        let heard = heard.clone();
        async move {
            task.stop().cancelled().await;
            heard.cancel();
            Err(Failure::GiveBack(None))
        }
    });
    let running = tokio::spawn(running);
    eventually("it runs the task", || async { total(&server, "taken").await == 1 }).await;
    server.queue("q").run(&Publish { policy: brisk() }).await.unwrap();
    let beats =
        async || number(&server.store(), &["HGET", &server.queue("q").keys().agent("a"), "beat"]).await;
    let before = beats().await;
    eventually("it heard of it", || async { beats().await > before + 1 }).await;
    server.inner.pause();
    eventually("its work is stopped", || async { told.is_cancelled() }).await;
    server.inner.resume();
    stop.cancel();
    running.await.unwrap().unwrap();
}

/// Says when a handler is gone, however it went.
struct Gone(CancellationToken);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

#[tokio::test]
async fn out_of_touch_a_handler_has_no_more_time_than_others_wait() {
    let server = scene().await;
    enqueue(&server, 1).await;
    let (gone, stop) = (CancellationToken::new(), CancellationToken::new());
    let end = gone.clone();
    let stubborn = agent(&server, "a").stop_grace(Duration::from_secs(3600)).stop(stop.clone());
    let running = tokio::spawn(stubborn.build().unwrap().run(move |_| {
        let end = end.clone();
        async move {
            let _gone = Gone(end);
            std::future::pending().await
        }
    }));
    eventually("it runs the task", || async { total(&server, "taken").await == 1 }).await;
    server.inner.pause();
    // Others may have the task a second after the last beat; it had an hour to end.
    eventually("the run is dropped", || async { gone.is_cancelled() }).await;
    server.inner.resume();
    running.abort();
}

#[tokio::test]
async fn an_agent_that_cannot_settle_gives_back_what_it_has_adopted() {
    let server = scene().await;
    let tasks = vec![new_task(vec![b'x'; 100]).unwrap(), new_task(vec![b'x'; 100]).unwrap()];
    let ids: Vec<_> = tasks.iter().map(|task| task.id.to_string()).collect();
    Client::new(server.store(), queue()).enqueue_all(tasks).await.unwrap();
    let former = agent(&server, "a").concurrency(2).build().unwrap();
    let died = tokio::spawn(former.run(|_| std::future::pending()));
    eventually("it runs both", || async { total(&server, "taken").await == 2 }).await;
    died.abort();
    // Who may read one payload and not the other adopts the one and fails at the other.
    let readable = format!("~{}payload:{}", server.queue("q").keys().named(""), ids[0]);
    let rights = ["~backstop:queues", "~backstop:{q}:[^p]*", "~backstop:{q}:pending", "~backstop:{q}:policy"];
    let user = [["ACL", "SETUSER", "half", "on", ">secret", "+@all", "&*"].as_slice(), &rights, &[&readable]];
    server.store().command(&user.concat()).await.unwrap();
    let store = Store::connect(&format!("{}?user=half&pass=secret", server.url()), &Options::default());
    let next = Agent::builder(store.unwrap()).queue(queue()).identity(Identity::new("a").unwrap());
    let next = next.concurrency(2).on_reconnect(OnReconnect::Resume).build().unwrap();
    next.run(|_| async { Ok(()) }).await.unwrap_err();
    let session = session_of(&server, "a").await.unwrap();
    let running = server.queue("q").keys().running(session.as_str());
    assert_eq!(number(&server.store(), &["ZCARD", &running]).await, 0, "nobody runs these");
    let agents = server.queue("q").keys().named("agents");
    let left = server.store().command(&["ZSCORE", &agents, session.as_str()]).await.unwrap();
    assert_eq!(left, Reply::Nil, "it left");
    assert!(total(&server, "released").await > 0, "what it had adopted is free");
}
