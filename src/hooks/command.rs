//! Programs that answer with their first words on standard output.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::Question;

/// Bytes of an answer that are read; the rest is not waited for.
const LONGEST: u64 = 4096;

pub(super) async fn ask(
    words: &[String],
    question: &Question,
    patience: Duration,
) -> Result<Vec<u8>, String> {
    let Some((program, arguments)) = words.split_first() else {
        return Err("it names no program".to_owned());
    };
    if question.handle.contains('\0') {
        return Err("its handle has a NUL byte, which no variable can hold".to_owned());
    }
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("BACKSTOP_TASK_QUEUE", question.queue.as_str())
        .env("BACKSTOP_TASK_ID", &question.id)
        .env("BACKSTOP_TASK_TYPE", &question.task_type)
        .env("BACKSTOP_TASK_TOKEN", &question.token)
        .env("BACKSTOP_EXTERNAL", &question.handle);
    first_words(command, patience).await
}

/// Runs a program until it ends, and returns what it said, at most 4 KiB. One that takes longer than `patience` is killed,
/// and so is whatever it leaves running.
///
/// # Errors
/// Why it said nothing that counts: it could not be started, ended with another exit code than 0, or took too long.
pub async fn first_words(mut command: Command, patience: Duration) -> Result<Vec<u8>, String> {
    command
        // Where Redis is, and by which password, is not its business.
        .env_remove("BACKSTOP_REDIS_URL")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| format!("it could not be started: {error}"))?;
    let _group = Group(child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw));
    let stdout = child.stdout.take();
    let told = async {
        let mut said = Vec::new();
        if let Some(stdout) = stdout {
            let _ = stdout.take(LONGEST).read_to_end(&mut said).await;
        }
        child.wait().await.map(|status| (status, said))
    };
    match tokio::time::timeout(patience, told).await {
        Ok(Ok((status, said))) if status.success() => Ok(said),
        Ok(Ok((status, _))) => Err(format!("it ended with {status}")),
        Ok(Err(error)) => Err(format!("it could not be waited for: {error}")),
        Err(_) => Err(format!("it took longer than {patience:?}")),
    }
}

/// A program's process group, which ends with the call, also with one that is dropped where it waits.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        // A group that is gone already has got what it was sent.
        let _ = self.0.map(|group| kill_process_group(group, Signal::KILL));
    }
}
