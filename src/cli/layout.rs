//! `layout`: how other systems lay out their tasks, and what one would find in a live Redis.

use std::io::Write;

use clap::Subcommand;

use super::{CliError, DONE, FAILED, Global, out};
use crate::config::{Foreign, PRESETS, foreign_of_preset, preset};
use crate::core::id::QueueName;
use crate::layout::{Checked, System};
use crate::native::Queue;
use crate::store::{Options, Store};

/// Agents that are listed one by one.
const MOST_SHOWN: usize = 20;

/// See how other systems lay out their tasks, and check what is found of one
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: LayoutCommand,
}

#[derive(Debug, Subcommand)]
enum LayoutCommand {
    /// List the presets
    List,
    /// Print a preset, in the language of a layout of one's own
    Show {
        /// The preset
        name: String,
    },
    /// Look at a live Redis once: what is found, what a pass would do, what looks wrong. Writes nothing
    Check {
        /// A [foreign.NAME] of the configuration, or a preset; default: all of the configuration, or else every preset
        name: Option<String>,
        /// A variable of the preset, such as namespace=mail
        #[arg(long = "var", value_name = "NAME=VALUE", value_parser = variable, requires = "name")]
        vars: Vec<(String, String)>,
    },
}

fn variable(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    pair.map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "expected NAME=VALUE, such as namespace=mail".to_owned())
}

pub(super) async fn run(args: Args, global: &Global) -> Result<u8, CliError> {
    match args.command {
        LayoutCommand::List => list(global),
        LayoutCommand::Show { name } => show(&name),
        LayoutCommand::Check { name, vars } => check(name.as_deref(), &vars, global).await,
    }
}

/// The first line of a preset's file says what it is for.
fn about(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim_start_matches("# ")
}

fn list(global: &Global) -> Result<u8, CliError> {
    if global.json {
        let all: Vec<_> = PRESETS
            .iter()
            .map(|(name, text)| serde_json::json!({"name": name, "about": about(text)}))
            .collect();
        out::json(&serde_json::json!({ "presets": all }))?;
    } else {
        out::table(
            &["preset", "for"],
            PRESETS.iter().map(|(name, text)| vec![(*name).to_owned(), about(text).to_owned()]),
        )?;
    }
    Ok(DONE)
}

fn show(name: &str) -> Result<u8, CliError> {
    let text = preset(name).ok_or_else(|| CliError::Usage(unknown(name)))?;
    std::io::stdout().write_all(text.as_bytes()).map_err(CliError::output)?;
    Ok(DONE)
}

fn unknown(name: &str) -> String {
    let known: Vec<_> = PRESETS.iter().map(|(name, _)| *name).collect();
    format!("there is neither a [foreign.{name}] nor a preset {name:?}; presets: {}", known.join(", "))
}

async fn check(name: Option<&str>, vars: &[(String, String)], global: &Global) -> Result<u8, CliError> {
    let settings = global.origin(None).load()?;
    let mut wanted: Vec<(String, Foreign)> = Vec::new();
    let configured = settings.foreign.iter().map(|(name, foreign)| (name.to_string(), foreign.clone()));
    match name {
        None => wanted.extend(configured),
        Some(name) => match settings.foreign.iter().find(|(known, _)| known.as_str() == name) {
            Some((_, foreign)) if vars.is_empty() => wanted.push((name.to_owned(), foreign.clone())),
            Some(_) => {
                return Err(CliError::Usage(format!(
                    "[foreign.{name}] has its variables in the configuration"
                )));
            }
            None if preset(name).is_some() => wanted.push((name.to_owned(), foreign_of_preset(name, vars)?)),
            None => return Err(CliError::Usage(unknown(name))),
        },
    }
    // Nothing was named and nothing is configured: which of them live here?
    let guessing = wanted.is_empty();
    if guessing {
        for (name, _) in PRESETS {
            wanted.push(((*name).to_owned(), foreign_of_preset(name, &[])?));
        }
    }
    let store = Store::connect(settings.redis_url.expose(), &Options::default())?;
    let mut all = Vec::new();
    for (name, foreign) in wanted {
        let queue = QueueName::new(name).map_err(CliError::failed)?;
        let found = System::new(Queue::new(store.clone(), queue), foreign).check().await?;
        if !guessing || !found.agents.is_empty() || found.life == "task" && found.running + found.pending > 0
        {
            all.push(found);
        }
    }
    let sound = all.iter().all(|found| found.warnings.is_empty());
    if global.json {
        out::json(&serde_json::json!({ "systems": all }))?;
    } else if all.is_empty() {
        out::line("none of the presets finds an agent here")?;
    } else {
        all.iter().try_for_each(tell)?;
    }
    Ok(if sound && !all.is_empty() { DONE } else { FAILED })
}

fn tell(found: &Checked) -> Result<(), CliError> {
    let who = if found.life == "task" {
        format!("{} running tasks, {} of them silent", found.running, found.silent)
    } else {
        let silent = found.agents.iter().filter(|agent| agent.silent).count();
        format!("{} agents, {silent} of them silent", found.agents.len())
    };
    out::line(&format!(
        "{} ({}): {who}; {} tasks wait, {} run, {} were set aside",
        found.name, found.layout, found.pending, found.running, found.dead
    ))?;
    if !found.queues.is_empty() {
        out::line(&format!("queues: {}", out::clean(&found.queues.join(", "))))?;
    }
    let mut shown: Vec<_> = found.agents.iter().collect();
    shown.sort_by_key(|agent| (!agent.silent, std::cmp::Reverse(agent.held)));
    let row = |agent: &&crate::layout::Seen| {
        let age = agent.age_ms.map_or_else(|| "-".to_owned(), |ms| out::duration(ms.max(0)));
        vec![
            agent.agent.clone(),
            if agent.silent { "silent" } else { "alive" }.to_owned(),
            age,
            agent.held.to_string(),
        ]
    };
    if !shown.is_empty() {
        out::table(&["agent", "looks", "last sign", "holds"], shown.iter().take(MOST_SHOWN).map(row))?;
    }
    if shown.len() > MOST_SHOWN {
        out::line(&format!("… and {} more", shown.len() - MOST_SHOWN))?;
    }
    let more = if found.truncated { " (and more than was read)" } else { "" };
    out::line(&format!(
        "if the silent ones stay so, a sweep puts back {} tasks and sets {} aside{more}",
        found.would_reset, found.would_dead_letter
    ))?;
    found.warnings.iter().try_for_each(|warning| out::line(&format!("warning: {}", out::clean(warning))))
}
