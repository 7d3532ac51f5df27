//! Systems of others: recovering 10 k of 100 k running tasks, and an idle pass over 10 k agents with 1 M tasks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backstop::config::foreign_of_preset;
use backstop::core::guard::MassLossLimits;
use backstop::core::id::QueueName;
use backstop::core::observer::NoObserver;
use backstop::core::policy::Mode;
use backstop::core::words::Action;
use backstop::store::{Reply, Store};
use backstop::sweep::{SweepSettings, Sweeper};
use tokio_util::sync::CancellationToken;

use crate::{median, server};

/// How each system's agents stand in Redis: what a Lua line does for agent `a`, its number `i`, and its task `id`.
const SYSTEMS: [(&str, &str, &str, &str); 3] = [
    (
        "dramatiq",
        "redis.call('ZADD', 'dramatiq:__heartbeats__', 1, a)",
        "redis.call('SADD', 'dramatiq:__acks__.' .. a .. '.default', id) redis.call('HSET', 'dramatiq:default.msgs', id, payload)",
        "redis.call('ZADD', 'dramatiq:__heartbeats__', 1 + round, a)",
    ),
    (
        "sidekiq-reliable-fetch",
        "redis.call('SET', 'reliable-fetcher-heartbeat-box-' .. i .. '-ab', 1)",
        "redis.call('LPUSH', 'working:queue:default:box:' .. i .. ':ab', '{\"jid\":\"' .. id .. '\",\"args\":[]}' )",
        "if i < dead then redis.call('DEL', 'reliable-fetcher-heartbeat-box-' .. i .. '-ab') end",
    ),
    (
        "rmq",
        "redis.call('SADD', 'rmq::connections', a) redis.call('SADD', 'rmq::connection::' .. a .. '::queues', 'q') redis.call('SET', 'rmq::connection::' .. a .. '::heartbeat', 1)",
        "redis.call('LPUSH', 'rmq::connection::' .. a .. '::queue::[q]::unacked', payload .. id)",
        "if i < dead then redis.call('DEL', 'rmq::connection::' .. a .. '::heartbeat') end",
    ),
];

async fn fill(store: &Store, agents: usize, each: usize, agent: &str, task: &str) {
    let script = format!(
        "local payload = string.rep('x', 40) for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do local a = 'agent-' .. i {agent} for n = 1, tonumber(ARGV[3]) do local id = i .. '-' .. n {task} end end"
    );
    let step = 20_000_usize.div_ceil(each).max(1);
    for from in (0..agents).step_by(step) {
        let (from, until) = (from.to_string(), (from + step).min(agents).saturating_sub(1).to_string());
        store.command(&["EVAL", &script, "0", &from, &until, &each.to_string()]).await.unwrap();
    }
}

/// Lets all but the first `dead` agents show life.
async fn beat(store: &Store, agents: usize, dead: usize, round: usize, line: &str) {
    let from = if line.contains("dead") { 0 } else { dead };
    let script = format!(
        "local dead, round = tonumber(ARGV[1]), tonumber(ARGV[2]) for i = tonumber(ARGV[3]), tonumber(ARGV[4]) do local a = 'agent-' .. i {line} end"
    );
    let (dead, round, from, last) =
        (dead.to_string(), round.to_string(), from.to_string(), (agents - 1).to_string());
    store.command(&["EVAL", &script, "0", &dead, &round, &from, &last]).await.unwrap();
}

pub fn sweeper(
    preset: &str,
    timeout: Duration,
    store: Store,
) -> (Sweeper, Vec<(QueueName, backstop::core::policy::QueuePolicy)>) {
    let mut foreign = foreign_of_preset(preset, &[]).unwrap();
    foreign.policy.mode = Mode::Enforce;
    foreign.timeout = timeout;
    foreign.policy.session.heartbeat_timeout = timeout;
    foreign.policy.session.lost_after = Duration::from_millis(100);
    let name = QueueName::new("watched").unwrap();
    let queues = vec![(name.clone(), foreign.policy.clone())];
    let settings = SweepSettings {
        owner: "bench".into(),
        lease: None,
        interval: Duration::from_secs(3600),
        failover_grace: Duration::ZERO,
        mass_loss: MassLossLimits::default(),
        publishes: true,
        foreign: BTreeMap::from([(name, foreign)]),
    };
    (Sweeper::new(store, settings, Arc::new(NoObserver)), queues)
}

/// The longest command since the log was reset, ms.
pub async fn longest(store: &Store) -> f64 {
    let Reply::List(entries) = store.command(&["SLOWLOG", "GET", "128"]).await.unwrap() else { return 0.0 };
    let micros = entries.iter().filter_map(|entry| match entry {
        Reply::List(parts) => match parts.get(2) {
            Some(Reply::Int(micros)) => Some(*micros),
            _ => None,
        },
        _ => None,
    });
    micros.max().unwrap_or(0) as f64 / 1000.0
}

pub async fn run() {
    for (preset, agent, task, life) in SYSTEMS {
        let (mut rates, mut stalls) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let private = server::start().await;
            let store = server::store(&private);
            fill(&store, 1000, 100, agent, task).await;
            let (mut sweeper, queues) = sweeper(preset, Duration::from_millis(300), server::store(&private));
            let stop = CancellationToken::new();
            sweeper.run_once(&queues, &stop).await;
            // The first hundred show nothing any more.
            let mut round = 0;
            store.command(&["CONFIG", "SET", "slowlog-log-slower-than", "300"]).await.unwrap();
            let (mut moved, mut spent, mut worst) = (0, 0.0, 0.0_f64);
            let began = Instant::now();
            while moved < 10_000 {
                assert!(began.elapsed() < Duration::from_secs(60), "{preset}: only {moved} came back");
                round += 1;
                beat(&store, 1000, 100, round, life).await;
                store.command(&["SLOWLOG", "RESET"]).await.unwrap();
                let before = server::Cpu::now(&store).await;
                let pass = sweeper.run_once(&queues, &stop).await;
                let after = server::Cpu::now(&store).await;
                let did = pass.queues[0].1.as_ref().unwrap().summary.did(Action::Reset);
                if did > 0 {
                    moved += did;
                    spent += after.process_since(&before);
                    worst = worst.max(longest(&store).await);
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            rates.push(moved as f64 / spent * 1e6);
            stalls.push(worst);
        }
        println!(
            "RESULT foreign recover {preset}: {:.0} tasks a second of process CPU; the longest command took {:.2} ms",
            median(rates),
            median(stalls)
        );
    }
    for (preset, agent, task, life) in SYSTEMS {
        let private = server::start().await;
        let store = server::store(&private);
        fill(&store, 10_000, 100, agent, task).await;
        let (mut sweeper, queues) = sweeper(preset, Duration::from_millis(300), server::store(&private));
        let stop = CancellationToken::new();
        sweeper.run_once(&queues, &stop).await;
        store.command(&["CONFIG", "SET", "slowlog-log-slower-than", "300"]).await.unwrap();
        let (mut whole, mut worst) = (Vec::new(), 0.0_f64);
        for round in 0..5 {
            beat(&store, 10_000, 0, round, life).await;
            store.command(&["SLOWLOG", "RESET"]).await.unwrap();
            let before = server::Cpu::now(&store).await;
            sweeper.run_once(&queues, &stop).await;
            whole.push(server::Cpu::now(&store).await.process_since(&before) / 1000.0);
            worst = worst.max(longest(&store).await);
        }
        println!(
            "RESULT foreign idle {preset}: 10000 agents with 100 tasks each: {:.1} ms of process CPU a pass; the longest command took {worst:.2} ms",
            median(whole)
        );
    }
}
