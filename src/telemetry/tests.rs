use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::metrics::*;
use super::recorder::Recorder;
use crate::core::health::{ByLiveness, OpenGuard, Pass, Queue, Snapshot};
use crate::core::policy::Mode;

fn queues(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("queue-{i:02}")).collect()
}

fn recorder(queues: &[String]) -> Recorder {
    Recorder::new(queues.iter().map(String::as_str)).unwrap()
}

/// A recorder with 64 queues in which everything has happened once.
fn busy() -> Recorder {
    let names = queues(MOST_QUEUES);
    let recorder = recorder(&names);
    for queue in &names {
        for cause in CAUSES {
            recorder.abandoned(queue, cause, 3);
            recorder.observed(queue, cause, 1);
            recorder.reset(queue, cause, 3);
        }
        recorder.dead_lettered(queue, "poison", 1);
        recorder.expired(queue, "running", 1);
        recorder.skipped(queue, "not_any_more", 1);
        recorder.detected(queue, Duration::from_millis(1234), 3);
        recorder.silent(queue, Duration::from_secs(31));
        recorder.scanned(queue, 10, 100);
        recorder.leads(queue, true);
    }
    recorder.swept(Duration::from_millis(3), true);
    recorder.sweep_failed("unknown");
    recorder.redis_error("transient");
    recorder.guard_tripped("mass_loss");
    for script in SCRIPTS {
        recorder.script(script, Duration::from_micros(700));
    }
    recorder.publish(&snapshot(&names));
    recorder
}

fn snapshot(names: &[String]) -> Snapshot {
    let now = Instant::now();
    let mut snapshot = Snapshot::beginning(now, Duration::from_secs(2));
    snapshot.redis.up = true;
    snapshot.last_pass = Some(Pass {
        ended: now,
        ended_at_ms: 1_700_000_000_500,
        took: Duration::from_millis(3),
        account: String::new(),
    });
    snapshot.guards =
        vec![OpenGuard { guard: "mass_loss", queue: None, since: now, reason: "all are lost".to_owned() }];
    snapshot.queues = names
        .iter()
        .map(|name| Queue {
            leader: true,
            pending: 5,
            running: ByLiveness { alive: 1, suspect: 2, lost: 4 },
            oldest_running_at_ms: Some(1_700_000_000_000),
            oldest_abandoned_at_ms: Some(1_700_000_000_000),
            oldest_dead_at_ms: Some(1_700_000_000_000),
            ..Queue::unknown(name, Mode::Observe)
        })
        .collect();
    snapshot
}

/// The samples of a page: name with labels → value.
fn samples(page: &str) -> BTreeMap<&str, f64> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap()).map(|(name, n)| (name, n.parse().unwrap())).collect()
}

fn value(recorder: &Recorder, sample: &str) -> Option<f64> {
    samples(&recorder.encode()).get(format!("backstop_{sample}").as_str()).copied()
}

/// Fails for any label value that isn't in the closed set of its label, and for any metric that isn't in the table.
fn walk(page: &str) -> usize {
    let mut walked = 0;
    for sample in samples(page).keys() {
        let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
        if name.starts_with("process_") {
            continue;
        }
        let metric = TABLE
            .iter()
            .find(|metric| {
                let full = format!("{PREFIX}{}", metric.name);
                match metric.kind {
                    Kind::Histogram(_) => {
                        ["_bucket", "_sum", "_count"].iter().any(|end| name == format!("{full}{end}"))
                    }
                    _ => name == full,
                }
            })
            .unwrap_or_else(|| panic!("{name} is not in the table"));
        let mut seen = 0;
        for pair in labels.trim_end_matches('}').split(',').filter(|pair| !pair.is_empty()) {
            let (label, quoted) = pair.split_once('=').unwrap();
            let value = quoted.trim_matches('"');
            if label == "le" {
                continue;
            }
            seen += 1;
            match metric.labels.iter().find(|known| known.name() == label) {
                Some(Label::Queue) => assert!(value.starts_with("queue-") || value == OTHER, "{sample}"),
                Some(Label::Closed { values, .. }) => assert!(values.contains(&value), "{sample}"),
                None => panic!("{sample}: the table has no label {label}"),
            }
        }
        assert_eq!(seen, metric.labels.len(), "{sample}");
        walked += 1;
    }
    walked
}

#[test]
fn every_label_value_is_out_of_its_closed_set() {
    assert!(walk(&busy().encode()) > 5000);
}

#[test]
#[should_panic(expected = "somebody's password")]
fn the_walk_fails_for_a_value_out_of_its_set() {
    walk("backstop_redis_errors_total{kind=\"somebody's password\"} 1");
}

#[test]
fn every_combination_of_a_known_queue_is_there_from_the_start() {
    let recorder = recorder(&["queue-a".to_owned()]);
    let page = recorder.encode();
    let all = samples(&page);
    for metric in TABLE {
        let combinations: usize = metric
            .labels
            .iter()
            .map(|label| match label {
                Label::Queue => 1,
                Label::Closed { values, .. } => values.len(),
            })
            .product();
        let full = format!("{PREFIX}{}", metric.name);
        let (expected, name) = match metric.kind {
            Kind::Moment => (0, full),
            Kind::Counter | Kind::Gauge => (combinations, full),
            Kind::Histogram(_) => (combinations, format!("{full}_count")),
        };
        let here: Vec<_> =
            all.iter().filter(|(sample, _)| sample.split('{').next() == Some(name.as_str())).collect();
        assert_eq!(here.len(), expected, "{name}");
        if metric.name != "build_info" && metric.name != "mode_info" {
            assert!(here.iter().all(|(_, value)| **value == 0.0), "{name} begins at zero");
        }
    }
}

#[test]
fn promtool_finds_nothing_on_a_page_of_64_queues() {
    if std::env::var_os("BACKSTOP_TEST_WITHOUT_DEBIAN").is_some_and(|value| value == "1") {
        eprintln!("NOT RUN: promtool check metrics (needs the Debian package prometheus)");
        return;
    }
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool can't be started: install the Debian package prometheus");
    promtool.stdin.take().unwrap().write_all(busy().encode().as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    let findings =
        String::from_utf8_lossy(&said.stderr).into_owned() + &String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success() && findings.is_empty(), "{findings}");
}

#[test]
fn a_page_of_64_queues_stays_small() {
    let recorder = busy();
    let page = recorder.encode();
    let mut best = Duration::MAX;
    for _ in 0..20 {
        let begun = Instant::now();
        let again = recorder.encode();
        best = best.min(begun.elapsed());
        assert_eq!(again.lines().count(), page.lines().count());
    }
    println!("{} bytes, {} lines, best of 20: {best:?}", page.len(), page.lines().count());
    assert!(page.len() <= 600_000, "{} bytes", page.len());
}

#[test]
fn the_65th_queue_shares_a_label_and_says_so() {
    let names = queues(66);
    let recorder = recorder(&names[..1]);
    assert_eq!(value(&recorder, "leader{queue=\"_other\"}"), None);
    // Discovered in any order, they get places in order of name.
    recorder.discovered(names.iter().rev().map(String::as_str));
    for queue in &names {
        recorder.reset(queue, "agent_lost", 1);
    }
    let page = recorder.encode();
    walk(&page);
    let all = samples(&page);
    let reset = |queue: &str| {
        all.get(format!("backstop_tasks_reset_total{{cause=\"agent_lost\",queue=\"{queue}\"}}").as_str())
            .copied()
    };
    assert_eq!(reset("queue-63"), Some(1.0));
    assert_eq!(reset("queue-64"), None);
    assert_eq!(reset("_other"), Some(2.0));
    assert_eq!(value(&recorder, "label_overflow_total{label=\"queue\"}"), Some(4.0));
    // Places are never given to others, whatever comes first in order of name later.
    recorder.discovered(["queue-"]);
    assert_eq!(value(&recorder, "leader{queue=\"queue-\"}"), None);
    assert_eq!(value(&recorder, "leader{queue=\"queue-63\"}"), Some(0.0));
}

#[test]
fn gauges_of_queues_without_a_place_add_up_and_the_oldest_moment_counts() {
    let names = queues(67);
    let recorder = recorder(&names[..64]);
    let mut snapshot = snapshot(&names);
    snapshot.queues[65].oldest_running_at_ms = Some(1_600_000_000_000);
    snapshot.queues[66].oldest_running_at_ms = None;
    recorder.publish(&snapshot);
    assert_eq!(value(&recorder, "queue_tasks{queue=\"_other\",state=\"running\"}"), Some(21.0));
    assert_eq!(value(&recorder, "oldest_running_timestamp_seconds{queue=\"_other\"}"), Some(1_600_000_000.0));
}

#[test]
fn a_word_that_is_in_no_set_is_counted_and_not_shown() {
    let recorder = recorder(&queues(1));
    recorder.reset("queue-00", "bad \"luck\"", 1);
    recorder.script("DROP", Duration::ZERO);
    let page = recorder.encode();
    assert!(!page.contains("luck") && !page.contains("DROP"));
    assert_eq!(value(&recorder, "label_overflow_total{label=\"cause\"}"), Some(1.0));
    assert_eq!(value(&recorder, "label_overflow_total{label=\"script\"}"), Some(1.0));
}

#[test]
fn a_snapshot_shows_in_the_gauges_and_what_is_gone_goes() {
    let names = queues(2);
    let recorder = recorder(&names);
    let mut snapshot = snapshot(&names);
    recorder.publish(&snapshot);
    for (sample, expected) in [
        ("redis_up", 1.0),
        ("sweep_interval_seconds", 2.0),
        ("last_sweep_success_timestamp_seconds", 1_700_000_000.5),
        ("guard_open{guard=\"mass_loss\"}", 1.0),
        ("guard_open{guard=\"own_pause\"}", 0.0),
        ("leader{queue=\"queue-00\"}", 1.0),
        ("running_tasks{liveness=\"suspect\",queue=\"queue-01\"}", 2.0),
        ("queue_tasks{queue=\"queue-01\",state=\"running\"}", 7.0),
        ("mode_info{mode=\"observe\",queue=\"queue-01\"}", 1.0),
        ("oldest_abandoned_timestamp_seconds{queue=\"queue-01\"}", 1_700_000_000.0),
        ("config_last_reload_successful", 0.0),
    ] {
        assert_eq!(value(&recorder, sample), Some(expected), "{sample}");
    }
    snapshot.guards.clear();
    snapshot.queues.truncate(1);
    snapshot.config.loaded_at_ms = Some(5000);
    recorder.publish(&snapshot);
    assert_eq!(value(&recorder, "guard_open{guard=\"mass_loss\"}"), Some(0.0));
    assert_eq!(value(&recorder, "leader{queue=\"queue-01\"}"), Some(0.0));
    assert_eq!(value(&recorder, "oldest_abandoned_timestamp_seconds{queue=\"queue-01\"}"), None);
    assert_eq!(value(&recorder, "config_last_reload_successful"), Some(1.0));
    assert_eq!(value(&recorder, "config_last_reload_success_timestamp_seconds"), Some(5.0));
}

fn totals(of: &[(&str, i64)]) -> BTreeMap<String, i64> {
    of.iter().map(|(field, n)| ((*field).to_owned(), *n)).collect()
}

#[test]
fn durable_totals_count_by_their_increase_while_this_replica_leads() {
    let recorder = recorder(&["q".to_owned()]);
    let adopted = || value(&recorder, "tasks_adopted_total{queue=\"q\"}").unwrap();
    recorder.durable("q", &totals(&[("adopted", 100)]));
    recorder.durable("q", &totals(&[("adopted", 200)]));
    assert_eq!(adopted(), 0.0, "nobody leads");
    recorder.leads("q", true);
    recorder.durable("q", &totals(&[("adopted", 300)]));
    assert_eq!(adopted(), 0.0, "the first look is only a look");
    recorder.durable("q", &totals(&[("adopted", 304)]));
    assert_eq!(adopted(), 4.0);
    recorder.leads("q", true);
    recorder.durable("q", &totals(&[("adopted", 5)]));
    assert_eq!(adopted(), 4.0, "going down is a new beginning");
    recorder.durable("q", &totals(&[("adopted", 7)]));
    assert_eq!(adopted(), 6.0);
    recorder.leads("q", false);
    recorder.durable("q", &totals(&[("adopted", 50)]));
    recorder.leads("q", true);
    recorder.durable("q", &totals(&[("adopted", 60)]));
    assert_eq!(adopted(), 6.0, "what happened under another leader is the other's");
    assert_eq!(value(&recorder, "leader_transitions_total{queue=\"q\"}"), Some(2.0));
}

#[test]
fn what_this_process_did_itself_is_not_counted_twice() {
    let recorder = recorder(&["q".to_owned()]);
    recorder.leads("q", true);
    recorder.durable("q", &totals(&[]));
    // Two by this process, one by an agent that adopted; one of them expired while it ran, one while it waited.
    recorder.abandoned("q", "agent_lost", 2);
    recorder.reset("q", "agent_lost", 1);
    recorder.expired("q", "running", 1);
    let now = [
        ("abandoned:agent_lost", 3),
        ("reset:agent_lost", 1),
        ("adopted", 1),
        ("abandoned_expired", 1),
        ("expired", 2),
        ("dead:expired", 2),
    ];
    recorder.durable("q", &totals(&now));
    recorder.durable("q", &totals(&now));
    for (sample, expected) in [
        ("tasks_abandoned_total{cause=\"agent_lost\",queue=\"q\"}", 3.0),
        ("tasks_reset_total{cause=\"agent_lost\",queue=\"q\"}", 1.0),
        ("tasks_adopted_total{queue=\"q\"}", 1.0),
        ("tasks_expired_total{queue=\"q\",state=\"running\"}", 1.0),
        ("tasks_expired_total{queue=\"q\",state=\"waiting\"}", 1.0),
        ("tasks_dead_lettered_total{queue=\"q\",reason=\"expired\"}", 2.0),
    ] {
        assert_eq!(value(&recorder, sample), Some(expected), "{sample}");
    }
}

#[test]
fn the_table_is_sound() {
    let mut names = BTreeSet::new();
    for metric in TABLE {
        assert!(names.insert(metric.name), "{} stands twice", metric.name);
        assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
        assert!(metric.help.ends_with('.') && !metric.unit.is_empty(), "{}", metric.name);
        if let Kind::Histogram(edges) = metric.kind {
            assert!(edges.contains(&60.0), "{}", metric.name);
        }
        for label in metric.labels {
            let own = ["version", "label"].contains(&label.name());
            assert!(own || OVERFLOWING.contains(&label.name()), "{} can't overflow", label.name());
        }
    }
    let folders = ["src/native/scripts", "src/layout/scripts"];
    let mut files: Vec<String> = folders
        .into_iter()
        .flat_map(|folder| std::fs::read_dir(format!("{}/{folder}", env!("CARGO_MANIFEST_DIR"))).unwrap())
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".lua").map(str::to_owned))
        .collect();
    files.sort();
    assert_eq!(files, SCRIPTS);
}

fn kind(metric: &Metric) -> String {
    match metric.kind {
        Kind::Counter => "counter".to_owned(),
        Kind::Gauge => "gauge".to_owned(),
        Kind::Moment => "gauge, may be absent".to_owned(),
        Kind::Histogram(edges) => {
            format!("histogram: {}", edges.iter().map(f64::to_string).collect::<Vec<_>>().join(", "))
        }
    }
}

fn documentation() -> String {
    let mut page = format!(
        "# Metrics\n\n\
         Written from the table in `src/telemetry/metrics.rs`; a test compares (`BLESS=1 cargo test` writes it anew).\n\n\
         Every name begins with `{PREFIX}`. Every label value is one of a closed set, or a queue: the configured \
         queues first, then\nothers in order of name, at most {MOST_QUEUES}; the rest is `{OTHER}`. Every figure is \
         there from the start, at zero, but those\nthat say that they may be absent. Counters hold what this \
         process' scripts did, from zero, and, for the queues that it sweeps,\nwhat agents' scripts did meanwhile: \
         replicas add up, and a takeover is no burst. `process_*` is there as well.\n\n\
         Of abandoned tasks each is one of these, so the sums agree: `tasks_abandoned_total` = `tasks_reset_total` \
         +\n`tasks_dead_lettered_total{{reason=\"poison\"}}` + `tasks_expired_total{{state=\"running\"}}` + \
         `tasks_adopted_total` +\n`tasks_collected_total` + `tasks_failed_elsewhere_total`.\n\n\
         | metric | kind | labels | unit | tells |\n|---|---|---|---|---|\n"
    );
    for metric in TABLE {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{}`", label.name())).collect();
        writeln!(
            page,
            "| `{PREFIX}{}` | {} | {} | {} | {} |",
            metric.name,
            kind(metric),
            labels.join(" "),
            metric.unit,
            metric.help
        )
        .unwrap();
    }
    page.push_str("\n## Label values\n\n| metric | label | values |\n|---|---|---|\n");
    for metric in TABLE {
        for label in metric.labels {
            if let Label::Closed { name, values } = label
                && *name != "version"
            {
                writeln!(page, "| `{}` | `{name}` | `{}` |", metric.name, values.join("` `")).unwrap();
            }
        }
    }
    page
}

#[test]
fn the_documentation_is_written_from_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, documentation()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert_eq!(written, documentation(), "docs/metrics.md is behind the table: BLESS=1 writes it anew");
}
