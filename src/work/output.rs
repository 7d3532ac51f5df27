//! A program's standard error: passed on as it comes, its last bytes kept.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::ChildStderr;
use tokio::task::JoinHandle;

use crate::native::scripts::fail::MAX_ERROR;

/// How long the last bytes are waited for once the program is gone. A grandchild that moved to a group of its own may
/// hold the pipe open for ever.
const LINGER: Duration = Duration::from_millis(200);

/// Reads standard error until it ends.
pub(super) struct Tail {
    reading: JoinHandle<()>,
    kept: std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
}

impl Tail {
    pub(super) fn of(stderr: Option<ChildStderr>) -> Self {
        let kept = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let keep = std::sync::Arc::clone(&kept);
        let reading = tokio::spawn(async move {
            let Some(mut stderr) = stderr else { return };
            let mut buffer = [0; 4096];
            let mut ours = tokio::io::stderr();
            while let Ok(n @ 1..) = stderr.read(&mut buffer).await {
                let chunk = buffer.get(..n).unwrap_or_default();
                // If our own standard error is closed, the program's words are lost to the terminal, not to the record.
                let _ = ours.write_all(chunk).await;
                let mut kept = keep.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                kept.extend_from_slice(chunk);
                let surplus = kept.len().saturating_sub(MAX_ERROR);
                kept.drain(..surplus);
            }
        });
        Self { reading, kept }
    }

    /// The last bytes, at most [`MAX_ERROR`].
    pub(super) async fn last(mut self) -> Vec<u8> {
        if tokio::time::timeout(LINGER, &mut self.reading).await.is_err() {
            self.reading.abort();
        }
        self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}
