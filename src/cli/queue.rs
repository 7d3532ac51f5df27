//! `pause`, `resume`, `drain`, `guard`: what a person asks of a whole queue.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::{Subcommand, ValueEnum};

use super::status::tell_unreadable;
use super::which::by;
use super::{CliError, DONE, Global, HELD, duration, out};
use crate::core::id::{Identity, QueueName};
use crate::core::words::Guard;
use crate::native::Queue;
use crate::ops::drain::{Account, QueueBefore};
use crate::ops::status::{self, QueueStatus};
use crate::ops::switch::{To, switch, until_idle};

/// Agents hear with their next beat that they are to give back what they run, and give their programs a moment to stop.
pub(super) const GIVE_BACK_WITHIN: Duration = Duration::from_secs(60);

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

/// What happens to what still runs once a drain was waited for.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Then {
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
    let before = QueueBefore::look(&queue).await?;
    switch(&queue, To::Draining { release: false }, &by("drain")).await?;
    let (mut after, enough) = wait(&queue, args.wait).await?;
    if args.then.is_some() && !enough && after.running > 0 {
        switch(&queue, To::Draining { release: true }, &by("drain, then release")).await?;
        (after, _) = wait(&queue, Some(GIVE_BACK_WITHIN)).await?;
    }
    clear();
    let account = before.account(&queue, after.running).await?;
    tell_account(&queue, None, &account, &format!("backstop resume {}", queue.name()), global)?;
    Ok(if account.running == 0 { DONE } else { HELD })
}

/// An account as JSON.
#[derive(serde::Serialize)]
struct Told<'a> {
    queue: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<&'a str>,
    #[serde(flatten)]
    account: &'a Account,
}

/// Says what became of what ran when a drain began, and how it ends.
pub(super) fn tell_account(
    queue: &Queue,
    agent: Option<&Identity>,
    account: &Account,
    resume: &str,
    global: &Global,
) -> Result<(), CliError> {
    if global.json {
        return out::json(&Told {
            queue: queue.name().as_str(),
            agent: agent.map(Identity::as_str),
            account,
        });
    }
    let whose = agent.map(|name| format!(", {name}")).unwrap_or_default();
    let mut parts =
        vec![format!("{} completed", account.completed), format!("{} given back", account.released)];
    let mut say = |n: u64, what: &str| parts.extend((n > 0).then(|| format!("{n} {what}")));
    say(account.failed, "failed");
    say(account.otherwise, "reset, expired or discarded");
    parts.push(format!("{} still running", account.running));
    parts.extend((account.elsewhere > 0).then(|| format!("{} go on elsewhere", account.elsewhere)));
    out::line(&format!("{}{whose}: {}; nothing new is taken until {resume}", queue.name(), parts.join(", ")))
}

/// Waits until nothing runs, for this long at most; how the queue is then, and whether a person had seen enough before.
async fn wait(queue: &Queue, most: Option<Duration>) -> Result<(QueueStatus, bool), CliError> {
    let told = |now: &QueueStatus| watch(now.running);
    tokio::select! {
        now = until_idle(queue, most.unwrap_or(Duration::MAX), told) => Ok((now?, false)),
        // The account that follows says what still runs.
        _ = tokio::signal::ctrl_c() => Ok((until_idle(queue, Duration::ZERO, told).await?, true)),
    }
}

pub(super) fn watch(running: u64) {
    if std::io::stderr().is_terminal() {
        // A line that is written over; nothing depends on it.
        let _ = write!(std::io::stderr(), "\r{running} still running   ");
    }
}

pub(super) fn clear() {
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
