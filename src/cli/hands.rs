//! `reset`, `cancel`, `extend`: what a person does to single tasks.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::ProgressBar;

use super::{CliError, DONE, FAILED, Global, duration, out};
use crate::core::id::{QueueName, TaskId};
use crate::native::scripts::cancel::{Cancel, Cancelled};
use crate::native::scripts::extend::{Extend, Extended};
use crate::native::scripts::inspect::Inspected;
use crate::native::scripts::reset::{Reset, ResetByHand};

/// Up to so many are done without asking.
const MANY: usize = 10;

/// Take running tasks from their agents, back to pending at their place; nothing is charged
#[derive(Debug, clap::Args)]
pub(super) struct ResetArgs {
    /// The tasks
    #[arg(required = true)]
    tasks: Vec<TaskId>,
    /// Their queue; default: they are looked for in all
    #[arg(long, value_name = "QUEUE")]
    queue: Option<QueueName>,
    /// Don't ask before many
    #[arg(long)]
    yes: bool,
}

/// Discard a task that waits; tell the agent of one that runs to stop
#[derive(Debug, clap::Args)]
pub(super) struct CancelArgs {
    /// The task
    task: TaskId,
    /// Its queue; default: it is looked for in all
    #[arg(long, value_name = "QUEUE")]
    queue: Option<QueueName>,
}

/// Give a running task this much time from now, and take back an order to stop
#[derive(Debug, clap::Args)]
pub(super) struct ExtendArgs {
    /// The task
    task: TaskId,
    /// How much
    #[arg(value_name = "DURATION", value_parser = duration)]
    by: Duration,
    /// Its queue; default: it is looked for in all
    #[arg(long, value_name = "QUEUE")]
    queue: Option<QueueName>,
}

pub(super) async fn reset(args: ResetArgs, global: &Global) -> Result<u8, CliError> {
    ask(args.tasks.len(), &format!("reset {} tasks", args.tasks.len()), args.yes)?;
    let mut failed = false;
    let mut answers = Vec::new();
    for id in &args.tasks {
        let (queue, task) = global.find(args.queue.clone(), id).await?;
        let pairs = vec![(id.to_string(), running_token(id, &task)?)];
        let answer = queue.run(&Reset { by: by("reset"), pairs }).await?.into_iter().next();
        failed |= answer == Some(ResetByHand::Changed);
        let told = match answer {
            Some(ResetByHand::Reset) => "reset: it waits again at its place",
            Some(ResetByHand::Discarded) => "discarded: it had been cancelled",
            Some(ResetByHand::Changed) | None => "left alone: another attempt has it by now, or it ended",
        };
        answers.push((id, told, answer.map(ResetByHand::as_str)));
    }
    if global.json {
        let one = |(id, _, answer): &(&TaskId, &str, Option<&str>)| serde_json::json!({"id": id.as_str(), "answer": answer});
        out::json(&answers.iter().map(one).collect::<Vec<_>>())?;
    } else {
        answers.iter().try_for_each(|(id, told, _)| out::line(&format!("{id}: {told}")))?;
    }
    Ok(if failed { FAILED } else { DONE })
}

fn running_token(id: &TaskId, task: &Inspected) -> Result<String, CliError> {
    let token = task.record.get("token").filter(|_| task.running.is_some());
    token
        .cloned()
        .ok_or_else(|| CliError::failed(format!("task {id} does not run: see backstop explain {id}")))
}

pub(super) async fn cancel(args: CancelArgs, global: &Global) -> Result<u8, CliError> {
    let (queue, task) = global.find(args.queue, &args.task).await?;
    let seen = if task.running.is_some() { "token" } else { "enqueued_at" };
    let seen = task.record.get(seen).cloned().unwrap_or_default();
    let id = args.task.to_string();
    let answer = queue.run(&Cancel { id: id.clone(), seen, by: by("cancel") }).await?;
    let (told, code) = match answer {
        Cancelled::Discarded => ("discarded".to_owned(), DONE),
        Cancelled::Revoked => {
            ("its agent will be told to stop; it is discarded when it is given back".to_owned(), DONE)
        }
        Cancelled::Dead => (format!("it is a dead letter: backstop dead discard {id}"), FAILED),
        Cancelled::Changed => ("left alone: it has moved since you looked, try again".to_owned(), FAILED),
        Cancelled::Gone => ("it is over by now".to_owned(), FAILED),
    };
    tell(global, &id, answer.as_str(), &told, code)
}

pub(super) async fn extend(args: ExtendArgs, global: &Global) -> Result<u8, CliError> {
    let (queue, task) = global.find(args.queue, &args.task).await?;
    let token = running_token(&args.task, &task)?;
    let limit_ms = task.now_ms.saturating_add(i64::try_from(args.by.as_millis()).unwrap_or(i64::MAX / 1024));
    let id = args.task.to_string();
    let answer = queue.run(&Extend { id: id.clone(), token, limit_ms, by: by("extend") }).await?;
    let (told, code) = match answer {
        Extended::Extended => ("it has until then, whatever its limits said", DONE),
        Extended::Changed => {
            ("left alone: another attempt has it by now, it ended, or it was cancelled", FAILED)
        }
        Extended::Gone => ("it is over by now", FAILED),
        Extended::Past => ("left alone: that time has passed already", FAILED),
    };
    tell(global, &id, answer.as_str(), told, code)
}

fn tell(global: &Global, id: &str, answer: &str, told: &str, code: u8) -> Result<u8, CliError> {
    if global.json {
        out::json(&serde_json::json!({"id": id, "answer": answer}))?;
    } else {
        out::line(&format!("{id}: {told}"))?;
    }
    Ok(code)
}

/// Who asks, and for what: it stands in the events.
pub(super) fn by(what: &str) -> String {
    let user =
        std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "somebody".to_owned());
    out::clean(&format!("{user}: {what}")).chars().take(200).collect()
}

/// Asks before many. Without a terminal nobody can answer, so --yes must have been said.
pub(super) fn ask(n: usize, what: &str, yes: bool) -> Result<(), CliError> {
    if n <= MANY || yes {
        return Ok(());
    }
    let refused = |why: &str| CliError::Usage(format!("{why}; to {what}, say --yes"));
    if !std::io::stdin().is_terminal() {
        return Err(refused("there is no terminal to ask at"));
    }
    // The question stands where the answers of the command don't.
    let _ = write!(std::io::stderr(), "{what}? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(CliError::failed)?;
    if answer.trim().eq_ignore_ascii_case("y") { Ok(()) } else { Err(refused("nothing was done")) }
}

/// A progress bar, on a terminal only.
pub(super) fn progress(n: u64) -> ProgressBar {
    if n > 200 && std::io::stderr().is_terminal() { ProgressBar::new(n) } else { ProgressBar::hidden() }
}
