//! `sweep`: one pass by hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{CliError, DONE, FAILED, Global, HELD, out};
use crate::core::id::QueueName;
use crate::core::observer::NoObserver;
use crate::core::policy::{Mode, QueuePolicy};
use crate::core::words::{Action, Cause};
use crate::daemon::sweep_settings;
use crate::native::Queue;
use crate::native::scripts::publish::published_as;
use crate::store::{Options, Store};
use crate::sweep::report::{PassReport, QueueReport};
use crate::sweep::{SweepSettings, Sweeper};

/// A pass by hand trusts its own eyes only if a sweeper looked this recently: it can't tell a dead agent from a Redis
/// that was away a moment ago.
const RECENT_MS: i64 = 60_000;

/// Sweep once, and print what was found, done and left alone, and why
///
/// Moves tasks only where a daemon has swept within the last minute, or with --force. Exit code 3: something was held.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Move nothing: show what would be done
    #[arg(long, conflicts_with = "force")]
    dry_run: bool,
    /// Move tasks even if no daemon has swept lately
    #[arg(long)]
    force: bool,
    /// Only these queues
    #[arg(value_name = "QUEUE")]
    queues: Vec<QueueName>,
}

pub(super) async fn run(args: Args, global: &Global) -> Result<u8, CliError> {
    let settings = global.origin(None).load()?;
    let store = Store::connect(settings.redis_url.expose(), &Options::default())?;
    crate::store::engine::inspect(&store).await.map_err(CliError::failed)?;
    let names = global.queues(&store, &args.queues).await?;
    let mut queues = Vec::with_capacity(names.len());
    let mut unwatched = BTreeMap::new();
    for name in names {
        let mut policy: QueuePolicy = settings.policy_of(&name).clone();
        if args.dry_run {
            policy.mode = Mode::Observe;
        } else if !args.force
            && policy.mode == Mode::Enforce
            && let Some(why) = not_by_hand(&store, &name, &policy).await?
        {
            policy.mode = Mode::Observe;
            unwatched.insert(name.clone(), why);
        }
        queues.push((name, policy));
    }
    // The lease is for saving work; a person who asks for a pass gets one.
    let sweeping = SweepSettings {
        lease: None,
        publishes: false,
        ..sweep_settings(&settings, std::time::Duration::from_secs(3600), "by hand")
    };
    let mut sweeper = Sweeper::new(store, sweeping, Arc::new(NoObserver));
    let pass = sweeper.run_once(&queues, &CancellationToken::new()).await;
    if let Some(error) = pass.failed {
        return Err(error.into());
    }
    if global.json {
        print_json(&pass, &unwatched)?
    } else {
        print(&pass, &unwatched)?
    }
    let failed = pass.queues.iter().any(|(_, one)| one.is_err());
    let held = pass.queues.iter().any(|(_, one)| one.as_ref().is_ok_and(|one| one.summary.held() > 0));
    let left = !unwatched.is_empty()
        && pass.queues.iter().any(|(_, one)| one.as_ref().is_ok_and(|one| !one.summary.observed.is_empty()));
    Ok(match () {
        () if failed => FAILED,
        () if held || left => HELD,
        () => DONE,
    })
}

/// Why a pass by hand must not move anything; `None`: it may.
async fn not_by_hand(
    store: &Store,
    name: &QueueName,
    policy: &QueuePolicy,
) -> Result<Option<&'static str>, CliError> {
    let queue = Queue::new(store.clone(), name.clone());
    let control = store.hash(&queue.keys().named("control")).await?;
    let last = control.get("last_pass").and_then(|at| at.parse::<i64>().ok());
    let by_hand = control.get("last_by").is_some_and(|by| by == "by hand");
    let now = store.server_time().await?;
    if by_hand || last.is_none_or(|at| now - at >= RECENT_MS) {
        return Ok(Some(
            "no daemon swept within the last minute, and a single look can't tell dead agents from a Redis that was away; run \
             the daemon",
        ));
    }
    let told = store.hash(&queue.keys().named("policy")).await?;
    Ok((told != published_as(policy)).then_some(
        "the daemon goes by another policy than this configuration says; give its file with --config",
    ))
}

fn print(pass: &PassReport, unwatched: &BTreeMap<QueueName, &str>) -> Result<(), CliError> {
    if pass.queues.is_empty() {
        out::line("no queue is known: nothing to sweep")?;
    }
    for (name, one) in &pass.queues {
        match one {
            Err(error) => out::line(&format!("{name}: {error}"))?,
            Ok(one) => {
                for text in account(one) {
                    out::line(&format!("{name}: {text}"))?;
                }
                if let Some(why) = unwatched.get(name).filter(|_| !one.summary.observed.is_empty()) {
                    out::line(&format!("{name}: nothing was moved: {why}; or say --force"))?;
                }
            }
        }
    }
    Ok(())
}

fn account(one: &QueueReport) -> Vec<String> {
    let summary = &one.summary;
    let mut lines = vec![format!(
        "looked at {} sessions that are silent or overdue and {} of their tasks",
        summary.sessions, summary.tasks
    )];
    let counts = |all: &BTreeMap<(Cause, Action), u64>, verb: &str| -> Vec<String> {
        all.iter()
            .map(|((cause, action), n)| format!("{verb}{n} {} ({})", past(*action), cause.as_str()))
            .collect()
    };
    lines.extend(counts(&summary.done, ""));
    lines.extend(counts(&summary.observed, "would have: "));
    for open in &one.guards {
        lines.push(format!("guard {} is open: {}", open.guard.as_str(), open.reason));
    }
    let mut say = |n: u64, what: &str| {
        if n > 0 {
            lines.push(format!("{n} {what}"));
        }
    };
    say(summary.held(), "held by guards");
    say(summary.expired, "waiting tasks expired");
    say(summary.elsewhere, "left until the daemon's hooks tell how their work elsewhere stands");
    say(summary.reconnecting, "left for their agent to come back");
    say(summary.declared, "agents declared lost");
    say(summary.forgotten, "empty sessions forgotten");
    say(summary.mended, "entries mended");
    say(
        summary.skipped.values().sum(),
        "left alone: not so any more when looked at again, or without a record",
    );
    if summary.truncated {
        lines.push("there is more than one pass may do: sweep again".to_owned());
    }
    lines
}

fn past(action: Action) -> &'static str {
    match action {
        Action::Reset => "reset",
        Action::DeadLetter => "dead-lettered",
        Action::Expire => "expired",
        Action::Discard => "discarded",
        Action::Revoke => "told to stop",
        Action::Alert => "past their limit, left running",
        Action::Collect => "completed: their work elsewhere succeeded",
        Action::Fail => "failed, as their work elsewhere did",
    }
}

fn print_json(pass: &PassReport, unwatched: &BTreeMap<QueueName, &str>) -> Result<(), CliError> {
    let counts = |all: &BTreeMap<(Cause, Action), u64>| -> Vec<serde_json::Value> {
        let one = |((cause, action), n): (&(Cause, Action), &u64)| json!({"cause": cause.as_str(), "action": action.as_str(), "tasks": n});
        all.iter().map(one).collect()
    };
    let queues: Vec<_> = pass
        .queues
        .iter()
        .map(|(name, one)| match one {
            Err(error) => json!({"queue": name.as_str(), "error": error.to_string()}),
            Ok(one) => json!({
                "queue": name.as_str(),
                "enforced": one.mode == Mode::Enforce,
                "needs_force": unwatched.contains_key(name),
                "sessions": one.summary.sessions,
                "tasks": one.summary.tasks,
                "done": counts(&one.summary.done),
                "would_have": counts(&one.summary.observed),
                "held": one.summary.held(),
                "guards": one.guards.iter().map(|open| json!({"guard": open.guard.as_str(), "reason": open.reason})).collect::<Vec<_>>(),
                "expired": one.summary.expired,
                "elsewhere": one.summary.elsewhere,
                "declared_lost": one.summary.declared,
                "forgotten": one.summary.forgotten,
                "mended": one.summary.mended,
                "skipped": one.summary.skipped.values().sum::<u64>(),
                "truncated": one.summary.truncated,
            }),
        })
        .collect();
    out::json(&json!({ "queues": queues }))
}
