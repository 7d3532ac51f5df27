//! Each script and its contract: the header, the types in Rust, and what the script law asks of all of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backstop::core::policy::QueuePolicy;
use backstop::core::words::{Action, Cause, Guard};
use backstop::native::Command;
use backstop::native::keys::FORMAT;
use backstop::native::scripts::adopt::Adopt;
use backstop::native::scripts::beat::{Beat, Drain, Mark};
use backstop::native::scripts::cancel::Cancel;
use backstop::native::scripts::census::Census;
use backstop::native::scripts::complete::Complete;
use backstop::native::scripts::declare::Declare;
use backstop::native::scripts::discard::Discard;
use backstop::native::scripts::dismiss::{Dismiss, How};
use backstop::native::scripts::enqueue::Enqueue;
use backstop::native::scripts::expire::Expire;
use backstop::native::scripts::extend::Extend;
use backstop::native::scripts::external::External;
use backstop::native::scripts::forget::Forget;
use backstop::native::scripts::inspect::Inspect;
use backstop::native::scripts::leave::Leave;
use backstop::native::scripts::note::Note;
use backstop::native::scripts::observe::Observe;
use backstop::native::scripts::publish::Publish;
use backstop::native::scripts::reconcile::Reconcile;
use backstop::native::scripts::redrive::{Redrive, SeenDead};
use backstop::native::scripts::release::Release;
use backstop::native::scripts::reset::Reset;
use backstop::native::scripts::settle::Settle;
use backstop::native::scripts::steer::Steer;
use backstop::native::scripts::switch::Switch;
use backstop::store::{Args, Reply, Script, Shape, StoreError};

use super::scene::{LOST, Scene, by_silence, failing, look, task};

/// The parts of a header, in their order.
const PARTS: [&str; 6] = ["KEYS", "ARGV", "RETURNS", "GUARD", "REPEAT", "COST"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/native/scripts")
}

fn names(extension: &str) -> BTreeSet<String> {
    let files = std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().path());
    let wanted = files.filter(|path| path.extension().is_some_and(|e| e == extension));
    wanted.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).filter(|n| n != "mod").collect()
}

fn text(name: &str, extension: &str) -> String {
    std::fs::read_to_string(folder().join(format!("{name}.{extension}"))).unwrap()
}

/// One part of a script's header, its lines joined.
fn part(lua: &str, wanted: &str) -> String {
    let mut within = false;
    let mut found = String::new();
    for line in lua.lines().take_while(|line| !line.starts_with("--!")).filter_map(|l| l.strip_prefix("-- "))
    {
        let first = line.split(' ').next().unwrap();
        if PARTS.contains(&first) {
            within = first == wanted;
        }
        if within {
            found.push_str(line.strip_prefix(wanted).unwrap_or(line).trim());
            found.push(' ');
        }
    }
    found
}

/// A text without what stands in brackets.
fn outside_brackets(text: &str) -> String {
    let mut depth = 0;
    let mut outside = String::new();
    for c in text.chars() {
        match c {
            '(' | '{' => depth += 1,
            ')' | '}' => depth -= 1,
            c if depth == 0 => outside.push(c),
            _ => {}
        }
    }
    outside
}

fn first_word(text: &str) -> Option<String> {
    let word: String = text.trim().chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
    (!word.is_empty()).then_some(word)
}

/// The words that a header promises.
fn promised(lua: &str) -> BTreeSet<String> {
    let returns = outside_brackets(&part(lua, "RETURNS"));
    let (before, after) = match returns.split_once("for each:") {
        // What comes before a list of words is a word only if it is an alternative to the list.
        Some((before, after)) => (before.trim().strip_suffix(", or").unwrap_or_default().to_owned(), after),
        None => (String::new(), returns.as_str()),
    };
    let alternatives = after.split('|').flat_map(|piece| piece.split(", or "));
    alternatives.chain([before.as_str()]).filter_map(first_word).collect()
}

/// Words in quotes after any of these beginnings.
fn quoted_after(text: &str, quote: char, beginnings: &[&str]) -> BTreeSet<String> {
    let opened: Vec<_> = beginnings.iter().map(|beginning| format!("{beginning}{quote}")).collect();
    let after = opened.iter().flat_map(|open| text.split(open.as_str()).skip(1));
    let words = after.filter_map(|rest| rest.split(quote).next());
    words
        .filter(|w| !w.is_empty() && w.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .map(str::to_owned)
        .collect()
}

/// The words that the Rust side reads.
fn understood(rust: &str) -> BTreeSet<String> {
    let code = rust.split("#[cfg(test)]").next().unwrap().replace("script!(", "");
    let reads = code.split_once("fn read").map_or("", |(_, after)| after);
    let mut words = quoted_after(&code, '"', &[" = "]);
    words.extend(quoted_after(reads, '"', &["(", "== ", "!= ", "b"]));
    words.extend(reads.lines().filter_map(|line| {
        let word = line.trim().strip_prefix('"')?.split_once("\" =>")?.0;
        Some(word.to_owned())
    }));
    words
}

#[test]
fn each_script_has_its_type_and_each_type_its_script() {
    assert_eq!(names("lua"), names("rs"));
    assert!(names("lua").len() > 20);
}

#[test]
fn each_header_says_all_of_its_parts_in_order() {
    for name in names("lua") {
        let lua = text(&name, "lua");
        assert!(lua.starts_with("#!lua"), "{name}");
        let heads = lua.lines().filter_map(|line| line.strip_prefix("-- ")?.split(' ').next());
        let found: Vec<_> = heads.filter(|head| PARTS.contains(head)).collect();
        assert_eq!(found, PARTS, "{name}");
        for wanted in PARTS {
            assert!(part(&lua, wanted).len() > 4, "{name}: {wanted} is empty");
        }
    }
}

#[test]
fn header_script_and_type_agree_on_the_words_of_the_answer() {
    for name in names("lua") {
        let (lua, understood) = (text(&name, "lua"), understood(&text(&name, "rs")));
        let returns = part(&lua, "RETURNS");
        for word in promised(&lua) {
            assert!(
                understood.contains(&word),
                "{name}: the header promises {word:?}, the type knows {understood:?}"
            );
        }
        let said = quoted_after(&lua, '\'', &["return ", "return { ", "answer = ", "answer = { ", "word = "]);
        for word in said {
            assert!(
                understood.contains(&word),
                "{name}: the script says {word:?}, the type knows {understood:?}"
            );
        }
        for word in understood {
            let mut words = returns.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
            assert!(words.any(|w| w == word), "{name}: the type knows {word:?}, the header doesn't");
        }
    }
}

#[test]
fn scripts_that_finish_or_keep_alive_what_runs_run_when_redis_is_full() {
    for name in ["beat", "complete", "fail", "release", "leave", "apply", "forget"] {
        assert!(text(name, "lua").starts_with("#!lua flags=allow-oom\n"), "{name}");
    }
}

/// One call of one script.
struct Sample {
    script: &'static Script,
    args: Args,
    read: Box<dyn Fn(Reply) -> Result<(), StoreError>>,
}

fn sample<C: Command + 'static>(format: &str, command: C) -> Sample {
    let mut args = Args::default();
    args.push(format);
    command.args(&mut args);
    let script = command.script();
    Sample {
        script,
        args,
        read: Box::new(move |reply| command.read(&Shape::of("a script"), reply).map(drop)),
    }
}

/// A queue in which each script has something to do, and a call of each that does it.
async fn busy(scene: &mut Scene, format: &str) -> Vec<Sample> {
    scene.plain(&["FLUSHALL"]).await;
    scene.observe().await;
    let mut policy = QueuePolicy::default();
    policy.task.task_heartbeat_timeout = Some(Duration::from_secs(60));
    scene.publish(&policy).await;
    scene.enqueue("dead").await;
    let a = scene.register("a").await;
    let dead = scene.take_one(&a).await;
    scene.fail(&dead).await;
    // A delayed task that is ready, with a deadline that has passed.
    scene.plain(&["ZADD", &scene.key("dead"), "1", "dead"]).await;
    scene.plain(&["ZREM", &scene.key("delayed"), "dead"]).await;
    let mut expired = task("expired");
    expired.deadline = Some(Duration::from_secs(1));
    expired.delay = Duration::from_secs(1);
    scene.enqueue("held").await;
    let held = scene.take_one(&a).await;
    scene.elapse(Duration::from_secs(100)).await;
    let page = scene.observe().await;
    scene.plain(&["SET", &scene.key("external:held"), "job"]).await;
    scene.plain(&["ZADD", &scene.key("unwanted"), "1", "kind gone job"]).await;
    let b = scene.register("a").await;
    scene.enqueue("mine").await;
    let mine = scene.take_one(&b).await;
    scene.run(&Enqueue { tasks: vec![expired] }).await;
    scene.elapse(Duration::from_secs(2)).await;
    scene.enqueue("waits").await;
    let beat = page.facts.silent[0].beat_ms.unwrap();
    // As silent as the page says, so that verdicts about it are carried out.
    scene.plain(&["ZADD", &scene.key("agents"), &beat.to_string(), a.as_str()]).await;
    let astray = scene.queue.keys().task("astray");
    scene.plain(&["HSET", &astray, "type", "kind", "session", b.as_str(), "taken_at", "1"]).await;
    let (id, token) = mine.clone();
    let by = || "me".to_owned();
    let seen = || SeenDead { id: dead.0.clone(), token: dead.1.clone(), died_at_ms: 1 };
    let mut late = task("late");
    late.delay = Duration::from_secs(1);
    let seen_beat_ms = beat;
    vec![
        sample(format, Adopt { session: b.clone(), nonce: scene.nonce(), pairs: vec![held.clone()] }),
        sample(format, by_silence(&page.facts.silent[0], Action::Reset)),
        sample(
            format,
            Beat { session: b.clone(), number: 1, pairs: vec![(id.clone(), token.clone(), Mark::Alive)] },
        ),
        sample(format, Cancel { id: id.clone(), seen: token.clone(), by: by() }),
        sample(format, Census { sessions: vec![a.to_string()] }),
        sample(format, Complete { pairs: vec![mine.clone(), held.clone()] }),
        sample(format, Declare { session: b.to_string(), seen_beat_ms: i64::MAX / 1024 }),
        sample(format, Discard { by: by(), dead: vec![seen()] }),
        sample(
            format,
            Dismiss { by: by(), how: How::ByHand, jitter: 0, entries: vec!["kind gone job".to_owned()] },
        ),
        sample(format, Enqueue { tasks: vec![task("new"), late] }),
        sample(format, Expire { ids: vec!["expired".to_owned()] }),
        sample(format, Extend { id, token, limit_ms: i64::MAX / 1024, by: by() }),
        sample(
            format,
            External {
                id: "mine".to_owned(),
                token: mine.1.clone(),
                task_type: "kind".to_owned(),
                handle: "job".to_owned(),
                number: 1,
            },
        ),
        sample(format, failing(&mine)),
        sample(format, Forget { session: a.to_string(), seen_beat_ms }),
        sample(format, Inspect { id: "mine".to_owned() }),
        sample(format, Leave { session: b.clone() }),
        sample(format, Note { grace: Some((Guard::RedisChanged, Duration::from_secs(1))), fields: vec![] }),
        sample(format, Observe { lease: Some(("me".to_owned(), LOST)), ..look(Duration::ZERO) }),
        sample(format, Publish { policy: QueuePolicy::default() }),
        sample(format, Reconcile { repair: true, session: None, ids: vec!["astray".to_owned()] }),
        sample(format, Redrive { deadline: None, by: by(), dead: vec![seen()] }),
        sample(format, scene.registration("a")),
        sample(
            format,
            Release { session: b.clone(), delay: Some(Duration::ZERO), pairs: vec![mine.clone()] },
        ),
        sample(format, Reset { by: by(), pairs: vec![mine] }),
        sample(
            format,
            Settle {
                session: a.to_string(),
                seen_beat_ms: Some(beat),
                cause: Cause::AgentLost,
                id: held.0.clone(),
                token: held.1.clone(),
                handle: "job".to_owned(),
                action: Action::Reset,
                delay: Duration::ZERO,
                jitter: 0,
            },
        ),
        sample(
            format,
            Steer { by: by(), identity: "a".parse().unwrap(), seen_change: 0, drain: Some(Drain::Wait) },
        ),
        sample(format, Switch { seen_change: 0, by: by(), fields: vec![] }),
        sample(format, scene.taking(&b)),
    ]
}

#[tokio::test]
async fn a_queue_of_another_format_is_refused_by_every_script_and_nothing_is_written() {
    let mut scene = Scene::new().await;
    let samples = busy(&mut scene, "2").await;
    assert_eq!(samples.len(), names("lua").len());
    let before = scene.dump().await;
    for sample in samples {
        let keys = scene.queue.keys().fixed();
        let error = scene.store().run(sample.script, keys, &sample.args).await.unwrap_err();
        assert!(error.is_format(), "{}: {error}", sample.script.name());
        assert_eq!(scene.dump().await, before, "{}", sample.script.name());
    }
}

#[tokio::test]
async fn an_answer_that_no_version_gives_is_an_error() {
    let mut scene = Scene::new().await;
    let word = || Reply::Bytes(b"nonsense".to_vec());
    for sample in busy(&mut scene, FORMAT).await {
        for reply in [word(), Reply::List(vec![word()]), Reply::List(vec![Reply::List(vec![word()])])] {
            let error = (sample.read)(reply).unwrap_err().to_string();
            assert!(error.contains("none that this version knows"), "{}: {error}", sample.script.name());
        }
    }
}

#[tokio::test]
async fn a_key_of_the_wrong_type_stops_a_script_before_it_has_written_anything() {
    let mut scene = Scene::new().await;
    let mut midway = Vec::new();
    for key in scene.queue.keys().fixed().to_vec() {
        let mut refused = 0;
        for nth in 0..names("lua").len() {
            let sample = busy(&mut scene, FORMAT).await.swap_remove(nth);
            scene.plain(&["DEL", &key]).await;
            scene.plain(&["LPUSH", &key, "not what it should be"]).await;
            let before = scene.dump().await;
            let answer = scene.store().run(sample.script, scene.queue.keys().fixed(), &sample.args).await;
            let after = scene.dump().await;
            if answer.is_err() {
                refused += 1;
                if before != after {
                    midway.push(format!("{} at {key}", sample.script.name()));
                }
            } else {
                assert_eq!(before.keys[&key], after.keys[&key], "{} replaced {key}", sample.script.name());
            }
        }
        let unread = ["events", "lease", "none"].iter().any(|name| key.ends_with(name));
        assert!(refused > 0 || unread, "no script minds what {key} is");
    }
    assert!(midway.is_empty(), "stopped with half of the work done: {midway:#?}");
}
