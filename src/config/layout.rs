//! Layouts: what was typed of one, a preset under it, and what both mean together.
//!
//! A preset is a file in the language of a user's own layout. A user's key goes before the preset's; of places that
//! exclude each other (a set or a sorted set) the typed one takes the preset's place.

use std::collections::BTreeMap;

use super::section::{At, Problems, Section, document};
use super::value::{Commands, Period, Text, Wait};
use crate::core::layout::{Collection, End, Envelope, Life, Means, Unit};
use crate::core::pattern::Pattern;

/// The layouts that are known by name, each with its file.
pub const PRESETS: &[(&str, &str)] = &[
    ("apalis", include_str!("../../config/layouts/apalis.toml")),
    ("asynq", include_str!("../../config/layouts/asynq.toml")),
    ("bullmq", include_str!("../../config/layouts/bullmq.toml")),
    ("celery", include_str!("../../config/layouts/celery.toml")),
    ("dramatiq", include_str!("../../config/layouts/dramatiq.toml")),
    ("redis-workflow", include_str!("../../config/layouts/redis-workflow.toml")),
    ("rmq", include_str!("../../config/layouts/rmq.toml")),
    ("rq", include_str!("../../config/layouts/rq.toml")),
    ("sidekiq-reliable-fetch", include_str!("../../config/layouts/sidekiq-reliable-fetch.toml")),
    ("sidekiq-super-fetch", include_str!("../../config/layouts/sidekiq-super-fetch.toml")),
    ("streams", include_str!("../../config/layouts/streams.toml")),
];

pub(super) type Typed<T> = Option<At<T>>;

/// A collection that was named: which type, and where.
pub(super) type Named = Option<(Collection, At<Pattern>)>;

/// What was typed of a layout.
#[derive(Debug, Default)]
pub(super) struct LayoutFile {
    pub(super) vars: BTreeMap<String, At<Text>>,
    pub(super) agents: Named,
    pub(super) agents_in_keys: Typed<bool>,
    pub(super) queues: Named,
    pub(super) queues_in_keys: Typed<bool>,
    pub(super) life: Typed<Life>,
    pub(super) heartbeat: Named,
    pub(super) idle: Typed<bool>,
    pub(super) ahead: Typed<Wait>,
    pub(super) means: Typed<Means>,
    pub(super) unit: Typed<Unit>,
    pub(super) timeout: Typed<Period>,
    pub(super) running: Named,
    pub(super) oldest: Typed<End>,
    pub(super) group: Typed<Pattern>,
    pub(super) copies: Typed<bool>,
    pub(super) id: Typed<Text>,
    pub(super) id_before: Typed<Text>,
    pub(super) envelope: Typed<Envelope>,
    pub(super) begun_field: Typed<Text>,
    pub(super) begun_value: Typed<Text>,
    pub(super) field_of: Typed<Pattern>,
    pub(super) own: Typed<Pattern>,
    pub(super) needs: Typed<Text>,
    pub(super) member_of: Typed<Pattern>,
    pub(super) runs_field: Typed<Text>,
    pub(super) runs_value: Typed<Text>,
    pub(super) on_reset: Typed<Commands>,
    pub(super) on_dead: Typed<Commands>,
    pub(super) prefix: Typed<Text>,
    pub(super) suffix: Typed<Text>,
    pub(super) pending: Named,
    pub(super) take: Typed<End>,
    pub(super) score: Typed<Text>,
    pub(super) score_field: Typed<Text>,
    pub(super) dead: Named,
    pub(super) dead_end: Typed<End>,
    pub(super) dead_unit: Typed<Unit>,
    pub(super) keep: Typed<Wait>,
    pub(super) record_to: Typed<Pattern>,
    pub(super) paused: Typed<Pattern>,
    pub(super) paused_member: Typed<Pattern>,
    pub(super) paused_hash: Typed<Pattern>,
    pub(super) paused_field: Typed<Text>,
    pub(super) version: VersionFile,
}

/// What was typed of where a system says which version it is.
#[derive(Debug, Default)]
pub(super) struct VersionFile {
    pub(super) hash: Typed<Pattern>,
    pub(super) field: Typed<Text>,
    pub(super) prefix: Typed<Text>,
    pub(super) from: Typed<Text>,
    pub(super) until: Typed<Text>,
}

const KINDS: [(&str, Collection); 6] = [
    ("list", Collection::List),
    ("set", Collection::Set),
    ("zset", Collection::SortedSet),
    ("hash", Collection::Hash),
    ("stream", Collection::Stream),
    ("key", Collection::Key),
];

/// The collection that a section names with one of these words; two are one too many.
fn named(section: &mut Section<'_, '_>, words: &[&'static str]) -> Named {
    let mut found: Named = None;
    for (word, kind) in KINDS.into_iter().filter(|(word, _)| words.contains(word)) {
        if let Some(pattern) = section.value::<Pattern>(word) {
            if found.is_some() {
                section.refuse(&pattern.place, "name one of these, not two");
            }
            found = Some((kind, pattern));
        }
    }
    found
}

impl LayoutFile {
    pub(super) fn read(root: &mut Section<'_, '_>) -> Self {
        let mut file = Self { vars: root.texts("vars"), ..Self::default() };
        root.section("agents", |agents| {
            file.agents = named(agents, &["set", "zset"]);
            file.agents_in_keys = agents.value("in_keys");
        });
        root.section("queues", |queues| {
            file.queues = named(queues, &["set"]);
            file.queues_in_keys = queues.value("in_keys");
            file.prefix = queues.value("prefix");
            file.suffix = queues.value("suffix");
        });
        root.section("heartbeat", |heartbeat| {
            file.life = heartbeat.value("of");
            file.heartbeat = named(heartbeat, &["key", "zset"]);
            file.idle = heartbeat.value("idle");
            file.ahead = heartbeat.value("ahead");
            file.means = heartbeat.value("means");
            file.unit = heartbeat.value("unit");
            file.timeout = heartbeat.value("timeout");
        });
        root.section("running", |running| {
            file.running = named(running, &["list", "set", "zset", "hash", "stream"]);
            file.oldest = running.value("oldest");
            file.group = running.value("group");
            file.copies = running.value("copies");
            file.id = running.value("id");
            file.id_before = running.value("id_before");
            file.envelope = running.value("envelope");
            running.section("begun", |begun| {
                file.begun_field = begun.value("field");
                file.begun_value = begun.value("value");
            });
        });
        root.section("record", |record| {
            file.field_of = record.value("field_of");
            file.own = record.value("hash");
            file.needs = record.value("needs");
            file.member_of = record.value("member_of");
            record.section("runs", |runs| {
                file.runs_field = runs.value("field");
                file.runs_value = runs.value("value");
            });
        });
        root.section("pending", |pending| {
            file.pending = named(pending, &["list", "zset"]);
            file.take = pending.value("take");
            file.score = pending.value("score");
            file.score_field = pending.value("score_field");
        });
        root.section("dead", |dead| {
            file.dead = named(dead, &["list", "set", "zset", "stream"]);
            file.dead_end = dead.value("end");
            file.dead_unit = dead.value("unit");
            file.keep = dead.value("keep");
            file.record_to = dead.value("record_to");
        });
        file.on_reset = root.value("on_reset");
        file.on_dead = root.value("on_dead");
        root.section("paused", |paused| {
            file.paused = paused.value("key");
            file.paused_member = paused.value("member_of");
            file.paused_hash = paused.value("hash");
            file.paused_field = paused.value("field");
        });
        root.section("version", |version| {
            file.version = VersionFile {
                hash: version.value("hash"),
                field: version.value("field"),
                prefix: version.value("prefix"),
                from: version.value("from"),
                until: version.value("until"),
            };
        });
        file
    }

    /// Fills in what a preset says and this doesn't.
    pub(super) fn over(mut self, preset: Self) -> Self {
        for (name, text) in preset.vars {
            self.vars.entry(name).or_insert(text);
        }
        macro_rules! or {
            ($($field:ident)*) => { $( self.$field = self.$field.or(preset.$field); )* };
        }
        // A typed place of agents or queues excludes the preset's other one.
        if self.agents.is_none() {
            or!(agents_in_keys);
        }
        if self.agents_in_keys.is_none() {
            or!(agents);
        }
        if self.queues.is_none() {
            or!(queues_in_keys);
        }
        if self.queues_in_keys.is_none() {
            or!(queues);
        }
        if self.id_before.is_none() {
            or!(id);
        }
        if self.id.is_none() {
            or!(id_before);
        }
        or!(life heartbeat idle ahead means unit timeout running oldest group copies envelope begun_field begun_value field_of own needs member_of
            runs_field runs_value prefix suffix pending take score score_field dead dead_end dead_unit keep record_to on_reset on_dead
            paused paused_member paused_hash paused_field);
        let (mine, under) = (&mut self.version, preset.version);
        mine.hash = mine.hash.take().or(under.hash);
        mine.field = mine.field.take().or(under.field);
        mine.prefix = mine.prefix.take().or(under.prefix);
        mine.from = mine.from.take().or(under.from);
        mine.until = mine.until.take().or(under.until);
        self
    }
}

/// The file of a preset, if there is one of this name.
#[must_use]
pub fn preset(name: &str) -> Option<&'static str> {
    PRESETS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// Reads a preset; its own problems are a fault of this program, and are reported all the same.
pub(super) fn read_preset(name: &str, problems: &mut Problems<'_>) -> LayoutFile {
    let text = preset(name).unwrap_or_default();
    let mut own = Problems::new(format!("preset {name}"), text);
    let file = document(&mut own, LayoutFile::read).unwrap_or_default();
    own.into_found().into_iter().for_each(|problem| problems.push(problem));
    file
}
