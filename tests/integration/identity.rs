//! Agents with a stable identity, as processes: out of a pool, from the environment, twins, drained, with wrong clocks.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::cli;
use crate::daemon::{free_address, get};
use crate::support::process::Process;
use crate::support::{BRISK, Server, backstop, eventually, number};

struct Scene {
    server: Server,
    folder: tempfile::TempDir,
    metrics: std::net::SocketAddr,
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("backstop.toml"), BRISK).unwrap();
        Self { server: Server::durable().await, folder, metrics: free_address() }
    }

    fn daemon(&self) -> Process {
        let config = self.folder.path().join("backstop.toml");
        let mut command =
            cli::command(&self.server, &["run", "--listen", &self.metrics.to_string(), "--config"]);
        Process(command.arg(config).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// An agent of this name, or out of this pool, that runs this shell script for each task.
    fn agent(&self, name: &[&str], script: &str) -> Process {
        let work = ["work", "--queue", "q", "--kill-after", "100ms"];
        let args = [&work[..], name, &["--", "sh", "-c", script]].concat();
        Process(self.quiet(cli::command(&self.server, &args)).spawn().unwrap())
    }

    fn quiet(&self, mut command: Command) -> Command {
        command.env("RUST_LOG", "warn").stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    async fn enqueue(&self, n: usize) {
        for i in 0..n {
            let id = format!("t{i}");
            assert_eq!(cli::run(&self.server, &["enqueue", "--queue", "q", "--id", &id, "x"]).0, 0);
        }
    }

    async fn policy_is_published(&self) {
        let key = self.server.queue("q").keys().named("policy");
        let there = || async { number(&self.server.store(), &["HLEN", &key]).await > 0 };
        eventually("the daemon has published its policy", there).await;
    }

    async fn agents(&self) -> Vec<serde_json::Value> {
        // Nobody may have used the queue yet, which it says on standard error.
        let (_, out, _) = cli::run(&self.server, &["agents", "list", "q", "--json"]);
        let list: serde_json::Value = serde_json::from_str(&out).unwrap();
        list["agents"].as_array().unwrap().clone()
    }

    async fn active(&self) -> Vec<String> {
        let active = self.agents().await.into_iter().filter(|agent| agent["state"] == "active");
        let mut names: Vec<_> = active.map(|agent| agent["identity"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    async fn total(&self, name: &str) -> i64 {
        number(&self.server.store(), &["HGET", &self.server.queue("q").keys().named("stats"), name]).await
    }

    async fn running(&self, n: i64) {
        eventually(&format!("{n} tasks run"), || async {
            self.agents().await.iter().map(|agent| agent["running"].as_i64().unwrap()).sum::<i64>() == n
        })
        .await;
    }
}

/// All of a pool die at once. The guard against mass loss holds their tasks, and must not hold their names.
#[tokio::test]
async fn a_pool_whose_processes_all_died_at_once_starts_again_and_goes_on_with_its_tasks() {
    let scene = Scene::new().await;
    let _daemon = scene.daemon();
    scene.enqueue(4).await;
    scene.policy_is_published().await;
    let pool = ["--pool", "w:4", "--on-reconnect", "resume"];
    let mut all: Vec<_> = (0..4).map(|_| scene.agent(&pool, "sleep 600")).collect();
    scene.running(4).await;
    all.iter_mut().for_each(Process::kill);
    eventually("the guard holds what they ran", || async {
        let status = cli::json(&scene.server, &["status", "--json"]);
        status["queues"][0]["guards"].to_string().contains("mass_loss")
    })
    .await;
    let wait = [&pool[..], &["--pool-full", "wait"]].concat();
    let all: Vec<_> = (0..4).map(|_| scene.agent(&wait, "exit 0")).collect();
    eventually("all is done", || async { scene.total("completed").await == 4 }).await;
    assert_eq!(scene.active().await, ["w-0", "w-1", "w-2", "w-3"]);
    assert_eq!(scene.total("adopted").await + scene.total("reset:agent_lost").await, 4);
    drop(all);
}

#[tokio::test]
async fn one_too_many_for_a_pool_ends_with_one_sentence_or_waits_for_a_name() {
    let scene = Scene::new().await;
    let mut first = scene.agent(&["--pool", "w:1"], "exit 0");
    eventually("it has the name", || async { scene.active().await == ["w-0"] }).await;
    let mut ends = scene.agent(&["--pool", "w:1"], "exit 0");
    assert_eq!(ends.exit_code().await, Some(1));
    let said = ends.stderr();
    assert!(
        said.contains("each identity of the pool is in use") && said.contains("enlarge the pool"),
        "{said}"
    );
    let mut waits = scene.agent(&["--pool", "w:1", "--pool-full", "wait"], "exit 0");
    let mut said = BufReader::new(waits.0.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("waiting for one"), "{line}");
    first.signal(Signal::TERM);
    assert_eq!(first.exit_code().await, Some(0));
    eventually("it has the name now", || async { scene.total("registered").await == 2 }).await;
    assert!(waits.0.try_wait().unwrap().is_none());
    // One that waits ends when it is asked to.
    let mut third = scene.agent(&["--pool", "w:1", "--pool-full", "wait"], "exit 0");
    eventually("it listens for the signal", || async { third.catches(Signal::TERM) }).await;
    third.signal(Signal::TERM);
    assert_eq!(third.exit_code().await, Some(0));
}

#[tokio::test]
async fn a_name_comes_from_a_flag_the_host_or_the_environment_and_is_checked_before_anything_is_sent() {
    let scene = Scene::new().await;
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let host = host.trim().split('.').next().unwrap().to_owned();
    let _one = scene.agent(&["--as-host"], "exit 0");
    let mut command = cli::command(&scene.server, &["work", "--queue", "q", "--", "true"]);
    command.env("BACKSTOP_IDENTITY", "unit-7");
    let _two = Process(scene.quiet(command).spawn().unwrap());
    let expected = {
        let mut names = vec![host, "unit-7".to_owned()];
        names.sort();
        names
    };
    eventually("both are there", || async { scene.active().await == expected }).await;
    let before = scene.total("registered").await;
    for (name, why) in [
        (&["--as", "a.b"][..], "a.b"),
        (&["--as", ""], "--as"),
        (&["--as", "x\u{1b}[31m"], "--as"),
        (&["--as", "a234567890123456789012345678901234567890x"], "40"),
        (&["--pool", "w:0"], "1 to 500"),
        (&["--pool", "w:501"], "1 to 500"),
        (&["--pool", "w:100000"], "1 to 500"),
        (&["--pool", "w:-1"], "1 to 500"),
        (&["--pool", "_w:3"], "w:3"),
        (&[], "say who it is"),
    ] {
        let args = [&["work", "--queue", "q"][..], name, &["--", "true"]].concat();
        let (code, _, err) = cli::run(&scene.server, &args);
        assert!(code == 2 && err.contains(why) && !err.contains('\u{1b}'), "{name:?}: {err}");
    }
    let mut command = cli::command(&scene.server, &["work", "--queue", "q", "--", "true"]);
    let (code, _, err) = cli::answer(&command.env("BACKSTOP_IDENTITY", "a b").output().unwrap());
    assert!(code == 2 && err.contains("BACKSTOP_IDENTITY"), "{err}");
    assert_eq!(scene.total("registered").await, before);
}

/// Twins under one supervisor that restarts whichever ends: the younger stays, and they don't evict each other for ever.
#[tokio::test]
async fn of_twins_the_younger_stays_and_the_older_ends_its_work() {
    let scene = Scene::new().await;
    let _daemon = scene.daemon();
    scene.enqueue(1).await;
    scene.policy_is_published().await;
    let mut older = scene.agent(&["--as", "w"], "sleep 600");
    scene.running(1).await;
    let younger = scene.agent(&["--as", "w"], "exit 0");
    assert_eq!(older.exit_code().await, Some(1));
    assert!(older.stderr().contains("a younger process acts under this identity"));
    eventually("the younger has done the task", || async { scene.total("completed").await == 1 }).await;
    assert_eq!((scene.total("registered").await, scene.active().await), (2, vec!["w".to_owned()]));
    drop(younger);
}

#[tokio::test]
async fn an_incarnation_never_goes_back_across_restarts_of_everything() {
    let mut scene = Scene::new().await;
    let mut last = 0;
    for _ in 0..3 {
        let mut agent = scene.agent(&["--as", "w"], "exit 0");
        let number = || async {
            let agents = scene.agents().await;
            agents.iter().filter_map(|agent| agent["incarnation"].as_i64()).max().unwrap_or(0)
        };
        eventually("it has a higher number", || async { number().await > last }).await;
        last = number().await;
        agent.kill();
        scene.server.inner.restart().await.unwrap();
    }
}

#[tokio::test]
async fn one_agent_is_drained_by_name_with_an_honest_account_while_the_others_go_on() {
    let scene = Scene::new().await;
    let _daemon = scene.daemon();
    scene.enqueue(1).await;
    scene.policy_is_published().await;
    let record = "echo external job-1 >&3; read -r answer <&3; trap '' TERM; sleep 600";
    let mut drained = scene.agent(&["--as", "drained"], record);
    let handle = scene.server.queue("q").keys().external("t0");
    eventually("the handle is recorded", || async {
        number(&scene.server.store(), &["EXISTS", &handle]).await == 1
    })
    .await;
    let args = ["agents", "drain", "drained", "--queue", "q", "--wait", "300ms"];
    let (code, out, _) = cli::run(&scene.server, &args);
    let told = "q, drained: 0 completed, 0 given back, 1 still running, 1 go on elsewhere; nothing new is taken until \
                backstop agents resume drained --queue q\n";
    assert_eq!((code, out.as_str()), (3, told));
    let then = [&args[..], &["--then", "release", "--json"]].concat();
    let account = cli::json(&scene.server, &then);
    assert_eq!(
        (&account["released"], &account["running"], &account["elsewhere"], &account["agent"]),
        (&1.into(), &0.into(), &1.into(), &"drained".into())
    );
    // It stays drained, whoever acts under the name; Redis may have been restarted meanwhile.
    drained.kill();
    let _again = scene.agent(&["--as", "drained"], "exit 0");
    eventually("it is back", || async { scene.total("registered").await == 2 }).await;
    let _other = scene
        .agent(&["--as", "other"], "test \"$BACKSTOP_EXTERNAL\" = job-1 || test $BACKSTOP_TASK_ID = more");
    eventually("another one does the task", || async { scene.total("completed").await == 1 }).await;
    let taken = scene.total("taken").await;
    assert_eq!(cli::run(&scene.server, &["enqueue", "--queue", "q", "--id", "more", "x"]).0, 0);
    eventually("the other does this one, too", || async { scene.total("completed").await == 2 }).await;
    assert_eq!(scene.total("taken").await, taken + 1);
    assert_eq!(cli::run(&scene.server, &["agents", "resume", "drained", "--queue", "q"]).0, 0);
    let (code, _, err) = cli::run(&scene.server, &["agents", "drain", "nobody", "--queue", "q"]);
    assert_eq!(
        (code, err.as_str()),
        (1, "backstop: queue q knows no agent nobody: see backstop agents list q\n")
    );
}

#[tokio::test]
async fn a_drain_survives_a_restart_of_the_daemon_and_of_redis() {
    let mut scene = Scene::new().await;
    let mut daemon = scene.daemon();
    scene.enqueue(1).await;
    scene.policy_is_published().await;
    assert_eq!(cli::run(&scene.server, &["drain", "q", "--wait", "0s"]).0, 0);
    daemon.kill();
    scene.server.inner.restart().await.unwrap();
    let _daemon = scene.daemon();
    eventually("the daemon is back", || async {
        get(scene.metrics, "/readyz").await.is_some_and(|(code, _)| code == 200)
    })
    .await;
    let _agent = scene.agent(&["--as", "w"], "exit 0");
    eventually("it is there", || async { scene.active().await == ["w"] }).await;
    let (_, out, _) = cli::run(&scene.server, &["status"]);
    assert!(out.contains("draining"), "{out}");
    assert_eq!(scene.total("taken").await, 0);
    assert_eq!(cli::run(&scene.server, &["resume", "q"]).0, 0);
    eventually("it takes again", || async { scene.total("completed").await == 1 }).await;
}

/// The library that changes what a process is told of the time.
fn faketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let mut found =
        folders.map(|folder| folder.join("faketime/libfaketime.so.1")).filter(|file| file.exists());
    found.next().expect("libfaketime isn't there: install the Debian package faketime")
}

/// The clock of an agent's machine is a day off, in either direction: nothing is reset, nothing is late, and its death is found
/// as fast as anybody's.
#[tokio::test]
#[allow(clippy::print_stderr, reason = "what isn't run must be seen")]
async fn a_clock_that_is_a_day_off_on_an_agents_machine_does_not_matter() {
    if std::env::var_os("BACKSTOP_TEST_WITHOUT_DEBIAN").is_some_and(|value| value == "1") {
        eprintln!("NOT RUN: agents with wrong clocks (needs the Debian package faketime)");
        return;
    }
    for offset in ["+1d", "-1d"] {
        let scene = Scene::new().await;
        let _daemon = scene.daemon();
        scene.enqueue(2).await;
        scene.policy_is_published().await;
        let mut command = Command::new(backstop());
        command
            .args(["work", "--queue", "q", "--as", "off", "--concurrency", "2", "--", "sh", "-c"])
            .arg("date +%F > \"$0.$BACKSTOP_TASK_ID\"; test $BACKSTOP_TASK_ID = t1 && sleep 600; sleep 3")
            .arg(scene.folder.path().join("date"))
            .env("BACKSTOP_REDIS_URL", scene.server.url())
            // Timers go by the monotonic clock, which no wrong date moves.
            .env("LD_PRELOAD", faketime())
            .env("FAKETIME", offset)
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        let mut agent = Process(scene.quiet(command).spawn().unwrap());
        eventually("one is done, after three times the time-out", || async {
            scene.total("completed").await == 1
        })
        .await;
        let today = Command::new("date").arg("+%F").output().unwrap().stdout;
        let seen = std::fs::read(scene.folder.path().join("date.t0")).unwrap();
        assert_ne!(seen, today, "its clock is not off");
        assert_eq!((scene.total("abandoned:agent_lost").await, scene.total("refuted").await), (0, 0));
        agent.kill();
        eventually("its other task comes back", || async { scene.total("reset:agent_lost").await == 1 })
            .await;
        assert_eq!(scene.total("late").await, 0);
    }
}
