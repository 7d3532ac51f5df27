//! What the pages and gauges show, made of a pass' report.

use std::time::Instant;

use crate::core::health::{ByLiveness, OpenGuard, Pass, Queue, Snapshot};
use crate::core::id::QueueName;
use crate::core::policy::QueuePolicy;
use crate::core::summary::Summary;
use crate::core::words::Action;
use crate::sweep::report::{PassReport, QueueReport};

/// Redis didn't answer, or is none that can be swept.
pub(super) fn redis_is_down(snapshot: &mut Snapshot, why: String) {
    let redis = &mut snapshot.redis;
    if redis.up || redis.error.is_none() {
        redis.since = Instant::now();
    }
    redis.up = false;
    redis.error = Some(why);
}

/// A pass ended, well or not.
pub(super) fn after_pass(snapshot: &mut Snapshot, queues: &[(QueueName, QueuePolicy)], report: &PassReport) {
    if let Some(error) = &report.failed {
        redis_is_down(snapshot, super::chain(error));
        return;
    }
    let redis = &mut snapshot.redis;
    if !redis.up {
        redis.since = Instant::now();
    }
    (redis.up, redis.answered, redis.error) = (true, true, None);
    redis.clock_skew = report.skew;
    let before = std::mem::take(&mut snapshot.guards);
    let mut total = Summary::default();
    let mut ended_at_ms = snapshot.last_pass.as_ref().map_or(0, |pass| pass.ended_at_ms);
    for (name, policy) in queues {
        let Some((_, Ok(one))) = report.queues.iter().find(|(swept, _)| swept == name) else { continue };
        total.merge(&one.summary);
        ended_at_ms = ended_at_ms.max(one.now_ms);
        for open in &one.guards {
            let queue = Some(name.to_string());
            let guard = open.guard.as_str();
            let known = before.iter().find(|known| known.guard == guard && known.queue == queue);
            let since = known.map_or_else(Instant::now, |known| known.since);
            snapshot.guards.push(OpenGuard { guard, queue, since, reason: open.reason.clone() });
        }
        let shown = queue_of(name, policy, one);
        match snapshot.queues.binary_search_by(|known| known.name.as_str().cmp(name.as_str())) {
            Ok(at) => {
                if let Some(slot) = snapshot.queues.get_mut(at) {
                    *slot = shown;
                }
            }
            Err(at) => snapshot.queues.insert(at, shown),
        }
    }
    snapshot.queues.retain(|known| queues.iter().any(|(name, _)| name.as_str() == known.name));
    if report.succeeded() {
        let account = account(&total, report);
        snapshot.last_pass = Some(Pass { ended: Instant::now(), ended_at_ms, took: report.took, account });
    }
}

fn queue_of(name: &QueueName, policy: &QueuePolicy, one: &QueueReport) -> Queue {
    let mut queue = Queue::unknown(name.to_string(), policy.mode);
    if one.standby_of.is_some() {
        return queue;
    }
    let figures = one.figures;
    queue.leader = true;
    queue.paused = figures.paused;
    (queue.pending, queue.delayed, queue.dead) = (figures.pending, figures.delayed, figures.dead);
    let (suspect, lost) = (figures.suspect_running, one.lost_running);
    queue.running = ByLiveness { alive: one.running().saturating_sub(suspect + lost), suspect, lost };
    let alive = figures.sessions.saturating_sub(figures.silent + figures.suspect);
    queue.agents = ByLiveness { alive, suspect: figures.suspect, lost: figures.silent };
    queue.held = one.summary.held();
    (queue.elsewhere, queue.unwanted) = (one.summary.elsewhere, figures.unwanted);
    queue.oldest_running_at_ms = one.oldest_running_ms;
    queue.oldest_abandoned_at_ms = one.oldest_abandoned_ms;
    queue.oldest_dead_at_ms = one.oldest_dead_ms;
    queue
}

/// One line for people.
fn account(total: &Summary, report: &PassReport) -> String {
    let standby =
        report.queues.iter().filter(|(_, one)| one.as_ref().is_ok_and(|one| one.standby_of.is_some()));
    let mut parts = vec![format!("{} queues", report.queues.len())];
    let mut say = |n: u64, what: &str| {
        if n > 0 {
            parts.push(format!("{n} {what}"));
        }
    };
    say(standby.count() as u64, "swept by another replica");
    say(total.declared, "agents lost");
    say(total.did(Action::Reset), "tasks reset");
    say(total.did(Action::DeadLetter), "dead letters");
    say(total.did(Action::Expire) + total.expired, "expired");
    say(total.did(Action::Collect), "collected");
    say(total.did(Action::Fail), "failed elsewhere");
    say(total.did(Action::Revoke), "revoked");
    say(total.did(Action::Alert), "past their limit");
    say(total.observed.values().sum(), "would have been moved");
    say(total.held(), "held by guards");
    say(total.elsewhere, "waiting for a hook to tell");
    say(total.reconnecting, "waiting for their agent to come back");
    say(total.mended, "mended");
    parts.join(", ")
}
