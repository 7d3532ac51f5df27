//! What may be counted: one method for each thing that happens while sweeping.
//!
//! Words come from closed sets of [`metrics`]; one that isn't in its set is not shown, and counted in
//! `label_overflow_total`.

use std::time::Duration;

use super::metrics::{self, Metric};
use super::recorder::{Recorder, figure};

impl Recorder {
    /// `n` tasks were found abandoned for `cause`, and acted on.
    pub fn abandoned(&self, queue: &str, cause: &str, n: u64) {
        self.count(&metrics::ABANDONED, queue, &[cause], n);
    }

    /// `n` tasks would have counted as abandoned for `cause`, had the queue's mode allowed it.
    pub fn observed(&self, queue: &str, cause: &str, n: u64) {
        self.count(&metrics::OBSERVED, queue, &[cause], n);
    }

    /// `n` abandoned tasks went back to pending.
    pub fn reset(&self, queue: &str, cause: &str, n: u64) {
        self.count(&metrics::RESET, queue, &[cause], n);
    }

    /// `n` tasks were set aside as `poison` or `failed`. Expired ones go through [`Self::expired`].
    pub fn dead_lettered(&self, queue: &str, reason: &str, n: u64) {
        self.count(&metrics::DEAD_LETTERED, queue, &[reason], n);
    }

    /// The deadline of `n` tasks passed while they were `waiting` or `running`, and they were set aside.
    pub fn expired(&self, queue: &str, state: &str, n: u64) {
        self.count(&metrics::EXPIRED, queue, &[state], n);
        self.count(&metrics::DEAD_LETTERED, queue, &["expired"], n);
    }

    /// `n` abandoned tasks are complete: their work elsewhere had succeeded.
    pub fn collected(&self, queue: &str, n: u64) {
        self.count(&metrics::COLLECTED, queue, &[], n);
    }

    /// `n` abandoned tasks failed, as their work elsewhere had.
    pub fn failed_elsewhere(&self, queue: &str, n: u64) {
        self.count(&metrics::FAILED_ELSEWHERE, queue, &[], n);
    }

    /// A hook was called, and what it said.
    pub fn hook_called(&self, queue: &str, hook: &str, said: &str) {
        self.count(&metrics::HOOK_CALLS, queue, &[hook, said], 1);
    }

    /// `n` verdicts came to nothing.
    pub fn skipped(&self, queue: &str, reason: &str, n: u64) {
        self.count(&metrics::SKIPPED, queue, &[reason], n);
    }

    /// `n` tasks were found abandoned, each this long after it could have been.
    pub fn detected(&self, queue: &str, latency: Duration, n: u64) {
        let mut known = self.known();
        let queue = self.queue(&mut known, queue);
        self.observe(&metrics::DETECTION_LATENCY, &[queue], latency, n);
    }

    /// An agent that had been silent for this long was given up.
    pub fn silent(&self, queue: &str, silence: Duration) {
        let mut known = self.known();
        let queue = self.queue(&mut known, queue);
        self.observe(&metrics::SILENCE, &[queue], silence, 1);
    }

    /// A pass looked at this many sessions and tasks of the queue.
    pub fn scanned(&self, queue: &str, agents: u64, tasks: u64) {
        self.count(&metrics::SCANNED_AGENTS, queue, &[], agents);
        self.count(&metrics::SCANNED_TASKS, queue, &[], tasks);
    }

    /// A pass reached its end; `truncated`: at its limit of work, with more to do.
    pub fn swept(&self, took: Duration, truncated: bool) {
        self.add(&metrics::SWEEPS, &[], 1.0);
        self.add(&metrics::SWEEP_TRUNCATED, &[], if truncated { 1.0 } else { 0.0 });
        self.observe(&metrics::SWEEP_DURATION, &[], took, 1);
    }

    /// A pass ended early.
    pub fn sweep_failed(&self, reason: &str) {
        self.add(&metrics::SWEEP_FAILURES, &[reason], 1.0);
    }

    /// A script was run, or given up on.
    pub fn script(&self, script: &str, took: Duration) {
        self.observe(&metrics::SCRIPT_DURATION, &[script], took, 1);
    }

    /// A call got no usable answer.
    pub fn redis_error(&self, kind: &str) {
        self.add(&metrics::REDIS_ERRORS, &[kind], 1.0);
    }

    /// A guard opened.
    pub fn guard_tripped(&self, guard: &str) {
        self.add(&metrics::GUARD_TRIPS, &[guard], 1.0);
    }

    /// Counts for a queue; `values` are those of the labels after `queue`.
    fn count(&self, metric: &Metric, queue: &str, values: &[&str], n: u64) {
        let mut known = self.known();
        if let Some(ledger) = known.ledgers.get_mut(queue) {
            ledger.did(metric, values, n);
        }
        let queue = self.queue(&mut known, queue);
        self.add(metric, &[&[queue], values].concat(), figure(n));
    }
}
