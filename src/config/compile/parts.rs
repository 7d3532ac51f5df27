//! The parts of a layout, each from what was typed of it.

use std::time::Duration;

use super::super::layout::{LayoutFile, Typed, VersionFile};
use super::super::section::At;
use super::super::value::{Commands, Text};
use super::Compiler;
use crate::core::layout::{
    COMMANDS, Collection, Command, Dead, End, Heartbeat, Id, Life, Means, Order, Paused, Pending, Record,
    Unit, Version, numbers,
};
use crate::core::pattern::Pattern;

impl Compiler<'_, '_> {
    /// Commands for a task; each part may have holes of the task, its record and the moment.
    pub(super) fn commands(&mut self, typed: &Typed<Commands>) -> Vec<Command> {
        let Some(At { value: Commands(all), place }) = typed else { return Vec::new() };
        let mut commands = Vec::new();
        for words in all {
            let mut words = words.iter();
            let word = words.next().map(String::as_str).unwrap_or_default();
            let Some((name, _)) = COMMANDS.iter().find(|(name, _)| *name == word) else {
                let known: Vec<_> = COMMANDS.iter().map(|(name, _)| *name).collect();
                let message = format!("{word:?} is no command for a layout; known: {}", known.join(", "));
                self.refuse(Some(place), message);
                continue;
            };
            let mut parts = Vec::new();
            for text in words {
                match Pattern::argument(text) {
                    Ok(value) => parts.push(self.of_task(&At { value, place: place.clone() })),
                    Err(error) => self.refuse(Some(place), error.to_string()),
                }
            }
            let pairs = matches!(*name, "HSET" | "ZADD");
            if parts.len() < arguments_of(name) || pairs && parts.len() % 2 == 0 {
                self.refuse(Some(place), format!("{name} needs a key and more arguments than that"));
            } else if !parts.is_empty() {
                let key = parts.remove(0);
                commands.push(Command { name, key, arguments: parts });
            }
        }
        commands
    }

    /// A pattern that is filled for each task, where its record is known.
    fn of_task(&mut self, typed: &At<Pattern>) -> Pattern {
        const KNOWN: [&str; 9] =
            ["id", "queue", "base", "agent", "rest", "now", "now_ms", "now_ns", "now_iso"];
        let pattern = typed.value.with(&self.vars);
        let known = |hole: &str| KNOWN.contains(&hole) || hole.starts_with("record.");
        let holes = pattern.holes().map(|hole| hole.strip_prefix(':').unwrap_or(hole));
        let stranger = holes.filter(|hole| !known(hole)).map(str::to_owned).next();
        if let Some(hole) = stranger {
            let message =
                format!("{{{hole}}} has no meaning here; known holes: {}, record.FIELD", KNOWN.join(", "));
            self.refuse(Some(&typed.place), message);
        }
        pattern
    }

    pub(super) fn heartbeat(&mut self, file: &LayoutFile, agent: &[String]) -> Option<Heartbeat> {
        if let Some(at) = &file.idle
            && at.value
        {
            if !matches!(file.running, Some((Collection::Stream, _))) {
                self.refuse(Some(&at.place), "only a stream knows how long ago it gave a task out");
            }
            // A key that was typed is the better evidence.
            if file.heartbeat.is_none() {
                return Some(Heartbeat::Idle);
            }
        }
        let of_task = self.life == Life::Tasks;
        match &file.heartbeat {
            Some((Collection::Key, typed)) if of_task => {
                let stream = matches!(file.running, Some((Collection::Stream, _)));
                let holes: &[&str] = if stream { &["queue", "id", "agent"] } else { &["queue", "id"] };
                let pattern = self.pattern(typed, holes, &[]);
                if !pattern.holes().any(|hole| hole == "id" || hole == "agent") {
                    self.refuse(Some(&typed.place), "all tasks would share this heartbeat: give it {id}");
                }
                Some(Heartbeat::Key(pattern))
            }
            Some((Collection::Key, typed)) => {
                let pattern = self.pattern(typed, &[], agent);
                if let Some(missing) =
                    agent.iter().find(|own| !pattern.holes().any(|hole| hole == own.as_str()))
                {
                    let message = format!("all agents would share this heartbeat: give it {{{missing}}}");
                    self.refuse(Some(&typed.place), message);
                }
                Some(Heartbeat::Key(pattern))
            }
            Some((_, typed)) if !of_task && agent != ["agent"] => {
                let message = "the members of this set are agents, and here an agent has no single name: use heartbeat.key";
                self.refuse(Some(&typed.place), message);
                None
            }
            Some((_, typed)) => {
                let means = file.means.as_ref().map_or(Means::LastSeen, |at| at.value);
                if let Some(ahead) = &file.ahead
                    && (means == Means::LastSeen || !of_task)
                {
                    self.refuse(Some(&ahead.place), "needs heartbeat.of = \"task\" and means = \"expires\"");
                }
                let holes: &[&str] = if of_task { &["queue"] } else { &[] };
                Some(Heartbeat::Score {
                    key: self.pattern(typed, holes, &[]),
                    means,
                    unit: file.unit.as_ref().map_or(Unit::Seconds, |at| at.value),
                    ahead: file.ahead.as_ref().map_or(Duration::ZERO, |at| at.value.0),
                })
            }
            None => {
                self.refuse(
                    None,
                    "the layout must say how life is shown: heartbeat.key, heartbeat.zset, or of a stream heartbeat.idle = true",
                );
                None
            }
        }
    }

    pub(super) fn record(&mut self, file: &LayoutFile) -> Record {
        Record {
            field_of: file.field_of.as_ref().map(|typed| self.pattern(typed, &["queue", "base"], &[])),
            own: file.own.as_ref().map(|typed| self.pattern(typed, &["queue", "base", "id"], &[])),
            needs: file.needs.as_ref().map(|at| at.value.0.clone()),
            member_of: file.member_of.as_ref().map(|typed| self.of_task(typed)),
            runs: self.pair("record.runs", &file.runs_field, &file.runs_value),
        }
    }

    /// A field and its value; one without the other makes no sense.
    pub(super) fn pair(
        &mut self,
        key: &str,
        field: &Typed<Text>,
        value: &Typed<Text>,
    ) -> Option<(String, String)> {
        match (field, value) {
            (Some(field), Some(value)) => Some((field.value.0.clone(), value.value.0.clone())),
            (None, None) => None,
            (one, other) => {
                let place = one.as_ref().or(other.as_ref()).map(|at| &at.place);
                self.refuse(place, format!("{key} needs both, field and value"));
                None
            }
        }
    }

    pub(super) fn id(&mut self, file: &LayoutFile) -> Id {
        match (&file.id, &file.id_before) {
            (Some(_), Some(other)) => {
                self.refuse(Some(&other.place), "name running.id or running.id_before, not both");
                Id::Entry
            }
            (Some(field), None) => Id::Json(field.value.0.clone()),
            (None, Some(edge)) if edge.value.0.is_empty() => {
                self.refuse(Some(&edge.place), "expected the text that ends the name, such as \":\"");
                Id::Entry
            }
            (None, Some(edge)) => Id::Before(edge.value.0.clone()),
            (None, None) => Id::Entry,
        }
    }

    pub(super) fn pending(&mut self, file: &LayoutFile) -> Option<Pending> {
        if let Some((Collection::Stream, running)) = &file.running {
            if let Some((_, typed)) = &file.pending {
                self.refuse(Some(&typed.place), "a task of a stream waits in that stream");
            }
            return Some(Pending { key: self.pattern(running, &["queue"], &[]), order: Order::Stream });
        }
        let Some((kind, typed)) = &file.pending else {
            self.refuse(None, "the layout must say where tasks wait: pending.list or pending.zset");
            return None;
        };
        let order = match (kind, &file.score, &file.score_field) {
            (Collection::List, _, _) => Order::List(file.take.as_ref().map_or(End::Right, |at| at.value)),
            (_, _, Some(field)) => Order::Field(field.value.0.clone()),
            (_, score, None) => {
                let score = score.as_ref().map_or_else(|| "0".to_owned(), |at| at.value.0.clone());
                if !score.parse::<f64>().is_ok_and(f64::is_finite) {
                    self.refuse(
                        file.score.as_ref().map(|at| &at.place),
                        "expected a number in quotes, such as \"0\"",
                    );
                }
                Order::Score(score)
            }
        };
        let key = self.of_task(typed);
        let known = |hole: &str| matches!(hole, "queue" | "base") || hole.contains("record.");
        if let Some(hole) = key.holes().find(|hole| !known(hole)).map(str::to_owned) {
            self.refuse(
                Some(&typed.place),
                format!("{{{hole}}} has no meaning here; known holes: queue, base, record.FIELD"),
            );
        }
        Some(Pending { key, order })
    }

    pub(super) fn dead(&mut self, file: &LayoutFile) -> Option<Dead> {
        let Some((kind, typed)) = &file.dead else {
            self.refuse(
                None,
                "the layout must say where tasks are set aside: dead.list, .set, .zset or .stream",
            );
            return None;
        };
        let of_stream = matches!(file.running, Some((Collection::Stream, _)));
        if of_stream != (*kind == Collection::Stream) {
            let message = "what comes from a stream is set aside in a stream, and nothing else is";
            self.refuse(Some(&typed.place), message);
        }
        let record_to = file.record_to.as_ref().map(|typed| self.pattern(typed, &["queue", "base"], &[]));
        Some(Dead {
            kind: *kind,
            key: self.pattern(typed, &["queue", "base"], &[]),
            end: file.dead_end.as_ref().map_or(End::Left, |at| at.value),
            unit: file.dead_unit.as_ref().map_or(Unit::Seconds, |at| at.value),
            keep: file.keep.as_ref().map_or(Duration::ZERO, |at| at.value.0),
            record_to,
        })
    }

    pub(super) fn paused(&mut self, file: &LayoutFile) -> Option<Paused> {
        match (&file.paused, &file.paused_member, &file.paused_hash) {
            (Some(typed), _, _) => Some(Paused::Key(self.pattern(typed, &["queue"], &[]))),
            (None, Some(typed), _) => Some(Paused::Member(self.pattern(typed, &[], &[]))),
            (None, None, Some(typed)) => {
                let Some(field) = &file.paused_field else {
                    self.refuse(Some(&typed.place), "needs paused.field, the field that says so");
                    return None;
                };
                Some(Paused::Field(self.pattern(typed, &["queue"], &[]), field.value.0.clone()))
            }
            (None, None, None) => None,
        }
    }

    pub(super) fn version(&mut self, file: &VersionFile) -> Option<Version> {
        let hash = file.hash.as_ref()?;
        let mut release = |typed: &Typed<Text>, key: &str| {
            let known = typed.as_ref().and_then(|at| numbers(&at.value.0));
            if known.is_none() {
                let place = typed.as_ref().map_or(&hash.place, |at| &at.place);
                self.refuse(Some(place), format!("version.{key} must be a version, such as \"5.0\""));
            }
            known
        };
        let (from, until) = (release(&file.from, "from")?, release(&file.until, "until")?);
        let Some(field) = &file.field else {
            self.refuse(Some(&hash.place), "needs version.field, where the version stands");
            return None;
        };
        Some(Version {
            key: self.pattern(hash, &["queue"], &[]),
            field: field.value.0.clone(),
            prefix: file.prefix.as_ref().map(|at| at.value.0.clone()).unwrap_or_default(),
            from,
            until,
        })
    }
}

/// How many words a command needs besides its name.
fn arguments_of(command: &str) -> usize {
    match command {
        "HSET" | "ZADD" | "HINCRBY" => 3,
        "XADD" => 4,
        "INCR" | "DECR" | "DEL" => 1,
        _ => 2,
    }
}
