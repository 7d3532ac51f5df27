//! `enqueue`: add tasks.

use std::io::{BufRead, IsTerminal, Read};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;

use super::{CliError, DONE, Global, duration, out, some_time};
use crate::agent::{Client, Enqueued, MAX_PAYLOAD, NewTask, fresh_id};
use crate::core::id::{QueueName, TaskId, TaskType};

/// Lines that are read before they are sent: enough for several calls, little enough to hold.
const READ_AHEAD: usize = 500;

/// Add tasks to a queue
///
/// Prints the id of each task, or, of many, how many were added. Adding an id that is in the system, or was done a moment
/// ago, changes nothing.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The queue
    #[arg(long, value_name = "QUEUE")]
    queue: QueueName,
    /// The type of the tasks
    #[arg(long = "type", value_name = "TYPE", default_value = "default")]
    task_type: TaskType,
    /// The id of the task; default: a random one
    #[arg(long, value_name = "ID")]
    id: Option<TaskId>,
    /// How long it waits before anyone may take it
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "0s")]
    delay: Duration,
    /// When nobody wants its result any more, from now
    #[arg(long, value_name = "DURATION", value_parser = some_time)]
    deadline: Option<Duration>,
    /// Each line of standard input is an object with payload, and id, type, delay, deadline where they differ
    #[arg(long, conflicts_with = "id")]
    jsonl: bool,
    /// The payload; `-`: each line of standard input is one; `@FILE`: a file is one
    #[arg(value_name = "PAYLOAD | - | @FILE", required_unless_present = "jsonl")]
    payload: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    payload: String,
    id: Option<String>,
    #[serde(rename = "type")]
    task_type: Option<String>,
    delay: Option<String>,
    deadline: Option<String>,
}

/// Why reading stopped before the end of the input.
enum Stop {
    /// This is no task.
    Line(String),
    /// Nothing more could be read.
    Input(std::io::Error),
}

impl Stop {
    /// The error, with how far it came: who goes on from there loses nothing.
    fn after(self, lines: u64) -> CliError {
        let added = format!("the {lines} lines before it were added, go on from this one");
        match self {
            Self::Line(what) => CliError::Usage(format!("{what}; {added}")),
            Self::Input(error) => {
                CliError::failed(format!("could not read line {} of the input: {error}; {added}", lines + 1))
            }
        }
    }
}

pub(super) async fn run(args: Args, global: &Global) -> Result<u8, CliError> {
    let mut client = Client::new(global.store()?, args.queue.clone());
    let from_input = args.jsonl || args.payload.as_deref() == Some("-");
    if from_input {
        if args.id.is_some() {
            return Err(CliError::Usage(
                "--id names one task, and standard input may hold many: use --jsonl".to_owned(),
            ));
        }
        return many(&args, global, &mut client).await;
    }
    let payload = match args.payload.as_deref().unwrap_or_default().strip_prefix('@') {
        Some(path) => read_file(path)?,
        None => args.payload.clone().unwrap_or_default().into_bytes(),
    };
    let id = args.id.clone().map_or_else(fresh_id, Ok).map_err(CliError::failed)?;
    let task = NewTask {
        id,
        task_type: args.task_type.clone(),
        delay: args.delay,
        deadline: args.deadline,
        payload,
    };
    let id = task.id.clone();
    let answer = client.enqueue_all(vec![task]).await.map_err(CliError::failed)?;
    let exists = answer.first() == Some(&Enqueued::Exists);
    if global.json {
        out::json(&serde_json::json!({"id": id.as_str(), "exists": exists}))?;
    } else {
        if exists {
            out::note(&format!(
                "backstop: task {id} is in the queue already, or was done a moment ago: nothing was added"
            ));
        }
        out::line(id.as_str())?;
    }
    Ok(DONE)
}

fn read_file(path: &str) -> Result<Vec<u8>, CliError> {
    let failed = |error: std::io::Error| CliError::failed(format!("could not read {path:?}: {error}"));
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    // One byte more than fits is enough to know that it doesn't.
    file.take(MAX_PAYLOAD as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_PAYLOAD {
        return Err(CliError::failed(format!(
            "{path:?} has more than 1 MiB: enqueue its name instead of its content"
        )));
    }
    Ok(bytes)
}

async fn many(args: &Args, global: &Global, client: &mut Client) -> Result<u8, CliError> {
    let progress = progress();
    let mut counts = (0_u64, 0_u64);
    let mut input = std::io::stdin().lock();
    let mut number = 0;
    let mut batch = Vec::new();
    loop {
        number += 1;
        let next = read_line(&mut input, number)
            .and_then(|line| line.map(|line| task_of(args, line, number).map_err(Stop::Line)).transpose());
        let ended = !matches!(next, Ok(Some(_)));
        let stop = match next {
            Ok(task) => {
                batch.extend(task);
                None
            }
            Err(stop) => Some(stop),
        };
        if ended || batch.len() >= READ_AHEAD {
            // Also where a line is refused: what came before it is added.
            send(client, &mut batch, &mut counts, &progress).await?;
        }
        if let Some(stop) = stop {
            progress.finish_and_clear();
            return Err(stop.after(counts.0 + counts.1));
        }
        if ended {
            break;
        }
    }
    progress.finish_and_clear();
    let (added, existed) = counts;
    if global.json {
        out::json(&serde_json::json!({"enqueued": added, "existed": existed}))?;
    } else if existed > 0 {
        out::line(&format!("{added} tasks added, {existed} were there already"))?;
    } else {
        out::line(&format!("{added} tasks added"))?;
    }
    Ok(DONE)
}

async fn send(
    client: &mut Client,
    batch: &mut Vec<NewTask>,
    counts: &mut (u64, u64),
    progress: &ProgressBar,
) -> Result<(), CliError> {
    let tasks = std::mem::take(batch);
    let n = tasks.len() as u64;
    let answers = client.enqueue_all(tasks).await.map_err(|error| {
        CliError::failed(format!(
            "{error}; about {} tasks had been added, adding them again is harmless if they have ids",
            counts.0
        ))
    })?;
    let added = answers.iter().filter(|answer| **answer == Enqueued::Enqueued).count() as u64;
    counts.0 += added;
    counts.1 += n - added;
    progress.inc(n);
    Ok(())
}

/// A line without its end; `None` at the end of input. Reads no more than a payload may have.
fn read_line(input: &mut impl BufRead, number: u64) -> Result<Option<Vec<u8>>, Stop> {
    let mut line = Vec::new();
    // JSON may write a byte as six characters.
    let most = MAX_PAYLOAD as u64 * 6 + 4096;
    let read = input.take(most).read_until(b'\n', &mut line).map_err(Stop::Input)?;
    if read as u64 == most {
        return Err(Stop::Line(format!("line {number} is longer than any payload may be (1 MiB)")));
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    Ok((read > 0).then_some(line))
}

fn task_of(args: &Args, line: Vec<u8>, number: u64) -> Result<NewTask, String> {
    let wrong = |what: &dyn std::fmt::Display| format!("line {number}: {what}");
    let mut task = NewTask {
        id: fresh_id().map_err(|error| wrong(&error))?,
        task_type: args.task_type.clone(),
        delay: args.delay,
        deadline: args.deadline,
        payload: Vec::new(),
    };
    if args.jsonl {
        let fields: Line = serde_json::from_slice(&line).map_err(|error| wrong(&error))?;
        if let Some(id) = fields.id {
            task.id = TaskId::new(id).map_err(|error| wrong(&error))?;
        }
        if let Some(kind) = fields.task_type {
            task.task_type = TaskType::new(kind).map_err(|error| wrong(&error))?;
        }
        if let Some(text) = fields.delay {
            task.delay = duration(&text).map_err(|error| wrong(&format!("delay {text:?}: {error}")))?;
        }
        if let Some(text) = fields.deadline {
            let long = some_time(&text).map_err(|error| wrong(&format!("deadline {text:?}: {error}")))?;
            task.deadline = Some(long);
        }
        task.payload = fields.payload.into_bytes();
    } else {
        task.payload = line;
    }
    if task.payload.len() > MAX_PAYLOAD {
        return Err(wrong(&"its payload has more than 1 MiB: store it elsewhere and enqueue its address"));
    }
    Ok(task)
}

fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {pos} tasks, {per_sec}");
    ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}
