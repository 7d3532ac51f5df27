//! What a program tells its agent while it runs: lines on file descriptor 3.
//!
//! `checkpoint TEXT` leaves a text for the next attempt. `external HANDLE` records where else the task is being worked on, and
//! is answered on the same descriptor: `recorded`, `late` or `refused`. A line that is none of these is warned of once, and
//! changes nothing.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::task::JoinHandle;

use crate::agent::MAX_CHECKPOINT;

/// The descriptor, as the program sees it.
pub(super) const DESCRIPTOR: i32 = 3;
/// How long the last lines are waited for once the program is gone; as for its standard error.
const LINGER: Duration = Duration::from_millis(200);
/// The longest line: a word, a blank, and the largest checkpoint.
const LONGEST: usize = MAX_CHECKPOINT + 32;

/// What becomes of a handle, as the program is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is the task's.
    Recorded,
    /// The program's attempt doesn't hold the task any more: it is about to be stopped.
    Late,
    /// It can't be recorded; the log says why.
    Refused,
}

impl Answer {
    fn line(self) -> &'static [u8] {
        match self {
            Self::Recorded => b"recorded\n",
            Self::Late => b"late\n",
            Self::Refused => b"refused\n",
        }
    }
}

/// Hears what a program says.
pub trait Hear: Send + Sync {
    /// It leaves a text for its next attempt, of at most [`MAX_CHECKPOINT`] bytes.
    fn checkpoint(&self, text: &[u8]);
    /// It is being worked on elsewhere, under this handle.
    fn external(&self, handle: String) -> BoxFuture<'static, Answer>;
}

/// Listens to a program until it is gone.
pub(super) struct Words {
    listening: JoinHandle<()>,
}

impl Words {
    /// Begins to listen; the other end is the program's.
    pub(super) fn begin(hear: Arc<dyn Hear>) -> std::io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let listening = tokio::spawn(listen(UnixStream::from_std(ours)?, hear));
        Ok((Self { listening }, theirs.into()))
    }

    /// Hears the last lines, too.
    pub(super) async fn last(mut self) {
        if tokio::time::timeout(LINGER, &mut self.listening).await.is_err() {
            self.listening.abort();
        }
    }
}

async fn listen(stream: UnixStream, hear: Arc<dyn Hear>) {
    let (receiver, answers) = stream.into_split();
    let mut reader = BufReader::new(receiver);
    let mut warned = false;
    let mut warn = |why: &str| {
        if !warned {
            tracing::warn!(
                why,
                "a line on file descriptor 3 is not understood; expected: checkpoint TEXT, or external HANDLE"
            );
        }
        warned = true;
    };
    loop {
        let mut line = Vec::new();
        let limit = u64::try_from(LONGEST).unwrap_or(u64::MAX);
        match (&mut reader).take(limit).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if line.last() != Some(&b'\n') {
            if line.len() < LONGEST {
                // It ended in the middle of a line: what it meant to say nobody knows.
                return warn("it has no end");
            }
            warn("it is longer than a checkpoint may be");
            if skip_line(&mut reader).await.is_err() {
                return;
            }
            continue;
        }
        line.pop();
        if let Some(handle) = line.strip_prefix(b"external ") {
            let answer = match std::str::from_utf8(handle) {
                Ok(handle) => hear.external(handle.to_owned()).await,
                Err(_) => {
                    warn("its handle is no text");
                    Answer::Refused
                }
            };
            // A program that doesn't read its answers is not waited for.
            let _ = answers.try_write(answer.line());
        } else if let Some(text) = line.strip_prefix(b"checkpoint ") {
            if text.len() <= MAX_CHECKPOINT {
                hear.checkpoint(text);
            } else {
                warn("it is longer than a checkpoint may be");
            }
        } else {
            warn("it begins with no known word");
        }
    }
}

async fn skip_line(reader: &mut BufReader<OwnedReadHalf>) -> std::io::Result<()> {
    loop {
        let buffer = reader.fill_buf().await?;
        if buffer.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(buffer.len(), |at| at + 1);
        reader.consume(used);
        if end.is_some() {
            return Ok(());
        }
    }
}
