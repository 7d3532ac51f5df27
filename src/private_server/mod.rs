//! A private Redis for the demo, for trying out, and for the tests: on a unix socket in a folder that nobody else can
//! read, gone with the process that started it.

pub mod engine;
mod process;
mod with_parent;

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use engine::{Engine, find};
pub use with_parent::{WITH_PARENT, command_with_parent, with_parent};

use process::Running;

/// How much of what Redis acknowledged survives a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// All of it.
    Always,
    /// All but the last second.
    Everysec,
    /// Nothing: no append-only file.
    Off,
}

/// Why there is no private Redis.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// None is installed that would do.
    #[error(
        "found no Redis 7.0 or Valkey 7.2 (or newer); tried {tried}. Install one (apt-get install redis-server), or set \
         BACKSTOP_REDIS_SERVER to the path of its binary"
    )]
    NotFound {
        /// What was looked at, and what was wrong with it.
        tried: String,
    },
    /// The folder or the process could not be made.
    #[error("could not start {path:?}")]
    Start {
        /// The binary.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It started, and ended before it answered.
    #[error("{path:?} ended before it answered; its last lines were: {log}")]
    Ended {
        /// The binary.
        path: PathBuf,
        /// What it wrote.
        log: String,
    },
    /// It started, and didn't answer.
    #[error("{path:?} did not answer within {limit:?}; its last lines were: {log}")]
    Silent {
        /// The binary.
        path: PathBuf,
        /// How long it was given.
        limit: Duration,
        /// What it wrote.
        log: String,
    },
}

/// How the private Redis is to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which binary; `None`: the first that will do.
    pub engine: Option<Engine>,
    /// The `backstop` binary, by which the server is started so that it dies with its parent.
    pub launcher: PathBuf,
    /// What survives a crash.
    pub fsync: Fsync,
    /// Further arguments, as on the server's command line.
    pub extra: Vec<String>,
}

/// The socket's name in its folder.
const SOCKET: &str = "s";

/// How many bytes the path of a socket may have: 107 is what the kernel takes, some clients take less.
const PATH_LIMIT: usize = 100;

/// A fresh folder for socket, data and log, which its owner alone may enter.
fn private_folder(below: &Path) -> io::Result<tempfile::TempDir> {
    let folder = tempfile::Builder::new()
        .prefix("backstop-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(below)?;
    let bytes = folder.path().join(SOCKET).as_os_str().len();
    if bytes > PATH_LIMIT {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "{} is too long for a socket's path ({bytes} bytes, {PATH_LIMIT} at most): set TMPDIR to a shorter one",
                folder.path().display()
            ),
        ));
    }
    Ok(folder)
}

/// A running Redis of our own.
#[derive(Debug)]
pub struct PrivateServer {
    options: Options,
    engine: Engine,
    // Before the folder, for fields are dropped in this order: a server that still runs would write into the folder
    // while it is being removed.
    running: Option<Running>,
    folder: tempfile::TempDir,
}

impl PrivateServer {
    /// Starts one, and waits until it answers.
    ///
    /// # Errors
    /// [`ServerError`].
    pub async fn start(options: Options) -> Result<Self, ServerError> {
        let engine = match options.engine.clone() {
            Some(engine) => engine,
            None => find()?,
        };
        let folder = private_folder(&std::env::temp_dir())
            .map_err(|source| ServerError::Start { path: engine.path.clone(), source })?;
        let mut server = Self { options, engine, running: None, folder };
        server.launch().await?;
        Ok(server)
    }

    async fn launch(&mut self) -> Result<(), ServerError> {
        let socket = self.socket();
        let mut args: Vec<String> =
            ["--port", "0", "--unixsocketperm", "700", "--save", "", "--daemonize", "no"]
                .map(str::to_owned)
                .to_vec();
        args.extend(["--unixsocket".into(), socket.display().to_string()]);
        args.extend(["--dir".into(), self.folder.path().display().to_string()]);
        let (append, fsync) = match self.options.fsync {
            Fsync::Always => ("yes", "always"),
            Fsync::Everysec => ("yes", "everysec"),
            Fsync::Off => ("no", "no"),
        };
        args.extend(["--appendonly", append, "--appendfsync", fsync].map(str::to_owned));
        args.extend(self.options.extra.iter().cloned());
        let log = self.folder.path().join("log");
        self.running =
            Some(Running::start(&self.options.launcher, &self.engine.path, &args, &log, &socket).await?);
        Ok(())
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join(SOCKET)
    }

    /// The address of its socket.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// The folder with its socket, data and log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it is.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(Running::pid)
    }

    /// Kills it with SIGKILL, as a crash would.
    pub async fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.kill().await;
        }
    }

    /// Starts it again on the same data.
    ///
    /// # Errors
    /// [`ServerError`].
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.kill().await;
        self.launch().await
    }

    /// Stops it with SIGSTOP, as a machine that swaps or migrates would; [`Self::resume`] wakes it.
    pub fn pause(&self) {
        if let Some(running) = &self.running {
            running.signal(rustix::process::Signal::STOP);
        }
    }

    /// Wakes it.
    pub fn resume(&self) {
        if let Some(running) = &self.running {
            running.signal(rustix::process::Signal::CONT);
        }
    }
}

#[cfg(test)]
mod tests;
