//! Systems of others, side by side: 10 k of 100 k running tasks come back by Backstop, and by the system's own recovery, from
//! the same state, one after the other.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use backstop::core::words::Action;
use backstop::store::Store;
use tokio_util::sync::CancellationToken;

use crate::foreign::{longest, sweeper};
use crate::{median, server};

const RUNNING: usize = 100_000;
const LOST: usize = 10_000;

/// A system: its preset, the interpreter of its program, the program, its name there, and what a task's age must be.
const SYSTEMS: [(&str, &str, &str, &str, u64); 6] = [
    ("asynq", "python", "peers.py", "asynq", 100),
    ("bullmq", "node", "bullmq.cjs", "bullmq5", 100),
    ("bullmq", "node", "bullmq.cjs", "bullmq6", 100),
    ("rq", "python", "peers.py", "rq", 100),
    ("celery", "python", "peers.py", "celery", 100),
    ("streams", "python", "peers.py", "taskiq", 1_800_000),
];

/// Systems of which only their own recovery runs here: ours stands in the row `foreign`.
const ALONE: [(&str, &str, &str, &str, u64); 2] = [
    ("dramatiq", "python", "peers.py", "dramatiq", 0),
    ("sidekiq-reliable-fetch", "ruby", "sidekiq.rb", "sidekiq", 0),
];

/// What installs clients, and says what runs their programs.
fn interpreter(kind: &str) -> Option<(String, String)> {
    if kind == "ruby" {
        // A Debian package, as for the tests.
        return Some(("ruby".to_owned(), String::new()));
    }
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/ensure-peers");
    let output = Command::new(tool).arg(kind).stderr(Stdio::inherit()).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    let found = output.status.success() && !path.is_empty();
    // Node's answer is the folder with the packages.
    found.then(|| if kind == "node" { ("node".to_owned(), path) } else { (path, String::new()) })
}

fn peer(
    private: &backstop::private_server::PrivateServer,
    system: &(&str, &str, &str, &str, u64),
    args: &[&str],
) -> String {
    let (_, kind, program, name, _) = system;
    let (command, packages) =
        interpreter(kind).unwrap_or_else(|| panic!("the clients of {kind} can't be installed"));
    let url = private.url();
    let socket = url.split("://").nth(1).and_then(|rest| rest.split('?').next()).unwrap();
    let program = format!("{}/bench/peers/{program}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(command)
        .arg(program)
        .arg(name)
        .args(args)
        .env("PEER_REDIS", socket)
        .env("PEER_BULLMQ", packages)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{name} {args:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Recovers, and says how many tasks came back a second of Redis' own time, and how long the longest command took, ms.
async fn ours(preset: &str, timeout: Duration, store: &Store, second: Store) -> (f64, f64) {
    let (mut sweeper, queues) = sweeper(preset, timeout, second);
    let stop = CancellationToken::new();
    store.command(&["CONFIG", "SET", "slowlog-log-slower-than", "300"]).await.unwrap();
    let (mut moved, mut spent, mut worst) = (0, 0.0, 0.0_f64);
    let began = Instant::now();
    while moved < LOST as u64 {
        assert!(began.elapsed() < Duration::from_secs(120), "{preset}: only {moved} came back");
        store.command(&["SLOWLOG", "RESET"]).await.unwrap();
        let before = server::Cpu::now(store).await;
        let pass = sweeper.run_once(&queues, &stop).await;
        let after = server::Cpu::now(store).await;
        let did = pass.queues[0].1.as_ref().unwrap().summary.did(Action::Reset);
        worst = worst.max(longest(store).await);
        if did > 0 {
            moved += did;
            spent += after.process_since(&before);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    (moved as f64 / spent * 1e6, worst)
}

/// How a million running tasks that show life stand in Redis: what a Lua line does for each, as far as a look reads it.
const IDLE: [(&str, &str); 5] = [
    (
        "asynq",
        "c('SADD', 'asynq:queues', 'q') c('LPUSH', 'asynq:{q}:active', id) c('ZADD', 'asynq:{q}:lease', 9e9, id)",
    ),
    ("rq", "c('SADD', 'rq:queues', 'rq:queue:q') c('ZADD', 'rq:wip:q', 9e9, id .. ':x')"),
    ("celery", "c('HSET', 'unacked', id, '[]') c('ZADD', 'unacked_index', 9e9, id)"),
    ("bullmq", "c('LPUSH', 'bull:q:active', id) c('SET', 'bull:q:' .. id .. ':lock', 1)"),
    ("streams", "c('XADD', 's', '*', 'f', id)"),
];

/// What a pass costs where a million tasks run and nothing is lost.
async fn idle() {
    for (preset, line) in IDLE {
        let private = server::start().await;
        let store = server::store(&private);
        let script = format!(
            "local c = redis.call for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do local id = 'task-of-some-name-' .. i {line} end"
        );
        if preset == "streams" {
            store.command(&["XGROUP", "CREATE", "s", "taskiq", "0", "MKSTREAM"]).await.unwrap();
        }
        for from in (0..1_000_000).step_by(20_000) {
            let (from, until) = (from.to_string(), (from + 19_999).to_string());
            store.command(&["EVAL", &script, "0", &from, &until]).await.unwrap();
            if preset == "streams" {
                let read = ["XREADGROUP", "GROUP", "taskiq", "c", "COUNT", "20000", "STREAMS", "s", ">"];
                store.command(&read).await.unwrap();
            }
        }
        let (mut sweeper, queues) = sweeper(preset, Duration::from_secs(1800), server::store(&private));
        let stop = CancellationToken::new();
        sweeper.run_once(&queues, &stop).await;
        store.command(&["CONFIG", "SET", "slowlog-log-slower-than", "100"]).await.unwrap();
        let (mut whole, mut worst) = (Vec::new(), 0.0_f64);
        for _ in 0..15 {
            store.command(&["SLOWLOG", "RESET"]).await.unwrap();
            let before = server::Cpu::now(&store).await;
            let pass = sweeper.run_once(&queues, &stop).await;
            assert_eq!(pass.queues[0].1.as_ref().unwrap().running(), 1_000_000, "{preset}");
            whole.push(server::Cpu::now(&store).await.process_since(&before) / 1000.0);
            worst = worst.max(longest(&store).await);
        }
        println!(
            "RESULT beside idle {preset}: 1000000 running tasks: {:.1} ms of process CPU a pass; the longest command took {worst:.2} ms",
            median(whole)
        );
        let began = Instant::now();
        let check = Command::new(server::backstop())
            .args(["layout", "check", preset])
            .env("BACKSTOP_REDIS_URL", private.url())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&check.stdout);
        assert!(told.contains("1000000 running tasks"), "{told}");
        println!("RESULT beside check {preset}: {:.2} s", began.elapsed().as_secs_f64());
    }
}

pub async fn run() {
    if std::env::var_os("BENCH_SYSTEM").is_none_or(|only| only == "idle") {
        idle().await;
    }
    let only = std::env::var("BENCH_SYSTEM").unwrap_or_default();
    for system in SYSTEMS.iter().filter(|system| only.is_empty() || system.3 == only) {
        let (preset, _, _, name, timeout) = *system;
        let (running, lost) = (RUNNING.to_string(), LOST.to_string());
        let (mut rates, mut stalls, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..3 {
            let private = server::start().await;
            peer(&private, system, &["fill", &running, &lost]);
            let store = server::store(&private);
            let (rate, stall) =
                ours(preset, Duration::from_millis(timeout), &store, server::store(&private)).await;
            rates.push(rate);
            stalls.push(stall);
            let private = server::start().await;
            peer(&private, system, &["fill", &running, &lost]);
            theirs.push(peer(&private, system, &["recover"]));
        }
        println!(
            "RESULT beside {name}: {:.0} tasks a second of process CPU; the longest command took {:.2} ms",
            median(rates),
            median(stalls)
        );
        theirs.iter().for_each(|line| println!("RESULT beside {name}, its own: {line}"));
    }
    for system in ALONE.iter().filter(|system| only.is_empty() || system.3 == only) {
        for _ in 0..3 {
            let private = server::start().await;
            peer(&private, system, &["fill", &RUNNING.to_string(), &LOST.to_string()]);
            println!("RESULT beside {}, its own: {}", system.3, peer(&private, system, &["recover"]));
        }
    }
}
