//! A private Redis on a socket of its own, gone with the value that stands for it.

pub(crate) mod dump;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use backstop::store::{Options, Reply, Store};
use tempfile::TempDir;

/// What happens to the data when the server is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// It is gone.
    Nothing,
    /// Each write is on the disk before it is answered.
    Everything,
}

/// A running `redis-server`.
pub(crate) struct Server {
    child: Child,
    home: TempDir,
    keeps: Keeps,
    store: Store,
}

impl Server {
    /// Starts one; must be called within a runtime.
    pub(crate) async fn start(keeps: Keeps) -> Self {
        let home = tempfile::tempdir().unwrap();
        let child = spawn(&home, keeps);
        let url = format!("redis+unix://{}", socket(&home).display());
        let store = Store::connect(&url, &Options::default()).unwrap();
        let server = Self { child, home, keeps, store };
        server.until_it_answers().await;
        server
    }

    /// A connection to it.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Kills it, as the kernel does when memory is short.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Kills it and starts it again on the same files.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.home, self.keeps);
        self.until_it_answers().await;
    }

    async fn until_it_answers(&self) {
        let started = Instant::now();
        while !matches!(self.store.command(&["PING"]).await, Ok(Reply::Bytes(_))) {
            assert!(started.elapsed() < Duration::from_secs(10), "redis-server did not start");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn socket(home: &TempDir) -> PathBuf {
    home.path().join("s")
}

fn spawn(home: &TempDir, keeps: Keeps) -> Child {
    let mut command = Command::new("redis-server");
    command.arg("--port").arg("0").arg("--unixsocket").arg(socket(home)).arg("--dir").arg(home.path());
    command.args(["--save", "", "--hz", "100"]);
    if keeps == Keeps::Everything {
        command.args(["--appendonly", "yes", "--appendfsync", "always"]);
    }
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("redis-server is installed")
}
