//! The figures that docs/performance.md states, measured on a private Redis.
//!
//!     make bench                                   # all of them, a few minutes
//!     cargo bench --bench figures -- recover idle  # these
//!
//! Rows: recover, idle, way, million, memory, daemon, kills, identity, pool, languages, foreign,
//! beside.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    missing_docs,
    unreachable_pub,
    reason = "a measurement that fails should do so at once, and shows what it measured"
)]

mod beside;
mod daemon;
mod fleet;
mod foreign;
mod identity;
mod kills;
mod languages;
mod pool;
mod recover;
mod server;
mod tasks;

use std::time::Duration;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap();
        println!("load average at the start: {}", load.trim());
        let rows = [
            "recover",
            "idle",
            "way",
            "million",
            "memory",
            "daemon",
            "kills",
            "identity",
            "pool",
            "languages",
            "foreign",
            "beside",
        ];
        for row in rows {
            if !wanted.is_empty() && !wanted.iter().any(|one| one == row) {
                continue;
            }
            println!("== {row}");
            match row {
                "recover" => recover::run().await,
                "idle" => daemon::idle().await,
                "way" => tasks::way().await,
                "million" => tasks::million().await,
                "memory" => tasks::memory().await,
                "daemon" => daemon::run().await,
                "identity" => identity::run().await,
                "pool" => pool::run().await,
                "languages" => languages::run(),
                "foreign" => foreign::run().await,
                "beside" => beside::run().await,
                _ => kills::run().await,
            }
        }
    });
    // Blocking threads of the runtime have nothing left to do.
    runtime.shutdown_timeout(Duration::from_secs(1));
}

/// The value in the middle.
pub fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}
