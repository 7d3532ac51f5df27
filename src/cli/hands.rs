//! `reset`, `cancel`, `extend`: what a person does to tasks.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::which::{Which, by, count, progress};
use super::{CliError, Global, out, share_done, some_time};
use crate::core::id::{QueueName, TaskId};
use crate::native::scripts::cancel::Cancelled;
use crate::native::scripts::extend::{Extend, Extended};
use crate::native::scripts::reset::ResetByHand;
use crate::ops::hands;
use crate::ops::tasks::{Listed, State};

/// Take running tasks from their agents, back to pending at their place; nothing is charged
#[derive(Debug, clap::Args)]
pub(super) struct ResetArgs {
    #[command(flatten)]
    which: Which,
}

/// Discard tasks that wait; tell the agents of those that run to stop
#[derive(Debug, clap::Args)]
pub(super) struct CancelArgs {
    #[command(flatten)]
    which: Which,
    /// Only those that this made wait: failed, released, redriven, reset:agent_lost …
    #[arg(long, value_name = "REASON", conflicts_with = "tasks")]
    reason: Option<String>,
}

/// Give a running task this much time from now, and take back an order to stop
#[derive(Debug, clap::Args)]
pub(super) struct ExtendArgs {
    /// The task
    task: TaskId,
    /// How much
    #[arg(value_name = "DURATION", value_parser = some_time)]
    by: Duration,
    /// Its queue; default: it is looked for in all
    #[arg(long, value_name = "QUEUE")]
    queue: Option<QueueName>,
}

/// What became of a task.
#[derive(Debug, Serialize)]
struct Outcome {
    queue: String,
    id: String,
    answer: &'static str,
    #[serde(skip)]
    told: &'static str,
    #[serde(skip)]
    done: bool,
}

/// Says what became of each, or of many how many there were of each kind; the exit code.
fn account(outcomes: &[Outcome], one_by_one: bool, global: &Global) -> Result<u8, CliError> {
    if global.json {
        out::json(&outcomes)?;
    } else if one_by_one {
        outcomes.iter().try_for_each(|one| out::line(&format!("{}: {}", one.id, one.told)))?;
    } else {
        let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
        outcomes.iter().for_each(|one| *kinds.entry(one.told).or_default() += 1);
        kinds.iter().try_for_each(|(told, n)| out::line(&format!("{n} {told}")))?;
        if outcomes.is_empty() {
            out::line("no tasks are meant")?;
        }
    }
    let done = outcomes.iter().filter(|one| one.done).count();
    Ok(share_done(done as u64, outcomes.len() as u64))
}

/// The error that ended a long command, with how far it came.
pub(super) fn cut_short(error: impl std::fmt::Display, done: u64, n: usize) -> CliError {
    CliError::failed(format!("{error}; {done} of {n} had been done, the others are as they were"))
}

pub(super) async fn reset(args: ResetArgs, global: &Global) -> Result<u8, CliError> {
    let meant = args.which.look_up(global, &[State::Running], None, "does not run").await?;
    let n = count(&meant);
    args.which.ask(n, &format!("reset {n} tasks"))?;
    let bar = progress(n);
    let mut outcomes = Vec::with_capacity(n);
    for one in &meant {
        let answers = hands::reset(&one.queue, &one.tasks, &by("reset"), |n| bar.inc(n)).await;
        for (task, answer) in one.tasks.iter().zip(answers.map_err(|e| cut_short(e, bar.position(), n))?) {
            let (told, done) = match answer {
                ResetByHand::Reset => ("reset: it waits again at its place", true),
                ResetByHand::Discarded => ("discarded: it had been cancelled", true),
                ResetByHand::Changed => ("left alone: another attempt has it by now, or it ended", false),
            };
            outcomes.push(outcome(one.queue.name(), task, answer.as_str(), told, done));
        }
    }
    bar.finish_and_clear();
    account(&outcomes, args.which.named(), global)
}

pub(super) async fn cancel(args: CancelArgs, global: &Global) -> Result<u8, CliError> {
    let mut states = vec![State::Pending, State::Delayed, State::Running];
    if args.which.named() {
        // The script says what to do about these.
        states.push(State::Dead);
    }
    let meant = args.which.look_up(global, &states, args.reason.as_deref(), "is in no index").await?;
    let n = count(&meant);
    args.which.ask(n, &format!("cancel {n} tasks"))?;
    let bar = progress(n);
    let mut outcomes = Vec::with_capacity(n);
    for one in &meant {
        let answers = hands::cancel(&one.queue, &one.tasks, &by("cancel"), |n| bar.inc(n)).await;
        for (task, answer) in one.tasks.iter().zip(answers.map_err(|e| cut_short(e, bar.position(), n))?) {
            let (told, done) = match answer {
                Cancelled::Discarded => ("discarded", true),
                Cancelled::Revoked => {
                    ("its agent will be told to stop; it is discarded when it is given back", true)
                }
                Cancelled::Dead => ("left alone: it is a dead letter, see backstop dead discard", false),
                Cancelled::Changed => ("left alone: it has moved since you looked, try again", false),
                Cancelled::Gone => ("it is over by now", false),
            };
            outcomes.push(outcome(one.queue.name(), task, answer.as_str(), told, done));
        }
    }
    bar.finish_and_clear();
    account(&outcomes, args.which.named(), global)
}

pub(super) async fn extend(args: ExtendArgs, global: &Global) -> Result<u8, CliError> {
    let (queue, found) = global.find(args.queue, &args.task).await?;
    let id = args.task.to_string();
    if State::of(&found) != Some(State::Running) {
        return Err(CliError::failed(format!("task {id} does not run: see backstop explain {id}")));
    }
    let task = Listed::of(id.clone(), &found.record, None);
    let limit_ms = found.now_ms.saturating_add(i64::try_from(args.by.as_millis()).unwrap_or(i64::MAX / 1024));
    let extend = Extend { id, token: task.token.clone(), limit_ms, by: by("extend") };
    let answer = queue.run(&extend).await?;
    let (told, done) = match answer {
        Extended::Extended => ("it has until then, whatever its limits said", true),
        Extended::Changed => {
            ("left alone: another attempt has it by now, it ended, or it was cancelled", false)
        }
        Extended::Gone => ("it is over by now", false),
        Extended::Past => ("left alone: that time has passed already", false),
    };
    account(&[outcome(queue.name(), &task, answer.as_str(), told, done)], true, global)
}

fn outcome(
    queue: &QueueName,
    task: &Listed,
    answer: &'static str,
    told: &'static str,
    done: bool,
) -> Outcome {
    Outcome { queue: queue.to_string(), id: out::clean(&task.id), answer, told, done }
}
