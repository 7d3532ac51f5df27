//! What a program tells its agent while it runs: lines on file descriptor 3.
//!
//! `checkpoint TEXT` leaves a text for the next attempt. A line that is none of these is warned of once, and changes nothing.

use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe::Receiver;
use tokio::task::JoinHandle;

use crate::agent::MAX_CHECKPOINT;

/// The descriptor, as the program sees it.
pub(super) const DESCRIPTOR: i32 = 3;
/// How long the last lines are waited for once the program is gone; as for its standard error.
const LINGER: Duration = Duration::from_millis(200);
/// The longest line: a word, a blank, and the largest checkpoint.
const LONGEST: usize = MAX_CHECKPOINT + 32;

/// Hears what a program leaves for its next attempt.
pub type Hear = std::sync::Arc<dyn Fn(&[u8]) + Send + Sync>;

/// Listens to a program until it is gone.
pub(super) struct Words {
    listening: JoinHandle<()>,
}

impl Words {
    /// Listens at this end of a pipe.
    pub(super) fn of(end: OwnedFd, hear: Hear) -> std::io::Result<Self> {
        let receiver = Receiver::from_owned_fd(end)?;
        Ok(Self { listening: tokio::spawn(listen(receiver, hear)) })
    }

    /// Hears the last lines, too.
    pub(super) async fn last(mut self) {
        if tokio::time::timeout(LINGER, &mut self.listening).await.is_err() {
            self.listening.abort();
        }
    }
}

async fn listen(receiver: Receiver, hear: Hear) {
    let mut reader = BufReader::new(receiver);
    let mut warned = false;
    let mut warn = |why: &str| {
        if !warned {
            tracing::warn!(why, "a line on file descriptor 3 is not understood; expected: checkpoint TEXT");
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
        match line.strip_prefix(b"checkpoint ") {
            Some(text) if text.len() <= MAX_CHECKPOINT => hear(text),
            Some(_) => warn("it is longer than a checkpoint may be"),
            None => warn("it begins with no known word"),
        }
    }
}

async fn skip_line(reader: &mut BufReader<Receiver>) -> std::io::Result<()> {
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
