//! The rules of the house, each a row of one table: who may use what, and how large a file may be.

use std::path::{Path, PathBuf};

/// A text that may stand only in these places of `src/`, and why.
struct Only {
    text: &'static str,
    places: &'static [&'static str],
    why: &'static str,
}

const CLIENT: &str = "one place knows the client, its pitfalls and its errors";
const HTTP: &str = "one place serves HTTP, and one asks by it";
const METRICS: &str = "one table names the metrics";
const CLOCK: &str = "no clock but Redis' may decide anything";

const RULES: &[Only] = &[
    Only { text: "redis::", places: &["store/"], why: CLIENT },
    Only { text: "use redis", places: &["store/"], why: CLIENT },
    Only {
        text: "tokio_cron_scheduler",
        places: &["sweep/schedule.rs"],
        why: "it may wake us up and nothing else",
    },
    Only { text: "hyper::", places: &["http/", "hooks/"], why: HTTP },
    Only { text: "use hyper", places: &["http/", "hooks/"], why: HTTP },
    Only { text: "hyper_util", places: &["http/", "hooks/"], why: HTTP },
    Only { text: "prometheus::", places: &["telemetry/"], why: METRICS },
    Only { text: "use prometheus", places: &["telemetry/"], why: METRICS },
    Only { text: "SystemTime::now", places: &["telemetry/", "demo/"], why: CLOCK },
    // To read and write times that others wrote; it has a clock as well.
    Only { text: "chrono::", places: &["layout/"], why: CLOCK },
    Only { text: "use chrono", places: &["layout/"], why: CLOCK },
    Only { text: "Utc::now", places: &[], why: CLOCK },
    Only { text: "Local::now", places: &[], why: CLOCK },
    Only { text: "backstop:{", places: &["native/keys.rs"], why: "keys are spelt in one place" },
    Only { text: "process::exit", places: &["main.rs"], why: "only the program itself ends the process" },
    Only {
        text: "use crate::{",
        places: &[],
        why: "one line for each room that is used, so that the layers can be read and checked",
    },
];

/// What has no place in the core, which judges and does nothing else.
const IMPURE: [&str; 6] = ["async ", "tokio", "tracing", "std::fs", "std::net", "Instant::now"];

/// How many lines a file may have without its tests.
const LINES: usize = 400;

/// Which rooms lie above which: a module uses what stands below it. Neighbours on one line don't use each other.
const LAYERS: &[&[&str]] = &[
    &["cli", "main"],
    &["demo"],
    &["daemon"],
    &["http", "telemetry", "ops", "work"],
    &["sweep", "agent"],
    &["layout"],
    &["native"],
    &["store", "private_server", "hooks"],
    &["config"],
    &["core"],
];

fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                files.push((path.strip_prefix(&root).unwrap().to_owned(), text));
            }
        }
    }
    files
}

/// Where the tests of a file begin.
const TESTS: &str = "#[cfg(test)]\nmod tests {";

/// The code of a file: without comments, and without the tests at its end.
fn code(text: &str) -> String {
    let text = text.split(TESTS).next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn broken(rule: &Only, path: &Path, text: &str) -> bool {
    code(text).contains(rule.text) && !rule.places.iter().any(|place| path.starts_with(place))
}

fn impurities(text: &str) -> Vec<&'static str> {
    let code = code(text);
    IMPURE.into_iter().filter(|impure| code.contains(impure)).collect()
}

fn lines(text: &str) -> usize {
    text.split(TESTS).next().unwrap_or_default().lines().count()
}

fn layer_of(room: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&room))
}

/// The rooms of the crate that a file in `room` uses and mustn't.
fn climbs(room: &str, text: &str) -> Vec<String> {
    let Some(own) = layer_of(room) else { return vec![format!("{room} stands in no layer")] };
    code(text)
        .split("crate::")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next())
        .filter(|used| *used != room && layer_of(used).is_some_and(|layer| layer <= own))
        .map(str::to_owned)
        .collect()
}

fn room_of(path: &Path) -> String {
    let first = path.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

#[test]
fn each_thing_is_used_where_it_may_be() {
    for (path, text) in sources() {
        for rule in RULES {
            assert!(!broken(rule, &path, &text), "{} uses {:?}: {}", path.display(), rule.text, rule.why);
        }
    }
}

#[test]
fn a_room_uses_what_stands_below_it() {
    for (path, text) in sources() {
        let room = room_of(&path);
        if room == "lib" {
            continue;
        }
        let up = climbs(&room, &text);
        assert!(up.is_empty(), "{} uses {up:?}, which do not stand below it", path.display());
    }
}

#[test]
fn the_core_is_pure() {
    for (path, text) in sources().into_iter().filter(|(path, _)| path.starts_with("core")) {
        let impure = impurities(&text);
        assert!(impure.is_empty(), "{} uses {impure:?}", path.display());
    }
}

#[test]
fn files_are_small() {
    for (path, text) in sources().into_iter().filter(|(path, _)| !path.ends_with("tests.rs")) {
        let lines = lines(&text);
        assert!(
            lines <= LINES,
            "{} has {lines} lines without its tests: is it one room, or several?",
            path.display()
        );
    }
}

#[test]
fn each_rule_can_fail() {
    for rule in RULES {
        let used = format!("fn f() {{ {} }}", rule.text);
        assert!(broken(rule, Path::new("nowhere/mod.rs"), &used), "{:?} may stand anywhere", rule.text);
        let told = format!("    // {}", rule.text);
        assert!(
            !broken(rule, Path::new("nowhere/mod.rs"), &told),
            "{:?} may not even be spoken of",
            rule.text
        );
        for place in rule.places {
            let path = Path::new(place).join(if place.ends_with('/') { "mod.rs" } else { "" });
            assert!(!broken(rule, &path, &used), "{:?} may not stand in its own place {place}", rule.text);
        }
    }
    for impure in IMPURE {
        assert_eq!(impurities(&format!("fn f() {{ {impure} }}")), [impure]);
    }
    assert!(impurities("/// Not async, and no tokio.").is_empty());
    let long = "fn f() {}\n".repeat(LINES + 1);
    assert!(lines(&long) > LINES);
    assert_eq!(lines(&format!("fn f() {{}}\n{TESTS}\n{long}")), 1, "tests don't count");
}

/// A rule whose place is gone would go on forbidding, for a reason that nobody can look up any more.
#[test]
fn each_place_in_the_rules_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for place in RULES.iter().flat_map(|rule| rule.places) {
        assert!(root.join(place).exists(), "src/{place} is named in a rule, and isn't there");
    }
}

#[test]
fn a_room_that_climbs_is_found() {
    assert_eq!(climbs("native", "use crate::sweep::Sweeper;"), ["sweep"]);
    assert_eq!(climbs("core", "use crate::config::Settings;"), ["config"], "nothing stands below the core");
    assert_eq!(climbs("sweep", "use crate::agent::Agent;"), ["agent"], "neighbours do not use each other");
    assert!(climbs("sweep", "use crate::native::Queue;").is_empty());
    assert!(!climbs("attic", "").is_empty());
}
