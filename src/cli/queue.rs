//! `pause`, `resume`, `drain`, `guard`: what a person asks of a whole queue.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::{Subcommand, ValueEnum};

use super::hands::by;
use super::{CliError, DONE, Global, HELD, duration, out};
use crate::core::id::QueueName;
use crate::core::words::Guard;
use crate::native::Queue;
use crate::ops::status::{self, QueueStatus};
use crate::ops::switch::{To, switch, until_idle};

/// Hand out nothing of a queue until it is resumed
#[derive(Debug, clap::Args)]
pub(super) struct PauseArgs {
    /// The queue
    queue: QueueName,
    /// Why; it stands in the events
    #[arg(long, default_value = "pause")]
    reason: String,
}

/// End a pause or a drain
#[derive(Debug, clap::Args)]
pub(super) struct ResumeArgs {
    /// The queue
    queue: QueueName,
}

/// Hand out nothing new, and wait until nothing runs
///
/// Lasts until `backstop resume`, across restarts of everything. Exit code 3: something still runs.
#[derive(Debug, clap::Args)]
pub(super) struct DrainArgs {
    /// The queue
    queue: QueueName,
    /// How long to wait
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "0s")]
    wait: Duration,
    /// What happens to what still runs then
    #[arg(long, value_enum)]
    then: Option<Then>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Then {
    /// Agents give it back, and nothing is charged
    Release,
}

/// Look at the guards, or answer one by hand
#[derive(Debug, clap::Args)]
pub(super) struct GuardArgs {
    #[command(subcommand)]
    command: GuardCommand,
}

#[derive(Debug, Subcommand)]
enum GuardCommand {
    /// List the guards that were open in the last pass
    List {
        /// Only these queues
        queues: Vec<QueueName>,
    },
    /// Let a guard hold nothing for a while: only if you know what it can't
    Override {
        /// Which: mass_loss, redis_changed, clock_jumped, own_pause, policy_changed
        #[arg(value_parser = guard)]
        name: Guard,
        /// For how long
        #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
        long: Duration,
        /// Why; it stands in the events
        #[arg(long)]
        reason: String,
        /// Only this queue; default: all
        #[arg(long, value_name = "QUEUE")]
        queue: Option<QueueName>,
    },
}

fn guard(text: &str) -> Result<Guard, String> {
    let known: Vec<&str> = Guard::ALL.iter().map(|guard| guard.as_str()).collect();
    Guard::parse(text).ok_or_else(|| format!("expected one of {}", known.join(", ")))
}

pub(super) async fn pause(args: PauseArgs, global: &Global) -> Result<u8, CliError> {
    let queue = Queue::new(global.store()?, args.queue);
    switch(&queue, To::Paused, &by(&args.reason)).await?;
    done(global, &queue, "paused: nothing is taken until backstop resume")
}

pub(super) async fn resume(args: ResumeArgs, global: &Global) -> Result<u8, CliError> {
    let queue = Queue::new(global.store()?, args.queue);
    switch(&queue, To::Resumed, &by("resume")).await?;
    done(global, &queue, "resumed")
}

fn done(global: &Global, queue: &Queue, told: &str) -> Result<u8, CliError> {
    if global.json {
        out::json(&serde_json::json!({"queue": queue.name().as_str(), "state": told}))?;
    } else {
        out::line(&format!("{}: {told}", queue.name()))?;
    }
    Ok(DONE)
}

pub(super) async fn drain(args: DrainArgs, global: &Global) -> Result<u8, CliError> {
    let queue = Queue::new(global.store()?, args.queue);
    let before = status::read(queue.store(), std::slice::from_ref(queue.name())).await?.queues.pop();
    switch(&queue, To::Draining { release: false }, &by("drain")).await?;
    let mut after = until_idle(&queue, args.wait, watch).await?;
    if args.then.is_some() && after.as_ref().is_some_and(|now| now.running > 0) {
        switch(&queue, To::Draining { release: true }, &by("drain, then release")).await?;
        // Agents hear of it with their next beat, and give their programs a moment to stop.
        after = until_idle(&queue, Duration::from_secs(60), watch).await?;
    }
    let (Some(before), Some(after)) = (before, after) else { return Ok(DONE) };
    let completed = after.completed - before.completed.min(after.completed);
    let released = after.released - before.released.min(after.released);
    if global.json {
        out::json(&serde_json::json!({
            "queue": after.queue, "completed": completed, "released": released, "running": after.running,
        }))?;
    } else {
        clear();
        out::line(&format!(
            "{}: {completed} completed, {released} given back, {} still running; nothing new is taken until backstop resume",
            after.queue, after.running
        ))?;
    }
    Ok(if after.running == 0 { DONE } else { HELD })
}

fn watch(now: &QueueStatus) {
    if std::io::stderr().is_terminal() {
        // A line that is written over; nothing depends on it.
        let _ = write!(std::io::stderr(), "\r{} still running   ", now.running);
    }
}

fn clear() {
    if std::io::stderr().is_terminal() {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
}

pub(super) async fn guards(args: GuardArgs, global: &Global) -> Result<u8, CliError> {
    let store = global.store()?;
    match args.command {
        GuardCommand::List { queues } => {
            let queues = global.queues(&store, &queues).await?;
            let status = status::read(&store, &queues).await?;
            let open: Vec<_> = status.queues.iter().filter(|queue| !queue.guards.is_empty()).collect();
            if global.json {
                let one = |queue: &&QueueStatus| serde_json::json!({"queue": queue.queue, "guards": queue.guards, "held": queue.held});
                out::json(&open.iter().map(one).collect::<Vec<_>>())?;
            } else if open.is_empty() {
                out::line("no guard is open")?;
            } else {
                for queue in open {
                    for guard in &queue.guards {
                        out::line(&format!(
                            "{}: {} ({} tasks held)",
                            queue.queue,
                            out::clean(guard),
                            queue.held
                        ))?;
                    }
                }
            }
            Ok(DONE)
        }
        GuardCommand::Override { name, long, reason, queue } => {
            for queue in global.queues(&store, queue.as_slice()).await? {
                let queue = Queue::new(store.clone(), queue);
                switch(&queue, To::Override(name, long), &by(&reason)).await?;
                let told =
                    format!("{} holds nothing for {}", name.as_str(), humantime::format_duration(long));
                done(global, &queue, &told)?;
            }
            Ok(DONE)
        }
    }
}
