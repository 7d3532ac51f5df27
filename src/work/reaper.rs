//! Takes along what a killed agent's commands have started.
//!
//! The kernel ends a command whose parent dies, but not what the command itself has started. So a small process stands
//! beside the agent, knows which process groups are at work, and ends them when the agent is gone, however it went.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};

/// The hidden word on the command line.
pub const REAPER: &str = "__reaper";

/// The agent's end of it.
#[derive(Debug)]
pub(super) struct Reaper(Mutex<ChildStdin>);

impl Reaper {
    /// Starts the process, in a group of its own: Ctrl-C is for the agent.
    pub(super) fn start(launcher: &Path) -> io::Result<Self> {
        let mut child = Command::new(launcher)
            .arg(REAPER)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let pipe = child.stdin.take().ok_or_else(|| io::Error::other("it has no standard input"))?;
        Ok(Self(Mutex::new(pipe)))
    }

    /// This group is at work.
    pub(super) fn watch(&self, group: Pid) {
        self.say('+', group);
    }

    /// This group has ended; its number may be another's from now on.
    pub(super) fn forget(&self, group: Pid) {
        self.say('-', group);
    }

    fn say(&self, word: char, group: Pid) {
        let line = format!("{word}{}\n", group.as_raw_nonzero());
        let mut pipe = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = pipe.write_all(line.as_bytes()) {
            tracing::warn!(%error, "the reaper is gone: if this agent is killed, what its commands started goes on");
        }
    }
}

/// What the process does: listens until the agent is gone, then ends the groups that are left.
pub fn reap(agent: impl BufRead) {
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
}
