//! `demo` and `dev`: a private Redis and a daemon with short clocks.

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use super::run::stop_on_signals;
use super::{CliError, DONE, FAILED, Global, out, own_binary};
use crate::demo::{self, Stage};

/// Watch agents being killed and their tasks coming back, on a Redis of its own
///
/// Ends by itself within a minute. Exit code 0 only if nothing was lost and nothing was completed twice.
#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    /// How many tasks
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u16).range(1..=5000))]
    tasks: u16,
}

/// A private Redis and a daemon with short clocks, for trying out; gone with Ctrl-C
#[derive(Debug, clap::Args)]
pub(super) struct DevArgs {}

/// One task of the demonstration.
#[derive(Debug, clap::Args)]
pub(super) struct TaskArgs {
    book: PathBuf,
}

pub(super) async fn demo(args: DemoArgs, global: &Global) -> Result<u8, CliError> {
    let stop = CancellationToken::new();
    stop_on_signals(&stop)?;
    let account = demo::run(own_binary()?, usize::from(args.tasks), stop).await.map_err(CliError::failed)?;
    if global.json {
        out::json(&serde_json::json!({
            "enqueued": account.enqueued, "completed": account.completed, "dead": account.dead, "lost": account.lost,
            "completed_twice": account.completed_twice, "repeated": account.repeated, "resets": account.resets,
            "totals_agree": account.totals_agree, "detection_ms": account.detection_ms, "recovery_ms": account.recovery_ms,
        }))?;
    } else {
        out::line(&format!("\n{account}"))?;
    }
    Ok(if account.is_clean() && account.completed + account.dead == account.enqueued { DONE } else { FAILED })
}

pub(super) async fn dev(_args: DevArgs) -> Result<u8, CliError> {
    let stop = CancellationToken::new();
    stop_on_signals(&stop)?;
    let stage = Stage::set(&own_binary()?).await.map_err(CliError::failed)?;
    out::line(&format!(
        "{} and a daemon with short clocks run; Ctrl-C ends both, and nothing is kept",
        stage.engine()
    ))?;
    out::line(&format!("pages: {}", stage.pages()))?;
    out::line(&format!("the daemon's log: {}", stage.folder().join("daemon.log").display()))?;
    out::line("in another terminal:")?;
    out::line(&format!("  export BACKSTOP_REDIS_URL={}", stage.redis_url()))?;
    out::line("  seq 1 100 | backstop enqueue --queue try -")?;
    out::line("  backstop work --queue try --as worker-1 -- sh -c 'sleep 1; cat'")?;
    out::line("  backstop status")?;
    stop.cancelled().await;
    Ok(DONE)
}

pub(super) fn task(args: &TaskArgs) -> Result<u8, CliError> {
    demo::run_task(&args.book).map_err(CliError::failed)?;
    Ok(DONE)
}
