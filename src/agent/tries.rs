//! Sending a command until it is answered. Each command that goes this way says in its script what makes a repeat harmless.

use std::time::Duration;

use crate::native::{Command, Queue};
use crate::store::{Failure, StoreError};

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Sends a command until it is answered; `told` hears of each try that wasn't.
///
/// # Errors
/// If it is refused for a reason that sending it again does not change.
pub(super) async fn until_answered<C: Command>(
    queue: &Queue,
    command: &C,
    told: impl Fn(&StoreError),
) -> Result<C::Answer, StoreError> {
    let mut wait = FIRST_WAIT;
    loop {
        match queue.run(command).await {
            Ok(answer) => return Ok(answer),
            Err(error) if error.failure() == Failure::Permanent => return Err(error),
            Err(error) => told(&error),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}
