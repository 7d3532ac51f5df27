//! `status`: how the queues are doing.

use super::{CliError, DONE, FAILED, Global, out};
use crate::core::id::QueueName;
use crate::ops::status::{self, QueueStatus, Status};

/// Show how the queues are doing: tasks, agents, what is stuck, what holds the sweeper
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only these queues
    #[arg(value_name = "QUEUE")]
    queues: Vec<QueueName>,
}

pub(super) async fn run(args: Args, global: &Global) -> Result<u8, CliError> {
    let store = global.store()?;
    let queues = global.queues(&store, &args.queues).await?;
    let status = status::read(&store, &queues).await?;
    let code = tell_unreadable(&status);
    if global.json {
        out::json(&status)?;
        return Ok(code);
    }
    if status.queues.is_empty() {
        if code == DONE {
            out::line("no queue is known: nothing was enqueued yet")?;
        }
        return Ok(code);
    }
    let head = [
        "queue",
        "pending",
        "delayed",
        "running",
        "dead",
        "completed",
        "agents",
        "oldest running",
        "last pass",
    ];
    out::table(&head, status.queues.iter().map(row))?;
    for queue in &status.queues {
        for text in remarks(queue) {
            out::line(&format!("{}: {text}", queue.queue))?;
        }
    }
    Ok(code)
}

/// Says which queues can't be read; the exit code.
pub(super) fn tell_unreadable(status: &Status) -> u8 {
    for one in &status.unreadable {
        out::note(&format!("backstop: queue {}: {}", one.queue, out::clean(&one.error)));
    }
    if status.unreadable.is_empty() { DONE } else { FAILED }
}

fn row(queue: &QueueStatus) -> Vec<String> {
    let age = |ms: Option<i64>| ms.map_or_else(|| "-".to_owned(), out::duration);
    let agents = queue.agents;
    let mut fleet = format!("{} active", agents.active);
    for (n, what) in [(agents.suspect, "suspect"), (agents.lost, "lost")] {
        if n > 0 {
            fleet.push_str(&format!(", {n} {what}"));
        }
    }
    vec![
        queue.queue.clone(),
        queue.pending.to_string(),
        queue.delayed.to_string(),
        queue.running.to_string(),
        queue.dead.to_string(),
        queue.completed.to_string(),
        fleet,
        age(queue.oldest_running_ms),
        age(queue.last_pass_ms),
    ]
}

/// What a person should know besides the figures.
fn remarks(queue: &QueueStatus) -> Vec<String> {
    let mut remarks = Vec::new();
    match queue.last_pass_ms {
        None => remarks.push("nobody has swept it yet: is the daemon running?".to_owned()),
        Some(ms) if ms > 60_000 => {
            remarks.push(format!("the last pass was {} ago: is the daemon running?", out::duration(ms)));
        }
        Some(_) => {}
    }
    remarks.extend(queue.guards.iter().map(|guard| format!("guard open: {}", out::clean(guard))));
    if queue.held > 0 {
        remarks.push(format!("{} abandoned tasks are held by guards", queue.held));
    }
    if queue.observed_only {
        remarks.push("observe mode: what is abandoned is counted, and nothing is moved".to_owned());
    }
    if let Some(ms) = queue.oldest_abandoned_ms {
        remarks.push(format!("a task has been abandoned for {} and isn't moved", out::duration(ms)));
    }
    if queue.paused {
        remarks.push("paused: nothing is taken (backstop resume)".to_owned());
    }
    if let Some(how) = &queue.draining {
        remarks.push(format!("draining ({}): nothing new is taken (backstop resume)", out::clean(how)));
    }
    if let (Some(age), Some(_)) = (queue.oldest_running_age_ms, queue.oldest_running_ms)
        && age > 60_000
    {
        remarks.push(format!("the oldest running task is as of {} ago", out::duration(age)));
    }
    remarks
}
