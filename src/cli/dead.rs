//! `dead`: dead letters, seen and decided on.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Subcommand;

use super::hands::cut_short;
use super::tasks::Page;
use super::which::{Which, by, count, progress};
use super::{CliError, DONE, Global, duration, explain, out, share_done, some_time, tasks};
use crate::core::id::{QueueName, TaskId};
use crate::core::words::DeadReason;
use crate::native::Queue;
use crate::ops::dead::{self, Fate};
use crate::ops::tasks::{Selection, State, select};

/// Look at dead letters, and decide on them
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: DeadCommand,
}

#[derive(Debug, Subcommand)]
enum DeadCommand {
    /// List them, oldest first
    List(ListArgs),
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
        letters: Letters,
        /// A new deadline, from now; needed where the old one has passed
        #[arg(long, value_name = "DURATION", value_parser = some_time)]
        deadline: Option<Duration>,
    },
    /// Take them out of the system
    Discard(Letters),
}

/// Which dead letters are listed.
#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Their queue; default: all
    #[arg(long, value_name = "QUEUE")]
    queue: Option<QueueName>,
    /// Only those that died of this: poison, failed, expired, no_payload
    #[arg(long, value_name = "REASON", value_parser = reason)]
    reason: Option<String>,
    /// Only those that have been dead for longer
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    older_than: Option<Duration>,
    #[command(flatten)]
    page: Page,
}

/// Which dead letters are decided on.
#[derive(Debug, clap::Args)]
struct Letters {
    #[command(flatten)]
    which: Which,
    /// Only those that died of this: poison, failed, expired, no_payload
    #[arg(long, value_name = "REASON", conflicts_with = "tasks", value_parser = reason)]
    reason: Option<String>,
}

fn reason(text: &str) -> Result<String, String> {
    let known: Vec<&str> = DeadReason::ALL.iter().map(|reason| reason.as_str()).collect();
    DeadReason::parse(text)
        .map(|_| text.to_owned())
        .ok_or_else(|| format!("expected one of {}", known.join(", ")))
}

pub(super) async fn run(args: Args, global: &Global) -> Result<u8, CliError> {
    match args.command {
        DeadCommand::List(args) => list(&args, global).await,
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
        DeadCommand::Redrive { letters, deadline } => {
            decide(&letters, &Fate::Redrive(deadline), global).await
        }
        DeadCommand::Discard(letters) => decide(&letters, &Fate::Discard, global).await,
    }
}

async fn list(args: &ListArgs, global: &Global) -> Result<u8, CliError> {
    let store = global.store()?;
    let selection = Selection { reason: args.reason.clone(), older_than: args.older_than };
    let (mut skip, mut left) = (args.page.after, args.page.limit as usize);
    let mut all = BTreeMap::new();
    for name in global.queues(&store, args.queue.as_slice()).await? {
        let queue = Queue::new(store.clone(), name.clone());
        let mut letters = select(&queue, State::Dead, &selection, skip.saturating_add(left)).await?;
        let passed = skip.min(letters.len());
        letters.drain(..passed);
        skip -= passed;
        left -= letters.len();
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
    if left == 0 && !global.json {
        tasks::more(args.page.limit as usize, &args.page);
    }
    Ok(DONE)
}

async fn decide(letters: &Letters, fate: &Fate, global: &Global) -> Result<u8, CliError> {
    let which = &letters.which;
    let meant = which.look_up(global, &[State::Dead], letters.reason.as_deref(), "is no dead letter").await?;
    let n = count(&meant);
    let verb = if matches!(fate, Fate::Discard) { "discard" } else { "redrive" };
    which.ask(n, &format!("{verb} {n} dead letters"))?;
    let bar = progress(n);
    let mut words: BTreeMap<&'static str, u64> = BTreeMap::new();
    for one in &meant {
        let decided = dead::decide(&one.queue, &one.tasks, fate, &by(verb), |done| bar.inc(done)).await;
        for (word, n) in decided.map_err(|error| cut_short(error, bar.position(), n))? {
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
    Ok(share_done(done, n as u64))
}
