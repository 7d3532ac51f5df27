//! Lost tasks of systems in which each task shows life for itself.

use std::time::Duration;

use super::foreign::{Agent, Outcome};
use super::pass::{Pass, Progress, QueueState};
use crate::core::policy::Mode;
use crate::layout::transfer::Moved;
use crate::layout::{Entry, Lost, Settled, System};
use crate::store::StoreError;

impl Pass<'_> {
    /// Deals with the lost tasks, queue by queue. While most of what runs is lost, a page is moved at a time.
    pub(super) async fn carry_out_tasks(
        &self,
        state: &mut QueueState,
        system: &mut System,
        progress: &mut Progress,
    ) -> Result<(), StoreError> {
        let stay = system.stay();
        if stay > 0 {
            progress.note_stuck(progress.now_ms, Duration::ZERO, stay);
        }
        for (queue, mut lost) in system.lost_tasks() {
            progress.summary.sessions += lost.len() as u64;
            if self.policy.mode == Mode::Enforce && progress.blocked.is_none() {
                lost = system.locate(&queue, lost).await?;
            }
            let late_by = longest(&lost, |one| one.late_by);
            let left = self.tasks_of(state, system, &queue, lost, progress).await?;
            if left > 0 {
                progress.note_stuck(progress.now_ms, late_by, left);
            }
        }
        Ok(())
    }

    /// Deals with the lost tasks of a queue, a page after the other; how many stay abandoned.
    async fn tasks_of(
        &self,
        state: &mut QueueState,
        system: &mut System,
        queue: &[u8],
        mut lost: Vec<Lost>,
        progress: &mut Progress,
    ) -> Result<usize, StoreError> {
        let mut left = 0;
        while !lost.is_empty() {
            if self.stop.is_cancelled() || self.full(progress) {
                return Ok(left + lost.len());
            }
            let held_by = progress.held_by();
            let mut page: Vec<_> = lost.drain(..system.fits(&lost)).collect();
            progress.summary.pages += 1;
            let entries = system.entries_of(queue, &page).await?;
            lost.splice(..0, page.drain(entries.len().max(1)..));
            progress.summary.tasks += entries.len() as u64;
            let (page, entries, unread) = what_is_moved(system, queue, page, entries);
            if unread > 0 {
                left += unread;
                tracing::error!(
                    queue = %state.queue.name(), of = %String::from_utf8_lossy(queue), tasks = unread,
                    "silent tasks can't be read as this layout's, or it can't be told where they came from: they stay \
                     where they are"
                );
            }
            if entries.is_empty() {
                continue;
            }
            let one = Agent {
                agent: b"",
                queue,
                silence: longest(&page, |one| one.silence),
                late_by: longest(&page, |one| one.late_by),
                held_by,
            };
            let verdicts = self.verdicts(entries);
            let outcome = self.carry_out_page(state, system, &one, &verdicts, progress).await?;
            left += outcome.left;
            if self.policy.mode == Mode::Observe && held_by.is_none() {
                // Each is counted once; the next pass goes on with others.
                page.iter().for_each(|one| system.settle_task(queue, &one.entry, Some(Settled::Counted)));
            }
            if outcome.moved > 0 {
                self.book(state, progress, outcome.moved as u64);
            }
            let (later, out) = settle(system, queue, page, &outcome);
            lost.splice(..0, later);
            system.moved_up(&mut lost, out);
            if outcome.ends {
                return Ok(left + lost.len());
            }
        }
        Ok(left)
    }
}

fn longest(lost: &[Lost], of: impl Fn(&Lost) -> Duration) -> Duration {
    lost.iter().map(of).max().unwrap_or_default()
}

/// Leaves out of a page what will not be moved: tasks of queues that somebody else looks after, those that are due later, and
/// such as nobody can read. How many these last are.
fn what_is_moved(
    system: &mut System,
    queue: &[u8],
    page: Vec<Lost>,
    entries: Vec<Entry>,
) -> (Vec<Lost>, Vec<Entry>, usize) {
    let mut unread = 0;
    let moved = page.into_iter().zip(entries).filter(|(one, entry)| {
        if entry.not_ours {
            system.settle_task(queue, &one.entry, Some(Settled::Idle));
        } else if entry.id.is_empty() {
            unread += 1;
            system.settle_task(queue, &one.entry, Some(Settled::Stuck));
        } else if let Some(time) = entry.not_before {
            system.hold_task(queue, &one.entry, time);
        } else {
            return true;
        }
        false
    });
    let (page, entries) = moved.unzip();
    (page, entries, unread)
}

/// Remembers what became of a page; the tasks whose turn comes later, and how many entries were taken out.
fn settle(system: &mut System, queue: &[u8], page: Vec<Lost>, outcome: &Outcome) -> (Vec<Lost>, usize) {
    let (mut later, mut out) = (Vec::new(), 0);
    for (one, moved) in page.into_iter().zip(&outcome.done) {
        let stays = match moved {
            Moved::Later => {
                later.push(one);
                continue;
            }
            // Of a list, others may have been finished before it; the next look finds out.
            Moved::Skipped => continue,
            Moved::NotRunning => Some(Settled::Idle),
            Moved::WrongType => Some(Settled::Stuck),
            Moved::Alive => None,
            Moved::Reset | Moved::DeadLetter | Moved::NoRecord => {
                out += 1;
                None
            }
        };
        system.settle_task(queue, &one.entry, stays);
    }
    (later, out)
}
