//! kill -9 of real agents: how long until their tasks are runnable again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::identity::{Process, command, daemon, until};
use crate::{fleet, median, server};

const AGENTS: usize = 110;
const KILLS: usize = 50;
/// The server of this row has just started: without this, the first minute would be the grace that follows a restart.
const GRACE: &str = "[guards]\nfailover_grace = \"1ms\"\n";

pub async fn run() {
    measure("defaults", GRACE, Duration::from_secs(90)).await;
    let brisk = "[guards]\nfailover_grace = \"1ms\"\n[sweep]\nevery = \"1s\"\n[defaults.session]\nheartbeat_interval = \"1s\"\nheartbeat_timeout = \"3s\"\nlost_after = \"1s\"\n";
    measure("1 s beats, 3 s + 1 s, a pass each second", brisk, Duration::from_secs(60)).await;
}

/// Kills 50 of 110 agents at even moments of this span: never so many at once that a guard has reason to open.
async fn measure(what: &str, config: &str, span: Duration) {
    let private = server::start().await;
    let queue = server::queue(&private);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("backstop.toml");
    std::fs::write(&path, config).unwrap();
    fleet::enqueue(&queue, 0, AGENTS, 10).await;
    let _daemon = daemon(&private, &queue, &path).await;
    let mut agents = Vec::new();
    for n in 0..AGENTS {
        let name = format!("a-{n}");
        agents.push(Process(
            command(&private, &["work", "--queue", "bench", "--as", &name, "--", "sleep", "600"])
                .spawn()
                .unwrap(),
        ));
    }
    until(&queue, "taken", AGENTS as i64).await;
    let mut killed = Vec::new();
    for agent in agents.iter_mut().take(KILLS) {
        let wobble = u64::from(getrandom::u32().unwrap() % 1000);
        tokio::time::sleep(span / KILLS as u32 - Duration::from_millis(500) + Duration::from_millis(wobble))
            .await;
        agent.0.kill().unwrap();
        killed.push(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64);
        agent.0.wait().unwrap();
    }
    tokio::time::sleep(Duration::from_secs(36)).await;
    let mut waits = Vec::new();
    for (n, at) in killed.iter().enumerate() {
        if let Some(reset) = reset_of(&queue, &format!("a-{n}.")).await {
            waits.push((reset - at) as f64 / 1e3);
        }
    }
    assert_eq!(waits.len(), KILLS, "every kill was found");
    let max = waits.iter().copied().fold(0.0, f64::max);
    println!("RESULT kills, {what}: median {:.1} s, longest {max:.1} s of {KILLS}", median(waits));
}

/// When the sweeper reset what the session of this identity held, ms.
async fn reset_of(queue: &backstop::native::Queue, identity: &str) -> Option<i64> {
    use backstop::store::Shape;
    let shape = Shape::of("XRANGE");
    let entries = queue.store().command(&["XRANGE", &queue.keys().named("events"), "-", "+"]).await.unwrap();
    for entry in shape.list(entries).unwrap() {
        let [_, fields] = shape.array(entry).unwrap();
        let mut texts = std::collections::BTreeMap::new();
        for [field, value] in shape.rows(fields).unwrap() {
            texts.insert(shape.text(field).unwrap(), shape.text(value).unwrap());
        }
        if texts["what"] == "reset" && texts["session"].starts_with(identity) {
            return texts["at"].parse().ok();
        }
    }
    None
}
