//! What may be reported while working.
use std::time::Duration;

/// Hears of what happens.
pub trait Observer: Send + Sync {
    /// A script was run.
    fn script(&self, _name: &'static str, _took: Duration, _ok: bool) {}
    /// A call failed, and what may be concluded from it.
    fn redis_error(&self, _kind: &'static str) {}
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}
