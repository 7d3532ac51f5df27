//! What the files grant is what the scripts and the plain commands need: nothing is missing, nothing is too much.

use std::collections::BTreeSet;
use std::path::Path;

use backstop::private_server::Fsync;
use backstop::store::{Reply, Store};

use super::{ROLES, line};
use crate::support::Server;

/// The scripts that a role runs.
fn scripts(role: &str) -> &'static [&'static str] {
    match role {
        "agent" => &["enqueue", "register", "take", "beat", "complete", "fail", "release", "adopt", "leave"],
        "sweeper" => {
            &["observe", "declare", "apply", "expire", "forget", "reconcile", "census", "note", "publish"]
        }
        "operator" => {
            &["redrive", "discard", "cancel", "extend", "reset", "switch", "inspect", "reconcile", "census"]
        }
        "reader" => &["inspect", "census"],
        other => panic!("no role {other}"),
    }
}

/// The commands that a role sends itself.
fn plain(role: &str) -> &'static [&'static str] {
    match role {
        "agent" => &["eval", "evalsha", "sadd", "subscribe"],
        "sweeper" => &[
            "eval",
            "evalsha",
            "del",
            "get",
            "hgetall",
            "info",
            "smembers",
            "time",
            "zrandmember",
            "zrange",
            "zscan",
        ],
        "operator" => &[
            "eval",
            "evalsha",
            "hgetall",
            "scan",
            "smembers",
            "xrevrange",
            "zcard",
            "zcount",
            "zrange",
            "zscan",
        ],
        "reader" => &["eval", "evalsha", "hgetall", "smembers", "xrevrange", "zcard", "zcount", "zrange"],
        other => panic!("no role {other}"),
    }
}

/// The commands that a script names, with what it includes.
fn named(script: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/native/scripts");
    let mut text = std::fs::read_to_string(folder.join(format!("{script}.lua"))).unwrap();
    let parts = text.lines().find_map(|line| line.strip_prefix("--! include ")).unwrap().to_owned();
    for part in parts.split(' ') {
        text += &std::fs::read_to_string(folder.join(format!("lib/{part}.lua"))).unwrap();
    }
    let calls = ["call('", "try('"].into_iter().flat_map(|how| text.split(how).skip(1));
    calls.filter_map(|rest| rest.split('\'').next()).map(str::to_lowercase).collect()
}

async fn writing(store: &Store) -> BTreeSet<String> {
    let Reply::List(names) = store.command(&["ACL", "CAT", "write"]).await.unwrap() else {
        panic!("no list")
    };
    let text = |name| match name {
        Reply::Bytes(bytes) => String::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    };
    names.into_iter().map(text).collect()
}

fn granted(role: &str) -> BTreeSet<String> {
    line(role).split(' ').filter_map(|word| word.strip_prefix('+')).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_file_grants_what_its_role_needs_and_no_more() {
    let server = Server::start().await;
    let writing = writing(&server.store()).await;
    assert!(writing.contains("hset") && !writing.contains("hget"));
    for role in ROLES {
        let mut needed: BTreeSet<String> = scripts(role).iter().flat_map(|script| named(script)).collect();
        if role == "reader" {
            // It runs them where they find nothing to mend.
            needed.retain(|command| !writing.contains(command));
        }
        needed.extend(plain(role).iter().map(|&command| command.to_owned()));
        let granted = granted(role);
        let missing: Vec<_> = needed.difference(&granted).collect();
        let surplus: Vec<_> = granted.difference(&needed).collect();
        assert!(
            missing.is_empty() && surplus.is_empty(),
            "{role}.acl lacks {missing:?} and needn't grant {surplus:?}"
        );
    }
    assert!(granted("reader").is_disjoint(&writing), "a reader writes nothing");
}

#[tokio::test]
async fn the_files_without_their_comments_are_an_aclfile() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.acl");
    std::fs::write(&path, ROLES.map(|role| line(role) + "\n").concat()).unwrap();
    let server = Server::with(Fsync::Off, &["--aclfile", path.to_str().unwrap()]).await;
    let users = server.store().command(&["ACL", "USERS"]).await.unwrap();
    for role in ROLES {
        let user = Reply::Bytes(format!("backstop-{role}").into_bytes());
        assert!(matches!(&users, Reply::List(all) if all.contains(&user)), "{role}: {users:?}");
    }
}
