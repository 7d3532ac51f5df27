//! How an agent without work learns of new work.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::native::Queue;

/// How long an agent without work waits for a hint before it looks again.
pub(super) const POLL: Duration = Duration::from_secs(1);

/// Hints at new work, as long as anyone wants to hear them. A lost one costs a poll, never a task.
pub(super) async fn listen(queue: Queue, wake: Arc<Notify>, stop: CancellationToken) {
    let channel = queue.keys().wake();
    let hear = async {
        loop {
            match queue.store().listen(&channel).await {
                Ok(mut hints) => {
                    let mut hints = hints.on_message();
                    while hints.next().await.is_some() {
                        wake.notify_one();
                    }
                }
                Err(error) => tracing::debug!(%error, "no hints at new work; polling"),
            }
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::select! {
        () = hear => {}
        () = stop.cancelled() => {}
    }
}

/// The poll, a quarter earlier or later, so that idle agents don't ask in step.
pub(super) fn poll() -> Duration {
    POLL * (750 + getrandom::u32().unwrap_or(0) % 500) / 1000
}
