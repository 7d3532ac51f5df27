//! Asking a command what becomes of a task that the last process of this name held.

use std::ffi::OsString;
use std::time::Duration;

use tokio::process::Command;

use crate::agent::{Choice, Left};
use crate::hooks::command::first_words;

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
        .env_remove("BACKSTOP_CHECKPOINT")
        .env_remove("BACKSTOP_EXTERNAL");
    if let Some(text) = super::as_variable(&left.checkpoint) {
        command.env("BACKSTOP_CHECKPOINT", text);
    }
    if let Some(text) = left.external.as_deref().and_then(|handle| super::as_variable(handle.as_bytes())) {
        command.env("BACKSTOP_EXTERNAL", text);
    }
    let answer = match first_words(command, PATIENCE).await {
        Ok(answer) => answer,
        Err(why) => return undecided(&left, &why),
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
