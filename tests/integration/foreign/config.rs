//! `[foreign.NAME]`, and what is refused of it.

use backstop::config::{Overrides, PRESETS, Settings};
use backstop::core::policy::Mode;

use super::settings;

fn refused(text: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let error = Settings::load(Some(file.path()), &Overrides::default(), |_| Ok(())).unwrap_err();
    error.to_string().replace(&file.path().display().to_string(), "F")
}

#[test]
fn every_preset_is_sound_and_observes() {
    assert!(PRESETS.len() >= 6);
    for (name, _) in PRESETS {
        let settings = settings(&format!("[foreign.x]\npreset = {name:?}\n"));
        let foreign = settings.foreign.values().next().unwrap();
        assert_eq!((foreign.policy.mode, foreign.layout.name.as_str()), (Mode::Observe, *name));
        assert_eq!(foreign.timeout, foreign.layout.timeout);
    }
}

#[test]
fn a_layout_of_ones_own_needs_no_preset_and_no_code() {
    let own = r#"
[foreign.mine]
mode = "enforce"
[foreign.mine.layout]
agents.set = "mine:workers"
heartbeat.key = "mine:alive:{agent}"
running.list = "mine:busy:{agent}:{queue}"
queues.set = "mine:queues"
pending = { list = "mine:todo:{queue}", take = "left" }
dead.list = "mine:dead"
"#;
    assert_eq!(settings(own).foreign.len(), 1);
}

#[test]
fn what_makes_no_sense_is_refused_with_its_line() {
    for (text, expected) in [
        (
            "[foreign.x]\npreset = \"celery9\"\n",
            "F:2: foreign.x.preset = \"celery9\": there is no such preset; known: apalis",
        ),
        ("[foreign.x]\n", "F:1: foreign.x: the layout must say where an agent keeps what it runs"),
        (
            "[foreign.x]\npreset = \"rmq\"\nvars.ns = \"a\"\n",
            "F:3: foreign.x.vars.ns = \"a\": the layout has no variable \"ns\"; known: it has none",
        ),
        (
            "[foreign.x]\npreset = \"rmq\"\nlayout.pending.list = \"q:{que}\"\n",
            "{que} has no meaning here; known holes: id, queue",
        ),
        (
            "[foreign.x]\npreset = \"rmq\"\nlayout.running.list = \"q:{agent\"\n",
            "F:3: foreign.x.layout.running.list",
        ),
        (
            "[foreign.x]\npreset = \"rmq\"\nlayout.agents = { set = \"a\", zset = \"b\" }\n",
            "name one of these, not two",
        ),
        (
            "[foreign.x]\npreset = \"dramatiq\"\nlayout.agents.in_keys = true\nlayout.running.set = \"{agent}:x\"\n",
            "matches far too much",
        ),
        ("[queues.x]\n[foreign.x]\npreset = \"rmq\"\n", "F:2: foreign.x: a queue of our own has this name"),
        (
            "[foreign.x]\npreset = \"rmq\"\n[foreign.y]\npreset = \"rmq\"\n",
            "F:3: foreign.y: watches the same keys as [foreign.x]",
        ),
        ("[foreign.x]\npreset = \"rmq\"\nmod = \"enforce\"\n", "unknown key; did you mean \"mode\"?"),
        (
            "[foreign.x]\npreset = \"redis-workflow\"\nlayout.record.hash = \"tasks\"\n",
            "F:3: foreign.x.layout.record.hash = \"tasks\": all tasks would share this record: give it {id}",
        ),
        (
            "[foreign.x]\npreset = \"rmq\"\nlayout.dead.record_to = \"old\"\n",
            "F:3: foreign.x.layout.dead.record_to = \"old\": needs record.field_of",
        ),
        (
            "[foreign.x]\npreset = \"rmq\"\nlayout.running.list = \"r:{agent}\"\nlayout.dead.list = \"dead\"\n",
            "has the hole {queue}, and the running name doesn't say which queue a task is of",
        ),
        (
            "[foreign.x]\npreset = \"rmq\"\nlayout.running.list = \"r:{agent}\"\nlayout.pending.list = \"wait\"\nlayout.dead.list = \"dead:{base}\"\n",
            "F:5: foreign.x.layout.dead.list = \"dead:{base}\": has the hole {base}, and the running name",
        ),
        (
            "[foreign.x]\npreset = \"rmq\"\nlayout.pending.zset = \"wait:{queue}\"\n",
            "F:3: foreign.x.layout.pending.zset = \"wait:{queue}\": two tasks with the same payload would become one",
        ),
        (
            "[foreign.x]\npreset = \"rmq\"\nlayout.heartbeat.of = \"task\"\n",
            "where tasks show life for themselves, agents are not looked for",
        ),
        (
            "[foreign.x]\npreset = \"asynq\"\nlayout.heartbeat.key = \"alive\"\n",
            "F:3: foreign.x.layout.heartbeat.key = \"alive\": all tasks would share this heartbeat",
        ),
        (
            "[foreign.x]\npreset = \"bullmq\"\nlayout.heartbeat.key = \"alive:{queue}\"\n",
            "F:3: foreign.x.layout.heartbeat.key = \"alive:{queue}\": all tasks would share this heartbeat: give it {id}",
        ),
        (
            "[foreign.x]\npreset = \"bullmq\"\nvars.prefix = \"b\"\nlayout.running.list = \"{queue}:{prefix}\"\n",
            "matches far too much",
        ),
        (
            "[foreign.x]\npreset = \"bullmq\"\nlayout.heartbeat.idle = true\n",
            "only a stream knows how long ago it gave a task out",
        ),
        (
            "[foreign.x]\npreset = \"celery\"\nlayout.heartbeat.ahead = \"5s\"\n",
            "needs heartbeat.of = \"task\" and means = \"expires\"",
        ),
        (
            "[foreign.x]\npreset = \"streams\"\nlayout.pending.list = \"q\"\n",
            "a task of a stream waits in that stream",
        ),
        (
            "[foreign.x]\npreset = \"bullmq\"\nlayout.version.until = \"soon\"\n",
            "version.until must be a version",
        ),
        (
            "[foreign.x]\npreset = \"rq\"\nlayout.dead.stream = \"d\"\n",
            "what comes from a stream is set aside in a stream, and nothing else is",
        ),
        (
            "[foreign.x]\npreset = \"asynq\"\nlayout.on_reset = [[\"XADD\", \"k\", \"*\"]]\n",
            "XADD needs a key and more arguments than that",
        ),
    ] {
        let error = refused(text);
        assert!(error.contains(expected), "{text}\n→ {error}");
    }
}

#[test]
fn two_groups_of_streams_and_a_widened_version_are_sound() {
    let two =
        "[foreign.x]\npreset = \"streams\"\n[foreign.y]\npreset = \"streams\"\nvars.group = \"other\"\n";
    assert_eq!(settings(two).foreign.len(), 2);
    let wider = settings("[foreign.x]\npreset = \"bullmq\"\nlayout.version.until = \"8.0\"\n");
    let version = wider.foreign.values().next().unwrap().layout.version.clone().unwrap();
    assert!(version.knows("bullmq:7.9.9") && version.knows("bullmq:5.49.2"));
    assert!(!version.knows("bullmq:5.49.1") && !version.knows("bullmq:8.0.0") && !version.knows("6.0.0"));
}

/// An hour of age says nothing of how often agents beat, by which graces are reckoned.
#[test]
fn the_age_of_a_task_lengthens_no_grace() {
    let grace = |text: &str| settings(text).guards.failover_grace;
    assert_eq!(grace("[foreign.x]\npreset = \"celery\"\n"), grace("[foreign.x]\npreset = \"dramatiq\"\n"));
}

#[test]
fn every_configuration_in_the_pages_on_layouts_is_sound() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/layouts");
    let mut seen = 0;
    for page in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(page.unwrap().path()).unwrap();
        for block in text.split("```toml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            assert_eq!(settings(block).foreign.len(), 1, "{block}");
            seen += 1;
        }
    }
    assert!(seen >= PRESETS.len(), "{seen}");
}
