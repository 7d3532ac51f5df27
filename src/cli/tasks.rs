//! `tasks`: lists, a page at a time.

use clap::ValueEnum;

use super::{CliError, DONE, Global, out};
use crate::core::id::QueueName;
use crate::native::Queue;
use crate::ops::tasks::{self, Listed, State};

/// List the tasks of a queue
#[derive(Debug, clap::Args)]
pub(super) struct TasksArgs {
    /// The queue
    queue: QueueName,
    /// Where they are
    #[arg(long, value_enum, default_value = "running")]
    state: Where,
    #[command(flatten)]
    page: Page,
}

/// Which part of a list.
#[derive(Debug, clap::Args)]
pub(super) struct Page {
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) limit: u32,
    /// Skip so many: where the last page ended
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) after: usize,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Where {
    Pending,
    Delayed,
    Running,
    Dead,
}

pub(super) async fn tasks(args: TasksArgs, global: &Global) -> Result<u8, CliError> {
    let queue = global.queue(args.queue).await?;
    let state = match args.state {
        Where::Pending => State::Pending,
        Where::Delayed => State::Delayed,
        Where::Running => State::Running,
        Where::Dead => State::Dead,
    };
    let listed = tasks::list(&queue, state, args.page.after, args.page.limit as usize).await?;
    if global.json {
        out::json(&serde_json::json!({ "tasks": listed }))?;
        return Ok(DONE);
    }
    show_tasks(&queue, &listed).await?;
    more(listed.len(), &args.page);
    Ok(DONE)
}

/// A table of tasks.
pub(super) async fn show_tasks(queue: &Queue, listed: &[Listed]) -> Result<(), CliError> {
    let now = queue.store().server_time().await?;
    let ago = |at: Option<i64>| at.map_or_else(|| "-".to_owned(), |at| out::duration((now - at).abs()));
    let row = |task: &Listed| {
        let what = task.session.clone().or_else(|| task.reason.clone()).unwrap_or_default();
        let since = task.session.as_ref().map_or(task.at_ms, |_| task.taken_at_ms);
        vec![
            task.id.clone(),
            task.task_type.clone(),
            task.attempt.to_string(),
            ago(task.enqueued_at_ms),
            what,
            ago(since),
        ]
    };
    out::table(
        &["task", "type", "attempt", "age", "agent or reason", "since / until"],
        listed.iter().map(row),
    )
}

pub(super) fn more(shown: usize, page: &Page) {
    if shown == page.limit as usize {
        out::note(&format!("backstop: there may be more: --after {}", page.after + shown));
    }
}
