//! `dead`: dead letters, seen and decided on.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Subcommand;

use super::hands::{ask, by, progress};
use super::{CliError, DONE, FAILED, Global, duration, explain, out, tasks};
use crate::core::id::{QueueName, TaskId};
use crate::core::words::DeadReason;
use crate::native::Queue;
use crate::native::scripts::redrive::SeenDead;
use crate::ops::dead::{self, Fate, Selection};

/// Look at dead letters, and decide on them
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: DeadCommand,
}

#[derive(Debug, Subcommand)]
enum DeadCommand {
    /// List them, oldest first
    List(Which),
    /// Explain one, with its last error and its history
    Show {
        /// The task
        task: TaskId,
        /// Its queue; default: it is looked for in all
        #[arg(long, value_name = "QUEUE")]
        queue: Option<QueueName>,
    },
    /// Put them back to pending, their counters at zero
    Redrive {
        #[command(flatten)]
        which: Which,
        /// A new deadline, from now; needed where the old one has passed
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        deadline: Option<Duration>,
    },
    /// Take them out of the system
    Discard(Which),
}

/// Which dead letters.
#[derive(Debug, clap::Args)]
struct Which {
    /// The tasks
    #[arg(value_name = "TASK")]
    ids: Vec<TaskId>,
    /// Their queue; default: all
    #[arg(long, value_name = "QUEUE")]
    queue: Option<QueueName>,
    /// All that --reason and --older-than leave
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// Only those that died of this: poison, failed, expired, no_payload
    #[arg(long, value_name = "REASON", conflicts_with = "ids", value_parser = reason)]
    reason: Option<String>,
    /// Only those that have been dead for longer
    #[arg(long, value_name = "DURATION", conflicts_with = "ids", value_parser = duration)]
    older_than: Option<Duration>,
    /// Don't ask before many
    #[arg(long)]
    yes: bool,
}

fn reason(text: &str) -> Result<String, String> {
    let known: Vec<&str> = DeadReason::ALL.iter().map(|reason| reason.as_str()).collect();
    DeadReason::parse(text)
        .map(|_| text.to_owned())
        .ok_or_else(|| format!("expected one of {}", known.join(", ")))
}

pub(super) async fn run(args: Args, global: &Global) -> Result<u8, CliError> {
    match args.command {
        DeadCommand::List(which) => list(&which, global).await,
        DeadCommand::Show { task, queue } => {
            let (queue, found) = global.find(queue, &task).await?;
            if found.dead.is_none() {
                return Err(CliError::failed(format!(
                    "task {task} is no dead letter: see backstop explain {task}"
                )));
            }
            let explained = crate::ops::explain::explain(&queue, task.as_str(), &found).await?;
            if global.json {
                out::json(&explained)?;
            } else {
                explain::lines(&explained).iter().try_for_each(|text| out::line(text))?;
            }
            Ok(DONE)
        }
        DeadCommand::Redrive { which, deadline } => decide(&which, &Fate::Redrive(deadline), global).await,
        DeadCommand::Discard(which) => decide(&which, &Fate::Discard, global).await,
    }
}

fn selection(which: &Which) -> Selection {
    Selection { reason: which.reason.clone(), older_than: which.older_than }
}

async fn list(which: &Which, global: &Global) -> Result<u8, CliError> {
    let store = global.store()?;
    let mut all = BTreeMap::new();
    for name in global.queues(&store, which.queue.as_slice()).await? {
        let queue = Queue::new(store.clone(), name.clone());
        let mut letters = dead::select(&queue, &selection(which)).await?;
        letters.retain(|letter| which.ids.is_empty() || which.ids.iter().any(|id| id.as_str() == letter.id));
        if !global.json && !letters.is_empty() {
            out::line(&format!("queue {name}"))?;
            tasks::show_tasks(&queue, &letters).await?;
        }
        all.insert(name.to_string(), letters);
    }
    if global.json {
        out::json(&serde_json::json!({ "dead": all }))?;
    } else if all.values().all(Vec::is_empty) {
        out::line("no dead letters")?;
    }
    Ok(DONE)
}

async fn decide(which: &Which, fate: &Fate, global: &Global) -> Result<u8, CliError> {
    let store = global.store()?;
    let mut meant: Vec<(Queue, Vec<SeenDead>)> = Vec::new();
    if which.ids.is_empty() {
        if !which.all && which.reason.is_none() && which.older_than.is_none() {
            return Err(CliError::Usage("name tasks, or say --all, --reason or --older-than".to_owned()));
        }
        for name in global.queues(&store, which.queue.as_slice()).await? {
            let queue = Queue::new(store.clone(), name);
            let mut letters = Vec::new();
            for letter in dead::select(&queue, &selection(which)).await? {
                letters.push(dead::seen(&queue, &letter.id, letter.at_ms.unwrap_or(0)).await?);
            }
            meant.push((queue, letters));
        }
    } else {
        for id in &which.ids {
            let (queue, found) = global.find(which.queue.clone(), id).await?;
            let Some(died) = found.dead else {
                return Err(CliError::failed(format!(
                    "task {id} is no dead letter: see backstop explain {id}"
                )));
            };
            let letter = dead::seen(&queue, id.as_str(), died).await?;
            meant.push((queue, vec![letter]));
        }
    }
    let verb = if matches!(fate, Fate::Discard) { "discard" } else { "redrive" };
    let n: usize = meant.iter().map(|(_, letters)| letters.len()).sum();
    ask(n, &format!("{verb} {n} dead letters"), which.yes)?;
    let bar = progress(n as u64);
    let mut words: BTreeMap<&'static str, u64> = BTreeMap::new();
    for (queue, letters) in &meant {
        for (word, n) in dead::decide(queue, letters, fate, &by(verb), |done| bar.inc(done)).await? {
            *words.entry(word).or_default() += n;
        }
    }
    bar.finish_and_clear();
    let done = words.get("redriven").or(words.get("discarded")).copied().unwrap_or(0);
    if global.json {
        out::json(&words)?;
    } else {
        for (word, n) in &words {
            let told = match *word {
                "changed" => "left alone: not that death any more",
                "deadline_passed" => "left alone: the deadline has passed, give a new one with --deadline",
                word => word,
            };
            out::line(&format!("{n} {told}"))?;
        }
        if words.is_empty() {
            out::line("no dead letters are meant")?;
        }
    }
    Ok(if done == n as u64 { DONE } else { FAILED })
}
