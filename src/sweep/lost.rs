//! Lost tasks of systems in which each task shows life for itself.

use super::foreign::Agent;
use super::pass::{Pass, Progress, QueueState};
use crate::core::guard::Moves;
use crate::core::policy::Mode;
use crate::core::words::Guard;
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
            progress.note_stuck(progress.now_ms, std::time::Duration::ZERO, stay);
        }
        for (queue, mut lost) in system.lost_tasks() {
            progress.summary.sessions += lost.len() as u64;
            if self.policy.mode == Mode::Enforce && progress.blocked.is_none() {
                lost = system.locate(&queue, lost).await?;
            }
            let late_by = lost.iter().map(|one| one.late_by).max().unwrap_or_default();
            let mut left = 0;
            while !lost.is_empty() {
                if self.stop.is_cancelled() || self.full(progress) {
                    left += lost.len();
                    break;
                }
                let held_by = match progress.moves {
                    Moves::All => None,
                    Moves::Paced(n) => (n == 0).then_some(Guard::MassLoss),
                    Moves::None => Some(Guard::MassLoss),
                };
                let held_by = progress.blocked.or(held_by);
                let mut page: Vec<_> = lost.drain(..system.fits(&lost)).collect();
                progress.summary.pages += 1;
                let mut entries = system.entries_of(&queue, &page).await?;
                lost.splice(..0, page.drain(entries.len().max(1)..));
                progress.summary.tasks += entries.len() as u64;
                let unread = settle_what_is_not_moved(system, &queue, &mut page, &mut entries);
                if unread > 0 {
                    left += unread;
                    tracing::error!(
                        queue = %state.queue.name(), of = %String::from_utf8_lossy(&queue), tasks = unread,
                        "silent tasks can't be read as this layout's, or it can't be told where they came from: they stay \
                         where they are"
                    );
                }
                if entries.is_empty() {
                    continue;
                }
                let one = Agent {
                    agent: b"",
                    queue: &queue,
                    silence: page.iter().map(|one| one.silence).max().unwrap_or_default(),
                    late_by: page.iter().map(|one| one.late_by).max().unwrap_or_default(),
                    held_by,
                };
                let verdicts = self.verdicts(entries);
                let outcome = self.carry_out_page(state, system, &one, &verdicts, progress).await?;
                left += outcome.left;
                if self.policy.mode == Mode::Observe && held_by.is_none() {
                    // Each is counted once; the next pass goes on with others.
                    for one in &page {
                        system.settle_task(&queue, &one.entry, Some(Settled::Counted));
                    }
                }
                if outcome.moved > 0 {
                    // Booked at once: whatever ends this pass, the next one knows of it.
                    state.mass_loss.forgot(self.started.elapsed(), outcome.moved as u64);
                    if let Moves::Paced(n) = progress.moves {
                        progress.paced = true;
                        progress.moves = Moves::Paced(n.saturating_sub(1));
                    }
                }
                let mut later = Vec::new();
                let mut out = 0;
                for (one, moved) in page.into_iter().zip(&outcome.done) {
                    let stays = match moved {
                        Moved::Later => {
                            later.push(one);
                            continue;
                        }
                        Moved::NotRunning => Some(Settled::Idle),
                        Moved::WrongType => Some(Settled::Stuck),
                        Moved::Reset | Moved::DeadLetter | Moved::NoRecord => {
                            out += 1;
                            None
                        }
                        Moved::Alive => None,
                        // Of a list, others may have been finished before it; the next look finds out.
                        Moved::Skipped => continue,
                    };
                    system.settle_task(&queue, &one.entry, stays);
                }
                lost.splice(..0, later);
                system.moved_up(&mut lost, out);
                if outcome.ends {
                    left += lost.len();
                    break;
                }
            }
            if left > 0 {
                progress.note_stuck(progress.now_ms, late_by, left);
            }
        }
        Ok(())
    }
}

/// Takes out of a page what will not be moved: tasks of queues that somebody else looks after, and such as nobody can read.
/// How many those are.
fn settle_what_is_not_moved(
    system: &mut System,
    queue: &[u8],
    page: &mut Vec<Lost>,
    entries: &mut Vec<Entry>,
) -> usize {
    let mut unread = 0;
    let mut keep = Vec::with_capacity(entries.len());
    for (one, entry) in page.iter().zip(entries.iter()) {
        let why = match (entry.not_ours, entry.id.is_empty()) {
            (true, _) => Some(Settled::Idle),
            (false, true) => Some(Settled::Stuck),
            (false, false) => None,
        };
        unread += usize::from(why == Some(Settled::Stuck));
        if why.is_some() {
            system.settle_task(queue, &one.entry, why);
        } else if let Some(time) = entry.not_before {
            system.hold_task(queue, &one.entry, time);
        }
        keep.push(why.is_none() && entry.not_before.is_none());
    }
    let (mut of_page, mut of_entries) = (keep.iter(), keep.iter());
    page.retain(|_| *of_page.next().unwrap_or(&false));
    entries.retain(|_| *of_entries.next().unwrap_or(&false));
    unread
}
