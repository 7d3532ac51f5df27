//! Takes along what a killed agent's commands have started.
//!
//! The kernel ends a command whose parent dies, but not what the command itself has started. So a small process stands
//! beside the agent, knows which process groups are at work, and ends them when the agent is gone, however it went.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::signal::unix::{SignalKind, signal};

/// The hidden word on the command line.
pub const REAPER: &str = "__reaper";

/// The agent's end of it.
#[derive(Debug)]
pub(super) struct Reaper {
    launcher: PathBuf,
    at_work: Mutex<AtWork>,
}

#[derive(Debug)]
struct AtWork {
    pipe: ChildStdin,
    groups: BTreeSet<i32>,
}

impl Reaper {
    /// Starts the process.
    pub(super) fn start(launcher: &Path) -> io::Result<Self> {
        let at_work = AtWork { pipe: spawn(launcher)?, groups: BTreeSet::new() };
        Ok(Self { launcher: launcher.to_owned(), at_work: Mutex::new(at_work) })
    }

    /// This group is at work.
    pub(super) fn watch(&self, group: Pid) {
        let mut at_work = self.lock();
        at_work.groups.insert(group.as_raw_nonzero().get());
        self.say(&mut at_work, &format!("+{}\n", group.as_raw_nonzero()));
    }

    /// This group has ended; its number may be another's from now on.
    pub(super) fn forget(&self, group: Pid) {
        let mut at_work = self.lock();
        at_work.groups.remove(&group.as_raw_nonzero().get());
        self.say(&mut at_work, &format!("-{}\n", group.as_raw_nonzero()));
    }

    fn lock(&self) -> MutexGuard<'_, AtWork> {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the process; one that is gone, or doesn't listen, is replaced by one that is told all.
    fn say(&self, at_work: &mut AtWork, line: &str) {
        if at_work.pipe.write_all(line.as_bytes()).is_ok() {
            return;
        }
        let again = spawn(&self.launcher).and_then(|mut pipe| {
            let all: String = at_work.groups.iter().map(|group| format!("+{group}\n")).collect();
            pipe.write_all(all.as_bytes())?;
            Ok(pipe)
        });
        match again {
            Ok(pipe) => at_work.pipe = pipe,
            Err(error) => {
                tracing::warn!(%error, "the reaper is gone: if this agent is killed, what its commands started goes on")
            }
        }
    }
}

/// Starts the process, in a group of its own: Ctrl-C is for the agent.
fn spawn(launcher: &Path) -> io::Result<ChildStdin> {
    let mut command = Command::new(launcher);
    command.arg(REAPER).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let pipe = command.spawn()?.stdin.take().ok_or_else(|| io::Error::other("it has no standard input"))?;
    // A process that stands still must not make the agent wait.
    rustix::io::ioctl_fionbio(&pipe, true)?;
    Ok(pipe)
}

/// What the process does: listens until the agent is gone, then ends the groups that are left.
///
/// # Errors
/// If it can't be made deaf to what asks the agent to stop: that is not for it, for the agent may take its time.
pub fn reap(agent: impl BufRead) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _inside = runtime.enter();
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    let _deaf = kinds.map(signal);
    let mut groups = BTreeSet::new();
    for line in agent.lines().map_while(Result::ok) {
        let Some((word, group)) = line.split_at_checked(1) else { continue };
        let Ok(group) = group.parse::<i32>() else { continue };
        if word == "+" {
            groups.insert(group)
        } else {
            groups.remove(&group)
        };
    }
    for group in groups.into_iter().filter_map(Pid::from_raw) {
        // One that ended at the same moment has got what it was sent.
        let _ = kill_process_group(group, Signal::KILL);
    }
    Ok(())
}
