//! What a pass tells: for metrics, for the pages, for a person who swept by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::id::QueueName;
use crate::core::policy::Mode;
use crate::core::summary::{Summary, running};
use crate::core::words::Guard;
use crate::native::scripts::observe::Figures;
use crate::store::StoreError;

/// One pass over all queues.
#[derive(Debug)]
pub struct PassReport {
    /// How long it took.
    pub took: Duration,
    /// Queue by queue; what failed in one didn't stop the others.
    pub queues: Vec<(QueueName, Result<QueueReport, StoreError>)>,
    /// Why nothing was swept at all.
    pub failed: Option<StoreError>,
    /// By how much the server's clock moved against ours since the pass before.
    pub skew: Duration,
}

impl PassReport {
    pub(super) fn failed(took: Duration, error: StoreError) -> Self {
        Self { took, queues: Vec::new(), failed: Some(error), skew: Duration::ZERO }
    }

    /// Whether every queue was swept, or is swept by another replica.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.failed.is_none() && self.queues.iter().all(|(_, report)| report.is_ok())
    }
}

/// What keeps verdicts of a queue from being carried out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenGuard {
    /// Which.
    pub guard: Guard,
    /// Why, for a person.
    pub reason: String,
}

/// One queue in one pass.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueReport {
    /// Whether verdicts move tasks.
    pub mode: Mode,
    /// Who sweeps it, if that is another replica.
    pub standby_of: Option<String>,
    /// The server's clock, ms.
    pub now_ms: i64,
    /// Figures of the queue.
    pub figures: Figures,
    /// What was found and done.
    pub summary: Summary,
    /// Guards that are open.
    pub guards: Vec<OpenGuard>,
    /// What lost sessions run still.
    pub lost_running: u64,
    /// The scripts' durable totals.
    pub totals: BTreeMap<String, i64>,
    /// What runs, where it was counted: in somebody else's system totals don't tell.
    pub counted_running: Option<u64>,
    /// Since when the longest-running task runs, ms, as the last walk over all sessions found it.
    pub oldest_running_ms: Option<i64>,
    /// When that walk ended, ms; `None`: the first one isn't over.
    pub oldest_running_as_of_ms: Option<i64>,
    /// Since when the task that was abandoned first, and still isn't moved, is abandoned, ms.
    pub oldest_abandoned_ms: Option<i64>,
    /// When the oldest dead letter died, ms.
    pub oldest_dead_ms: Option<i64>,
}

impl QueueReport {
    /// A total that the scripts keep; 0 if it never was counted.
    #[must_use]
    pub fn total(&self, name: &str) -> u64 {
        self.totals.get(name).and_then(|n| u64::try_from(*n).ok()).unwrap_or(0)
    }

    /// How many tasks run: what was enqueued and is nowhere else.
    #[must_use]
    pub fn running(&self) -> u64 {
        if let Some(counted) = self.counted_running {
            return counted;
        }
        let elsewhere = self.figures.pending + self.figures.delayed + self.figures.dead;
        running(|name| self.total(name), elsewhere)
    }
}
