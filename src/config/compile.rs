//! What was typed of a layout becomes what it means; what makes no sense is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use super::layout::{LayoutFile, Named, Typed, read_preset};
use super::section::{At, Place, Problems};
use super::value::{Commands, Text};
use crate::core::layout::{
    Agents, COMMANDS, Collection, Command, Dead, End, Heartbeat, Layout, Means, Order, Paused, Pending,
    Queues, Record, Running, Unit,
};
use crate::core::pattern::Pattern;

/// The layout that was typed at `place`, with what its preset says.
pub(super) fn compile(
    typed: LayoutFile,
    preset: Option<&str>,
    vars: BTreeMap<String, At<Text>>,
    listed: bool,
    place: &Place,
    problems: &mut Problems<'_>,
) -> Option<Layout> {
    let mut file = match preset {
        Some(name) => typed.over(read_preset(name, problems)),
        None => typed,
    };
    let known: Vec<_> = file.vars.keys().cloned().collect();
    for (name, text) in vars {
        match file.vars.get_mut(&name) {
            Some(known) => *known = text,
            None => {
                let known = if known.is_empty() { "it has none".to_owned() } else { known.join(", ") };
                problems.at(&text.place, format!("the layout has no variable {name:?}; known: {known}"));
            }
        }
    }
    let vars = file.vars.iter().map(|(name, text)| (name.clone(), text.value.0.clone())).collect();
    let mut compiler = Compiler { vars, place, problems, sound: true };
    let layout = compiler.layout(file, preset.unwrap_or("custom"), listed);
    if compiler.sound { layout } else { None }
}

struct Compiler<'p, 't> {
    vars: BTreeMap<String, String>,
    place: &'p Place,
    problems: &'p mut Problems<'t>,
    sound: bool,
}

impl Compiler<'_, '_> {
    fn refuse(&mut self, place: Option<&Place>, message: impl Into<String>) {
        self.sound = false;
        self.problems.at(place.unwrap_or(self.place), message);
    }

    /// The pattern with the variables filled in; it may have these holes, and any of an agent's.
    fn pattern(&mut self, typed: &At<Pattern>, holes: &[&str], agent: &[String]) -> Pattern {
        let pattern = typed.value.with(&self.vars);
        let stranger =
            pattern.holes().find(|hole| !holes.contains(hole) && !agent.iter().any(|own| own == hole));
        if let Some(hole) = stranger {
            let known: Vec<_> = holes.iter().copied().chain(agent.iter().map(String::as_str)).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            self.refuse(Some(&typed.place), format!("{{{hole}}} has no meaning here; known holes: {known}"));
        }
        pattern
    }

    /// Commands for a task; each part may have holes of the task, its record and the moment.
    fn commands(&mut self, typed: &Typed<Commands>) -> Vec<Command> {
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
            if parts.len() < arguments_of(name)
                || (*name == "HSET" || *name == "ZADD") && parts.len() % 2 == 0
            {
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
        const KNOWN: [&str; 6] = ["id", "queue", "base", "agent", "now", "now_ms"];
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

    fn layout(&mut self, file: LayoutFile, name: &str, listed: bool) -> Option<Layout> {
        let Some((kind, running)) = file.running.clone() else {
            self.refuse(
                None,
                "the layout must say where an agent keeps what it runs: running.list, .set, .zset or .hash",
            );
            return None;
        };
        let in_keys = file.agents_in_keys.as_ref().is_some_and(|at| at.value);
        // What is a hole and neither queue nor variable is a part of the agent's name.
        let typed = running.value.with(&self.vars);
        let mut agent: Vec<String> = if in_keys {
            typed.holes().filter(|hole| *hole != "queue").map(str::to_owned).collect()
        } else {
            vec!["agent".to_owned()]
        };
        agent.dedup();
        if agent.is_empty() {
            self.refuse(Some(&running.place), "nothing in this name tells the agents apart: give it {agent}");
        }
        let key = self.pattern(&running, &["queue"], &agent);
        let literal = key.glob();
        if in_keys && literal.split('*').next().is_none_or(|text| text.len() < 4) {
            self.refuse(
                Some(&running.place),
                "matches far too much: let it begin with a text of 4 letters or more",
            );
        }
        if !key.is_readable() {
            self.refuse(Some(&running.place), "has two holes without text between them: where does one end?");
        }
        if !in_keys && !key.holes().any(|hole| hole == "agent") {
            self.refuse(
                Some(&running.place),
                "all agents would share this: nothing in its name tells them apart, give it {agent}",
            );
        }
        if kind == Collection::Hash && file.field_of.is_none() && file.own.is_none() {
            self.refuse(
                Some(&running.place),
                "of a hash the field is kept, and the value lost: name the record where the task stands",
            );
        }
        let agents = match (in_keys, &file.agents) {
            (true, _) => Some(Agents::Keys),
            (false, Some((kind, typed))) => {
                let pattern = self.pattern(typed, &[], &[]);
                Some(if *kind == Collection::Set { Agents::Set(pattern) } else { Agents::SortedSet(pattern) })
            }
            (false, None) => {
                self.refuse(
                    None,
                    "the layout must say where agents are found: agents.set, .zset, or .in_keys = true",
                );
                None
            }
        };
        let has_queues = key.holes().any(|hole| hole == "queue");
        let queues = match (has_queues, &file.queues) {
            (false, _) => Queues::One,
            (true, Some((_, typed))) => Queues::Set(self.pattern(typed, &[], &agent)),
            (true, None) if in_keys || file.queues_in_keys.as_ref().is_some_and(|at| at.value) => {
                Queues::Keys
            }
            (true, None) => {
                if !listed {
                    self.refuse(Some(&running.place), "no queue would ever be looked at: list them in queues, or say queues.set or queues.in_keys");
                }
                Queues::Listed
            }
        };
        let heartbeat = self.heartbeat(&file.heartbeat, &file.means, &file.unit, &agent);
        let (record, pending) = (self.record(&file), self.pending(&file));
        let dead = self.dead(&file);
        let begun = match (&file.begun_field, &file.begun_value) {
            (Some(field), Some(value)) => Some((field.value.0.clone(), value.value.0.clone())),
            (None, None) => None,
            (one, other) => {
                let place = one.as_ref().or(other.as_ref()).map(|at| &at.place);
                self.refuse(place, "running.begun needs both, field and value");
                None
            }
        };
        let on_reset = self.commands(&file.on_reset);
        let on_dead = self.commands(&file.on_dead);
        self.refuse_what_loses_tasks(&file, kind, has_queues);
        if record.own.is_none()
            && (begun.is_some() || needs_record(&on_reset, &on_dead, pending.as_ref(), &record))
        {
            self.refuse(
                None,
                "what stands in a record's field needs record.hash, the hash in which it stands",
            );
        }
        let paused = match (&file.paused, &file.paused_member) {
            (Some(typed), _) => Some(Paused::Key(self.pattern(typed, &["queue"], &[]))),
            (None, Some(typed)) => Some(Paused::Member(self.pattern(typed, &[], &[]))),
            (None, None) => None,
        };
        Some(Layout {
            name: name.to_owned(),
            agents: agents?,
            queues,
            suffix: file.suffix.map(|at| at.value.0).unwrap_or_default(),
            heartbeat: heartbeat?,
            timeout: file.timeout.map_or(Duration::from_secs(60), |at| at.value.0),
            running: Running {
                kind,
                key,
                oldest: file.oldest.map_or(End::Right, |at| at.value),
                id: file.id.map(|at| at.value.0),
                begun,
            },
            record,
            pending: pending?,
            dead: dead?,
            on_reset,
            on_dead,
            paused,
        })
    }

    /// Refuses names that are sound alone and lose tasks together.
    fn refuse_what_loses_tasks(&mut self, file: &LayoutFile, running: Collection, has_queues: bool) {
        if let Some(own) = &file.own
            && !own.value.with(&self.vars).holes().any(|hole| hole == "id")
        {
            self.refuse(Some(&own.place), "all tasks would share this record: give it {id}");
        }
        if let Some(to) = &file.record_to
            && file.field_of.is_none()
        {
            self.refuse(Some(&to.place), "needs record.field_of, the hash from which the record moves");
        }
        let nameless =
            running == Collection::List && file.id.is_none() && file.field_of.is_none() && file.own.is_none();
        if let Some((Collection::SortedSet, pending)) = &file.pending
            && nameless
        {
            self.refuse(
                Some(&pending.place),
                "two tasks with the same payload would become one: name running.id or the record",
            );
        }
        let one_each = [&file.pending, &file.dead].into_iter().flatten().map(|(_, typed)| typed);
        let names =
            one_each.chain(&file.field_of).chain(&file.own).chain(&file.record_to).chain(&file.paused);
        for typed in names.filter(|_| !has_queues) {
            let name = typed.value.with(&self.vars);
            if let Some(hole) = name.holes().find(|hole| matches!(*hole, "queue" | "base")) {
                let message = format!(
                    "has the hole {{{hole}}}, and the running name doesn't say which queue a task is of"
                );
                self.refuse(Some(&typed.place), message);
            }
        }
    }

    fn heartbeat(
        &mut self,
        typed: &Named,
        means: &Typed<Means>,
        unit: &Typed<Unit>,
        agent: &[String],
    ) -> Option<Heartbeat> {
        match typed {
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
            Some((_, typed)) if agent != ["agent"] => {
                let message = "the members of this set are agents, and here an agent has no single name: use heartbeat.key";
                self.refuse(Some(&typed.place), message);
                None
            }
            Some((_, typed)) => Some(Heartbeat::Score {
                key: self.pattern(typed, &[], &[]),
                means: means.as_ref().map_or(Means::LastSeen, |at| at.value),
                unit: unit.as_ref().map_or(Unit::Seconds, |at| at.value),
            }),
            None => {
                self.refuse(
                    None,
                    "the layout must say how an agent shows life: heartbeat.key or heartbeat.zset",
                );
                None
            }
        }
    }

    fn record(&mut self, file: &LayoutFile) -> Record {
        Record {
            field_of: file.field_of.as_ref().map(|typed| self.pattern(typed, &["queue", "base"], &[])),
            own: file.own.as_ref().map(|typed| self.pattern(typed, &["queue", "base", "id"], &[])),
            member_of: file.member_of.as_ref().map(|typed| self.of_task(typed)),
        }
    }

    fn pending(&mut self, file: &LayoutFile) -> Option<Pending> {
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

    fn dead(&mut self, file: &LayoutFile) -> Option<Dead> {
        let Some((kind, typed)) = &file.dead else {
            self.refuse(None, "the layout must say where tasks are set aside: dead.list, .set or .zset");
            return None;
        };
        let record_to = file.record_to.as_ref().map(|typed| self.pattern(typed, &["queue", "base"], &[]));
        Some(Dead {
            kind: *kind,
            key: self.pattern(typed, &["queue", "base"], &[]),
            end: file.dead_end.as_ref().map_or(End::Left, |at| at.value),
            unit: file.dead_unit.as_ref().map_or(Unit::Seconds, |at| at.value),
            record_to,
        })
    }
}

/// Whether anything is to be filled from a task's record.
fn needs_record(
    on_reset: &[Command],
    on_dead: &[Command],
    pending: Option<&Pending>,
    record: &Record,
) -> bool {
    let of_commands = on_reset.iter().chain(on_dead).flat_map(|one| one.arguments.iter().chain([&one.key]));
    let mut all = of_commands.chain(pending.map(|pending| &pending.key)).chain(&record.member_of);
    all.any(|pattern| pattern.holes().any(|hole| hole.trim_start_matches(':').starts_with("record.")))
        || pending.is_some_and(|pending| matches!(pending.order, Order::Field(_)))
}

/// How many words a command needs besides its name.
fn arguments_of(command: &str) -> usize {
    match command {
        "HSET" | "ZADD" => 3,
        "INCR" | "DECR" | "DEL" => 1,
        _ => 2,
    }
}
