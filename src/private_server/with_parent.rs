//! A process that dies with its parent, whatever kills that.
//!
//! The kernel sends a signal of one's choice when the parent dies, but the child must ask for it itself. So the child is
//! this program again, which asks, looks whether its parent is still there, and then becomes the command.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

/// The hidden word on the command line.
pub const WITH_PARENT: &str = "__with-parent";

/// The command that runs `program` so that it dies with this process.
///
/// The death signal comes when the *thread* that started the command ends. So start it from the main thread or from a
/// worker of the runtime, which live as long as the process, and never from a thread of the blocking pool.
#[must_use]
pub fn command_with_parent(launcher: &Path, program: impl Into<OsString>) -> Command {
    let mut command = Command::new(launcher);
    command.arg(WITH_PARENT).arg(getpid().as_raw_nonzero().to_string()).arg("--").arg(program.into());
    command
}

/// Becomes the command in `args` (`<parent's pid> -- program args…`); returns only if that failed.
#[must_use]
pub fn with_parent(args: &[OsString]) -> io::Error {
    let parent = args.first().and_then(|pid| pid.to_str()?.parse().ok()).and_then(Pid::from_raw);
    let (Some(parent), Some(program)) = (parent, args.get(2)) else {
        return io::Error::new(io::ErrorKind::InvalidInput, "expected <pid> -- program args…");
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    // The parent may have died before the signal was asked for.
    if getppid() != Some(parent) {
        return io::Error::new(io::ErrorKind::NotFound, "the parent is gone");
    }
    Command::new(program).args(args.get(3..).unwrap_or_default()).exec()
}
