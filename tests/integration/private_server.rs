//! The private Redis: out of others' reach, true to its data, gone with the one that started it.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use backstop::private_server::{Fsync, Options, PrivateServer, ServerError};
use backstop::store::{Reply, Store};

use crate::support::{Server, backstop, eventually};

/// Whether the process runs. One that ended counts as gone also while nobody has asked for its exit code.
fn runs(pid: u32) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // The name, in parentheses, may contain anything; the state follows it.
    !status.rsplit(')').next().unwrap().trim_start().starts_with('Z')
}

async fn text(store: &Store, parts: &[&str]) -> String {
    match store.command(parts).await.unwrap() {
        Reply::Bytes(bytes) => String::from_utf8(bytes).unwrap(),
        Reply::List(list) => match list.last() {
            Some(Reply::Bytes(bytes)) => String::from_utf8(bytes.clone()).unwrap(),
            other => panic!("{parts:?} answered {other:?}"),
        },
        other => panic!("{parts:?} answered {other:?}"),
    }
}

#[tokio::test]
async fn nobody_else_can_reach_it_or_read_its_data() {
    let server = Server::durable().await;
    let mode = std::fs::metadata(server.inner.folder()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "others may look into {}", server.inner.folder().display());
    assert_eq!(text(&server.store(), &["CONFIG", "GET", "port"]).await, "0", "it listens on no network");
}

#[tokio::test]
async fn keeps_what_it_acknowledged_when_it_is_killed() {
    let mut server = Server::durable().await;
    server.store().command(&["SET", "k", "kept"]).await.unwrap();
    let first = server.inner.pid().unwrap();
    server.inner.kill().await;
    assert!(!runs(first), "kill() returned before the server was gone");
    assert_eq!(server.inner.pid(), None);

    server.inner.restart().await.unwrap();
    assert_ne!(server.inner.pid(), Some(first));
    assert_eq!(text(&server.store(), &["GET", "k"]).await, "kept");
}

#[tokio::test]
async fn answers_nothing_while_paused_and_everything_after() {
    let server = Server::start().await;
    let store = server.store();
    server.inner.pause();
    let silent = tokio::time::timeout(Duration::from_millis(200), store.command(&["SET", "k", "v"])).await;
    assert!(!matches!(silent, Ok(Ok(_))), "it answered while paused: {silent:?}");
    server.inner.resume();
    eventually("an answer after the pause", || async { store.command(&["GET", "k"]).await.is_ok() }).await;
}

#[tokio::test]
async fn is_gone_with_its_handle() {
    let server = Server::durable().await;
    let (pid, folder) = (server.inner.pid().unwrap(), server.inner.folder().to_owned());
    assert!(runs(pid) && folder.is_dir());
    drop(server);
    eventually("the server's end", || async { !runs(pid) }).await;
    assert!(!folder.exists(), "{} was left behind", folder.display());
}

#[tokio::test]
async fn is_gone_when_the_one_that_started_it_is_killed() {
    // A shell starts a server through the program, as the program itself does, and says its pid.
    let folder = tempfile::tempdir().unwrap();
    let engine = backstop::private_server::find().unwrap();
    let mut shell = Command::new("sh")
        .arg("-c")
        .arg(r#""$0" __with-parent $$ -- "$1" --port 0 --save '' --dir "$2" --unixsocket "$2/s" >"$2/log" & echo $!; wait"#)
        .args([&backstop(), &engine.path])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pid = line.trim().parse().unwrap();
    eventually("the server's socket", || async { folder.path().join("s").exists() }).await;
    assert!(runs(pid));
    shell.kill().unwrap();
    shell.wait().unwrap();
    eventually("the server's end", || async { !runs(pid) }).await;
}

#[test]
fn a_child_whose_parent_is_gone_already_does_not_start() {
    // Our pid is not that of the child's parent: the shell is.
    let script = format!(r#""$0" __with-parent {} -- echo started; exit $?"#, std::process::id());
    let output = Command::new("sh").arg("-c").arg(script).arg(backstop()).output().unwrap();
    assert_eq!(output.status.code(), Some(127));
    assert!(output.stdout.is_empty(), "the command ran");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "could not start \"echo\": the parent is gone\n");
}

async fn refused(extra: &[&str]) -> ServerError {
    let extra = extra.iter().map(|arg| (*arg).to_owned()).collect();
    let options = Options { engine: None, launcher: backstop(), fsync: Fsync::Off, extra };
    PrivateServer::start(options).await.expect_err("a server that can't start")
}

#[tokio::test]
async fn one_that_ends_at_once_says_why() {
    let error = refused(&["--no-such-setting", "1"]).await;
    let said = error.to_string();
    assert!(matches!(error, ServerError::Ended { .. }), "{said}");
    assert!(said.contains("no-such-setting"), "the server's own words are missing: {said}");
}

/// Runs `backstop dev` with this text as the one server that may be used; what it says on its way out.
fn dev_with(server: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("redis-server");
    std::fs::write(&path, server).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    run_dev(&path)
}

fn run_dev(server: &Path) -> (Option<i32>, String) {
    // With a server that will do it would run until it is told to end.
    let mut dev = Command::new("timeout");
    let output =
        dev.arg("20").arg(backstop()).arg("dev").env("BACKSTOP_REDIS_SERVER", server).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn the_one_that_was_named_is_the_only_one_tried() {
    for (server, why) in [
        ("#!/bin/sh\necho 'toy redis 9.9'\n", "its --version is not that of Redis or Valkey"),
        ("#!/bin/sh\necho 'Redis server v=6.2.14 sha=0'\n", "Redis 6.2.14 is too old"),
    ] {
        let (code, said) = dev_with(server);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(why), "{said}");
        assert!(said.contains("BACKSTOP_REDIS_SERVER"), "what to do is missing: {said}");
    }
    let (code, said) = run_dev(Path::new("/nowhere/redis-server"));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("/nowhere/redis-server (No such file or directory"), "{said}");
}
