//! Agents that hold tasks, made by the scripts that real ones use.

use std::time::Duration;

use backstop::core::id::{Identity, Session, TaskId, TaskType};
use backstop::native::scripts::enqueue::{Enqueue, NewTask};
use backstop::native::scripts::register::{Register, RegisterAnswer, Wanted};
use backstop::native::scripts::take::{Take, TakeAnswer};
use backstop::native::{Queue, fresh_nonce};

pub fn uuid(n: usize) -> TaskId {
    TaskId::new(format!("{n:08x}-1b4e-4f6a-9c3d-{n:012x}")).unwrap()
}

pub async fn enqueue(queue: &Queue, from: usize, n: usize, bytes: usize) {
    let mut at = from;
    while at < from + n {
        let until = (at + 50).min(from + n);
        let tasks = (at..until).map(|i| NewTask {
            id: uuid(i),
            task_type: TaskType::new("resize").unwrap(),
            delay: Duration::ZERO,
            deadline: None,
            payload: vec![b'x'; bytes],
        });
        queue.run(&Enqueue { tasks: tasks.collect() }).await.unwrap();
        at = until;
    }
    queue.announce().await.unwrap();
}

pub async fn register(queue: &Queue, name: &str) -> Session {
    let register = Register {
        wanted: Wanted::Identity(Identity::new(name).unwrap()),
        nonce: fresh_nonce().unwrap(),
        lost: None,
        host: "host".into(),
        pid: 1,
        version: "1".into(),
    };
    match queue.run(&register).await.unwrap() {
        RegisterAnswer::Registered { session, .. } => session,
        other => panic!("{other:?}"),
    }
}

/// Takes this many tasks, at most 50 a call; their ids and tokens.
pub async fn take(queue: &Queue, session: &Session, n: usize) -> Vec<(String, String)> {
    let mut taken = Vec::with_capacity(n);
    while taken.len() < n {
        let most = u32::try_from((n - taken.len()).min(50)).unwrap();
        let take = Take { session: session.clone(), nonce: fresh_nonce().unwrap(), most };
        match queue.run(&take).await.unwrap() {
            TakeAnswer::Took(tasks) if !tasks.is_empty() => {
                taken.extend(tasks.into_iter().map(|task| (task.id, task.token)));
            }
            other => panic!("{other:?}"),
        }
    }
    taken
}

/// Lets sessions have been silent for this long, or beat just now.
pub async fn silent_for(queue: &Queue, sessions: &[Session], ms: i64) {
    let now = queue.store().server_time().await.unwrap();
    let (key, at) = (queue.keys().named("agents"), (now - ms).to_string());
    for some in sessions.chunks(500) {
        let mut command = vec!["ZADD", &key];
        some.iter().for_each(|session| command.extend([at.as_str(), session.as_str()]));
        queue.store().command(&command).await.unwrap();
    }
}

/// A fleet of agents that hold so many tasks each, all of which beat just now.
pub async fn fleet(queue: &Queue, prefix: &str, agents: usize, each: usize) -> Vec<Session> {
    let mut sessions = Vec::with_capacity(agents);
    for n in 0..agents {
        let session = register(queue, &format!("{prefix}-{n}")).await;
        take(queue, &session, each).await;
        let key = queue.keys().agent(session.identity());
        queue.store().command(&["HSET", &key, "beat", "1"]).await.unwrap();
        sessions.push(session);
    }
    sessions
}
