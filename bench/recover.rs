//! Recovering 100 k abandoned tasks while others beat, and what other clients feel meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use backstop::core::guard::MassLossLimits;
use backstop::core::id::Session;
use backstop::core::observer::NoObserver;
use backstop::core::policy::QueuePolicy;
use backstop::core::words::Action;
use backstop::native::Queue;
use backstop::native::scripts::beat::Beat;
use backstop::store::Store;
use backstop::sweep::{SweepSettings, Sweeper};
use tokio_util::sync::CancellationToken;

use crate::{fleet, median, server};

/// 100 agents with 1000 tasks each: a session holds at most 256, so each agent has four sessions of 250.
const SESSIONS: usize = 400;
const EACH: usize = 250;
const OTHERS: usize = 900;

pub fn sweeper(store: Store) -> Sweeper {
    let settings = SweepSettings {
        owner: "bench".into(),
        lease: None,
        interval: Duration::from_secs(3600),
        failover_grace: Duration::ZERO,
        // 400 of 1300 is no mass loss; the row is about moving, not about guards.
        mass_loss: MassLossLimits::default(),
        foreign: std::collections::BTreeMap::new(),
        publishes: true,
    };
    Sweeper::new(store, settings, Arc::new(NoObserver))
}

pub async fn run() {
    let (mut rates, mut process, mut felt) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..3 {
        let private = server::start().await;
        let queue = server::queue(&private);
        fleet::enqueue(&queue, 0, SESSIONS * EACH, 40).await;
        let lost = fleet::fleet(&queue, "lost", SESSIONS, EACH).await;
        let others = fleet::fleet(&queue, "other", OTHERS, 0).await;
        let store = server::store(&private);
        let before = feel(&private.url(), Duration::from_secs(2)).await;

        fleet::silent_for(&queue, &lost, 60_000).await;
        fleet::silent_for(&queue, &others, 0).await;
        let stop = Arc::new(AtomicBool::new(false));
        let beats = Arc::new(AtomicU64::new(0));
        let beating = beat(private.url(), others, Arc::clone(&stop), Arc::clone(&beats));
        let feeling = std::thread::spawn({
            let (url, stop) = (private.url(), Arc::clone(&stop));
            move || feel_until(&url, &stop)
        });
        let mut sweeper = sweeper(server::store(&private));
        let queues = [(queue.name().clone(), QueuePolicy::default())];
        let cpu = server::Cpu::now(&store).await;
        let began = Instant::now();
        let mut moved = 0;
        while moved < (SESSIONS * EACH) as u64 {
            let pass = sweeper.run_once(&queues, &CancellationToken::new()).await;
            let did = pass.queues[0].1.as_ref().unwrap().summary.did(Action::Reset);
            assert!(did > 0, "{pass:?}");
            moved += did;
        }
        let took = began.elapsed();
        let after = server::Cpu::now(&store).await;
        stop.store(true, Ordering::Relaxed);
        let during = feeling.join().unwrap();
        beating.join().unwrap();
        let scripts = after.scripts_since(&cpu) / moved as f64;
        let whole = after.process_since(&cpu) / moved as f64;
        println!(
            "round {round}: {moved} tasks in {took:?}, {scripts:.2} µs of scripts a task ({:.0}/s, {} beats included), {whole:.2} µs of the process",
            1e6 / scripts,
            beats.load(Ordering::Relaxed)
        );
        println!("  other clients, quiet: {}   meanwhile: {}", show(&before), show(&during));
        rates.push(1e6 / scripts);
        process.push(1e6 / whole);
        felt.push(during);
    }
    let p99 = median(felt.iter().map(|all| at(all, 0.99)).collect());
    let worst = median(felt.iter().map(|all| at(all, 1.0)).collect());
    println!(
        "RESULT recover: {:.0} tasks a second of script CPU, {:.0} of process CPU; other clients p99 {p99:.2} ms, worst {worst:.2} ms",
        median(rates),
        median(process)
    );
}

/// 900 agents, each beating every 5 s.
fn beat(
    url: String,
    others: Vec<Session>,
    stop: Arc<AtomicBool>,
    beats: Arc<AtomicU64>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = Store::connect(&url, &backstop::store::Options::default()).unwrap();
            let queue = Queue::new(store, "bench".parse().unwrap());
            let mut number = 10;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                for session in &others {
                    let beat = Beat { session: session.clone(), number, pairs: Vec::new() };
                    queue.run(&beat).await.unwrap();
                    beats.fetch_add(1, Ordering::Relaxed);
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    tokio::time::sleep(Duration::from_micros(5_000_000 / OTHERS as u64)).await;
                }
            }
        });
    })
}

async fn feel(url: &str, long: Duration) -> Vec<f64> {
    let (url, stop) = (url.to_owned(), Arc::new(AtomicBool::new(false)));
    let stopped = Arc::clone(&stop);
    let feeling = std::thread::spawn(move || feel_until(&url, &stopped));
    tokio::time::sleep(long).await;
    stop.store(true, Ordering::Relaxed);
    feeling.join().unwrap()
}

/// Two clients with 1000 commands a second each; how long each command took, ms, sorted.
fn feel_until(url: &str, stop: &AtomicBool) -> Vec<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut all = runtime.block_on(async {
        let client = || async {
            let store = Store::connect(url, &backstop::store::Options::default()).unwrap();
            let mut felt = Vec::new();
            let mut tick = tokio::time::interval(Duration::from_millis(1));
            while !stop.load(Ordering::Relaxed) {
                tick.tick().await;
                let began = Instant::now();
                store.command(&["SET", "somebody", "else"]).await.unwrap();
                felt.push(began.elapsed().as_secs_f64() * 1e3);
            }
            felt
        };
        let (a, b) = tokio::join!(client(), client());
        [a, b].concat()
    });
    all.sort_by(f64::total_cmp);
    all
}

fn at(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len() - 1;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let index = (last as f64 * share) as usize;
    sorted[index]
}

fn show(sorted: &[f64]) -> String {
    format!(
        "p50 {:.2} p99 {:.2} worst {:.2} ms (of {})",
        at(sorted, 0.5),
        at(sorted, 0.99),
        at(sorted, 1.0),
        sorted.len()
    )
}
