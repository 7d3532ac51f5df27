//! What may be reported while working, so that nothing below the telemetry knows of metrics.

use std::time::Duration;

use super::id::QueueName;
use super::words::{Action, Cause, Guard, HookKind, Skip};

/// Hears of what happens. Each method does nothing unless it is implemented.
pub trait Observer: Send + Sync {
    /// A script was run.
    fn script(&self, _name: &'static str, _took: Duration, _ok: bool) {}
    /// A call failed, and what may be concluded from it: `transient`, `permanent`, `unknown`.
    fn redis_error(&self, _kind: &'static str) {}
    /// A script did this to `n` tasks.
    fn done(&self, _queue: &QueueName, _cause: Cause, _action: Action, _n: u64) {}
    /// Waiting tasks expired.
    fn expired(&self, _queue: &QueueName, _n: u64) {}
    /// Observe mode would have done this to `n` tasks.
    fn observed(&self, _queue: &QueueName, _cause: Cause, _n: u64) {}
    /// `n` tasks of one lost session were found: how late, and after what silence.
    fn found(&self, _queue: &QueueName, _late_by: Duration, _silence: Duration, _n: u64) {}
    /// Verdicts weren't carried out.
    fn skipped(&self, _queue: &QueueName, _why: Skip, _n: u64) {}
    /// A hook was called, and what it said: a word of [`super::words::HookWord`], or `unclear`.
    fn hook(&self, _queue: &QueueName, _kind: HookKind, _said: &'static str) {}
    /// A guard opened, or closed.
    fn guard(&self, _queue: &QueueName, _guard: Guard, _open: bool) {}
    /// This process began to sweep the queue, or left it to another replica.
    fn leader(&self, _queue: &QueueName, _leads: bool) {}
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}
