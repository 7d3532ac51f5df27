//! The demonstration: agents are killed, their tasks come back, and an account from books that don't depend on Backstop.
//!
//! Everything is real: a Redis process, the daemon, agents, a process for each task, and signals. It touches no Redis but
//! its own.

mod account;
mod books;
mod crew;
mod screen;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::agent::{Client, EnqueueError, NewTask};
use crate::core::id::{InvalidName, QueueName, TaskId, TaskType};
use crate::native::keys::Keys;
use crate::ops::number;
use crate::ops::status::{self, QueueStatus};
use crate::private_server::{Fsync, Options as ServerOptions, PrivateServer, ServerError};
use crate::store::{Options, Store, StoreError};

pub use account::Account;
pub use books::{keeper, run_task};
use crew::{Crew, Daemon};
use screen::Screen;

/// Clocks short enough to watch.
const CONFIG: &str = r#"# Clocks for a demonstration: short enough to watch.
[sweep]
every = "250ms"
lease = "2s"
[log]
format = "human"
[guards]
failover_grace = "1500ms"
[defaults.session]
heartbeat_interval = "300ms"
heartbeat_timeout = "1s"
lost_after = "500ms"
startup_grace = "2s"
adopt_within = "1500ms"
stop_on_agent_after = "1200ms"
[defaults.task]
max_abandonments = 10
backoff = { first = "100ms", factor = 2.0, max = "2s" }
"#;

const QUEUE: &str = "demo";
const AGENTS: usize = 8;
/// The whole must end by itself within a minute.
const LIMIT: Duration = Duration::from_secs(50);

/// Why the demonstration could not be given.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// There is no Redis to start.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// It doesn't answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The tasks could not be added.
    #[error(transparent)]
    Enqueue(#[from] EnqueueError),
    /// A process or a file could not be made.
    #[error("could not {doing}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A name of its own isn't valid.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> DemoError {
    move |source| DemoError::Io { doing, source }
}

/// A private Redis, and a daemon with short clocks beside it.
pub struct Stage {
    server: PrivateServer,
    daemon: Daemon,
    store: Store,
}

impl Stage {
    /// Sets both up. `launcher` is this program's own binary.
    ///
    /// # Errors
    /// [`DemoError`].
    pub async fn set(launcher: &Path) -> Result<Self, DemoError> {
        let options = ServerOptions {
            engine: None,
            launcher: launcher.to_owned(),
            fsync: Fsync::Always,
            extra: Vec::new(),
        };
        let server = PrivateServer::start(options).await?;
        let config = server.folder().join("demo.toml");
        std::fs::write(&config, CONFIG).map_err(io("write the configuration"))?;
        let daemon = Daemon::start(launcher, &server, &config)?;
        let store = Store::connect(&server.url(), &Options::default())?;
        Ok(Self { server, daemon, store })
    }

    /// Where its Redis is.
    #[must_use]
    pub fn redis_url(&self) -> String {
        self.server.url()
    }

    /// Where the daemon's pages are.
    #[must_use]
    pub fn pages(&self) -> String {
        self.daemon.pages()
    }

    /// Which Redis it is.
    #[must_use]
    pub fn engine(&self) -> String {
        format!("{} {}", self.server.engine().name, self.server.engine().version)
    }

    /// The folder with the log of the daemon.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.server.folder()
    }
}

/// Gives the demonstration with this many tasks; the account of it.
///
/// # Errors
/// [`DemoError`] if it could not be given at all.
pub async fn run(launcher: PathBuf, tasks: usize, stop: CancellationToken) -> Result<Account, DemoError> {
    let began = Instant::now();
    let mut stage = Stage::set(&launcher).await?;
    let mut screen = Screen::new();
    screen.say(&format!("{} on a private unix socket, append-only file, fsync always", stage.engine()));
    screen.say(&format!("metrics while it runs: {}/metrics", stage.pages()));
    let ids = enqueue(&stage.store, tasks).await?;
    screen.say(&format!(
        "{} tasks of different lengths enqueued; {AGENTS} agents, 4 tasks at a time each",
        ids.len()
    ));
    let queue = QueueName::new(QUEUE)?;
    // Agents are told how often to beat when they register; the daemon must have said so by then.
    while !published(&stage.store, &queue).await? && !stop.is_cancelled() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut crew = Crew::start(&launcher, &stage.server, AGENTS)?;
    let mut script = SCRIPT.iter().peekable();
    let mut last: Option<QueueStatus> = None;
    let acting = Instant::now();
    while began.elapsed() < LIMIT && !stop.is_cancelled() {
        while let Some((at, act)) = script.next_if(|(at, _)| acting.elapsed() >= Duration::from_millis(*at)) {
            let _ = at;
            play(*act, &mut stage, &mut crew, &mut screen).await?;
        }
        crew.keep_up(&mut screen)?;
        if let Ok(mut now) = status::read(&stage.store, std::slice::from_ref(&queue)).await {
            last = now.queues.pop();
        }
        if let Some(now) = &last {
            screen.show(now, &crew, acting.elapsed());
            if script.peek().is_none() && now.completed + now.dead + now.discarded >= ids.len() as u64 {
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    screen.end();
    crew.stop().await;
    let account = account::settle(&stage, &crew, &ids).await?;
    stage.daemon.stop().await;
    Ok(account)
}

/// Whether the daemon has published its policy.
async fn published(store: &Store, queue: &QueueName) -> Result<bool, StoreError> {
    let key = Keys::of(queue).named("policy");
    Ok(number(store, &["HLEN", &key]).await? > 0)
}

/// What happens to the agents and to Redis.
#[derive(Debug, Clone, Copy)]
enum Act {
    Kill(usize),
    Pause(usize),
    Wake(usize),
    RestartRedis,
}

/// When it happens, in ms from the start.
const SCRIPT: [(u64, Act); 9] = [
    (1500, Act::Kill(0)),
    (3000, Act::Kill(1)),
    (3200, Act::Kill(2)),
    (5000, Act::Pause(3)),
    (8500, Act::Wake(3)),
    (9500, Act::RestartRedis),
    (14_000, Act::Kill(4)),
    (15_500, Act::Kill(0)),
    (15_600, Act::Kill(5)),
];

async fn play(act: Act, stage: &mut Stage, crew: &mut Crew, screen: &mut Screen) -> Result<(), DemoError> {
    match act {
        Act::Kill(n) => {
            crew.kill(n);
            screen.say(&format!("kill -9 agent-{n}, with what it runs"));
        }
        Act::Pause(n) => {
            crew.pause(n);
            screen.say(&format!("agent-{n} is paused for longer than its time (SIGSTOP)"));
        }
        Act::Wake(n) => {
            crew.wake(n);
            screen.say(&format!("agent-{n} wakes up (SIGCONT), and learns what it lost"));
        }
        Act::RestartRedis => {
            screen.say("kill -9 Redis, and start it again on its append-only file");
            stage.server.restart().await?;
        }
    }
    Ok(())
}

async fn enqueue(store: &Store, n: usize) -> Result<Vec<TaskId>, DemoError> {
    let mut tasks = Vec::with_capacity(n);
    for i in 0..n {
        // Most are short, one in fifty takes long; the lengths are spread without being random, so that runs compare.
        let ms = if i % 50 == 17 { 1500 + i % 1000 } else { 20 + i * 37 % 380 };
        tasks.push(NewTask {
            id: TaskId::new(format!("task-{i}"))?,
            task_type: TaskType::new("sleep")?,
            delay: Duration::ZERO,
            deadline: None,
            payload: ms.to_string().into_bytes(),
        });
    }
    let ids = tasks.iter().map(|task| task.id.clone()).collect();
    Client::new(store.clone(), QueueName::new(QUEUE)?).enqueue_all(tasks).await?;
    Ok(ids)
}
