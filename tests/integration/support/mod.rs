//! A private Redis for each test, and conditions to wait for.

pub mod dump;
pub mod process;

use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use backstop::core::id::QueueName;
use backstop::native::Queue;
use backstop::private_server::{Fsync, Options, PrivateServer};
use backstop::store::{Reply, Store};

/// The program under test.
pub fn backstop() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_backstop"))
}

/// Settings of a daemon with clocks that are short enough to wait for.
pub const BRISK: &str = r#"
[sweep]
every = "100ms"
[guards]
failover_grace = "300ms"
[defaults.session]
heartbeat_interval = "100ms"
heartbeat_timeout = "600ms"
lost_after = "300ms"
startup_grace = "1s"
"#;

/// A Redis of the test's own. The engine is `$BACKSTOP_REDIS_SERVER`, or the first that is installed.
pub struct Server {
    pub inner: PrivateServer,
}

impl Server {
    /// One that keeps nothing on disk.
    pub async fn start() -> Self {
        Self::with(Fsync::Off, &[]).await
    }

    /// One that loses nothing that it acknowledged.
    pub async fn durable() -> Self {
        Self::with(Fsync::Always, &[]).await
    }

    /// One with further arguments.
    pub async fn with(fsync: Fsync, extra: &[&str]) -> Self {
        let extra = extra.iter().map(|arg| (*arg).to_owned()).collect();
        let options = Options { engine: None, launcher: backstop(), fsync, extra };
        Self { inner: PrivateServer::start(options).await.expect("a Redis for the test") }
    }

    pub fn url(&self) -> String {
        self.inner.url()
    }

    pub fn store(&self) -> Store {
        Store::connect(&self.url(), &backstop::store::Options::default()).expect("the server's own address")
    }

    pub fn queue(&self, name: &str) -> Queue {
        Queue::new(self.store(), QueueName::new(name).unwrap())
    }
}

/// Waits until the condition holds, and fails with what was waited for.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < Duration::from_secs(30), "waited 30 s for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A number that a plain command answers.
pub async fn number(store: &Store, parts: &[&str]) -> i64 {
    match store.command(parts).await.unwrap() {
        Reply::Int(n) => n,
        Reply::Bytes(bytes) => String::from_utf8(bytes).unwrap().parse().unwrap(),
        Reply::Nil => 0,
        other @ Reply::List(_) => panic!("{parts:?} answered {other:?}"),
    }
}
