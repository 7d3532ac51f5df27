//! What the roles can't do. Each command is one that an administrator may run: it is refused for want of the right.

use backstop::core::id::{Identity, Nonce, TaskId, TaskType};
use backstop::core::words::{Action, Cause};
use backstop::native::Command;
use backstop::native::scripts::apply::Apply;
use backstop::native::scripts::enqueue::{Enqueue, NewTask};
use backstop::native::scripts::register::{Register, Wanted};
use backstop::native::scripts::switch::Switch;
use backstop::store::{Store, StoreError};
use std::time::Duration;

use super::{ROLES, enter, queue};
use crate::support::{Server, number};

/// Whether a right was wanting. Engines have two ways to say that of a script's inner command.
fn for_want_of_a_right<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> bool {
    let Err(error) = answer else { return false };
    let said = error.to_string();
    ["lacks a right", "ACL failure in script", "The user executing the script can't"]
        .iter()
        .any(|refusal| said.contains(refusal))
}

async fn refuses(store: &Store, command: &[&str]) -> bool {
    for_want_of_a_right(store.command(command).await)
}

#[tokio::test]
async fn no_role_reaches_beyond_its_own_keys() {
    let server = Server::start().await;
    let admin = server.store();
    admin.command(&["SET", "session:42", "theirs"]).await.unwrap();
    for role in ROLES {
        let store = enter(&server, role).await;
        for command in [
            &["GET", "session:42"][..],
            &["GET", "backstop:q:task:a"],
            &["DEL", "session:42"],
            &["EVAL", "return redis.call('GET', 'session:42')", "0"],
            &["EVAL", "return redis.call('GET', KEYS[1])", "1", "session:42"],
            &["SREM", "backstop:queues", "q"],
            &["PUBLISH", "news", ""],
            &["FLUSHALL"],
            &["KEYS", "*"],
            &["CONFIG", "GET", "*"],
            &["ACL", "LIST"],
            &["CLIENT", "LIST"],
            &["SCRIPT", "FLUSH"],
        ] {
            assert!(refuses(&store, command).await, "{role} may {command:?}");
        }
        assert_eq!(refuses(&store, &["SCAN", "0"]).await, role != "operator", "{role} and SCAN");
    }
    assert!(!refuses(&admin, &["SREM", "backstop:queues", "q"]).await);
    assert_eq!(number(&admin, &["EXISTS", "session:42"]).await, 1);
}

fn apply() -> Apply {
    Apply {
        session: "worker.1-00000000".into(),
        seen_beat_ms: None,
        cause: Cause::AgentLost,
        action: Action::Reset,
        abandonments: 0,
        delay: Duration::ZERO,
        revoke_grace: Duration::ZERO,
        pairs: vec![("a".into(), "1-1-0000000000000000".into())],
    }
}

fn enqueue() -> Enqueue {
    Enqueue {
        tasks: vec![NewTask {
            id: TaskId::new("a").unwrap(),
            task_type: TaskType::default_type(),
            delay: Duration::ZERO,
            deadline: None,
            payload: Vec::new(),
        }],
    }
}

fn register() -> Register {
    Register {
        wanted: Wanted::Identity(Identity::new("worker").unwrap()),
        nonce: Nonce::from_bits(7),
        lost: None,
        host: "host".into(),
        pid: 1,
        version: "0".into(),
    }
}

async fn may<C: Command>(store: &Store, command: &C) -> bool
where
    C::Answer: std::fmt::Debug,
{
    !for_want_of_a_right(queue(store).run(command).await)
}

#[tokio::test]
async fn each_role_keeps_to_its_part() {
    let switch = Switch { seen_change: 0, by: "me".into(), fields: vec![("paused".into(), "1".into())] };
    for (role, verdicts, tasks, agents, switches) in [
        ("agent", false, true, true, true),
        ("sweeper", true, false, false, true),
        ("operator", false, false, false, true),
        ("reader", false, false, false, false),
    ] {
        let server = Server::start().await;
        let store = enter(&server, role).await;
        assert_eq!(may(&store, &apply()).await, verdicts, "{role} carries out verdicts");
        assert_eq!(may(&store, &enqueue()).await, tasks, "{role} adds tasks");
        let records = number(&server.store(), &["EXISTS", &queue(&store).keys().task("a")]).await;
        assert_eq!(records, i64::from(tasks), "{role} left a record");
        assert_eq!(may(&store, &register()).await, agents, "{role} acts as an agent");
        assert_eq!(may(&store, &switch).await, switches, "{role} switches");
        let listens = store.listen(&queue(&store).keys().wake()).await.map(|_| ());
        assert_eq!(!for_want_of_a_right(listens), agents, "{role} listens");
    }
}

#[tokio::test]
async fn a_reader_writes_nothing_by_a_script_of_its_own_either() {
    let server = Server::start().await;
    let store = enter(&server, "reader").await;
    let key = queue(&store).keys().named("stats");
    let write = ["EVAL", "return redis.call('HSET', KEYS[1], 'a', 1)", "1", &key];
    assert!(refuses(&store, &write).await);
    assert!(!refuses(&server.store(), &write).await);
    assert!(refuses(&store, &["HSET", &key, "b", "1"]).await);
    assert_eq!(number(&server.store(), &["HLEN", &key]).await, 1, "what the administrator wrote");
}
