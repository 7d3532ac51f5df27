//! Any program as an agent: one process a task, its payload on standard input, its exit code the outcome, and lines on
//! file descriptor 3 for what it leaves to its next attempt.

mod ask;
mod output;
mod reaper;
mod words;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use command_fds::CommandFdExt;
use command_fds::FdMapping;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio_util::sync::CancellationToken;

pub use self::ask::ask;
use self::reaper::Reaper;
pub use self::reaper::{REAPER, reap};
use self::words::Words;
pub use self::words::{Answer, Hear};
use crate::private_server::command_with_parent;

/// The exit code by which a program gives its task back: EX_TEMPFAIL of sysexits.h.
pub const GIVE_BACK: i32 = 75;

/// How the program is run.
#[derive(Debug, Clone)]
pub struct Program {
    launcher: PathBuf,
    command: Vec<OsString>,
    kill_after: Duration,
    reaper: Arc<Reaper>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It exited with 0.
    Done,
    /// It exited with [`GIVE_BACK`].
    GaveBack,
    /// It exited otherwise, or could not be started; the last of its standard error, or why.
    Failed(Vec<u8>),
    /// It was told to stop, and is gone.
    Stopped,
}

impl Program {
    /// A program that is started by `launcher`, this program's own binary, so that it dies with us. One that was told to
    /// stop (SIGTERM) is killed after `kill_after`.
    ///
    /// # Errors
    /// If the process that takes along what a killed agent leaves could not be started.
    pub fn new(launcher: PathBuf, command: Vec<OsString>, kill_after: Duration) -> std::io::Result<Self> {
        let reaper = Arc::new(Reaper::start(&launcher)?);
        Ok(Self { launcher, command, kill_after, reaper })
    }

    /// Runs the command once, with these variables and this standard input, until it ends or `stop` says so. `hear` gets
    /// what it says meanwhile. When this returns, nothing of its process group is left.
    pub async fn run(
        &self,
        variables: &[(&str, &str)],
        input: &[u8],
        stop: &CancellationToken,
        hear: Arc<dyn Hear>,
    ) -> Outcome {
        let (mut child, words) = match self.start(variables, hear) {
            Ok(started) => started,
            Err(error) => {
                return Outcome::Failed(format!("could not start the command: {error}").into_bytes());
            }
        };
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let mut group = Group::of(pid, &self.reaper);
        let tail = output::Tail::of(child.stderr.take());
        let feeding = tokio::spawn(feed(child.stdin.take(), input.to_vec()));
        let status = tokio::select! {
            status = child.wait() => Some(status),
            () = stop.cancelled() => None,
        };
        let outcome = match status {
            Some(status) => {
                // What it left running would go on with a task that is over.
                group.kill();
                let last = tail.last().await;
                words.last().await;
                ended(status, last)
            }
            None => {
                self.end(&mut child, &mut group).await;
                words.last().await;
                Outcome::Stopped
            }
        };
        feeding.abort();
        outcome
    }

    fn start(&self, variables: &[(&str, &str)], hear: Arc<dyn Hear>) -> std::io::Result<(Child, Words)> {
        let (words, theirs) = Words::begin(hear)?;
        let program = self.command.first().cloned().unwrap_or_default();
        let mut command = Command::from(command_with_parent(&self.launcher, program));
        command
            .args(self.command.get(1..).unwrap_or_default())
            // Of another task, if this agent is itself run for one.
            .env_remove("BACKSTOP_CHECKPOINT")
            .env_remove("BACKSTOP_EXTERNAL")
            .envs(variables.iter().copied())
            // Where Redis is, and by which password, is not the program's business.
            .env_remove("BACKSTOP_REDIS_URL")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::inherit())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mapping = FdMapping { parent_fd: theirs, child_fd: words::DESCRIPTOR };
        command.fd_mappings(vec![mapping]).map_err(std::io::Error::other)?;
        Ok((command.spawn()?, words))
    }

    async fn end(&self, child: &mut Child, group: &mut Group) {
        group.signal(Signal::TERM);
        let ended = tokio::time::timeout(self.kill_after, child.wait()).await;
        group.kill();
        if ended.is_err() {
            // Killed: it ends now, whatever it ignores.
            let _ = child.wait().await;
        }
    }
}

/// The process group of a run. A run that is dropped where it waits takes it along.
struct Group {
    pid: Option<Pid>,
    reaper: Arc<Reaper>,
}

impl Group {
    fn of(pid: Option<Pid>, reaper: &Arc<Reaper>) -> Self {
        if let Some(pid) = pid {
            reaper.watch(pid);
        }
        Self { pid, reaper: Arc::clone(reaper) }
    }

    fn signal(&self, signal: Signal) {
        // A group that is gone already has got what it was sent.
        let _ = self.pid.map(|group| kill_process_group(group, signal));
    }

    /// Once: its number may be another's afterwards.
    fn kill(&mut self) {
        self.signal(Signal::KILL);
        if let Some(pid) = self.pid.take() {
            self.reaper.forget(pid);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn feed(stdin: Option<ChildStdin>, input: Vec<u8>) {
    if let Some(mut stdin) = stdin {
        // A program may close its input before it has read all: that is its choice, not a failure.
        let _ = stdin.write_all(&input).await;
    }
}

fn ended(status: std::io::Result<ExitStatus>, last: Vec<u8>) -> Outcome {
    use std::os::unix::process::ExitStatusExt;
    let status = match status {
        Ok(status) => status,
        Err(error) => {
            return Outcome::Failed(format!("could not wait for the command: {error}").into_bytes());
        }
    };
    match (status.code(), status.signal()) {
        (Some(0), _) => Outcome::Done,
        (Some(GIVE_BACK), _) => Outcome::GaveBack,
        _ if !last.trim_ascii().is_empty() => Outcome::Failed(last),
        (Some(code), _) => Outcome::Failed(format!("exit code {code}").into_bytes()),
        (None, signal) => Outcome::Failed(format!("killed by signal {}", signal.unwrap_or(0)).into_bytes()),
    }
}

/// What an attempt left, as a variable of the environment, where it can be one: text without a NUL byte.
#[must_use]
pub fn as_variable(left: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(left).ok()?;
    Some(text).filter(|text| !text.is_empty() && !text.contains('\0'))
}
