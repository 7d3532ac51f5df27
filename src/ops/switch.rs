//! What a person asks of a whole queue: pause, resume, drain, override a guard.

use std::time::{Duration, Instant};

use super::status::{self, QueueStatus};
use crate::core::words::Guard;
use crate::native::Queue;
use crate::native::scripts::switch::{Switch, SwitchAnswer};
use crate::store::StoreError;

/// What a queue can be switched to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// Nothing is taken.
    Paused,
    /// Nothing new is taken, what runs may finish; with `release`, agents give back what runs.
    Draining {
        /// Whether agents give back what runs.
        release: bool,
    },
    /// As usual.
    Resumed,
    /// A guard holds nothing until this long from now.
    Override(Guard, Duration),
}

/// Switches the queue. If somebody else was quicker, looks again and goes on: what was asked for is stated, not toggled.
///
/// # Errors
/// [`StoreError`].
pub async fn switch(queue: &Queue, to: To, by: &str) -> Result<(), StoreError> {
    let now = queue.store().server_time().await?;
    let pair = |field: &str, value: &str| (field.to_owned(), value.to_owned());
    let fields = match to {
        To::Paused => vec![pair("paused", "1")],
        To::Draining { release } => vec![pair("draining", if release { "release" } else { "wait" })],
        To::Resumed => vec![pair("paused", ""), pair("draining", "")],
        To::Override(guard, long) => {
            let until = now.saturating_add(i64::try_from(long.as_millis()).unwrap_or(i64::MAX));
            vec![(format!("override:{}", guard.as_str()), until.to_string())]
        }
    };
    loop {
        let control = queue.store().hash(&queue.keys().named("control")).await?;
        let seen_change = control.get("change").and_then(|n| n.parse().ok()).unwrap_or(0);
        let switch = Switch { seen_change, by: by.to_owned(), fields: fields.clone() };
        if matches!(queue.run(&switch).await?, SwitchAnswer::Switched(_)) {
            return Ok(());
        }
    }
}

/// Waits until nothing runs, or until `most` has passed; how the queue is then. `told` hears how it stands meanwhile.
///
/// # Errors
/// [`StoreError`].
pub async fn until_idle(
    queue: &Queue,
    most: Duration,
    told: impl Fn(&QueueStatus),
) -> Result<Option<QueueStatus>, StoreError> {
    let began = Instant::now();
    loop {
        let now = status::read(queue.store(), std::slice::from_ref(queue.name())).await?.queues.pop();
        let Some(now) = now else { return Ok(None) };
        told(&now);
        if now.running == 0 || began.elapsed() >= most {
            return Ok(Some(now));
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}
