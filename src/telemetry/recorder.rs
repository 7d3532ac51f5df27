//! Counts what happened, and writes it down for Prometheus.
//!
//! Counters hold what this process' own scripts did, as the scripts said, so that replicas add up; for a queue that
//! this replica sweeps, also what agents' scripts did there meanwhile (see [`Recorder::durable`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::process_collector::ProcessCollector;
use prometheus::{CounterVec, GaugeVec, HistogramOpts, HistogramVec, Opts, Registry, TextEncoder};

use super::durable::Ledger;
use super::metrics::{self, Kind, Label, MOST_QUEUES, Metric, OTHER, PREFIX, TABLE};

/// The recorder could not be set up: two metrics of the table have one name, or a name or label is malformed.
#[derive(Debug, thiserror::Error)]
#[error("could not set up the metrics")]
pub struct RecorderError(#[from] prometheus::Error);

enum Family {
    Counter(CounterVec),
    Gauge(GaugeVec),
    Histogram(HistogramVec),
}

/// What changes besides the figures.
#[derive(Default)]
pub(super) struct Known {
    /// Queues that have a label value of their own.
    labelled: BTreeSet<String>,
    /// Whether all others have theirs.
    other: bool,
    /// What was last seen of the durable totals, of each queue that this replica sweeps.
    pub(super) ledgers: BTreeMap<String, Ledger>,
}

/// Holds every figure of the table. All methods may be called from any thread.
pub struct Recorder {
    registry: Registry,
    families: HashMap<&'static str, Family>,
    known: Mutex<Known>,
}

impl Recorder {
    /// A recorder with every figure at zero. `configured` are the queues that come first for a label of their own.
    ///
    /// # Errors
    /// [`RecorderError`] if the table contradicts itself.
    pub fn new<'a>(configured: impl IntoIterator<Item = &'a str>) -> Result<Self, RecorderError> {
        let registry = Registry::new();
        let mut families = HashMap::new();
        for metric in TABLE {
            families.insert(metric.name, register(&registry, metric)?);
        }
        registry.register(Box::new(ProcessCollector::for_self()))?;
        let recorder = Self { registry, families, known: Mutex::default() };
        for metric in TABLE {
            if !metric.labels.contains(&Label::Queue) {
                recorder.begin_at_zero(metric, None);
            }
        }
        recorder.set(&metrics::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1.0);
        for queue in configured {
            recorder.queue(&mut recorder.known(), queue);
        }
        Ok(recorder)
    }

    /// Makes queues known that no configuration names. They get labels in order of name, as far as there are any.
    pub fn discovered<'a>(&self, queues: impl IntoIterator<Item = &'a str>) {
        let sorted: BTreeSet<&str> = queues.into_iter().collect();
        let mut known = self.known();
        for queue in sorted {
            self.queue(&mut known, queue);
        }
    }

    /// The page that Prometheus reads, in its text format 0.0.4. Asks nobody but the operating system.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut page = String::with_capacity(256 * 1024);
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut page) {
            tracing::error!(%error, "could not write the metrics");
        }
        page
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        // Figures stay sound whatever a panicking thread was doing: each change is one step.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The label value that stands for a queue.
    pub(super) fn queue<'q>(&self, known: &mut Known, queue: &'q str) -> &'q str {
        if known.labelled.contains(queue) {
            return queue;
        }
        if known.labelled.len() < MOST_QUEUES {
            known.labelled.insert(queue.to_owned());
            self.begin_queue(queue);
            return queue;
        }
        if !std::mem::replace(&mut known.other, true) {
            self.begin_queue(OTHER);
        }
        self.overflowed("queue");
        OTHER
    }

    fn begin_queue(&self, queue: &str) {
        for metric in TABLE {
            if metric.labels.contains(&Label::Queue) {
                self.begin_at_zero(metric, Some(queue));
            }
        }
    }

    /// Makes every combination of the metric's labels appear.
    fn begin_at_zero(&self, metric: &Metric, queue: Option<&str>) {
        let mut combinations: Vec<Vec<&str>> = vec![Vec::new()];
        for label in metric.labels {
            let values: &[&str] = match label {
                Label::Queue => queue.as_slice(),
                Label::Closed { values, .. } => values,
            };
            combinations = combinations
                .iter()
                .flat_map(|c| values.iter().map(|v| [c.as_slice(), &[*v]].concat()))
                .collect();
        }
        for values in combinations {
            match (metric.kind, self.families.get(metric.name)) {
                (Kind::Counter, _) => self.add(metric, &values, 0.0),
                (Kind::Gauge, _) => self.set(metric, &values, 0.0),
                (Kind::Histogram(_), Some(Family::Histogram(family))) => {
                    // Asking for it is what makes it appear.
                    drop(family.get_metric_with_label_values(&values));
                }
                (Kind::Moment | Kind::Histogram(_), _) => {}
            }
        }
    }

    /// Whether each value is one that its label may have. What isn't is not shown, and counted.
    fn closed(&self, metric: &Metric, values: &[&str]) -> bool {
        let stranger = metric.labels.iter().zip(values).find(|(label, value)| match label {
            Label::Queue => false,
            Label::Closed { values, .. } => !values.contains(value),
        });
        if let Some((label, value)) = stranger {
            tracing::warn!(
                metric = metric.name,
                label = label.name(),
                value,
                "a word that the metrics don't know"
            );
            self.overflowed(label.name());
        }
        stranger.is_none()
    }

    fn overflowed(&self, label: &str) {
        if let Some(Family::Counter(family)) = self.families.get(metrics::LABEL_OVERFLOW.name)
            && let Ok(counter) = family.get_metric_with_label_values(&[label])
        {
            counter.inc();
        }
    }

    pub(super) fn add(&self, metric: &Metric, values: &[&str], by: f64) {
        if let Some(Family::Counter(family)) = self.families.get(metric.name)
            && by >= 0.0
            && self.closed(metric, values)
            && let Ok(counter) = family.get_metric_with_label_values(values)
        {
            counter.inc_by(by);
        }
    }

    pub(super) fn set(&self, metric: &Metric, values: &[&str], to: f64) {
        if let Some(Family::Gauge(family)) = self.families.get(metric.name)
            && self.closed(metric, values)
            && let Ok(gauge) = family.get_metric_with_label_values(values)
        {
            gauge.set(to);
        }
    }

    /// Sets a moment, or takes it away.
    pub(super) fn set_moment(&self, metric: &Metric, values: &[&str], at_ms: Option<i64>) {
        match (at_ms, self.families.get(metric.name)) {
            (Some(at_ms), _) => self.set(metric, values, seconds(at_ms)),
            // It may not be there, which is as good.
            (None, Some(Family::Gauge(family))) => drop(family.remove_label_values(values)),
            (None, _) => {}
        }
    }

    pub(super) fn observe(&self, metric: &Metric, values: &[&str], size: Duration, times: u64) {
        if let Some(Family::Histogram(family)) = self.families.get(metric.name)
            && self.closed(metric, values)
            && let Ok(histogram) = family.get_metric_with_label_values(values)
        {
            for _ in 0..times {
                histogram.observe(size.as_secs_f64());
            }
        }
    }

    /// The queues that have a label value of their own, and the one for all others if there are any.
    pub(super) fn labels(&self) -> Vec<String> {
        let known = self.known();
        known.labelled.iter().cloned().chain(known.other.then(|| OTHER.to_owned())).collect()
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("families", &self.families.len()).finish_non_exhaustive()
    }
}

/// Milliseconds since 1970 as Prometheus wants moments.
#[allow(clippy::cast_precision_loss)] // exact up to the year 287396
pub(super) fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// A count as Prometheus wants figures.
#[allow(clippy::cast_precision_loss)] // exact up to 9e15
pub(super) fn figure(n: u64) -> f64 {
    n as f64
}

fn register(registry: &Registry, metric: &Metric) -> Result<Family, prometheus::Error> {
    let name = format!("{PREFIX}{}", metric.name);
    let labels: Vec<&str> = metric.labels.iter().map(Label::name).collect();
    Ok(match metric.kind {
        Kind::Counter => {
            let family = CounterVec::new(Opts::new(name, metric.help), &labels)?;
            registry.register(Box::new(family.clone()))?;
            Family::Counter(family)
        }
        Kind::Gauge | Kind::Moment => {
            let family = GaugeVec::new(Opts::new(name, metric.help), &labels)?;
            registry.register(Box::new(family.clone()))?;
            Family::Gauge(family)
        }
        Kind::Histogram(edges) => {
            let options = HistogramOpts::new(name, metric.help).buckets(edges.to_vec());
            let family = HistogramVec::new(options, &labels)?;
            registry.register(Box::new(family.clone()))?;
            Family::Histogram(family)
        }
    })
}
