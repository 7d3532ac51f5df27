//! What agents' scripts did, read off the totals that all scripts keep in Redis.
//!
//! An agent counts nothing here: it is another process. But its scripts add to the queue's durable totals, and so do
//! ours. So for a queue that this replica sweeps, what the totals grew by beyond what this process did itself since
//! the last look is what others did. That also mends a count of our own whose answer was lost.

use std::collections::BTreeMap;

use super::metrics::{
    self, ABANDONED, ADOPTED, COLLECTED, DEAD_LETTERED, EXPIRED, EXTERNAL_UNASKED, FAILED_ELSEWHERE,
    FALSE_RESETS, LEADER_TRANSITIONS, Metric, RECLAIMED, RECOVERED, REFUTED, RELEASED, RESET, SKIPPED,
};
use super::recorder::Recorder;

/// A figure and the durable totals that it is made of.
struct Mirror {
    metric: &'static Metric,
    /// The value of the label after `queue`, where there is one.
    value: Option<&'static str>,
    /// Totals that add up to it.
    plus: String,
    /// The total that is part of those and counts elsewhere.
    minus: Option<&'static str>,
}

fn mirrors() -> Vec<Mirror> {
    let plain = |metric, value, field: &str| Mirror { metric, value, plus: field.to_owned(), minus: None };
    let each = |metric: &'static Metric, values: &'static [&'static str], prefix: &'static str| {
        values.iter().map(move |value| plain(metric, Some(*value), &format!("{prefix}:{value}")))
    };
    let mut all = vec![
        plain(&EXPIRED, Some("running"), "abandoned_expired"),
        Mirror { minus: Some("abandoned_expired"), ..plain(&EXPIRED, Some("waiting"), "expired") },
        plain(&SKIPPED, Some("no_record"), "skipped:no_record"),
        plain(&RECLAIMED, None, "reclaimed"),
        plain(&RECOVERED, None, "recovered"),
        plain(&RELEASED, None, "released"),
        plain(&ADOPTED, None, "adopted"),
        plain(&COLLECTED, None, "collected"),
        plain(&FAILED_ELSEWHERE, None, "abandoned_failed"),
        plain(&EXTERNAL_UNASKED, None, "external_unasked"),
        plain(&EXTERNAL_UNASKED, None, "external_dropped"),
        plain(&FALSE_RESETS, Some("late"), "late"),
        plain(&FALSE_RESETS, Some("withdrawn"), "false_resets"),
        plain(&REFUTED, None, "refuted"),
    ];
    all.extend(each(&ABANDONED, metrics::CAUSES, "abandoned"));
    all.extend(each(&RESET, metrics::CAUSES, "reset"));
    all.extend(each(&DEAD_LETTERED, metrics::DEATHS, "dead"));
    all
}

/// What this replica remembers of a queue that it sweeps.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The totals at the last look, if there was one.
    seen: Option<BTreeMap<String, i64>>,
    /// What this process did since, by metric and label value.
    own: BTreeMap<(&'static str, String), i64>,
}

impl Ledger {
    /// This process did something itself.
    pub(super) fn did(&mut self, metric: &Metric, values: &[&str], n: u64) {
        let value = values.first().copied().unwrap_or_default().to_owned();
        let own = self.own.entry((metric.name, value)).or_default();
        *own = own.saturating_add(i64::try_from(n).unwrap_or(i64::MAX));
    }
}

impl Recorder {
    /// This replica began or ceased to sweep the queue. What is known of its durable totals is forgotten: what others
    /// did meanwhile is counted by others.
    pub fn leads(&self, queue: &str, leader: bool) {
        let mut known = self.known();
        let label = self.queue(&mut known, queue);
        if leader && !known.ledgers.contains_key(queue) {
            known.ledgers.insert(queue.to_owned(), Ledger::default());
            self.add(&LEADER_TRANSITIONS, &[label], 1.0);
        }
        if !leader {
            known.ledgers.remove(queue);
        }
    }

    /// Counts what others did since the last call, given the queue's durable totals (its `stats`) as they stand now.
    /// To be called between two passes, when all that this process did has been counted. The first call after
    /// [`Self::leads`] only looks; totals that went down (a failover lost some, somebody deleted them) are a new
    /// beginning. Nothing is counted for a queue that this replica doesn't sweep.
    pub fn durable(&self, queue: &str, totals: &BTreeMap<String, i64>) {
        let mut known = self.known();
        let label = self.queue(&mut known, queue);
        let Some(ledger) = known.ledgers.get_mut(queue) else { return };
        let own = std::mem::take(&mut ledger.own);
        let Some(before) = ledger.seen.replace(totals.clone()) else { return };
        let total = |of: &BTreeMap<String, i64>, field: &str| of.get(field).copied().unwrap_or(0);
        for mirror in mirrors() {
            let sum = |of| total(of, &mirror.plus) - mirror.minus.map_or(0, |minus| total(of, minus));
            let value = mirror.value.unwrap_or_default();
            let ours = own.get(&(mirror.metric.name, value.to_owned())).copied().unwrap_or(0);
            let others = sum(totals).saturating_sub(sum(&before)).saturating_sub(ours);
            if let Ok(others) = u32::try_from(others) {
                let values = mirror.value.map_or_else(|| vec![label], |value| vec![label, value]);
                self.add(mirror.metric, &values, f64::from(others));
            }
        }
    }
}
