//! Which tasks a command means: those that are named, or a selection.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::ProgressBar;

use super::{CliError, Global, duration, out};
use crate::core::id::{QueueName, TaskId};
use crate::native::Queue;
use crate::ops::find;
use crate::ops::tasks::{Listed, Selection, State, select};

/// Up to so many are done without asking.
const MANY: usize = 10;

/// The tasks that are meant.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// The tasks
    #[arg(value_name = "TASK")]
    tasks: Vec<TaskId>,
    /// Their queue; default: all
    #[arg(long, value_name = "QUEUE")]
    queue: Option<QueueName>,
    /// All that the other flags leave
    #[arg(long, conflicts_with = "tasks")]
    all: bool,
    /// Only those that have been dead, have run, or have waited for longer
    #[arg(long, value_name = "DURATION", conflicts_with = "tasks", value_parser = duration)]
    older_than: Option<Duration>,
    /// Don't ask before many
    #[arg(long)]
    yes: bool,
}

/// Tasks of a queue, and the state in which they were seen.
pub(super) struct Meant {
    pub(super) queue: Queue,
    pub(super) tasks: Vec<Listed>,
}

impl Which {
    /// Whether they are named one by one.
    pub(super) fn named(&self) -> bool {
        !self.tasks.is_empty()
    }

    /// Looks all of them up, before anything is done: a misspelt name among many changes nothing. They must be in one of
    /// these states; `lacking` says what a named one is not.
    pub(super) async fn look_up(
        &self,
        global: &Global,
        states: &[State],
        reason: Option<&str>,
        lacking: &str,
    ) -> Result<Vec<Meant>, CliError> {
        let store = global.store()?;
        let queues = global.queues(&store, self.queue.as_slice()).await?;
        let mut meant: Vec<Meant> = Vec::new();
        if !self.named() {
            if !self.all && self.older_than.is_none() && reason.is_none() {
                return Err(CliError::Usage(
                    "name tasks, or say --all or what else they have in common".to_owned(),
                ));
            }
            let selection = Selection { reason: reason.map(str::to_owned), older_than: self.older_than };
            for name in queues {
                let queue = Queue::new(store.clone(), name);
                let mut tasks = Vec::new();
                for state in states {
                    tasks.extend(select(&queue, *state, &selection, usize::MAX).await?);
                }
                meant.push(Meant { queue, tasks });
            }
            return Ok(meant);
        }
        let mut ids: Vec<&TaskId> = self.tasks.iter().collect();
        ids.sort();
        ids.dedup();
        for id in ids {
            let (queue, found) = find::find(&store, &queues, id).await.map_err(CliError::failed)?;
            if !State::of(&found).is_some_and(|state| states.contains(&state)) {
                return Err(CliError::failed(format!("task {id} {lacking}: see backstop explain {id}")));
            }
            let task = Listed::of(id.to_string(), &found.record, found.dead);
            match meant.iter_mut().find(|one| one.queue.name() == queue.name()) {
                Some(one) => one.tasks.push(task),
                None => meant.push(Meant { queue, tasks: vec![task] }),
            }
        }
        Ok(meant)
    }

    /// Asks before many are done. Without a terminal nobody can answer, so --yes must have been said.
    pub(super) fn ask(&self, n: usize, what: &str) -> Result<(), CliError> {
        if n <= MANY || self.yes {
            return Ok(());
        }
        let refused = |why: &str| CliError::Usage(format!("{why}; to {what}, say --yes"));
        if !std::io::stdin().is_terminal() {
            return Err(refused("there is no terminal to ask at"));
        }
        // The question stands where the answers of the command don't.
        let _ = write!(std::io::stderr(), "{what}? [y/N] ");
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map_err(CliError::failed)?;
        if answer.trim().eq_ignore_ascii_case("y") { Ok(()) } else { Err(refused("nothing was done")) }
    }
}

/// How many are meant in all.
pub(super) fn count(meant: &[Meant]) -> usize {
    meant.iter().map(|one| one.tasks.len()).sum()
}

/// A progress bar, on a terminal and where it takes long.
pub(super) fn progress(n: usize) -> ProgressBar {
    if n > 200 && std::io::stderr().is_terminal() {
        ProgressBar::new(n as u64)
    } else {
        ProgressBar::hidden()
    }
}

/// Who asks, and for what: it stands in the events.
pub(super) fn by(what: &str) -> String {
    let user =
        std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "somebody".to_owned());
    out::clean(&format!("{user}: {what}")).chars().take(200).collect()
}
