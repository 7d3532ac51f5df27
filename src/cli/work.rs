//! `work`: any program as an agent.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::run::{start_log, stop_on_signals};
use super::{CliError, DONE, FAILED, Global, duration, out, own_binary};
use crate::agent::{Agent, AgentError, Builder, ExternalError, Failure, OnReconnect, Task, host_name};
use crate::core::id::{Identity, QueueName};
use crate::demo::keeper;
use crate::store::{Options, Store};
use crate::work::{Answer, Hear, Outcome, Program, as_variable, ask};

/// Be an agent: run a command for each task
///
/// The command gets the payload on standard input and BACKSTOP_TASK_ID, _TYPE, _ATTEMPT, _TOKEN and _QUEUE in its
/// environment. On file descriptor 3 it may say more. A line "checkpoint TEXT" leaves a text for the next attempt, which gets
/// it as BACKSTOP_CHECKPOINT. A line "external HANDLE" records where else the task is being worked on, and is answered there:
/// recorded, late or refused; the next attempt gets the handle as BACKSTOP_EXTERNAL. Exit code 0 completes the task, 75 gives it back, any other fails it with the end of standard error as
/// the reason. Everything that a command leaves running ends with its task.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("name")))]
pub(super) struct Args {
    /// The queue
    #[arg(long, value_name = "QUEUE")]
    queue: QueueName,
    /// The name under which it acts; a younger process of the same name takes over. Without any of these, that
    /// of the environment's BACKSTOP_IDENTITY
    #[arg(long = "as", value_name = "NAME", group = "name")]
    identity: Option<Identity>,
    /// A free name of PREFIX-0 … PREFIX-<N - 1>, first one that left tasks behind
    #[arg(long, value_name = "PREFIX:N", group = "name", value_parser = pool)]
    pool: Option<(Identity, u32)>,
    /// The host's name up to its first dot is the name: for a StatefulSet's pods
    #[arg(long, group = "name")]
    as_host: bool,
    /// Whether it waits until a name of the pool is free, or ends with exit code 1
    #[arg(long, value_name = "CHOICE", value_enum, default_value_t = PoolFull::End, requires = "pool")]
    pool_full: PoolFull,
    /// Commands at once, 1 to 256
    #[arg(long, value_name = "N", default_value_t = 1)]
    concurrency: usize,
    /// End after so many tasks
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// What running commands are given after SIGTERM, before their tasks are given back
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30s")]
    drain_timeout: Duration,
    /// What a command that must stop is given between SIGTERM and SIGKILL; less where others may have its task before
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "5s")]
    kill_after: Duration,
    /// What becomes of tasks that the last process of this name held: they go on here as far as --concurrency allows, wait
    /// again for anybody, become dead letters, or the command of --ask decides for each
    #[arg(long, value_name = "CHOICE", value_enum, default_value_t = Choice::Reset)]
    on_reconnect: Choice,
    /// A shell command that decides: its first word on standard output is resume, reset or fail. It gets BACKSTOP_TASK_ID,
    /// _TYPE, _TOKEN and _SESSION, BACKSTOP_CHECKPOINT and BACKSTOP_EXTERNAL in its environment, and 10 s
    #[arg(long, value_name = "COMMAND", required_if_eq("on_reconnect", "ask"))]
    ask: Option<OsString>,
    /// Append each answer about a completion to this file, for whoever keeps books of their own
    #[arg(long, value_name = "FILE", hide = true)]
    answers: Option<PathBuf>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// What becomes of what the last process of a name held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Choice {
    Resume,
    Reset,
    Fail,
    Ask,
}

/// What is done while each name of a pool is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum PoolFull {
    Wait,
    End,
}

fn pool(text: &str) -> Result<(Identity, u32), String> {
    let wrong = || "expected PREFIX:N with N from 1 to 500, such as worker:10".to_owned();
    let (prefix, size) = text.rsplit_once(':').ok_or_else(wrong)?;
    let size = size.parse().ok().filter(|size| (1..=500).contains(size)).ok_or_else(wrong)?;
    Ok((Identity::new(prefix).map_err(|error| error.to_string())?, size))
}

pub(super) async fn run(args: Args, global: &Global) -> Result<u8, CliError> {
    let settings = global.origin(None).load()?;
    start_log(settings.log)?;
    let store = Store::connect(settings.redis_url.expose(), &Options::default())?;
    let stop = CancellationToken::new();
    stop_on_signals(&stop)?;
    let program = Program::new(own_binary()?, args.command.clone(), args.kill_after);
    let program = Arc::new(program.map_err(CliError::failed)?);
    let agent = builder(&args, store)?.stop(stop).build().map_err(usage)?;
    let answer = agent.run(move |task| run_one(Arc::clone(&program), task)).await;
    let account = match answer {
        Ok(account) => account,
        Err(AgentError::Stopped) => return Ok(DONE),
        Err(error @ (AgentError::Superseded | AgentError::PoolFull)) => {
            out::note(&format!("backstop: {error}"));
            return Ok(FAILED);
        }
        Err(error) => return Err(CliError::failed(error)),
    };
    tracing::info!(
        taken = account.taken,
        adopted = account.adopted,
        completed = account.completed + account.withdrawn,
        refused = account.refused,
        retried = account.retried,
        dead = account.dead,
        released = account.released,
        fenced = account.fenced,
        "the agent has ended"
    );
    if global.json {
        out::json(&json!({
            "taken": account.taken, "adopted": account.adopted,
            "completed": account.completed + account.withdrawn, "refused": account.refused,
            "retried": account.retried, "dead": account.dead, "released": account.released, "fenced": account.fenced,
        }))?;
    }
    Ok(DONE)
}

fn usage(error: AgentError) -> CliError {
    CliError::Usage(error.to_string())
}

/// The one name under which it acts.
fn identity(args: &Args) -> Result<Identity, CliError> {
    let name = |what: &str, name: &str| {
        Identity::new(name).map_err(|error| CliError::Usage(format!("{what}: {error}")))
    };
    if let Some(identity) = &args.identity {
        return Ok(identity.clone());
    }
    if args.as_host {
        return name("the host's name", host_name().split('.').next().unwrap_or_default());
    }
    match std::env::var("BACKSTOP_IDENTITY").ok().filter(|name| !name.is_empty()) {
        Some(known) => name("the environment's BACKSTOP_IDENTITY", &known),
        None => Err(CliError::Usage(
            "say who it is: --as NAME, --as-host, --pool PREFIX:N, or BACKSTOP_IDENTITY in the environment"
                .to_owned(),
        )),
    }
}

fn builder(args: &Args, store: Store) -> Result<Builder, CliError> {
    let mut builder = Agent::builder(store)
        .queue(args.queue.clone())
        .concurrency(args.concurrency)
        .drain_timeout(args.drain_timeout)
        // The command has been killed by then; this is for what lies between.
        .stop_grace(args.kill_after.saturating_add(Duration::from_secs(1)))
        .on_reconnect(match (args.on_reconnect, args.ask.clone()) {
            (Choice::Resume, _) => OnReconnect::Resume,
            (Choice::Fail, _) => OnReconnect::Fail,
            (Choice::Ask, Some(command)) => OnReconnect::ask(move |left| ask(command.clone(), left)),
            (Choice::Reset | Choice::Ask, _) => OnReconnect::Reset,
        });
    if let Some(book) = &args.answers {
        builder = builder.on_answer(keeper(book));
    }
    if let Some(count) = args.count {
        builder = builder.count(count);
    }
    Ok(match &args.pool {
        Some((prefix, size)) => {
            builder.pool(prefix.clone(), *size).wait_for_pool(args.pool_full == PoolFull::Wait)
        }
        None => builder.identity(identity(args)?),
    })
}

async fn run_one(program: Arc<Program>, task: Task) -> Result<(), Failure> {
    let attempt = task.attempt().to_string();
    let mut variables = vec![
        ("BACKSTOP_TASK_ID", task.id()),
        ("BACKSTOP_TASK_TYPE", task.task_type()),
        ("BACKSTOP_TASK_ATTEMPT", attempt.as_str()),
        ("BACKSTOP_TASK_TOKEN", task.token()),
        ("BACKSTOP_TASK_QUEUE", task.queue().as_str()),
    ];
    let checkpoint = task.checkpoint().unwrap_or_default();
    match as_variable(checkpoint) {
        Some(text) => variables.push(("BACKSTOP_CHECKPOINT", text)),
        None if checkpoint.is_empty() => {}
        None => tracing::warn!(
            task = task.id(),
            "its checkpoint is no text, which no variable can hold: the command begins without"
        ),
    }
    let external = task.external().unwrap_or_default();
    match as_variable(external.as_bytes()) {
        Some(text) => variables.push(("BACKSTOP_EXTERNAL", text)),
        None if external.is_empty() => {}
        // It would begin anew what runs elsewhere already.
        None => return Err(Failure::fatal("its handle has a NUL byte, which no variable can hold")),
    }
    let hears = Arc::new(Hears(task.clone()));
    match program.run(&variables, task.payload(), task.stop(), hears).await {
        Outcome::Done => Ok(()),
        Outcome::GaveBack => Err(Failure::GiveBack(None)),
        Outcome::Failed(why) => Err(Failure::Retry(String::from_utf8_lossy(&why).into_owned())),
        Outcome::Stopped => Err(Failure::GiveBack(Some(Duration::ZERO))),
    }
}

/// Passes on what a task's command says.
struct Hears(Task);

impl Hear for Hears {
    fn checkpoint(&self, text: &[u8]) {
        // Its length was looked at.
        let _ = self.0.save_checkpoint(text);
    }

    fn external(&self, handle: String) -> BoxFuture<'static, Answer> {
        let task = self.0.clone();
        Box::pin(async move {
            match task.record_external(&handle).await {
                Ok(()) => Answer::Recorded,
                Err(ExternalError::Fenced) => Answer::Late,
                Err(error) => {
                    tracing::warn!(task = task.id(), %error, "a handle was not recorded");
                    Answer::Refused
                }
            }
        })
    }
}
