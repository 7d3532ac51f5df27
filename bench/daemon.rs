//! What an idle pass costs, and what the daemon weighs, with a large fleet at work.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use backstop::core::policy::QueuePolicy;
use backstop::private_server::PrivateServer;
use tokio_util::sync::CancellationToken;

use crate::{fleet, median, recover, server};

/// An idle pass over fleets of several sizes: what it costs Redis.
pub async fn idle() {
    for (agents, each) in [(10_000, 100), (10_000, 1), (1_000, 100)] {
        let (private, _sessions) = busy(agents, each).await;
        let queue = server::queue(&private);
        let store = server::store(&private);
        let mut sweeper = recover::sweeper(server::store(&private));
        let queues = [(queue.name().clone(), QueuePolicy::default())];
        let (mut scripts, mut whole) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            // All agents beat just now, whatever seeding took.
            fleet::silent_for(&queue, &_sessions, 0).await;
            sweeper.run_once(&queues, &CancellationToken::new()).await;
            let before = server::Cpu::now(&store).await;
            for _ in 0..20 {
                let pass = sweeper.run_once(&queues, &CancellationToken::new()).await;
                assert!(
                    !pass.queues[0].1.as_ref().unwrap().summary.changed(),
                    "an idle pass is idle: {pass:?}"
                );
            }
            let after = server::Cpu::now(&store).await;
            scripts.push(after.passes_since(&before, 20.0) / 20.0);
            whole.push(after.process_since(&before) / 20.0);
        }
        println!(
            "RESULT idle: {agents} agents with {each} tasks each: {:.0} µs of commands a pass, {:.0} of the process (which also answers this measurement)",
            median(scripts),
            median(whole)
        );
    }
}

async fn busy(agents: usize, each: usize) -> (PrivateServer, Vec<backstop::core::id::Session>) {
    let private = server::start().await;
    let queue = server::queue(&private);
    fleet::enqueue(&queue, 0, agents * each, 40).await;
    let sessions = fleet::fleet(&queue, "a", agents, each).await;
    fleet::silent_for(&queue, &sessions, 0).await;
    (private, sessions)
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The daemon beside 10 k agents with a million running tasks.
pub async fn run() {
    let (private, sessions) = busy(10_000, 100).await;
    let queue = server::queue(&private);
    fleet::silent_for(&queue, &sessions, 0).await;
    let control = queue.keys().named("control");
    let began = Instant::now();
    let child = Command::new(server::backstop())
        .args(["run", "--listen", "127.0.0.1:0"])
        .env("BACKSTOP_REDIS_URL", private.url())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let daemon = Daemon(child);
    let store = server::store(&private);
    while !store.hash(&control).await.unwrap().contains_key("last_pass") {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let first = began.elapsed();
    // It answers a scraper as it would in life; agents keep beating by hand here.
    let pid = daemon.0.id();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = cpu_seconds(pid);
    for _ in 0..4 {
        fleet::silent_for(&queue, &sessions, 0).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    let cpu = (cpu_seconds(pid) - before) / 20.0 * 100.0;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap().trim().to_owned();
    println!(
        "RESULT daemon: {rss} resident, first pass after {:.0} ms, {cpu:.2} % of a core idle over 20 s",
        first.as_secs_f64() * 1e3
    );
}

fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}
