//! The reference is a test: it parses to the defaults, its examples parse too, and it has every key.

use std::collections::BTreeSet;

use super::*;
use crate::core::external::{External, Hook, Method};

/// The file with all keys, each at another value than its default.
const EVERY_KEY: &str = include_str!("../../../tests/config/valid/every-key.toml");

/// The positions of the lines that are examples.
fn examples() -> Vec<usize> {
    let example = |line: &str| line.starts_with('#') && line.len() > 1 && !line.starts_with("# ");
    REFERENCE.lines().enumerate().filter(|(_, line)| example(line)).map(|(number, _)| number).collect()
}

/// The reference with some of its examples in force, and without what those exclude.
fn with_examples(chosen: impl Fn(usize) -> bool) -> String {
    let examples = examples();
    let mut text = String::new();
    for (number, line) in REFERENCE.lines().enumerate() {
        let in_force = examples.contains(&number) && chosen(number);
        text += if in_force { line.trim_start_matches('#') } else { line };
        text.push('\n');
    }
    if text.contains("\ncron = ") { text.replace("\nevery = ", "\n# every = ") } else { text }
}

/// The whole keys of all values, of a queue's as those of the defaults.
fn keys(text: &str) -> BTreeSet<String> {
    fn walk(path: &str, table: &toml::Table, keys: &mut BTreeSet<String>) {
        for (key, value) in table {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            if let toml::Value::Table(table) = value {
                walk(&path, table, keys);
            } else {
                keys.insert(path);
            }
        }
    }
    let mut keys = BTreeSet::new();
    walk("", &text.parse().unwrap(), &mut keys);
    keys.retain(|key| !key.starts_with("queues.") && !key.starts_with("foreign."));
    keys
}

#[test]
fn the_reference_parses_to_the_defaults() {
    assert_eq!(parse(REFERENCE).unwrap(), Settings::default());
}

#[test]
fn each_example_in_the_reference_can_be_put_in_force() {
    let examples = examples();
    assert!(examples.len() >= 9, "{examples:?}");
    let lines: Vec<_> = REFERENCE.lines().collect();
    for example in examples.clone() {
        // What stands below a commented-out header belongs to that table; and no system is watched without its preset.
        let above = examples.iter().rev().filter(|number| **number <= example);
        let header = above.clone().find(|number| lines[**number].starts_with("#[")).copied();
        let foreign = header.is_some_and(|number| lines[number].starts_with("#[foreign"));
        let text = with_examples(|number| {
            number == example || Some(number) == header || foreign && lines[number].starts_with("#preset")
        });
        let settings = parse(&text).unwrap_or_else(|error| panic!("{}: {error}", lines[example]));
        // A default that follows from others is an example that changes nothing.
        let follows = ["#lease", "#failover_grace", "#adopt_within", "#stop_on_agent_after"];
        let is_default = follows.iter().any(|key| lines[example].starts_with(key));
        assert_eq!(settings == Settings::default(), is_default, "{}", lines[example]);
    }
    parse(&with_examples(|_| true)).unwrap();
}

#[test]
fn the_reference_and_the_file_with_every_key_have_the_same_keys() {
    let mut reference = keys(REFERENCE);
    reference.extend(keys(&with_examples(|_| true)));
    let mut every = keys(EVERY_KEY);
    assert!(every.insert("sweep.cron".into()), "it excludes sweep.every and has files of its own");
    assert_eq!(reference, every);
}

#[test]
fn the_reference_has_every_key_that_is_read() {
    let reference = with_examples(|_| true);
    let sections = [
        "",
        "redis",
        "sweep",
        "http",
        "guards",
        "guards.mass_loss",
        "log",
        "defaults",
        "defaults.session",
        "defaults.task",
        "defaults.task.start_to_close",
        "defaults.task.backoff",
        "defaults.task.external",
        "defaults.task.external.probe",
        "defaults.task.external.cancel",
    ];
    let mut seen = 0;
    for section in sections {
        let header = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
        let error = parse(&format!("{header}unheard_of_by_anyone = 1")).unwrap_err().to_string();
        let (_, known) = error.split_once("known here: ").unwrap();
        for key in known.split(", ") {
            let stands =
                [format!("\n{key} = "), format!(" {key} = "), format!("{key}]\n"), format!("[{key}.")];
            assert!(stands.iter().any(|form| reference.contains(form)), "{section}.{key}");
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen}");
}

#[test]
fn every_line_of_the_file_with_every_key_counts() {
    let full = parse(EVERY_KEY).unwrap();
    let lines: Vec<_> = EVERY_KEY.lines().collect();
    for (number, line) in lines.iter().enumerate().filter(|(_, line)| line.contains(" = ")) {
        let without: Vec<_> =
            lines.iter().enumerate().filter(|(other, _)| *other != number).map(|(_, line)| *line).collect();
        // Refused counts as well: without its neighbour a value may contradict a default.
        assert_ne!(parse(&without.join("\n")).as_ref(), Ok(&full), "{line}");
    }
}

#[test]
fn every_key_means_what_its_name_says() {
    let policy = QueuePolicy {
        mode: Mode::Observe,
        keep_done: 10 * MINUTE,
        session: SessionPolicy {
            heartbeat_interval: 6 * SECOND,
            heartbeat_timeout: 20 * SECOND,
            lost_after: 25 * SECOND,
            startup_grace: 90 * SECOND,
            adopt_within: 44 * SECOND,
            reconnect_grace: 4 * SECOND,
            stop_on_agent_after: StopOnAgent::After(40 * SECOND),
        },
        task: TaskPolicy {
            start_to_close: AgeLimit { limit: Some(120 * MINUTE), action: LimitAction::Revoke },
            task_heartbeat_timeout: Some(7 * MINUTE),
            revoke_grace: 31 * SECOND,
            schedule_to_close: Some(480 * MINUTE),
            max_abandonments: 4,
            max_failures: 6,
            backoff: Backoff { first: 2 * SECOND, factor: 3.0, max: 13 * MINUTE },
            release_delay: 11 * SECOND,
            reset_delay: 12 * SECOND,
            late_results: LateResults::Refuse,
            external: External {
                probe: Some(Hook::Command(vec!["probe".into(), "--quiet".into()])),
                cancel: Some(Hook::Http {
                    method: Method::Delete,
                    url: "https://jobs.example/{handle}".into(),
                }),
                lost_after: 120 * MINUTE,
                timeout: 11 * SECOND,
                concurrency: 5,
                left_to_daemon: false,
            },
        },
        types: BTreeMap::new(),
    };
    let expected = Settings {
        redis_url: "rediss://user:secret@cache.example:6380/2".parse().unwrap(),
        sweep: SweepSettings {
            schedule: Schedule::Every(3 * SECOND),
            lease: 20 * SECOND,
            discover: false,
            queues: [queue("mail")].into(),
        },
        listen: "[::1]:9000".parse().unwrap(),
        guards: GuardSettings {
            mass_loss: MassLoss { share: 0.7, min_sessions: 5, window: 2 * MINUTE, pace: 15 * SECOND },
            failover_grace: 5 * MINUTE,
        },
        log: LogSettings { format: LogFormat::Json, level: Level::DEBUG },
        policies: Policies { default: policy, queues: BTreeMap::new() },
        foreign: BTreeMap::new(),
    };
    assert_eq!(parse(EVERY_KEY).unwrap(), expected);
    assert!(!format!("{expected:?}").contains("secret"), "settings are logged");
}
