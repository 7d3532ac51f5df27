//! The gauges, all taken from one snapshot, so that they agree with each other and with the health checks.

use std::collections::BTreeMap;

use super::metrics::{self, GUARDS, OTHER};
use super::recorder::{Recorder, figure, seconds};
use crate::core::health::{ByLiveness, Queue, Snapshot};
use crate::core::policy::Mode;

fn flag(on: bool) -> f64 {
    if on { 1.0 } else { 0.0 }
}

impl Recorder {
    /// Shows the replica as it is now. A queue that the snapshot doesn't name any more goes to zero.
    pub fn publish(&self, snapshot: &Snapshot) {
        self.set(&metrics::SWEEP_INTERVAL, &[], snapshot.interval.as_secs_f64());
        let last = snapshot.last_pass.as_ref().map_or(0, |pass| pass.ended_at_ms);
        self.set(&metrics::LAST_SWEEP, &[], seconds(last));
        self.set(&metrics::REDIS_UP, &[], flag(snapshot.redis.up));
        self.set(&metrics::CLOCK_SKEW, &[], snapshot.redis.clock_skew.as_secs_f64());
        let config = &snapshot.config;
        self.set(&metrics::CONFIG_RELOAD_AT, &[], seconds(config.loaded_at_ms.unwrap_or(0)));
        let accepted = config.loaded_at_ms.is_some() && config.rejected.is_none();
        self.set(&metrics::CONFIG_RELOAD_OK, &[], flag(accepted));
        for guard in GUARDS {
            let open = snapshot.guards.iter().any(|open| open.guard == *guard);
            self.set(&metrics::GUARD_OPEN, &[guard], flag(open));
        }
        self.publish_queues(&snapshot.queues);
    }

    fn publish_queues(&self, queues: &[Queue]) {
        self.discovered(queues.iter().map(|queue| queue.name.as_str()));
        let mut shown: BTreeMap<String, Queue> = self
            .labels()
            .into_iter()
            .map(|label| (label.clone(), Queue::unknown(label, Mode::Enforce)))
            .collect();
        let mut strangers = Vec::new();
        for queue in queues {
            match shown.get_mut(&queue.name) {
                Some(slot) => *slot = queue.clone(),
                None => strangers.push(queue),
            }
        }
        if let Some(others) = shown.get_mut(OTHER) {
            for queue in strangers {
                merge(others, queue);
            }
        }
        for (label, queue) in &shown {
            self.publish_queue(label, queue);
        }
    }

    fn publish_queue(&self, label: &str, queue: &Queue) {
        let ByLiveness { alive, suspect, lost } = queue.running;
        for (liveness, n) in [("alive", alive), ("suspect", suspect), ("lost", lost)] {
            self.set(&metrics::RUNNING_TASKS, &[label, liveness], figure(n));
        }
        let ByLiveness { alive, suspect, lost } = queue.agents;
        for (state, n) in [("alive", alive), ("suspect", suspect), ("lost", lost)] {
            self.set(&metrics::AGENTS, &[label, state], figure(n));
        }
        let states = [
            ("pending", queue.pending),
            ("delayed", queue.delayed),
            ("running", queue.running.sum()),
            ("dead", queue.dead),
        ];
        for (state, n) in states {
            self.set(&metrics::QUEUE_TASKS, &[label, state], figure(n));
        }
        self.set(&metrics::GUARD_HELD, &[label], figure(queue.held));
        self.set(&metrics::EXTERNAL_HELD, &[label], figure(queue.elsewhere));
        self.set(&metrics::EXTERNAL_UNWANTED, &[label], figure(queue.unwanted));
        self.set(&metrics::LEADER, &[label], flag(queue.leader));
        self.set(&metrics::MODE_INFO, &[label, "enforce"], flag(queue.mode == Mode::Enforce));
        self.set(&metrics::MODE_INFO, &[label, "observe"], flag(queue.mode == Mode::Observe));
        self.set_moment(&metrics::OLDEST_RUNNING, &[label], queue.oldest_running_at_ms);
        self.set_moment(&metrics::OLDEST_ABANDONED, &[label], queue.oldest_abandoned_at_ms);
        self.set_moment(&metrics::OLDEST_DEAD, &[label], queue.oldest_dead_at_ms);
    }
}

/// Adds a queue to those that share a label: figures add up, of moments the oldest counts, and one that observes or
/// is led makes the whole so.
fn merge(into: &mut Queue, queue: &Queue) {
    let add = |a: &mut u64, b: u64| *a = a.saturating_add(b);
    let oldest = |a: &mut Option<i64>, b: Option<i64>| *a = [*a, b].into_iter().flatten().min();
    for (into, from) in [(&mut into.running, queue.running), (&mut into.agents, queue.agents)] {
        add(&mut into.alive, from.alive);
        add(&mut into.suspect, from.suspect);
        add(&mut into.lost, from.lost);
    }
    add(&mut into.pending, queue.pending);
    add(&mut into.delayed, queue.delayed);
    add(&mut into.dead, queue.dead);
    add(&mut into.held, queue.held);
    add(&mut into.elsewhere, queue.elsewhere);
    add(&mut into.unwanted, queue.unwanted);
    oldest(&mut into.oldest_running_at_ms, queue.oldest_running_at_ms);
    oldest(&mut into.oldest_abandoned_at_ms, queue.oldest_abandoned_at_ms);
    oldest(&mut into.oldest_dead_at_ms, queue.oldest_dead_at_ms);
    into.leader |= queue.leader;
    if queue.mode == Mode::Observe {
        into.mode = Mode::Observe;
    }
}
