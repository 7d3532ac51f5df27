//! The server's process: started, asked until it answers, killed.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use super::{ServerError, command_with_parent};

/// How long it may take to answer: an append-only file may have to be read first.
const LIMIT: Duration = Duration::from_secs(15);

/// A started server.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    pid: u32,
}

impl Running {
    pub(super) async fn start(
        launcher: &Path,
        binary: &Path,
        args: &[String],
        log: &Path,
        socket: &Path,
    ) -> Result<Self, ServerError> {
        let failed = |source| ServerError::Start { path: binary.to_owned(), source };
        let out = std::fs::File::create(log).map_err(failed)?;
        let err = out.try_clone().map_err(failed)?;
        let mut command = Command::from(command_with_parent(launcher, binary));
        command.args(args).stdin(Stdio::null()).stdout(out).stderr(err).kill_on_drop(true);
        let mut child = command.spawn().map_err(failed)?;
        let pid = child.id().unwrap_or(0);
        let began = Instant::now();
        while began.elapsed() < LIMIT {
            if answers(socket).await {
                return Ok(Self { child, pid });
            }
            if !matches!(child.try_wait(), Ok(None)) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let log = std::fs::read_to_string(log).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(5).collect();
        let log = last.into_iter().rev().collect::<Vec<_>>().join(" | ");
        Err(ServerError::Silent { path: binary.to_owned(), limit: LIMIT, log })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        // One that is gone already has got what it was sent.
        let _ = pid.map(|pid| kill_process(pid, signal));
    }

    pub(super) async fn kill(&mut self) {
        self.signal(Signal::KILL);
        // Reaped, so that the socket is free when this returns.
        let _ = self.child.wait().await;
    }
}

/// Whether it answers PING; one that is still loading doesn't yet.
async fn answers(socket: &Path) -> bool {
    let ask = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(b"*1\r\n$4\r\nPING\r\n").await?;
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).await?;
        // One that wants a password answers too.
        Ok::<_, std::io::Error>(answer == *b"+PONG\r\n" || answer == *b"-NOAUTH")
    };
    matches!(tokio::time::timeout(Duration::from_secs(1), ask).await, Ok(Ok(true)))
}
