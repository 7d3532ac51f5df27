//! The processes of the demonstration: the daemon, and agents that are killed and come back.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::screen::Screen;
use super::{DemoError, QUEUE, io};
use crate::private_server::{PrivateServer, command_with_parent};
use crate::telemetry::clock::wall_ms;

/// How long after its death an agent is started again, as a supervisor would.
const RESPAWN: Duration = Duration::from_millis(2500);

fn signal(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    // One that is gone already has got what it was sent.
    let _ = pid.map(|pid| kill_process(pid, signal));
}

/// The daemon's process.
pub(super) struct Daemon {
    child: Child,
    address: SocketAddr,
}

impl Daemon {
    pub(super) fn start(launcher: &Path, server: &PrivateServer, config: &Path) -> Result<Self, DemoError> {
        // A port that was free a moment ago; the daemon says clearly if it isn't any more.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let address = free.map_err(io("find a free port"))?;
        let log =
            std::fs::File::create(server.folder().join("daemon.log")).map_err(io("make the daemon's log"))?;
        let child = Command::from(command_with_parent(launcher, launcher))
            .args(["run", "--listen", &address.to_string(), "--config"])
            .arg(config)
            .env("BACKSTOP_REDIS_URL", server.url())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(io("start the daemon"))?;
        Ok(Self { child, address })
    }

    pub(super) fn pages(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) async fn stop(&mut self) {
        signal(&self.child, Signal::TERM);
        if tokio::time::timeout(Duration::from_secs(3), self.child.wait()).await.is_err() {
            signal(&self.child, Signal::KILL);
        }
    }
}

struct Member {
    name: String,
    child: Option<Child>,
    died: Option<Instant>,
    paused: bool,
}

/// A kill, for the account.
#[derive(Debug, Clone)]
pub(super) struct Death {
    pub(super) name: String,
    /// When, by the clock of this machine, which is the clock of its Redis.
    pub(super) at_ms: i64,
}

/// The agents.
pub(super) struct Crew {
    launcher: PathBuf,
    url: String,
    folder: PathBuf,
    members: Vec<Member>,
    pub(super) deaths: Vec<Death>,
}

impl Crew {
    pub(super) fn start(launcher: &Path, server: &PrivateServer, size: usize) -> Result<Self, DemoError> {
        let mut crew = Self {
            launcher: launcher.to_owned(),
            url: server.url(),
            folder: server.folder().to_owned(),
            members: Vec::new(),
            deaths: Vec::new(),
        };
        for n in 0..size {
            let name = format!("agent-{n}");
            let child = Some(crew.spawn(&name)?);
            crew.members.push(Member { name, child, died: None, paused: false });
        }
        Ok(crew)
    }

    /// The book of runs, and that of answers.
    pub(super) fn books(&self) -> (PathBuf, PathBuf) {
        (self.folder.join("runs"), self.folder.join("answers"))
    }

    fn spawn(&self, name: &str) -> Result<Child, DemoError> {
        let (runs, answers) = self.books();
        let log = std::fs::File::create(self.folder.join(format!("{name}.log")))
            .map_err(io("make an agent's log"))?;
        Command::from(command_with_parent(&self.launcher, &self.launcher))
            .args([
                "work",
                "--queue",
                QUEUE,
                "--as",
                name,
                "--concurrency",
                "4",
                "--drain-timeout",
                "3s",
                "--answers",
            ])
            .arg(answers)
            .arg("--")
            .arg(&self.launcher)
            .arg("__demo-task")
            .arg(runs)
            .env("BACKSTOP_REDIS_URL", &self.url)
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(io("start an agent"))
    }

    pub(super) fn kill(&mut self, n: usize) {
        if let Some(member) = self.members.get_mut(n)
            && let Some(child) = &member.child
        {
            signal(child, Signal::KILL);
            self.deaths.push(Death { name: member.name.clone(), at_ms: wall_ms() });
        }
    }

    pub(super) fn pause(&mut self, n: usize) {
        self.tell(n, Signal::STOP, true);
    }

    pub(super) fn wake(&mut self, n: usize) {
        self.tell(n, Signal::CONT, false);
    }

    fn tell(&mut self, n: usize, what: Signal, paused: bool) {
        if let Some(member) = self.members.get_mut(n)
            && let Some(child) = &member.child
        {
            signal(child, what);
            member.paused = paused;
        }
    }

    /// Starts again those that have been dead for a while.
    pub(super) fn keep_up(&mut self, screen: &mut Screen) -> Result<(), DemoError> {
        let mut back = Vec::new();
        for (n, member) in self.members.iter_mut().enumerate() {
            if let Some(child) = &mut member.child
                && !matches!(child.try_wait(), Ok(None))
            {
                member.child = None;
                member.died = Some(Instant::now());
            }
            if member.died.is_some_and(|died| died.elapsed() >= RESPAWN) {
                back.push((n, member.name.clone()));
            }
        }
        for (n, name) in back {
            let child = self.spawn(&name)?;
            if let Some(member) = self.members.get_mut(n) {
                (member.child, member.died, member.paused) = (Some(child), None, false);
            }
            screen.say(&format!("{name} is started again, under the same name"));
        }
        Ok(())
    }

    /// One letter an agent: running, paused, or dead.
    pub(super) fn letters(&self) -> String {
        let letter = |member: &Member| match (&member.child, member.paused) {
            (None, _) => 'x',
            (Some(_), true) => 'z',
            (Some(_), false) => '*',
        };
        self.members.iter().map(letter).collect()
    }

    /// Asks all to leave, and waits.
    pub(super) async fn stop(&mut self) {
        for child in self.members.iter().filter_map(|member| member.child.as_ref()) {
            signal(child, Signal::CONT);
            signal(child, Signal::TERM);
        }
        for child in self.members.iter_mut().filter_map(|member| member.child.as_mut()) {
            if tokio::time::timeout(Duration::from_secs(5), child.wait()).await.is_err() {
                signal(child, Signal::KILL);
            }
        }
    }
}
