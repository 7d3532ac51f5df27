//! `explain`: where a task is, and what will happen to it when.

use super::{CliError, DONE, Global, explain_foreign, out};
use crate::core::id::{QueueName, TaskId};
use crate::native::Queue;
use crate::ops::explain::{self, Explained, Happened};
use crate::ops::find::{self, NotFound};
use crate::ops::over::over;

/// Explain a task: where it is, who has it, what will happen to it when, and what happened so far
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The task
    task: String,
    /// Its queue, or a [foreign.NAME] of the configuration; default: it is looked for in all
    #[arg(long, value_name = "QUEUE")]
    queue: Option<QueueName>,
}

pub(super) async fn run(args: Args, global: &Global) -> Result<u8, CliError> {
    let (settings, store) = (global.origin(None).load()?, global.store()?);
    if let Some((name, foreign)) = args.queue.as_ref().and_then(|name| settings.foreign.get_key_value(name)) {
        let known = explain_foreign::explain(&store, name.clone(), foreign, &args.task, global).await?;
        return known.ok_or_else(|| {
            CliError::failed(format!("{name} has no task {}: it was completed, or never enqueued", args.task))
        });
    }
    let own = match TaskId::new(&args.task) {
        Ok(id) => {
            let queues = global.queues(&store, args.queue.as_slice()).await?;
            match find::find(&store, &queues, &id).await {
                Err(NotFound::Over { queue, stub, .. }) => {
                    return tell_over(&Queue::new(store, queue), &args.task, &stub, global).await;
                }
                found => found.map_err(CliError::failed),
            }
        }
        Err(error) => Err(CliError::Usage(error.to_string())),
    };
    let (queue, task) = match own {
        Ok(found) => found,
        Err(error) => {
            // Perhaps somebody else's.
            for (name, foreign) in settings.foreign.iter().filter(|_| args.queue.is_none()) {
                let known =
                    explain_foreign::explain(&store, name.clone(), foreign, &args.task, global).await?;
                if let Some(code) = known {
                    return Ok(code);
                }
            }
            return Err(error);
        }
    };
    let explained = explain::explain(&queue, &args.task, &task).await?;
    if global.json {
        out::json(&explained)?;
    } else {
        for text in lines(&explained) {
            out::line(&text)?;
        }
    }
    Ok(DONE)
}

async fn tell_over(queue: &Queue, id: &str, stub: &str, global: &Global) -> Result<u8, CliError> {
    let over = over(queue, id, stub).await?;
    if global.json {
        out::json(&over)?;
        return Ok(DONE);
    }
    let by = over.attempt.map(|n| format!(", after attempt {n}")).unwrap_or_default();
    out::line(&format!(
        "task     {} of queue {} is over: {}{by}",
        over.id,
        over.queue,
        out::clean(&over.how)
    ))?;
    late(over.late_attempt)
        .iter()
        .chain(&past(&over.history, over.history_begins_ms))
        .try_for_each(|text| out::line(text))?;
    Ok(DONE)
}

/// What a late result of an earlier attempt tells.
fn late(attempt: Option<u64>) -> Option<String> {
    let told = |n| {
        format!(
            "late     attempt {n} came with a result after its task had gone to another, and was refused: it had been given up too early"
        )
    };
    attempt.map(told)
}

fn past(history: &[Happened], begins_ms: Option<i64>) -> Vec<String> {
    let told = |event: &Happened| {
        format!("history  {} ago: {}", out::duration(event.ago_ms), out::clean(&event.what))
    };
    let begins = match begins_ms {
        Some(ms) => format!("history  what is recorded begins {} ago", out::duration(ms)),
        None => "history  nothing is recorded".to_owned(),
    };
    history.iter().map(told).chain([begins]).collect()
}

/// The explanation, line by line.
pub(super) fn lines(task: &Explained) -> Vec<String> {
    let age = |ms: Option<i64>| ms.map_or_else(|| "unknown".to_owned(), out::duration);
    let mut lines = vec![
        format!(
            "task     {} of queue {}, type {}, enqueued {} ago",
            task.id,
            task.queue,
            out::clean(&task.task_type),
            age(task.age_ms)
        ),
        format!("payload  {} bytes, checkpoint {} bytes", task.payload_bytes, task.checkpoint_bytes),
    ];
    let reason = task.reason.as_deref().map(|why| format!(" ({})", out::clean(why))).unwrap_or_default();
    lines.push(match (&task.session, &task.agent) {
        (Some(session), Some(holder)) => format!(
            "state    running for {}, attempt {}, by {session} ({} on {}, pid {})",
            age(task.running_ms),
            task.attempt,
            out::clean(&holder.state),
            out::clean(&holder.host),
            out::clean(&holder.pid)
        ),
        _ if task.state == "nowhere" => "state    in no index: run backstop fsck".to_owned(),
        _ => format!("state    {}{reason}, {} attempts so far", task.state, task.attempt),
    });
    lines.push(format!(
        "charged  {} of {} abandonments, {} of {} failures",
        task.abandonments, task.max_abandonments, task.failures, task.max_failures
    ));
    lines.extend(task.external.as_deref().map(|handle| format!("external {}", out::clean(handle))));
    if !task.error.is_empty() {
        lines.push(format!("error    {}", out::clean(task.error.trim())));
    }
    for clock in &task.clocks {
        let when = if clock.left_ms >= 0 {
            format!("in {}", out::duration(clock.left_ms))
        } else {
            format!("due for {}", out::duration(-clock.left_ms))
        };
        let of = clock.limit_ms.map(|ms| format!(" of {}", out::duration(ms))).unwrap_or_default();
        lines.push(format!("{:8} {when}{of}: {}", clock.clock, clock.then));
    }
    lines.extend(task.held_by.iter().map(|why| format!("held     {why}")));
    lines.extend(late(task.late_attempt));
    lines.extend(past(&task.history, task.history_begins_ms));
    lines
}
