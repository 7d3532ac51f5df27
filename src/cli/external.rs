//! `external`: work elsewhere that nobody waits for any more.

use clap::Subcommand;

use super::tasks::{Page, more};
use super::which::by;
use super::{CliError, DONE, FAILED, Global, out};
use crate::core::id::{QueueName, TaskId};
use crate::ops::unwanted;

/// Look at work that goes on elsewhere though nobody waits for it
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: ExternalCommand,
}

#[derive(Debug, Subcommand)]
enum ExternalCommand {
    /// List it, what has been unwanted for longest first
    List {
        /// The queue
        queue: QueueName,
        #[command(flatten)]
        page: Page,
    },
    /// Forget what a task had begun elsewhere: you have seen to it yourself
    Forget {
        /// The task
        task: TaskId,
        /// Its queue
        #[arg(long, value_name = "QUEUE")]
        queue: QueueName,
    },
}

pub(super) async fn run(args: Args, global: &Global) -> Result<u8, CliError> {
    match args.command {
        ExternalCommand::List { queue, page } => {
            let queue = global.queue(queue).await?;
            let listed = unwanted::list(&queue, page.after, page.limit as usize).await?;
            if global.json {
                out::json(&serde_json::json!({ "unwanted": listed }))?;
                return Ok(DONE);
            }
            let row = |one: &unwanted::Unwanted| {
                vec![
                    out::clean(&one.id),
                    out::clean(&one.task_type),
                    out::duration(one.unwanted_ms),
                    out::clean(&one.handle),
                ]
            };
            out::table(&["task", "type", "unwanted for", "handle"], listed.iter().map(row))?;
            more(listed.len(), &page);
            Ok(DONE)
        }
        ExternalCommand::Forget { task, queue } => {
            let queue = global.queue(queue).await?;
            let n = unwanted::forget(&queue, task.as_str(), &by("external forget")).await?;
            if global.json {
                out::json(
                    &serde_json::json!({"queue": queue.name().as_str(), "task": task.as_str(), "forgotten": n}),
                )?;
            } else {
                out::line(&format!("{task}: {n} handles forgotten"))?;
            }
            Ok(if n > 0 { DONE } else { FAILED })
        }
    }
}
