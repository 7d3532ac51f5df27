//! The end of a session.

use std::time::Duration;

use tokio::time::timeout;

use super::hints::POLL;
use crate::core::id::Session;
use crate::native::Queue;
use crate::native::scripts::leave::{Leave, LeaveAnswer};
use crate::native::scripts::release::Release;

/// How long outcomes are still told once an agent is to end, and how long it tries to leave.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(10);

/// Gives back what is left and leaves, as long as there is hope for it.
pub(super) async fn leave(queue: &Queue, session: &Session) {
    if timeout(LAST_WORDS, until_left(queue, session)).await.is_err() {
        tracing::warn!(%session, "could not say that it left; the sweeper will find out");
    }
}

async fn until_left(queue: &Queue, session: &Session) {
    loop {
        let leave = Leave { session: session.clone() };
        match queue.run(&leave).await {
            Ok(LeaveAnswer::Left) => return,
            // A take whose answer was lost may have left these.
            Ok(LeaveAnswer::Holds(pairs)) => {
                let delay = Some(Duration::ZERO);
                let pairs = pairs.into_iter().take(50).collect();
                let release = Release { session: session.clone(), delay, pairs };
                if let Err(error) = queue.run(&release).await {
                    tracing::debug!(%error, "could not give back what is left; trying again");
                    tokio::time::sleep(POLL / 4).await;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "could not leave; trying again");
                tokio::time::sleep(POLL / 4).await;
            }
        }
    }
}
