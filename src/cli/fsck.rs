//! `fsck`: whether records and indices agree.

use indicatif::ProgressBar;

use super::{CliError, DONE, Global, HELD, out};
use crate::core::id::QueueName;
use crate::native::Queue;
use crate::ops::fsck;

/// Compare all records of a queue with its indices; walks over the whole keyspace
///
/// Exit code 3: something is unsound and was not mended.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The queue
    queue: QueueName,
    /// Mend what can only be mended one way
    #[arg(long)]
    repair: bool,
}

pub(super) async fn run(args: Args, global: &Global) -> Result<u8, CliError> {
    let queue = Queue::new(global.store()?, args.queue);
    let bar = ProgressBar::new_spinner();
    let findings = fsck::walk(&queue, args.repair, |compared| bar.set_position(compared)).await?;
    bar.finish_and_clear();
    let unsound: u64 = findings.unsound.values().sum();
    if global.json {
        out::json(&serde_json::json!({
            "compared": findings.compared, "unsound": findings.unsound, "mended": args.repair && unsound > 0,
            "examples": findings.examples,
        }))?;
    } else {
        out::line(&format!("{}: {} entries and records compared", queue.name(), findings.compared))?;
        for (kind, n) in &findings.unsound {
            let told = match *kind {
                "no_record" => "entries without a record",
                "stray" => "entries besides a task's one place",
                "homeless" => "records that stand in no index",
                other => other,
            };
            out::line(&format!("{n} {told}{}", if args.repair { ", mended" } else { "" }))?;
        }
        for (id, kind) in &findings.examples {
            out::line(&format!("  {}: {kind}", out::clean(id)))?;
        }
        if unsound > 0 && !args.repair {
            out::line("mend them with --repair; find out what wrote to these keys besides Backstop")?;
        }
    }
    Ok(if unsound == 0 || args.repair { DONE } else { HELD })
}
