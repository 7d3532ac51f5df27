//! The files under `tests/config` are part of these tests: what stands in `valid` must load; what stands in `invalid`
//! must be refused with exactly the text of the `.txt` beside it.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::core::id::TaskType;
use crate::core::policy::{
    AgeLimit, Backoff, LateResults, LimitAction, Mode, SessionPolicy, StopOnAgent, TaskPolicy,
};

mod reference;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Stands for the scheduler's own parser, of which these tests need to know only that it is asked.
fn check_cron(expression: &str) -> Result<(), String> {
    if expression.contains("61") { Err("61 is no minute".into()) } else { Ok(()) }
}

fn parse(text: &str) -> Result<Settings, ConfigError> {
    Settings::parse("backstop.toml".into(), text, &Overrides::default(), check_cron)
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(name)
}

fn valid(name: &str) -> Settings {
    Settings::load(Some(&folder("valid").join(name)), &Overrides::default(), check_cron).unwrap()
}

/// The one problem with a file, without the folder that it stands in.
fn refused(path: &Path) -> String {
    let error = Settings::load(Some(path), &Overrides::default(), check_cron).unwrap_err();
    assert_eq!(error.problems().len(), 1, "{error}");
    error.to_string().replace(&path.display().to_string(), "F")
}

fn queue(name: &str) -> QueueName {
    QueueName::new(name).unwrap()
}

fn toml_files(name: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    files.sort();
    assert!(!files.is_empty(), "no file in {name}");
    files
}

#[test]
fn each_invalid_file_is_refused_with_its_text() {
    let mut differing = Vec::new();
    for path in toml_files("invalid") {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let outcome = Settings::parse(name.clone(), &text, &Overrides::default(), check_cron);
        let said = outcome.map_or_else(|error| format!("{error}\n"), |_| "accepted\n".into());
        let expected = fs::read_to_string(path.with_extension("txt")).unwrap_or_default();
        if said != expected {
            differing.push(format!("--- {name} says\n{said}--- instead of\n{expected}"));
        }
        assert!(!said.contains("secret"), "{said}");
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn each_valid_file_loads() {
    for path in toml_files("valid") {
        let loaded = Settings::load(Some(&path), &Overrides::default(), check_cron);
        assert!(loaded.is_ok(), "{}", loaded.unwrap_err());
    }
}

#[test]
fn without_a_file_or_with_an_empty_one_all_are_defaults() {
    let none = Settings::load(None, &Overrides::default(), check_cron).unwrap();
    assert_eq!(none, Settings::default());
    assert_eq!(valid("empty.toml"), none);
    assert_eq!(none.policies.default, QueuePolicy::default(), "the file's defaults are the policy's");
    assert_eq!(none.redis_url.expose(), "redis://127.0.0.1:6379");
    assert_eq!(none.listen.to_string(), "127.0.0.1:9464");
    assert_eq!(none.sweep.schedule, Schedule::Every(2 * SECOND));
    assert_eq!(none.sweep.lease, 6 * SECOND);
    assert!(none.sweep.discover && none.sweep.queues.is_empty());
    assert_eq!(none.guards.failover_grace, MINUTE);
}

#[test]
fn a_queue_inherits_from_the_defaults_and_a_type_from_its_queue() {
    let settings = valid("inherits.toml");
    let default = &settings.policies.default;
    assert_eq!(settings.policies.of(&queue("unheard-of")), default);
    assert_eq!(settings.policies.of(&queue("plain")), default);
    assert_eq!(default.session.stop_on_agent_after, StopOnAgent::After(25 * SECOND));

    let billing = settings.policies.of(&queue("billing.eu"));
    assert_eq!((default.mode, billing.mode), (Mode::Observe, Mode::Enforce));
    assert_eq!(billing.session.lost_after, 20 * SECOND, "inherited");
    assert_eq!(billing.session.adopt_within, 80 * SECOND, "follows from the queue's own values");
    assert_eq!(billing.session.stop_on_agent_after, StopOnAgent::After(70 * SECOND), "follows too");
    assert_eq!((billing.task.max_failures, billing.task.max_abandonments), (7, 1));

    let invoice = billing.of("invoice");
    assert_eq!((invoice.max_failures, invoice.max_abandonments), (10, 1));
    let two_hours = AgeLimit { limit: Some(120 * MINUTE), action: LimitAction::Reset };
    assert_eq!(invoice.start_to_close, two_hours, "the limit is its own, the action inherited");
    let reminder = billing.of("reminder");
    assert_eq!(reminder.start_to_close.limit, None);
    assert_eq!(reminder.backoff, Backoff { max: 5 * MINUTE, ..default.task.backoff });
    assert_eq!(billing.of("other"), &billing.task);
    assert!(billing.types.contains_key(&TaskType::new("invoice").unwrap()));

    let patient = settings.policies.of(&queue("patient"));
    assert_eq!(patient.session.stop_on_agent_after, StopOnAgent::Never);
    assert_eq!(patient.session.adopt_within, Duration::ZERO);

    assert_eq!(settings.guards.failover_grace, 180 * SECOND, "3 × the slowest queue's heartbeat_timeout");
    let named: Vec<_> = settings.sweep.queues.iter().map(QueueName::as_str).collect();
    assert_eq!(named, ["billing.eu", "patient", "plain"], "what has settings is swept");
}

#[test]
fn a_cron_expression_of_five_fields_means_the_full_minute() {
    assert_eq!(valid("cron.toml").sweep.schedule, Schedule::Cron("0 */5 * * * *".into()));
    let with_seconds = valid("cron-with-seconds.toml").sweep;
    assert_eq!(with_seconds.schedule, Schedule::Cron("30 */5 * * * *".into()));
    assert_eq!(with_seconds.lease, SECOND, "there is no interval that it could be shorter than");
}

#[test]
fn the_bounds_that_the_messages_name_are_accepted() {
    let task = "[defaults.task]\nschedule_to_close = \"10years\"\nrevoke_grace = \"0s\"";
    let task = parse(task).unwrap().policies.default.task;
    assert_eq!(task.schedule_to_close, Some(Duration::from_secs(315_576_000)));
    assert_eq!(task.revoke_grace, Duration::ZERO);

    let error = parse("[defaults.task]\nschedule_to_close = \"10years 1ns\"").unwrap_err().to_string();
    assert!(error.contains("expected a duration from \"1ms\" to \"10years\""), "{error}");
}

#[test]
fn flags_and_environment_go_before_the_file() {
    let file = folder("valid").join("every-key.toml");
    let overrides =
        Overrides { redis_url: Some("redis://other:1".into()), listen: Some("0.0.0.0:80".into()) };
    let settings = Settings::load(Some(&file), &overrides, check_cron).unwrap();
    assert_eq!(settings.redis_url.expose(), "redis://other:1");
    assert_eq!(settings.listen.to_string(), "0.0.0.0:80");
    let mut rest = valid("every-key.toml");
    (rest.redis_url, rest.listen) = (settings.redis_url.clone(), settings.listen);
    assert_eq!(settings, rest, "and nothing else changed");
}

#[test]
fn wrong_overrides_are_reported_with_the_file_and_without_the_password() {
    let overrides = Overrides { redis_url: Some("redis://:secret".into()), listen: Some("9464".into()) };
    let text = "[log]\nlevel = \"loud\"";
    let error = Settings::parse("F".into(), text, &overrides, check_cron).unwrap_err().to_string();
    let lines: Vec<_> = error.lines().collect();
    assert_eq!(
        lines,
        [
            "--redis or BACKSTOP_REDIS_URL: \"redis://:***\": expected a Redis address such as \
             \"redis://127.0.0.1:6379\" or \"redis+unix:///run/redis.sock\" (special characters of a password as %XX)",
            "--listen: \"9464\": expected an address and a port, such as \"127.0.0.1:9464\" or \"[::1]:9464\"; a \
             host's name won't do",
            "F:2: log.level = \"loud\": expected one of \"error\", \"warn\", \"info\", \"debug\", \"trace\"",
        ]
    );
}

#[test]
fn what_is_no_file_of_ours_gets_one_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(refused(folder.path()), "F: is a directory; name the file in it");

    let missing = folder.path().join("missing.toml");
    assert_eq!(refused(&missing), "F: can't be read: No such file or directory (os error 2)");

    let binary = folder.path().join("binary.toml");
    fs::write(&binary, b"[log]\nlevel = \"\xff\"").unwrap();
    assert_eq!(refused(&binary), "F:2: is not UTF-8 text; is it the right file?");

    let large = folder.path().join("large.toml");
    fs::write(&large, "#".repeat(10 << 20)).unwrap();
    assert_eq!(refused(&large), "F: is larger than 1 MiB; is it the right file?");
    fs::write(&large, "#".repeat(1 << 20)).unwrap();
    assert_eq!(Settings::load(Some(&large), &Overrides::default(), check_cron), Ok(Settings::default()));

    assert_eq!(refused(Path::new("/dev/zero")), "F: is larger than 1 MiB; is it the right file?");
}

#[test]
fn of_very_many_problems_the_first_are_shown() {
    let text: String = (0..1000).map(|n| format!("strange_{n} = 1\n")).collect();
    let error = parse(&text).unwrap_err();
    assert_eq!(error.problems().len(), 1000);
    let shown = error.to_string();
    assert_eq!(shown.lines().count(), 21);
    assert!(shown.starts_with("backstop.toml:1: strange_0: unknown key; known here: "), "{shown}");
    assert!(shown.ends_with("\n… and 980 more"), "{shown}");
}

#[test]
fn a_program_can_read_the_problems() {
    let error = parse("[log]\nlevel = 7").unwrap_err();
    let json = serde_json::to_value(error.problems()).unwrap();
    let message = "expected one of \"error\", \"warn\", \"info\", \"debug\", \"trace\"";
    let expected = serde_json::json!([
        { "origin": "backstop.toml", "line": 2, "key": "log.level", "value": "7", "message": message }
    ]);
    assert_eq!(json, expected);
}
