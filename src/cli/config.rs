//! `config`: the configuration, checked and shown.

use std::io::Write;

use clap::Subcommand;

use super::{CliError, DONE, Global, USAGE, out};
use crate::config::{REFERENCE, Settings};
use crate::store::{Options, Store, engine};

/// Check the configuration, or print the reference
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Name every mistake in the file at once, each with its place and what would be right
    Check {
        /// Also ask the Redis whether it will do
        #[arg(long)]
        connect: bool,
    },
    /// Print the annotated reference: every key with its meaning, unit and default
    Print,
}

pub(super) async fn run(args: Args, global: &Global) -> Result<u8, CliError> {
    match args.command {
        ConfigCommand::Print => {
            std::io::stdout().write_all(REFERENCE.as_bytes()).map_err(CliError::output)?;
            Ok(DONE)
        }
        ConfigCommand::Check { connect } => check(connect, global).await,
    }
}

async fn check(connect: bool, global: &Global) -> Result<u8, CliError> {
    let settings = match global.origin(None).load() {
        Ok(settings) => settings,
        Err(error) if global.json => {
            out::json(&serde_json::json!({"ok": false, "problems": error.problems()}))?;
            return Ok(USAGE);
        }
        Err(error) => return Err(error.into()),
    };
    let answered = if connect { Some(ask(&settings).await?) } else { None };
    if global.json {
        let (engine, warnings) = answered.clone().unzip();
        out::json(&serde_json::json!({"ok": true, "problems": [], "engine": engine, "warnings": warnings}))?;
        return Ok(DONE);
    }
    out::line("the configuration is sound")?;
    if let Some((engine, warnings)) = answered {
        out::line(&format!("{} answers: {engine}", settings.redis_url))?;
        warnings.iter().try_for_each(|warning| out::line(&format!("warning: {warning}")))?;
    }
    Ok(DONE)
}

async fn ask(settings: &Settings) -> Result<(String, Vec<String>), CliError> {
    let store = Store::connect(settings.redis_url.expose(), &Options::default())?;
    let engine = engine::inspect(&store).await.map_err(CliError::failed)?;
    Ok((format!("{} {}", engine.name, engine.version), engine.warnings))
}
