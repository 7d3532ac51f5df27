//! Twenty processes for a pool of ten names: killed, paused and restarted at random for minutes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use backstop::native::Queue;
use backstop::store::{Reply, Shape};
use rustix::process::{Pid, Signal, kill_process};

use crate::identity::{Process, command, daemon, total, totals, until};
use crate::{fleet, server};

const PROCESSES: usize = 20;
const NAMES: &str = "w:10";
const SPAN: Duration = Duration::from_secs(300);
const CLOCKS: &str = "[sweep]\nevery = \"200ms\"\n[guards]\nfailover_grace = \"1ms\"\n[defaults.session]\nheartbeat_interval = \"200ms\"\nheartbeat_timeout = \"1s\"\nlost_after = \"500ms\"\nstartup_grace = \"2s\"\n[defaults.task]\nmax_abandonments = 100\n";

/// From when to when a session may take, ms, as Redis wrote it down.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: i64,
    to: i64,
}

pub async fn run() {
    let private = server::start().await;
    let queue = server::queue(&private);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("backstop.toml");
    std::fs::write(&config, CLOCKS).unwrap();
    let answers = folder.path().join("answers");
    fleet::enqueue(&queue, 0, 200, 10).await;
    let _daemon = daemon(&private, &queue, &config).await;
    let start = || {
        let args = ["work", "--queue", "bench", "--pool", NAMES, "--pool-full", "wait", "--concurrency", "3"];
        let mut command = command(&private, &args);
        command.args(["--on-reconnect", "resume", "--answers", answers.to_str().unwrap()]);
        // From a tenth of a second to a second and a half.
        command.args(["--", "sh", "-c", "sleep $(($(od -An -N2 -tu2 /dev/urandom) % 15)).$(($$ % 10))e-1"]);
        Process(command.spawn().unwrap())
    };
    let mut processes: Vec<_> = (0..PROCESSES).map(|_| start()).collect();
    let mut paused: Vec<Option<Instant>> = vec![None; PROCESSES];
    let (mut kills, mut pauses, mut enqueued) = (0, 0, 200);
    let mut takes: BTreeSet<(String, String, i64)> = BTreeSet::new();
    let mut watch = Watch::default();
    let began = Instant::now();
    while began.elapsed() < SPAN {
        let random = getrandom::u32().unwrap();
        let nth = random as usize % PROCESSES;
        let signal = |process: &Process, signal| {
            let _ = kill_process(Pid::from_raw(process.0.id().cast_signed()).unwrap(), signal);
        };
        match random >> 8 & 63 {
            0 => {
                processes[nth] = start();
                paused[nth] = None;
                kills += 1;
            }
            1 if paused[nth].is_none() => {
                signal(&processes[nth], Signal::STOP);
                paused[nth] = Some(Instant::now());
                pauses += 1;
            }
            _ => {}
        }
        for n in 0..PROCESSES {
            // Half of the pauses are longer than the time-out.
            if paused[n]
                .is_some_and(|since| since.elapsed() > Duration::from_millis(500 + 200 * (n as u64 % 10)))
            {
                signal(&processes[n], Signal::CONT);
                paused[n] = None;
            }
            if processes[n].0.try_wait().unwrap().is_some() {
                // Superseded, or told that it was: its supervisor starts it again.
                processes[n] = start();
            }
        }
        if random >> 16 & 3 == 0 {
            fleet::enqueue(&queue, enqueued, 10, 10).await;
            enqueued += 10;
        }
        takes.extend(running(&queue).await);
        watch.look(&queue).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    processes.iter().for_each(|process| {
        let _ = kill_process(Pid::from_raw(process.0.id().cast_signed()).unwrap(), Signal::CONT);
    });
    until(&queue, "completed", enqueued as i64).await;
    watch.look(&queue).await;
    let overlaps = watch.overlaps();
    let strangers = takes.iter().filter(|(_, session, at)| !watch.may(session, *at)).count();
    let mut once: BTreeMap<String, u32> = BTreeMap::new();
    for line in std::fs::read_to_string(&answers).unwrap().lines() {
        if line.contains(" completed") || line.contains(" withdrawn") {
            *once.entry(line.split(' ').next().unwrap().to_owned()).or_default() += 1;
        }
    }
    let twice = once.values().filter(|n| **n > 1).count();
    println!(
        "RESULT pool: {PROCESSES} processes, 10 names, {} s: {kills} kills, {pauses} pauses, {} sessions; moments with two \
         sessions of a name that may take: {overlaps}; takes seen {}, by a session that might not: {strangers}; \
         {enqueued} enqueued, {} completed, answers that say so for the same task twice: {twice}; abandoned {}, late {}",
        SPAN.as_secs(),
        watch.spans.len(),
        takes.len(),
        total(&queue, "completed").await,
        totals(&queue, "abandoned:").await,
        total(&queue, "late").await,
    );
}

/// Every task that runs, its session, and when that took it.
async fn running(queue: &Queue) -> Vec<(String, String, i64)> {
    let mut seen = Vec::new();
    for (session, _) in queue.store().range(&queue.keys().named("agents"), 0, 100).await.unwrap() {
        for (id, _) in queue.store().range(&queue.keys().running(&session), 0, 10).await.unwrap() {
            let record = queue.store().hash(&queue.keys().task(&id)).await.unwrap();
            // An adoption writes it, too: that needs the same right.
            if record.get("session") == Some(&session)
                && let Some(at) = record.get("taken_at").and_then(|at| at.parse().ok())
            {
                seen.push((id, session.clone(), at));
            }
        }
    }
    seen
}

/// Follows the queue's events: when each session began, and when it ceased to be the one of its name.
#[derive(Default)]
struct Watch {
    last: String,
    spans: BTreeMap<String, Span>,
}

impl Watch {
    async fn look(&mut self, queue: &Queue) {
        let shape = Shape::of("XRANGE");
        let from = if self.last.is_empty() { "-".to_owned() } else { format!("({}", self.last) };
        let entries =
            queue.store().command(&["XRANGE", &queue.keys().named("events"), &from, "+"]).await.unwrap();
        for entry in shape.list(entries).unwrap() {
            let [id, fields] = shape.array(entry).unwrap();
            self.last = shape.text(id).unwrap();
            let mut texts: BTreeMap<String, String> = BTreeMap::new();
            for [field, value] in shape.rows::<2>(fields).unwrap() {
                texts.insert(text(field), text(value));
            }
            let at: i64 = texts["at"].parse().unwrap();
            let session = texts.get("session").cloned().unwrap_or_default();
            match texts["what"].as_str() {
                "registered" => drop(self.spans.insert(session, Span { from: at, to: i64::MAX })),
                "superseded" | "left" | "forgotten" => {
                    if let Some(span) = self.spans.get_mut(&session) {
                        span.to = span.to.min(at);
                    }
                }
                _ => {}
            }
        }
    }

    fn may(&self, session: &str, at: i64) -> bool {
        self.spans.get(session).is_some_and(|span| span.from <= at && at <= span.to)
    }

    /// Pairs of sessions of one name whose spans overlap.
    fn overlaps(&self) -> usize {
        let mut by_name: BTreeMap<&str, Vec<Span>> = BTreeMap::new();
        for (session, span) in &self.spans {
            by_name.entry(session.split('.').next().unwrap()).or_default().push(*span);
        }
        by_name
            .values_mut()
            .map(|spans| {
                spans.sort_by_key(|span| span.from);
                spans.windows(2).filter(|two| two[0].to > two[1].from).count()
            })
            .sum()
    }
}

fn text(reply: Reply) -> String {
    Shape::of("XRANGE").text(reply).unwrap()
}
