//! The wall clock, for people to read. Nothing is ever decided by it: that is done by the clock of Redis.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970 as this machine has them.
#[must_use]
pub fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
