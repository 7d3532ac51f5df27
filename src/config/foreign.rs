//! Systems that are watched from outside: `[foreign.NAME]`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::compile;
use super::layout::{self, LayoutFile, PRESETS};
use super::section::{At, Place, Problems, Section};
use super::value::{Period, Text, Texts, Wait};
use crate::core::id::QueueName;
use crate::core::layout::{Layout, Position};
use crate::core::policy::{Mode, QueuePolicy};

/// How often queues and agents are looked for that weren't known.
const DISCOVER_EVERY: Duration = Duration::from_secs(30);
/// Where age is all that is known: what guards take for the time between two signs of life, at most.
const LONGEST_BEAT: Duration = Duration::from_secs(60);
/// How much longer than a system's own time-out an agent may be silent.
const LOST_AFTER: Duration = Duration::from_secs(15);

/// A system that is watched from outside.
#[derive(Debug, Clone, PartialEq)]
pub struct Foreign {
    /// How it lays its tasks out.
    pub layout: Layout,
    /// Its queues; empty: those that are found.
    pub queues: BTreeSet<String>,
    /// How long a sign of life may stay as it is; where age is all that is known, how old a task may be.
    pub timeout: Duration,
    /// Where a task goes back to.
    pub position: Position,
    /// How often queues and agents are looked for that weren't known.
    pub discover_every: Duration,
    /// What was decided for it.
    pub policy: QueuePolicy,
}

/// What was typed of one.
#[derive(Debug)]
pub(super) struct ForeignFile {
    place: Place,
    preset: Option<At<Text>>,
    vars: BTreeMap<String, At<Text>>,
    queues: Option<At<Texts>>,
    mode: Option<At<Mode>>,
    heartbeat_timeout: Option<At<Period>>,
    lost_after: Option<At<Wait>>,
    max_abandonments: Option<At<u32>>,
    position: Option<At<Position>>,
    discover_every: Option<At<Period>>,
    layout: LayoutFile,
}

impl ForeignFile {
    pub(super) fn read(entry: &mut Section<'_, '_>) -> Self {
        Self {
            place: entry.place(),
            preset: entry.value("preset"),
            vars: entry.texts("vars"),
            queues: entry.value("queues"),
            mode: entry.value("mode"),
            heartbeat_timeout: entry.value("heartbeat_timeout"),
            lost_after: entry.value("lost_after"),
            max_abandonments: entry.value("max_abandonments"),
            position: entry.value("position"),
            discover_every: entry.value("discover_every"),
            layout: entry.section("layout", LayoutFile::read),
        }
    }

    fn resolve(self, problems: &mut Problems<'_>) -> Option<Foreign> {
        if let Some(typed) = &self.preset
            && layout::preset(&typed.value.0).is_none()
        {
            let known: Vec<_> = PRESETS.iter().map(|(name, _)| *name).collect();
            problems.at(&typed.place, format!("there is no such preset; known: {}", known.join(", ")));
            return None;
        }
        let preset = self.preset.as_ref().map(|at| at.value.0.as_str());
        let layout =
            compile::compile(self.layout, preset, self.vars, self.queues.is_some(), &self.place, problems)?;
        let mut policy = QueuePolicy { mode: Mode::Observe, ..QueuePolicy::default() };
        if let Some(mode) = &self.mode {
            policy.mode = mode.value;
        }
        let timeout = self.heartbeat_timeout.map_or(layout.timeout, |at| at.value.0);
        // An age says nothing of how often an agent beats: guards and graces go by that.
        policy.session.heartbeat_timeout =
            if layout.is_by_age() { timeout.min(LONGEST_BEAT) } else { timeout };
        policy.session.lost_after = self.lost_after.map_or(LOST_AFTER, |at| at.value.0);
        if let Some(at) = &self.max_abandonments {
            policy.task.max_abandonments = at.value;
        }
        Some(Foreign {
            layout,
            queues: self.queues.map(|at| at.value.0.into_iter().collect()).unwrap_or_default(),
            timeout,
            position: self.position.map(|at| at.value).unwrap_or_default(),
            discover_every: self.discover_every.map_or(DISCOVER_EVERY, |at| at.value.0),
            policy,
        })
    }
}

/// What was typed becomes what it means; two that would watch the same keys are refused.
pub(super) fn resolve(
    typed: BTreeMap<QueueName, ForeignFile>,
    native: &BTreeSet<QueueName>,
    problems: &mut Problems<'_>,
) -> BTreeMap<QueueName, Foreign> {
    let mut all = BTreeMap::new();
    for (name, file) in typed {
        let place = file.place.clone();
        if native.contains(&name) {
            problems.at(&place, "a queue of our own has this name: choose another");
        }
        let Some(foreign) = file.resolve(problems) else { continue };
        let same = all.iter().find(|(_, other): &(&QueueName, &Foreign)| {
            let every = other.queues.is_empty() || foreign.queues.is_empty();
            other.layout.running.key == foreign.layout.running.key
                && other.layout.running.group == foreign.layout.running.group
                && (every || !other.queues.is_disjoint(&foreign.queues))
        });
        if let Some((other, _)) = same {
            let message =
                format!("watches the same keys as [foreign.{other}]: each task must have one watcher");
            problems.at(&place, message);
        }
        all.insert(name, foreign);
    }
    all
}
