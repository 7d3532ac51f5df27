//! The real clients of other systems, with Backstop beside them: workers are killed, their jobs come back, and real workers
//! finish them.

mod apalis;
mod dramatiq;
mod shared;
mod sidekiq;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::process::Process;
use crate::support::{Server, backstop, eventually, number};

/// What installs a client and says how to start its programs.
pub(crate) fn tool(name: &str, args: &[&str]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(name);
    let output = Command::new(path).args(args).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A Redis with a client's programs.
struct Scene {
    server: Server,
    folder: tempfile::TempDir,
    interpreter: String,
    program: PathBuf,
    config: String,
    env: Vec<(&'static str, &'static str)>,
}

impl Scene {
    /// `config`: what stands under `[foreign.jobs]`.
    async fn new(interpreter: String, program: &str, config: &str) -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(program);
        let config = format!(
            "[sweep]\nevery = \"200ms\"\n[guards]\nfailover_grace = \"1ms\"\n[foreign.jobs]\nmode = \"enforce\"\ndiscover_every = \"500ms\"\n{config}"
        );
        Self {
            server: Server::durable().await,
            folder: tempfile::tempdir().unwrap(),
            interpreter,
            program,
            config,
            env: Vec::new(),
        }
    }

    fn peer(&self, args: &[&str]) -> Command {
        let url = self.server.url();
        let socket = url.split("://").nth(1).unwrap().split('?').next().unwrap();
        let mut command = Command::new(&self.interpreter);
        command.arg(&self.program).args(args).env("PEER_REDIS", socket).env("PEER_LEDGER", self.ledger());
        command.envs(self.env.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn ledger(&self) -> PathBuf {
        self.folder.path().join("ledger")
    }

    fn enqueue(&self, jobs: usize, millis: u64) {
        let status = self.peer(&["enqueue", &jobs.to_string(), &millis.to_string()]).status().unwrap();
        assert!(status.success(), "the client could not enqueue");
    }

    fn worker(&self) -> Process {
        let ledger = self.ledger();
        Process(self.peer(&["work", ledger.to_str().unwrap()]).spawn().unwrap())
    }

    fn daemon(&self) -> Process {
        let config = self.folder.path().join("backstop.toml");
        std::fs::write(&config, &self.config).unwrap();
        let log = std::fs::File::create(self.folder.path().join("daemon.log")).unwrap();
        let mut command = Command::new(backstop());
        command.args(["run", "--config", config.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
        command.env("BACKSTOP_REDIS_URL", self.server.url()).env_remove("RUST_LOG");
        Process(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    /// How often each job was begun, and how often it was done.
    fn runs(&self) -> BTreeMap<String, (u32, u32)> {
        let mut runs: BTreeMap<String, (u32, u32)> = BTreeMap::new();
        for line in std::fs::read_to_string(self.ledger()).unwrap_or_default().lines() {
            match line.split_once(' ') {
                Some(("start", name)) => runs.entry(name.to_owned()).or_default().0 += 1,
                Some(("done", name)) => runs.entry(name.to_owned()).or_default().1 += 1,
                _ => panic!("{line}"),
            }
        }
        runs
    }

    fn done(&self) -> usize {
        self.runs().values().filter(|(_, done)| *done > 0).count()
    }

    async fn resets(&self) -> i64 {
        number(&self.server.store(), &["HGET", "backstop:{jobs}:stats", "reset:agent_lost"]).await
    }

    /// The client's own view.
    fn count(&self) -> serde_json::Value {
        let output = self.peer(&["count"]).stdout(Stdio::piped()).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("daemon.log")).unwrap_or_default()
    }

    /// Stops the only worker while it holds so many jobs and has begun one: between two fetches it may hold none, right after
    /// one it has begun none, and then a death shows little.
    async fn stop_at_work(&self, worker: &Process, jobs: u64) {
        eventually("it is stopped with jobs in its hands", || async {
            worker.signal(Signal::STOP);
            let begun = self.runs().values().any(|(begun, done)| begun > done);
            let holds = begun && self.count()["running"].as_u64().is_some_and(|running| running >= jobs);
            if !holds {
                worker.signal(Signal::CONT);
            }
            holds
        })
        .await;
    }

    /// Of three workers the first is killed while it holds so many jobs; the other two.
    async fn first_of_three_is_killed(&self, jobs: usize, holds: u64) -> [Process; 2] {
        self.enqueue(jobs, 100);
        // The one that will be killed is at work before the others begin.
        let mut first = self.worker();
        eventually("it works", || async { self.done() > 5 }).await;
        self.stop_at_work(&first, holds).await;
        let others = [self.worker(), self.worker()];
        eventually("work goes on", || async { self.done() > 30 }).await;
        first.kill();
        others
    }

    /// Longer than any client needs to poll.
    async fn finished(&self, jobs: usize) {
        for _ in 0..2 {
            let began = std::time::Instant::now();
            while self.done() < jobs && began.elapsed() < Duration::from_secs(29) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        assert_eq!(self.done(), jobs, "jobs are missing\n{}", self.log());
    }
}
