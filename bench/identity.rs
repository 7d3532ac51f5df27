//! Agents with an identity: what a beat costs, how fast one comes back, what a drain leaves behind.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use backstop::native::Queue;
use backstop::native::scripts::beat::{Beat, Mark};
use backstop::private_server::PrivateServer;

use crate::{fleet, median, server};

/// A process that ends with the measurement.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program on this server.
pub fn command(private: &PrivateServer, args: &[&str]) -> Command {
    let mut command = Command::new(server::backstop());
    command.args(args).env("BACKSTOP_REDIS_URL", private.url()).env("RUST_LOG", "error");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A daemon with these settings, once it has published its policy.
pub async fn daemon(private: &PrivateServer, queue: &Queue, config: &std::path::Path) -> Process {
    let args = ["run", "--listen", "127.0.0.1:0", "--config", config.to_str().unwrap()];
    let daemon = Process(command(private, &args).spawn().unwrap());
    let policy = queue.keys().named("policy");
    while queue.store().hash(&policy).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    daemon
}

pub async fn total(queue: &Queue, name: &str) -> i64 {
    let stats = queue.store().hash(&queue.keys().named("stats")).await.unwrap();
    stats.get(name).map_or(0, |n| n.parse().unwrap())
}

/// Of all totals that begin so.
pub async fn totals(queue: &Queue, prefix: &str) -> i64 {
    let stats = queue.store().hash(&queue.keys().named("stats")).await.unwrap();
    stats.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, n)| n.parse::<i64>().unwrap()).sum()
}

pub async fn until(queue: &Queue, name: &str, n: i64) {
    let began = Instant::now();
    while total(queue, name).await < n {
        assert!(began.elapsed() < Duration::from_secs(120), "{name} never was {n}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub async fn run() {
    beats().await;
    comeback().await;
    drain().await;
    outages().await;
}

/// Redis' CPU of a beat that lists 256 tasks, and of one that also carries 100 checkpoints of 1 KiB.
async fn beats() {
    const BEATS: u64 = 200;
    let private = server::start().await;
    let (queue, store) = (server::queue(&private), server::store(&private));
    fleet::enqueue(&queue, 0, 256, 40).await;
    let session = fleet::register(&queue, "a").await;
    let held = fleet::take(&queue, &session, 256).await;
    let mut number = 0;
    for (what, checkpoints) in [("256 tasks", 0), ("256 tasks, 100 checkpoints of 1 KiB", 100)] {
        let mut costs = Vec::new();
        for _ in 0..5 {
            let before = server::Cpu::now(&store).await;
            for _ in 0..BEATS {
                number += 1;
                let mark = |n| if n < checkpoints { Mark::Checkpoint(vec![b'c'; 1024]) } else { Mark::None };
                let pairs =
                    held.iter().enumerate().map(|(n, (id, token))| (id.clone(), token.clone(), mark(n)));
                let beat = Beat { session: session.clone(), number, pairs: pairs.collect() };
                queue.run(&beat).await.unwrap();
            }
            let after = server::Cpu::now(&store).await;
            costs.push((after.scripts_since(&before), after.process_since(&before)));
        }
        let of = |costs: Vec<f64>| median(costs) / BEATS as f64 / 1000.0;
        println!(
            "RESULT beat: {what}: {:.3} ms of script CPU, {:.3} ms of process CPU, median of 5 × {BEATS}",
            of(costs.iter().map(|cost| cost.0).collect()),
            of(costs.iter().map(|cost| cost.1).collect())
        );
    }
}

/// kill -9 of an agent with 100 tasks, and its start under the same name.
async fn comeback() {
    for choice in ["resume", "reset"] {
        let mut waits = Vec::new();
        for _ in 0..5 {
            let private = server::start().await;
            let queue = server::queue(&private);
            fleet::enqueue(&queue, 0, 100, 10).await;
            let args =
                ["work", "--queue", "bench", "--as", "a", "--concurrency", "100", "--on-reconnect", choice];
            let agent = || {
                Process(command(&private, &[&args[..], &["--", "sleep", "600"]].concat()).spawn().unwrap())
            };
            let mut first = agent();
            until(&queue, "taken", 100).await;
            first.0.kill().unwrap();
            first.0.wait().unwrap();
            let began = Instant::now();
            let _second = agent();
            until(&queue, if choice == "resume" { "adopted" } else { "abandoned:agent_lost" }, 100).await;
            waits.push(began.elapsed().as_secs_f64());
        }
        let longest = waits.iter().copied().fold(0.0, f64::max);
        println!(
            "RESULT comeback: 100 tasks, {choice}: median {:.3} s from the start of the process, longest {longest:.3} s of 5",
            median(waits)
        );
    }
}

/// 50 agents with ten tasks each are drained: those who wait, and those who must give back.
async fn drain() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("backstop.toml");
    std::fs::write(&config, "[guards]\nfailover_grace = \"1ms\"\n").unwrap();
    for (what, task, then) in [
        ("tasks that end", "5", &[][..]),
        ("tasks that don't", "600", &["--wait", "2s", "--then", "release"]),
    ] {
        let private = server::start().await;
        let queue = server::queue(&private);
        fleet::enqueue(&queue, 0, 1000, 10).await;
        let _daemon = daemon(&private, &queue, &config).await;
        let agents: Vec<_> = (0..50)
            .map(|n| {
                let name = format!("a-{n}");
                let args =
                    ["work", "--queue", "bench", "--as", &name, "--concurrency", "10", "--", "sleep", task];
                Process(command(&private, &args).spawn().unwrap())
            })
            .collect();
        until(&queue, "taken", 500).await;
        let began = Instant::now();
        let args = [&["drain", "bench", "--json"], then].concat();
        let told = command(&private, &args).stdout(Stdio::piped()).output().unwrap();
        let took = began.elapsed().as_secs_f64();
        let account = String::from_utf8(told.stdout).unwrap();
        let abandoned = totals(&queue, "abandoned:").await;
        println!("RESULT drain: 50 agents, {what}: {took:.1} s, abandoned {abandoned}, {}", account.trim());
        drop(agents);
    }
}

/// Redis stands still for less than `stop_on_agent_after`, again and again: nothing is stopped.
async fn outages() {
    const OUTAGES: usize = 30;
    let private = server::start().await;
    let queue = server::queue(&private);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("backstop.toml");
    let clocks = "[defaults.session]\nheartbeat_interval = \"500ms\"\nheartbeat_timeout = \"2s\"\nlost_after = \"2s\"\nstop_on_agent_after = \"3s\"\n";
    std::fs::write(&config, clocks).unwrap();
    fleet::enqueue(&queue, 0, 10, 10).await;
    let _daemon = daemon(&private, &queue, &config).await;
    let marks = folder.path().join("stopped");
    let script = format!("trap 'echo >> {}' TERM; while :; do sleep 0.1; done", marks.display());
    let args = ["work", "--queue", "bench", "--as", "a", "--concurrency", "10", "--", "sh", "-c", &script];
    let _agent = Process(command(&private, &args).spawn().unwrap());
    until(&queue, "taken", 10).await;
    let mut longest = 0;
    for _ in 0..OUTAGES {
        let ms = 500 + u64::from(getrandom::u32().unwrap() % 1500);
        longest = longest.max(ms);
        private.pause();
        tokio::time::sleep(Duration::from_millis(ms)).await;
        private.resume();
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    let stopped = std::fs::read_to_string(&marks).unwrap_or_default().lines().count();
    let (taken, abandoned) = (total(&queue, "taken").await, totals(&queue, "abandoned:").await);
    println!(
        "RESULT outages: {OUTAGES} of up to {longest} ms (stop_on_agent_after 3 s), 10 tasks: {stopped} stopped, {abandoned} abandoned, {taken} taken"
    );
}
