//! Asking a command what becomes of a task that the last process of this name held.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::agent::{Choice, Left};

/// How long the command may think.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks the command: the first word on its standard output is the answer. One that answers nothing known, fails, or takes longer
/// than 10 s decided nothing, and the task waits again.
pub async fn ask(shell: OsString, left: Left) -> Choice {
    let mut command = Command::new("/bin/sh");
    command
        .arg("-c")
        .arg(&shell)
        .env("BACKSTOP_TASK_ID", &left.id)
        .env("BACKSTOP_TASK_TYPE", &left.task_type)
        .env("BACKSTOP_TASK_TOKEN", &left.token)
        .env("BACKSTOP_TASK_SESSION", &left.session)
        .env_remove("BACKSTOP_REDIS_URL")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    if let Some(text) = super::as_variable(&left.checkpoint) {
        command.env("BACKSTOP_CHECKPOINT", text);
    }
    let answer = match tokio::time::timeout(PATIENCE, command.output()).await {
        Ok(Ok(output)) if output.status.success() => output.stdout,
        Ok(Ok(output)) => return undecided(&left, &format!("it ended with {}", output.status)),
        Ok(Err(error)) => return undecided(&left, &format!("it could not be started: {error}")),
        Err(_) => return undecided(&left, "it took longer than 10 s"),
    };
    let answer = String::from_utf8_lossy(&answer);
    match answer.split_whitespace().next().unwrap_or_default() {
        "resume" => Choice::Resume,
        "reset" => Choice::Reset,
        "fail" => Choice::Fail,
        other => {
            let other: String = other.chars().take(40).collect();
            undecided(&left, &format!("it said {other:?}, which is none of resume, reset and fail"))
        }
    }
}

fn undecided(left: &Left, why: &str) -> Choice {
    tracing::warn!(task = %left.id, why, "the command of --ask decided nothing: the task is reset");
    Choice::Reset
}
