//! What was typed of a layout becomes what it means; what makes no sense is refused.

mod parts;

use std::collections::BTreeMap;
use std::time::Duration;

use super::layout::{LayoutFile, read_preset};
use super::section::{At, Place, Problems};
use super::value::Text;
use crate::core::layout::{
    Agents, Collection, Command, End, Envelope, Layout, Life, Order, Pending, Queues, Record, Running,
};
use crate::core::pattern::{Pattern, Values};

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
    let mut compiler = Compiler { vars, place, problems, life: Life::Agents, sound: true };
    let layout = compiler.layout(file, preset.unwrap_or("custom"), listed);
    if compiler.sound { layout } else { None }
}

struct Compiler<'p, 't> {
    vars: BTreeMap<String, String>,
    place: &'p Place,
    problems: &'p mut Problems<'t>,
    life: Life,
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

    fn layout(&mut self, file: LayoutFile, name: &str, listed: bool) -> Option<Layout> {
        let Some((kind, running)) = file.running.clone() else {
            self.refuse(
                None,
                "the layout must say where an agent keeps what it runs: running.list, .set, .zset, .hash or .stream",
            );
            return None;
        };
        let stream = kind == Collection::Stream;
        self.life = file.life.as_ref().map_or(if stream { Life::Tasks } else { Life::Agents }, |at| at.value);
        let of_task = self.life == Life::Tasks;
        let in_keys = file.agents_in_keys.as_ref().is_some_and(|at| at.value);
        // What is a hole and neither queue nor variable is a part of the agent's name.
        let typed = running.value.with(&self.vars);
        let mut agent: Vec<String> = match (of_task, in_keys) {
            (true, _) => Vec::new(),
            (false, true) => typed.holes().filter(|hole| *hole != "queue").map(str::to_owned).collect(),
            (false, false) => vec!["agent".to_owned()],
        };
        agent.dedup();
        if agent.is_empty() && !of_task {
            self.refuse(Some(&running.place), "nothing in this name tells the agents apart: give it {agent}");
        }
        let key = self.pattern(&running, &["queue"], &agent);
        let queues_in_keys = file.queues_in_keys.as_ref().is_some_and(|at| at.value);
        let literal = key.glob();
        // Streams are told from other keys by their type and their group.
        if (in_keys || queues_in_keys && of_task && !stream)
            && literal.split('*').next().is_none_or(|text| text.len() < 4)
        {
            self.refuse(
                Some(&running.place),
                "matches far too much: let it begin with a text of 4 letters or more",
            );
        }
        if !key.is_readable() {
            self.refuse(Some(&running.place), "has two holes without text between them: where does one end?");
        }
        if !in_keys && !of_task && !key.holes().any(|hole| hole == "agent") {
            self.refuse(
                Some(&running.place),
                "all agents would share this: nothing in its name tells them apart, give it {agent}, or say heartbeat.of = \"task\"",
            );
        }
        let envelope = file.envelope.as_ref().map_or(Envelope::None, |at| at.value);
        if let Some(at) = &file.envelope
            && envelope == Envelope::Kombu
            && !(of_task
                && kind == Collection::Hash
                && matches!(file.heartbeat, Some((Collection::SortedSet, _))))
        {
            self.refuse(
                Some(&at.place),
                "needs running.hash, and heartbeat.of = \"task\" with heartbeat.zset",
            );
        }
        if kind == Collection::Hash
            && file.field_of.is_none()
            && file.own.is_none()
            && envelope == Envelope::None
        {
            self.refuse(
                Some(&running.place),
                "of a hash the field is kept, and the value lost: name the record where the task stands",
            );
        }
        let agents = self.agents(&file, in_keys);
        let has_queues = key.holes().any(|hole| hole == "queue");
        let queues = match (has_queues, &file.queues) {
            (false, _) => Queues::One,
            (true, Some((_, typed))) => Queues::Set(self.pattern(typed, &[], &agent)),
            (true, None) if in_keys || queues_in_keys => Queues::Keys,
            (true, None) => {
                if !listed {
                    self.refuse(Some(&running.place), "no queue would ever be looked at: list them in queues, or say queues.set or queues.in_keys");
                }
                Queues::Listed
            }
        };
        let group = match (&file.group, stream) {
            (Some(typed), true) => {
                let name = self.pattern(typed, &[], &[]).fill(&Values::new()).unwrap_or_default();
                Some(String::from_utf8_lossy(&name).into_owned())
            }
            (None, true) => {
                self.refuse(Some(&running.place), "which group reads this stream? Say running.group");
                None
            }
            (Some(typed), false) => {
                self.refuse(Some(&typed.place), "only a stream has groups");
                None
            }
            (None, false) => None,
        };
        let heartbeat = self.heartbeat(&file, &agent);
        let (record, pending) = (self.record(&file), self.pending(&file));
        let dead = self.dead(&file);
        let begun = self.pair("running.begun", &file.begun_field, &file.begun_value);
        let on_reset = self.commands(&file.on_reset);
        let on_dead = self.commands(&file.on_dead);
        self.refuse_what_loses_tasks(&file, kind, has_queues || envelope != Envelope::None);
        if record.own.is_none()
            && (begun.is_some()
                || record.runs.is_some()
                || record.needs.is_some()
                || needs_record(&on_reset, &on_dead, pending.as_ref(), &record))
        {
            self.refuse(
                None,
                "what stands in a record's field needs record.hash, the hash in which it stands",
            );
        }
        let (paused, version, id) = (self.paused(&file), self.version(&file.version), self.id(&file));
        Some(Layout {
            name: name.to_owned(),
            life: self.life,
            agents: agents?,
            queues,
            prefix: file.prefix.map(|at| at.value.0).unwrap_or_default(),
            suffix: file.suffix.map(|at| at.value.0).unwrap_or_default(),
            heartbeat: heartbeat?,
            timeout: file.timeout.map_or(Duration::from_secs(60), |at| at.value.0),
            running: Running {
                kind,
                key,
                oldest: file.oldest.map_or(End::Right, |at| at.value),
                group,
                copies: file.copies.is_some_and(|at| at.value),
                id,
                envelope,
                begun,
            },
            record,
            pending: pending?,
            dead: dead?,
            on_reset,
            on_dead,
            paused,
            version,
        })
    }

    fn agents(&mut self, file: &LayoutFile, in_keys: bool) -> Option<Agents> {
        match (&file.agents, in_keys, self.life) {
            (None, false, Life::Tasks) => Some(Agents::None),
            (typed, _, Life::Tasks) => {
                let place = typed.as_ref().map(|(_, at)| &at.place);
                let place = place.or(file.agents_in_keys.as_ref().map(|at| &at.place));
                self.refuse(place, "where tasks show life for themselves, agents are not looked for");
                None
            }
            (_, true, Life::Agents) => Some(Agents::Keys),
            (Some((kind, typed)), false, Life::Agents) => {
                let pattern = self.pattern(typed, &[], &[]);
                Some(if *kind == Collection::Set { Agents::Set(pattern) } else { Agents::SortedSet(pattern) })
            }
            (None, false, Life::Agents) => {
                self.refuse(
                    None,
                    "the layout must say where agents are found: agents.set, .zset, or .in_keys = true",
                );
                None
            }
        }
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
