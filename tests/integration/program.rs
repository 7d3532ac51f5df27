//! Any program as an agent: exit codes, stopping, what is left behind.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use backstop::work::{Answer, Hear, Outcome, Program};
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::cli;
use crate::support::{Server, backstop, eventually};

fn shell(script: &str) -> Program {
    let command = ["sh", "-c", script].map(Into::into).to_vec();
    Program::new(backstop(), command, Duration::from_millis(300)).expect("its reaper starts")
}

async fn run(script: &str, input: &[u8]) -> Outcome {
    shell(script).run(&[("BACKSTOP_TASK_ID", "t1")], input, &CancellationToken::new(), nobody()).await
}

/// Hears all that a program says.
#[derive(Default)]
struct Ears(Mutex<Vec<String>>);

impl Hear for Ears {
    fn checkpoint(&self, text: &[u8]) {
        self.0.lock().unwrap().push(format!("checkpoint {}", String::from_utf8_lossy(text)));
    }

    fn external(&self, handle: String) -> BoxFuture<'static, Answer> {
        self.0.lock().unwrap().push(format!("external {handle}"));
        Box::pin(std::future::ready(if handle == "late" { Answer::Late } else { Answer::Recorded }))
    }
}

fn nobody() -> Arc<dyn Hear> {
    Arc::new(Ears::default())
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
    let Outcome::Failed(why) = program.run(&[], b"", &CancellationToken::new(), nobody()).await else {
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
        tokio::spawn(async move { program.run(&[], b"", &stop, nobody()).await })
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

#[tokio::test]
async fn lines_on_descriptor_three_are_checkpoints_and_handles_and_nothing_else_is() {
    let ears = Arc::new(Ears::default());
    let script = "echo checkpoint one >&3; echo nonsense >&3; (printf 'checkpoint '; head -c 70000 /dev/zero | tr '\\0' x; echo) >&3
        echo 'external job 77' >&3; read -r first <&3; echo 'external late' >&3; read -r second <&3
        printf 'external \\377\\n' >&3; read -r third <&3
        echo 'checkpoint  two words ' >&3; printf 'checkpoint cut off' >&3
        test \"$first $second $third\" = 'recorded late refused'";
    let outcome = shell(script).run(&[], b"", &CancellationToken::new(), ears.clone()).await;
    assert_eq!(outcome, Outcome::Done);
    let heard = ["checkpoint one", "external job 77", "external late", "checkpoint  two words "];
    assert_eq!(*ears.0.lock().unwrap(), heard);
}

/// A command that dies with its agent goes on where it was, under the agent's name; nobody told it what that was.
#[tokio::test]
async fn a_command_begins_with_the_checkpoint_that_was_left() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("seen");
    let script = format!(
        "echo \"$BACKSTOP_TASK_ATTEMPT:$BACKSTOP_CHECKPOINT\" >> {0}; test -n \"$BACKSTOP_CHECKPOINT\" && exit 0; echo 'checkpoint half way' >&3; sleep 600",
        seen.display()
    );
    assert_eq!(cli::run(&server, &["enqueue", "--queue", "q", "x"]).0, 0);
    let work = |count| {
        let (name, choice) =
            (["work", "--queue", "q", "--as", "w"], ["--on-reconnect", "resume", "--count", count]);
        [&name[..], &choice, &["--", "sh", "-c", &script]].concat()
    };
    let mut agent = cli::command(&server, &work("1")).spawn().unwrap();
    let queue = server.queue("q");
    eventually("its checkpoint is saved", || async {
        let keys = queue.store().command(&["KEYS", &queue.keys().named("checkpoint:*")]).await.unwrap();
        keys != backstop::store::Reply::List(Vec::new())
    })
    .await;
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert_eq!(cli::run(&server, &work("0")).0, 0);
    assert_eq!(std::fs::read_to_string(&seen).unwrap(), "1:\n2:half way\n");
}

/// An agent may itself be run for a task; what that was told is none of its own tasks' business.
#[tokio::test]
async fn a_first_attempt_begins_with_nothing_that_another_task_left() {
    let server = Server::start().await;
    assert_eq!(cli::run(&server, &["enqueue", "--queue", "q", "x"]).0, 0);
    let script = "test -z \"$BACKSTOP_CHECKPOINT$BACKSTOP_EXTERNAL\"";
    let args = ["work", "--queue", "q", "--as", "w", "--count", "1", "--json", "--", "sh", "-c", script];
    let mut agent = cli::command(&server, &args);
    agent.env("BACKSTOP_CHECKPOINT", "another's").env("BACKSTOP_EXTERNAL", "another's");
    let (code, out, _) = cli::answer(&agent.output().unwrap());
    assert!(code == 0 && out.contains("\"completed\":1"), "{out}");
}

/// A task that ends its agent each time, alone in its queue: whatever the agent of that name is told to do with what was left,
/// it ends as a dead letter.
#[tokio::test]
async fn a_task_that_kills_its_agent_each_time_becomes_a_dead_letter_by_each_choice() {
    for (choice, reason, starts) in
        [("resume", "poison", 5), ("reset", "poison", 5), ("fail", "failed", 2), ("ask", "poison", 5)]
    {
        let server = Server::start().await;
        assert_eq!(cli::run(&server, &["enqueue", "--queue", "q", "x"]).0, 0);
        let choose = ["--on-reconnect", choice];
        let ask = if choice == "ask" { &["--ask", "echo resume"][..] } else { &[] };
        let end = ["--count", "1", "--", "sh", "-c", "kill -9 $PPID"];
        let args = [&["work", "--queue", "q", "--as", "w"][..], &choose, ask, &end].concat();
        let dead = server.queue("q").keys().named("dead");
        let mut began = 0;
        while crate::support::number(&server.store(), &["ZCARD", &dead]).await == 0 {
            began += 1;
            assert!(began < 20, "{choice}: it goes round for ever");
            let agent = std::cell::RefCell::new(cli::command(&server, &args).spawn().unwrap());
            // The last one has nothing to run.
            eventually("it dies, or settles the task", || async {
                let gone = agent.borrow_mut().try_wait().unwrap().is_some();
                gone || crate::support::number(&server.store(), &["ZCARD", &dead]).await == 1
            })
            .await;
            let mut agent = agent.into_inner();
            agent.kill().unwrap();
            agent.wait().unwrap();
        }
        assert_eq!(began, starts, "{choice}");
        let letter = cli::json(&server, &["dead", "list", "--queue", "q", "--json"]);
        assert!(letter.to_string().contains(reason), "{choice}: {letter}");
    }
}

#[tokio::test]
async fn a_command_that_is_asked_decides_and_what_it_says_otherwise_resets() {
    for (answer, expected) in [("echo fail", "dead"), ("echo nonsense", "pending"), ("exit 1", "pending")] {
        let server = Server::start().await;
        assert_eq!(cli::run(&server, &["enqueue", "--queue", "q", "--id", "t", "x"]).0, 0);
        let first = ["work", "--queue", "q", "--as", "w", "--", "sh", "-c", "kill -9 $PPID"];
        let mut agent = cli::command(&server, &first).spawn().unwrap();
        agent.wait().unwrap();
        let asked =
            format!("test $BACKSTOP_TASK_ID = t && test -n $BACKSTOP_TASK_SESSION || exit 9; {answer}");
        let next = [
            "work",
            "--queue",
            "q",
            "--as",
            "w",
            "--count",
            "0",
            "--on-reconnect",
            "ask",
            "--ask",
            &asked,
            "--",
            "true",
        ];
        assert_eq!(cli::run(&server, &next).0, 0, "{answer}");
        let task = cli::json(&server, &["explain", "t", "--json"]);
        assert_eq!(task["state"], expected, "{answer}: {task}");
    }
}
