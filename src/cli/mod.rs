//! The command line: one file a command.

mod agents;
mod config;
mod dead;
mod demo;
mod enqueue;
mod explain;
mod explain_foreign;
mod external;
mod fsck;
mod hands;
mod layout;
pub mod out;
mod queue;
mod run;
mod shell;
mod status;
mod sweep;
mod tasks;
mod which;
mod work;

use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::{ConfigError, Overrides};
use crate::core::id::{QueueName, TaskId};
use crate::daemon::Origin;
use crate::native::scripts::inspect::Inspected;
use crate::native::{Queue, known_queues};
use crate::ops::find;
use crate::store::{Options, Store, StoreError};

/// Exit code: done.
pub const DONE: u8 = 0;
/// Exit code: it failed.
pub const FAILED: u8 = 1;
/// Exit code: the command line or the configuration is wrong.
pub const USAGE: u8 = 2;
/// Exit code: something was held, or left incomplete.
pub const HELD: u8 = 3;

/// The exit code of a command that did this many of so many.
fn share_done(done: u64, of: u64) -> u8 {
    match done {
        _ if done == of => DONE,
        0 => FAILED,
        _ => HELD,
    }
}

/// Brings back the tasks of dead agents.
///
/// Agents take tasks from Redis. When one dies, its tasks stay "running" for ever. Backstop finds them by their agents'
/// missing heartbeats and puts them back, or aside, in one atomic step.
#[derive(Debug, Parser)]
#[command(name = "backstop", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Debug, Clone, clap::Args)]
pub struct Global {
    /// Where Redis is: redis://, rediss:// (TLS) or redis+unix://
    #[arg(long, global = true, value_name = "URL", env = "BACKSTOP_REDIS_URL", hide_env_values = true)]
    redis: Option<String>,
    /// The configuration file; without one, all is as `backstop config print` shows
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answer in JSON, and print nothing else on standard output
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::DemoArgs),
    Dev(demo::DevArgs),
    Run(run::Args),
    Sweep(sweep::Args),
    Enqueue(enqueue::Args),
    Work(work::Args),
    Status(status::Args),
    Tasks(tasks::TasksArgs),
    Agents(agents::AgentsArgs),
    Explain(explain::Args),
    Dead(dead::Args),
    Reset(hands::ResetArgs),
    Cancel(hands::CancelArgs),
    Extend(hands::ExtendArgs),
    External(external::Args),
    Pause(queue::PauseArgs),
    Resume(queue::ResumeArgs),
    Drain(queue::DrainArgs),
    Guard(queue::GuardArgs),
    Config(config::Args),
    Layout(layout::Args),
    Fsck(fsck::Args),
    Completions(shell::CompletionsArgs),
    Man(shell::ManArgs),
    #[command(name = "__demo-task", hide = true)]
    DemoTask(demo::TaskArgs),
}

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Redis refuses, or is away.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody reads the output any more.
    #[error("nobody reads the output any more")]
    Closed,
    /// Something else.
    #[error(transparent)]
    Failed(Box<dyn Error + Send + Sync>),
}

impl CliError {
    fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(error.into())
    }

    fn output(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Closed } else { Self::failed(error) }
    }

    fn code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Config(_) => USAGE,
            Self::Closed => DONE,
            Self::Store(_) | Self::Failed(_) => FAILED,
        }
    }
}

impl Global {
    fn overrides(&self, listen: Option<String>) -> Overrides {
        Overrides { redis_url: self.redis.clone(), listen }
    }

    /// Where settings come from.
    fn origin(&self, listen: Option<String>) -> Origin {
        Origin { path: self.config.clone(), overrides: self.overrides(listen) }
    }

    /// A connection to Redis; nothing is sent yet.
    fn store(&self) -> Result<Store, CliError> {
        let settings = self.origin(None).load()?;
        Ok(Store::connect(settings.redis_url.expose(), &Options::default())?)
    }

    /// The task of this name, in its queue; looked for in all of them where none is named.
    async fn find(&self, queue: Option<QueueName>, id: &TaskId) -> Result<(Queue, Box<Inspected>), CliError> {
        let store = self.store()?;
        let queues = self.queues(&store, queue.as_slice()).await?;
        find::find(&store, &queues, id).await.map_err(CliError::failed)
    }

    /// The queue of this name; a note, if nobody has used it so far: it may be misspelt.
    async fn queue(&self, name: QueueName) -> Result<Queue, CliError> {
        let store = self.store()?;
        let known = self.queues(&store, &[]).await?;
        if !known.contains(&name) {
            let mut others: Vec<&str> = known.iter().map(QueueName::as_str).take(10).collect();
            others.extend((known.len() > 10).then_some("…"));
            let others = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
            out::note(&format!("backstop: nobody has used a queue {name} so far; known are: {others}"));
        }
        Ok(Queue::new(store, name))
    }

    /// The queues that are meant: those named, or all that are known.
    async fn queues(&self, store: &Store, named: &[QueueName]) -> Result<Vec<QueueName>, CliError> {
        if !named.is_empty() {
            return Ok(named.to_vec());
        }
        let mut queues = known_queues(store).await?;
        let settings = self.origin(None).load()?;
        queues.extend(settings.sweep.queues);
        queues.extend(settings.foreign.into_keys());
        queues.sort();
        queues.dedup();
        Ok(queues)
    }
}

/// Runs the program with these arguments; its exit code.
#[must_use]
pub fn main(args: Vec<OsString>) -> u8 {
    let harmless = args.iter().map(|arg| arg.to_string_lossy()).all(|arg| out::clean(&arg) == arg);
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { USAGE } else { DONE };
            if harmless {
                // Help that nobody reads is no failure.
                let _ = error.print();
            } else {
                // It quotes what was typed, or what a script passed on: without colours, and each line made safe.
                let text = error.render().to_string();
                out::note(&text.lines().map(out::clean).collect::<Vec<_>>().join("\n"));
            }
            return code;
        }
    };
    // One thread: what starts processes must be the main thread, or they would die with a worker of a pool.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tell(&CliError::failed(error)),
    };
    match runtime.block_on(dispatch(cli)) {
        Ok(code) => code,
        Err(error) => tell(&error),
    }
}

async fn dispatch(cli: Cli) -> Result<u8, CliError> {
    let Cli { global, command } = cli;
    match command {
        Command::Demo(args) => demo::demo(args, &global).await,
        Command::Dev(args) => demo::dev(args).await,
        Command::DemoTask(args) => demo::task(&args),
        Command::Run(args) => run::run(args, &global).await,
        Command::Sweep(args) => sweep::run(args, &global).await,
        Command::Enqueue(args) => enqueue::run(args, &global).await,
        Command::Work(args) => work::run(args, &global).await,
        Command::Status(args) => status::run(args, &global).await,
        Command::Tasks(args) => tasks::tasks(args, &global).await,
        Command::Agents(args) => agents::run(args, &global).await,
        Command::Explain(args) => explain::run(args, &global).await,
        Command::Dead(args) => dead::run(args, &global).await,
        Command::Reset(args) => hands::reset(args, &global).await,
        Command::Cancel(args) => hands::cancel(args, &global).await,
        Command::External(args) => external::run(args, &global).await,
        Command::Extend(args) => hands::extend(args, &global).await,
        Command::Pause(args) => queue::pause(args, &global).await,
        Command::Resume(args) => queue::resume(args, &global).await,
        Command::Drain(args) => queue::drain(args, &global).await,
        Command::Guard(args) => queue::guards(args, &global).await,
        Command::Config(args) => config::run(args, &global).await,
        Command::Layout(args) => layout::run(args, &global).await,
        Command::Fsck(args) => fsck::run(args, &global).await,
        Command::Completions(args) => shell::completions(&args),
        Command::Man(args) => shell::man(&args),
    }
}

/// Says once what went wrong, with its causes.
fn tell(error: &CliError) -> u8 {
    if !matches!(error, CliError::Closed) {
        let mut text = format!("backstop: {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.ends_with(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        // A configuration's mistakes stand on lines of their own, made safe where they are found.
        out::note(&if matches!(error, CliError::Config(_)) { text } else { out::clean(&text) });
    }
    error.code()
}

/// The command tree, for completions, the manual page and the tests of the help.
#[must_use]
pub fn tree() -> clap::Command {
    Cli::command()
}

/// A duration as people type it.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    let most = std::time::Duration::from_secs(10 * 366 * 86_400);
    match humantime::parse_duration(text) {
        Ok(long) if long <= most => Ok(long),
        Ok(_) | Err(_) => Err("expected a duration such as 90s, 5m or 2h 30m, at most 10years".to_owned()),
    }
}

/// A duration that isn't over before it began.
fn some_time(text: &str) -> Result<std::time::Duration, String> {
    let long = duration(text)?;
    if long.is_zero() {
        Err("expected some time, and this is none: it would be over at once".to_owned())
    } else {
        Ok(long)
    }
}

/// This program's own binary.
fn own_binary() -> Result<PathBuf, CliError> {
    std::env::current_exe().map_err(CliError::failed)
}
