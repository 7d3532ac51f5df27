//! Words to the service manager. Where there is none, nothing is said and nothing fails.

use std::io;
use std::time::Duration;

use sd_notify::NotifyState;

/// The daemon serves: what waits for it may go on.
pub fn ready() {
    tell("ready", &[NotifyState::Ready]);
}

/// The daemon reads its configuration again; [`ready`] ends that, whether or not the new one was accepted.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        // The manager wants the time along with the word, or it ignores it.
        Ok(now) => tell("reloading", &[NotifyState::Reloading, now]),
        Err(error) => unheard("reloading", &error),
    }
}

/// The daemon was asked to leave, and does.
pub fn stopping() {
    tell("stopping", &[NotifyState::Stopping]);
}

/// One line that `systemctl status` shows.
pub fn status(line: &str) {
    // A line break would begin another message.
    let line = line.replace(['\n', '\r'], " ");
    tell("status", &[NotifyState::Status(&line)]);
}

/// Tells the service manager that the sweep loop still turns. To be fed by that loop itself and by nothing else: a
/// process whose loop hangs must be restarted though the rest of it lives.
#[derive(Debug, Clone, Copy)]
pub struct Watchdog {
    patience: Option<Duration>,
}

impl Watchdog {
    /// Reads from the environment whether anybody watches.
    #[must_use]
    pub fn from_env() -> Self {
        Self { patience: sd_notify::watchdog_enabled() }
    }

    /// The longest time that may lie between two ticks, half of what the manager waits; `None`: nobody watches.
    #[must_use]
    pub fn period(&self) -> Option<Duration> {
        self.patience.map(|patience| patience / 2)
    }

    /// The loop turned.
    pub fn tick(&self) {
        if self.patience.is_some() {
            tell("watchdog", &[NotifyState::Watchdog]);
        }
    }
}

fn tell(what: &'static str, words: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(words) {
        unheard(what, &error);
    }
}

fn unheard(what: &'static str, error: &io::Error) {
    tracing::warn!(what, %error, "the service manager could not be told");
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::process::Command;

    use super::*;

    /// The environment can't be changed safely in a process with threads, so another one is asked to speak.
    fn said_by_a_child(envs: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let ear = UnixDatagram::bind(&path).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "telemetry::systemd::tests::speaks", "--ignored"])
            .env("NOTIFY_SOCKET", &path)
            .envs(envs.iter().copied())
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&child.stdout).into_owned();
        assert!(child.status.success() && output.contains("1 passed"), "{output}");
        ear.set_nonblocking(true).unwrap();
        let mut heard = Vec::new();
        let mut buffer = [0; 512];
        while let Ok(n) = ear.recv(&mut buffer) {
            heard.push(String::from_utf8_lossy(&buffer[..n]).into_owned());
        }
        heard
    }

    #[test]
    #[ignore = "the half of another test that runs in a process of its own"]
    fn speaks() {
        ready();
        reloading();
        Watchdog::from_env().tick();
        status("two\nlines");
        stopping();
    }

    #[test]
    fn says_each_word_as_the_manager_wants_it() {
        let heard = said_by_a_child(&[("WATCHDOG_USEC", "3000000")]);
        assert_eq!(heard[0], "READY=1\n");
        assert!(heard[1].starts_with("RELOADING=1\nMONOTONIC_USEC="), "{heard:?}");
        assert_eq!(heard[2], "WATCHDOG=1\n");
        assert_eq!(heard[3], "STATUS=two lines\n");
        assert_eq!(heard[4], "STOPPING=1\n");
        assert_eq!(heard.len(), 5);
    }

    #[test]
    fn feeds_no_watchdog_that_is_not_there_or_watches_another_process() {
        for envs in [&[][..], &[("WATCHDOG_USEC", "3000000"), ("WATCHDOG_PID", "1")]] {
            let heard = said_by_a_child(envs);
            assert_eq!(heard.len(), 4, "{heard:?}");
            assert!(!heard.iter().any(|word| word.contains("WATCHDOG")), "{heard:?}");
        }
    }

    #[test]
    fn ticks_are_due_at_half_the_managers_patience() {
        assert_eq!(
            Watchdog { patience: Some(Duration::from_secs(30)) }.period(),
            Some(Duration::from_secs(15))
        );
        assert_eq!(Watchdog { patience: None }.period(), None);
    }
}
