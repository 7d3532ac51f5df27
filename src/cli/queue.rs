//! `pause`, `resume`, `drain`, `guard`: what a person asks of a whole queue.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::{Subcommand, ValueEnum};

use super::status::tell_unreadable;
use super::which::by;
use super::{CliError, DONE, Global, HELD, duration, out};
use crate::core::id::QueueName;
use crate::core::words::Guard;
use crate::native::Queue;
use crate::ops::status::{self, QueueStatus};
use crate::ops::switch::{To, switch, until_idle};

/// Agents hear with their next beat that they are to give back what they run, and give their programs a moment to stop.
const GIVE_BACK_WITHIN: Duration = Duration::from_secs(60);

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
/// Lasts until `backstop resume`, across restarts of everything; ending the wait with Ctrl-C doesn't end it. Exit code 3:
/// something still runs.
#[derive(Debug, clap::Args)]
pub(super) struct DrainArgs {
    /// The queue
    queue: QueueName,
    /// How long to wait; default: as long as it takes
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    wait: Option<Duration>,
    /// What happens to what still runs after --wait
    #[arg(long, value_enum, requires = "wait")]
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
    let queue = global.queue(args.queue).await?;
    switch(&queue, To::Paused, &by(&args.reason)).await?;
    done(global, &queue, "paused", "paused: nothing is taken until backstop resume")
}

pub(super) async fn resume(args: ResumeArgs, global: &Global) -> Result<u8, CliError> {
    let queue = global.queue(args.queue).await?;
    switch(&queue, To::Resumed, &by("resume")).await?;
    done(global, &queue, "resumed", "resumed")
}

fn done(global: &Global, queue: &Queue, state: &str, told: &str) -> Result<u8, CliError> {
    if global.json {
        out::json(&serde_json::json!({"queue": queue.name().as_str(), "state": state}))?;
    } else {
        out::line(&format!("{}: {told}", queue.name()))?;
    }
    Ok(DONE)
}

pub(super) async fn drain(args: DrainArgs, global: &Global) -> Result<u8, CliError> {
    let queue = global.queue(args.queue).await?;
    let before = status::of(&queue).await?;
    switch(&queue, To::Draining { release: false }, &by("drain")).await?;
    let (mut after, enough) = wait(&queue, args.wait).await?;
    if args.then.is_some() && !enough && after.running > 0 {
        switch(&queue, To::Draining { release: true }, &by("drain, then release")).await?;
        (after, _) = wait(&queue, Some(GIVE_BACK_WITHIN)).await?;
    }
    clear();
    let completed = after.completed - before.completed.min(after.completed);
    let released = after.released - before.released.min(after.released);
    if global.json {
        out::json(&serde_json::json!({
            "queue": after.queue, "completed": completed, "released": released, "running": after.running,
        }))?;
    } else {
        out::line(&format!(
            "{}: {completed} completed, {released} given back, {} still running; nothing new is taken until backstop resume",
            after.queue, after.running
        ))?;
    }
    Ok(if after.running == 0 { DONE } else { HELD })
}

/// Waits until nothing runs, for this long at most; how the queue is then, and whether a person had seen enough before.
async fn wait(queue: &Queue, most: Option<Duration>) -> Result<(QueueStatus, bool), CliError> {
    tokio::select! {
        now = until_idle(queue, most.unwrap_or(Duration::MAX), watch) => Ok((now?, false)),
        // The account that follows says what still runs.
        _ = tokio::signal::ctrl_c() => Ok((until_idle(queue, Duration::ZERO, watch).await?, true)),
    }
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
            // No guard of these can be seen: that isn't the same as none being open.
            let code = tell_unreadable(&status);
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
            Ok(code)
        }
        GuardCommand::Override { name, long, reason, queue } => {
            let mut answered = Vec::new();
            for queue in global.queues(&store, queue.as_slice()).await? {
                let queue = Queue::new(store.clone(), queue);
                switch(&queue, To::Override(name, long), &by(&reason)).await?;
                answered.push(queue.name().to_string());
            }
            let long_ms = i64::try_from(long.as_millis()).unwrap_or(i64::MAX);
            if global.json {
                out::json(
                    &serde_json::json!({"guard": name.as_str(), "for_ms": long_ms, "queues": answered}),
                )?;
                return Ok(DONE);
            }
            for queue in answered {
                let long = humantime::format_duration(long);
                out::line(&format!("{queue}: {} holds nothing for {long}", name.as_str()))?;
            }
            Ok(DONE)
        }
    }
}
