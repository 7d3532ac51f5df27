//! `fsck`: whether records and indices agree.

use indicatif::ProgressBar;

use super::{CliError, DONE, Global, HELD, out};
use crate::core::id::QueueName;
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
    let queue = global.queue(args.queue).await?;
    let bar = ProgressBar::new_spinner();
    let findings = fsck::walk(&queue, args.repair, |compared| bar.set_position(compared)).await?;
    bar.finish_and_clear();
    if global.json {
        out::json(&serde_json::json!({
            "compared": findings.compared, "unsound": findings.unsound, "mended": findings.mended,
            "examples": findings.examples,
        }))?;
    } else {
        out::line(&format!("{}: {} entries and records compared", queue.name(), findings.compared))?;
        for (kind, n) in &findings.unsound {
            let (told, mended) = match *kind {
                "no_record" => ("entries without a record", args.repair),
                "stray" => ("entries besides a task's one place", args.repair),
                "homeless" => ("records that stand in no index", args.repair),
                fsck::WRONG_TYPE => ("keys that hold another type of value: rename or delete them", false),
                other => (other, args.repair),
            };
            out::line(&format!("{n} {told}{}", if mended { ", mended" } else { "" }))?;
        }
        for (what, kind) in &findings.examples {
            out::line(&format!("  {}: {kind}", out::clean(what)))?;
        }
        let by_hand = findings.unsound.get(fsck::WRONG_TYPE).copied().unwrap_or(0);
        if findings.left() > by_hand && !args.repair {
            out::line("mend them with --repair; find out what wrote to these keys besides Backstop")?;
        }
    }
    Ok(if findings.left() == 0 { DONE } else { HELD })
}
