//! What a person sees meanwhile: a live block on a terminal, plain lines elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::crew::Crew;
use crate::ops::status::QueueStatus;

/// Lines of the live block.
const BLOCK: usize = 4;
/// How often a plain line is written.
const PLAIN: Duration = Duration::from_secs(2);

pub(super) struct Screen {
    live: bool,
    drawn: bool,
    said_at: Option<Instant>,
    began: Instant,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { live: io::stdout().is_terminal(), drawn: false, said_at: None, began: Instant::now() }
    }

    /// Something happened.
    pub(super) fn say(&mut self, text: &str) {
        self.wipe();
        self.write(&format!("{:5.1} s  {text}\n", self.began.elapsed().as_secs_f64()));
    }

    /// The figures of this moment.
    pub(super) fn show(&mut self, now: &QueueStatus, crew: &Crew, elapsed: Duration) {
        if !self.live {
            if self.said_at.is_none_or(|at| at.elapsed() >= PLAIN) {
                self.said_at = Some(Instant::now());
                self.say(&format!(
                    "agents {}  waiting {}  running {}  reset so far {}  dead letters {}  completed {}",
                    crew.letters(),
                    now.pending + now.delayed,
                    now.running,
                    now.reset,
                    now.dead,
                    now.completed
                ));
            }
            return;
        }
        self.wipe();
        let done = usize::try_from(now.completed * 40 / now.enqueued.max(1)).unwrap_or(40).min(40);
        let bar = format!("{}{}", "#".repeat(done), "-".repeat(40 - done));
        let held = now.guards.first().map(|guard| format!("   guard: {guard}")).unwrap_or_default();
        self.write(&format!(
            "\n  agents {}   (* alive, z paused, x dead)   {:.0} s\n  waiting {:5}   running {:3}   reset {:4}   dead letters {}{held}\n  [{bar}] {} of {} completed\n",
            crew.letters(),
            elapsed.as_secs_f64(),
            now.pending + now.delayed,
            now.running,
            now.reset,
            now.dead,
            now.completed,
            now.enqueued,
        ));
        self.drawn = true;
    }

    /// The live block stays as it is.
    pub(super) fn end(&mut self) {
        self.drawn = false;
    }

    fn wipe(&mut self) {
        if std::mem::take(&mut self.drawn) {
            self.write(&format!("\x1b[{BLOCK}A\x1b[J"));
        }
    }

    fn write(&self, text: &str) {
        let mut out = io::stdout();
        // A demonstration that nobody watches goes on to its account.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}
