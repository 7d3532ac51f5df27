//! `agents`: who works on a queue, and what a person asks of one of them.

use std::time::{Duration, Instant};

use clap::Subcommand;

use super::queue::{GIVE_BACK_WITHIN, Then, clear, tell_account, watch};
use super::tasks::{Page, more};
use super::which::by;
use super::{CliError, DONE, Global, HELD, duration, out};
use crate::core::id::{Identity, QueueName};
use crate::native::Queue;
use crate::native::scripts::beat::Drain;
use crate::ops::agents;
use crate::ops::drain::{AgentWatch, steer};

/// Look at the agents of a queue, or drain one of them
#[derive(Debug, clap::Args)]
pub(super) struct AgentsArgs {
    #[command(subcommand)]
    command: AgentsCommand,
}

#[derive(Debug, Subcommand)]
enum AgentsCommand {
    /// List them, the longest silent first
    List {
        /// The queue
        queue: QueueName,
        #[command(flatten)]
        page: Page,
    },
    Drain(DrainArgs),
    /// Let a drained agent take tasks again
    Resume {
        /// Its name
        name: Identity,
        /// Its queue
        #[arg(long, value_name = "QUEUE")]
        queue: QueueName,
    },
}

/// Let one agent take nothing new, and wait until it runs nothing
///
/// Lasts until `backstop agents resume`, for whoever acts under the name later, too; ending the wait with Ctrl-C doesn't end
/// it. Exit code 3: something still runs.
#[derive(Debug, clap::Args)]
struct DrainArgs {
    /// Its name
    name: Identity,
    /// Its queue
    #[arg(long, value_name = "QUEUE")]
    queue: QueueName,
    /// How long to wait; default: as long as it takes
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    wait: Option<Duration>,
    /// What happens to what still runs after --wait
    #[arg(long, value_enum, requires = "wait")]
    then: Option<Then>,
}

pub(super) async fn run(args: AgentsArgs, global: &Global) -> Result<u8, CliError> {
    match args.command {
        AgentsCommand::List { queue, page } => list(queue, &page, global).await,
        AgentsCommand::Drain(args) => drain(args, global).await,
        AgentsCommand::Resume { name, queue } => {
            let queue = global.queue(queue).await?;
            if !steer(&queue, &name, None, &by("agents resume")).await? {
                return Err(unknown(&queue, &name));
            }
            if global.json {
                out::json(
                    &serde_json::json!({"queue": queue.name().as_str(), "agent": name.as_str(), "state": "resumed"}),
                )?;
            } else {
                out::line(&format!("{}: {name} takes tasks again", queue.name()))?;
            }
            Ok(DONE)
        }
    }
}

fn unknown(queue: &Queue, name: &Identity) -> CliError {
    CliError::failed(format!(
        "queue {} knows no agent {name}: see backstop agents list {}",
        queue.name(),
        queue.name()
    ))
}

async fn list(queue: QueueName, page: &Page, global: &Global) -> Result<u8, CliError> {
    let queue = global.queue(queue).await?;
    let listed = agents::list(&queue, page.after, page.limit as usize).await?;
    if global.json {
        out::json(&serde_json::json!({ "agents": listed }))?;
        return Ok(DONE);
    }
    let row = |agent: &agents::Agent| {
        let draining = agent.draining.as_ref().map(|mode| format!(", draining ({mode})")).unwrap_or_default();
        vec![
            agent.session.clone(),
            format!("{}{draining}", agent.state),
            out::duration(agent.silent_ms),
            agent.running.to_string(),
            agent.held.len().to_string(),
            agent.host.clone(),
            agent.pid.clone(),
        ]
    };
    let head = ["session", "state", "silent for", "running", "holding predecessors", "host", "pid"];
    out::table(&head, listed.iter().map(row))?;
    more(listed.len(), page);
    Ok(DONE)
}

async fn drain(args: DrainArgs, global: &Global) -> Result<u8, CliError> {
    let queue = global.queue(args.queue).await?;
    if !steer(&queue, &args.name, Some(Drain::Wait), &by("agents drain")).await? {
        return Err(unknown(&queue, &args.name));
    }
    // From here on it takes nothing that would not be seen.
    let mut tasks =
        AgentWatch::begin(&queue, &args.name).await?.ok_or_else(|| unknown(&queue, &args.name))?;
    let seen_enough = wait(&queue, &mut tasks, args.wait).await?;
    if args.then.is_some() && !seen_enough && tasks.running(&queue).await? > 0 {
        steer(&queue, &args.name, Some(Drain::Release), &by("agents drain, then release")).await?;
        wait(&queue, &mut tasks, Some(GIVE_BACK_WITHIN)).await?;
    }
    clear();
    let account = tasks.account(&queue).await?;
    let resume = format!("backstop agents resume {} --queue {}", args.name, queue.name());
    tell_account(&queue, Some(&args.name), &account, &resume, global)?;
    Ok(if account.running == 0 { DONE } else { HELD })
}

/// Waits until nothing of that runs under the name, for this long at most; whether a person had seen enough before.
async fn wait(queue: &Queue, tasks: &mut AgentWatch, most: Option<Duration>) -> Result<bool, CliError> {
    let began = Instant::now();
    let idle = async {
        loop {
            let running = tasks.running(queue).await?;
            watch(running as u64);
            if running == 0 || most.is_some_and(|most| began.elapsed() >= most) {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    };
    tokio::select! {
        idle = idle => idle,
        // The account that follows says what still runs.
        _ = tokio::signal::ctrl_c() => Ok(true),
    }
}
