//! Any program as an agent: exit codes, stopping, what is left behind.

use std::time::{Duration, Instant};

use backstop::work::{Outcome, Program};
use tokio_util::sync::CancellationToken;

use crate::cli;
use crate::support::{Server, backstop, eventually};

fn shell(script: &str) -> Program {
    let command = ["sh", "-c", script].map(Into::into).to_vec();
    Program::new(backstop(), command, Duration::from_millis(300)).expect("its reaper starts")
}

async fn run(script: &str, input: &[u8]) -> Outcome {
    shell(script).run(&[("BACKSTOP_TASK_ID", "t1")], input, &CancellationToken::new()).await
}

fn alive(pid: &str) -> bool {
    // A zombie has no command line any more.
    std::fs::read(format!("/proc/{}/cmdline", pid.trim())).is_ok_and(|line| !line.is_empty())
}

#[tokio::test]
async fn the_exit_code_is_the_outcome_and_standard_error_the_reason() {
    assert_eq!(run("exit 0", b"").await, Outcome::Done);
    assert_eq!(run("exit 75", b"").await, Outcome::GaveBack);
    assert_eq!(run("echo no disk >&2; exit 3", b"").await, Outcome::Failed(b"no disk\n".to_vec()));
    assert_eq!(run("exit 3", b"").await, Outcome::Failed(b"exit code 3".to_vec()));
    assert_eq!(run("kill -9 $$", b"").await, Outcome::Failed(b"killed by signal 9".to_vec()));
}

#[tokio::test]
async fn a_command_that_cannot_be_started_is_a_failure_that_says_so() {
    let program = Program::new(backstop(), vec!["/no/such/program".into()], Duration::ZERO).unwrap();
    let Outcome::Failed(why) = program.run(&[], b"", &CancellationToken::new()).await else {
        panic!("it ran")
    };
    assert!(String::from_utf8_lossy(&why).contains("/no/such/program"), "{why:?}");
}

#[tokio::test]
async fn the_payload_comes_as_it_is_and_may_be_left_unread() {
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    assert_eq!(run("test $(wc -c) = 300000 && test $BACKSTOP_TASK_ID = t1", &bytes).await, Outcome::Done);
    assert_eq!(run("exec <&-; exit 0", &bytes).await, Outcome::Done);
}

#[tokio::test]
async fn of_a_flood_of_standard_error_the_last_kibibyte_is_kept() {
    let Outcome::Failed(last) = run("seq 1 20000 >&2; exit 1", b"").await else { panic!("it did not fail") };
    assert_eq!(last.len(), 1024);
    assert!(last.ends_with(b"20000\n"));
}

#[tokio::test]
async fn a_program_that_ignores_sigterm_is_killed_with_all_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let script =
        format!("trap '' TERM; sleep 600 & echo $! > {0}; echo $$ >> {0}; wait; sleep 600", pids.display());
    let stop = CancellationToken::new();
    let program = shell(&script);
    let running = {
        let stop = stop.clone();
        tokio::spawn(async move { program.run(&[], b"", &stop).await })
    };
    let read = || std::fs::read_to_string(&pids).unwrap_or_default();
    eventually("both processes run", || async { read().lines().count() == 2 }).await;
    let began = Instant::now();
    stop.cancel();
    assert_eq!(running.await.unwrap(), Outcome::Stopped);
    assert!(began.elapsed() >= Duration::from_millis(300), "it was given its time");
    eventually("nothing of the group is left", || async { !read().lines().any(alive) }).await;
}

#[tokio::test]
async fn what_a_program_leaves_running_ends_with_its_task() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    assert_eq!(run(&format!("sleep 600 & echo $! > {}", pid.display()), b"").await, Outcome::Done);
    let left = std::fs::read_to_string(&pid).unwrap();
    eventually("the grandchild is gone", || async { !alive(&left) }).await;
}

#[tokio::test]
async fn a_killed_agent_takes_along_what_its_commands_started() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let script = format!("trap '' TERM HUP; sleep 600 & echo $! > {0}; echo $$ >> {0}; wait", pids.display());
    assert_eq!(cli::run(&server, &["enqueue", "--queue", "q", "x"]).0, 0);
    let args = ["work", "--queue", "q", "--as", "w", "--", "sh", "-c", script.as_str()];
    let mut agent = cli::command(&server, &args).spawn().unwrap();
    let read = || std::fs::read_to_string(&pids).unwrap_or_default();
    eventually("the command and its child run", || async { read().lines().count() == 2 }).await;
    agent.kill().unwrap();
    agent.wait().unwrap();
    eventually("nothing of the group is left", || async { !read().lines().any(alive) }).await;
}
