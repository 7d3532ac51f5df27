//! apalis: one worker of four tasks at once, which fetches ten at a time. See ../peer.py.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use apalis::prelude::*;
use apalis_redis::{Config, ConnectionManager, RedisStorage};

const QUEUE: &str = "peer";
const AT_ONCE: usize = 4;

/// A name, and for how many milliseconds it sleeps; a negative one fails.
type Job = (String, i64);

static LEDGER: OnceLock<PathBuf> = OnceLock::new();

type Anything<T> = Result<T, Box<dyn Error + Send + Sync>>;

async fn sleep((name, milliseconds): Job) -> Result<(), BoxDynError> {
    note(&format!("start {name}\n"))?;
    let milliseconds = u64::try_from(milliseconds).map_err(|_| "told to fail")?;
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    // As one that takes too much memory.
    if std::env::var("PEER_FATAL").is_ok_and(|fatal| fatal == name) {
        std::process::abort();
    }
    note(&format!("done {name}\n"))?;
    Ok(())
}

/// One write to a file opened for appending: lines of several workers do not mix.
fn note(line: &str) -> Anything<()> {
    let ledger = LEDGER.get().ok_or("only a worker has a ledger")?;
    OpenOptions::new().append(true).create(true).open(ledger)?.write_all(line.as_bytes())?;
    Ok(())
}

/// Beats each second instead of each 30 s, or a test would take minutes. How many it may miss until the others recover
/// what it held is left as it comes, unless a test says otherwise.
fn config() -> Anything<Config> {
    let config = Config::default().queue(QUEUE).heartbeat_interval(Duration::from_secs(1));
    Ok(match std::env::var("PEER_MISSED_BEATS") {
        Ok(beats) => config.missed_heartbeats(beats.parse()?),
        Err(_) => config,
    })
}

async fn connect() -> Anything<ConnectionManager> {
    Ok(apalis_redis::connect(format!("unix://{}", std::env::var("PEER_REDIS")?)).await?)
}

async fn enqueue(jobs: usize, milliseconds: i64) -> Anything<()> {
    let mut storage = RedisStorage::<Job>::new(connect().await?).with_config(config()?);
    for i in 0..jobs {
        storage.push((format!("job-{i}"), milliseconds)).await?;
    }
    Ok(())
}

async fn work() -> Anything<()> {
    let storage = RedisStorage::<Job>::new(connect().await?).with_config(config()?);
    // A name that lives is refused, and one that died may not be taken at once.
    let name = format!("worker-{}", std::process::id());
    WorkerBuilder::new(name).backend(storage).concurrency(AT_ONCE).build(sleep).run().await?;
    Ok(())
}

/// Its own statistics of these sets fail; this is what they would count.
async fn count() -> Anything<()> {
    let redis = connect().await?;
    let size =
        async |command: &str, key: String| redis::cmd(command).arg(key).query_async(&mut redis.clone()).await;
    let waiting: u64 = size("LLEN", format!("{QUEUE}:active")).await?;
    let later: u64 = size("ZCARD", format!("{QUEUE}:scheduled")).await?;
    let dead: u64 = size("SCARD", format!("{QUEUE}:dead")).await?;
    let done: u64 = size("SCARD", format!("{QUEUE}:done")).await?;
    let sets: Vec<String> =
        redis::cmd("KEYS").arg(format!("{QUEUE}:inflight:*")).query_async(&mut redis.clone()).await?;
    let mut running: u64 = 0;
    for set in sets {
        running += size("SCARD", set).await?;
    }
    let pending = waiting + later;
    println!(r#"{{"pending": {pending}, "running": {running}, "dead": {dead}, "done": {done}}}"#);
    Ok(())
}

fn main() -> Anything<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    // One thread: as many jobs at once as the worker lets run, and no more.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match args[..] {
        ["enqueue", jobs, milliseconds] => runtime.block_on(enqueue(jobs.parse()?, milliseconds.parse()?)),
        ["work", ledger] => {
            LEDGER.get_or_init(|| PathBuf::from(ledger));
            runtime.block_on(work())
        }
        ["count"] => runtime.block_on(count()),
        _ => Err("usage: apalis-peer enqueue N MILLISECONDS | work LEDGER | count".into()),
    }
}
