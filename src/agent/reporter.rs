//! Outcomes, told to Redis until they are answered. Until then a task stays on the list that beats show.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::account::Shared;
use super::running::{Pairs, Running};
use crate::core::id::Session;
use crate::native::scripts::complete::{Complete, Completed};
use crate::native::scripts::fail::{Fail, Failed};
use crate::native::scripts::release::Release;
use crate::native::{Command, Queue};
use crate::store::Failure;

/// What is to be told of a task.
#[derive(Debug)]
pub(super) enum Outcome {
    Done,
    Failed { error: String, is_final: bool },
    GaveBack(Option<Duration>),
}

/// A task and its outcome.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) id: String,
    pub(super) token: String,
    pub(super) outcome: Outcome,
}

/// Tells outcomes.
pub(super) struct Reporter {
    pub(super) queue: Queue,
    pub(super) session: Session,
    pub(super) running: Running,
    pub(super) account: Shared,
    /// Ends the trying: nobody waits for the answers any more.
    pub(super) give_up: CancellationToken,
}

impl Reporter {
    /// Works until the other end of `reports` is dropped and all is told.
    pub(super) async fn work(self, mut reports: mpsc::Receiver<Report>) {
        let mut batch = Vec::with_capacity(50);
        // Whatever has come by now goes in one call; a single one doesn't wait for company.
        while reports.recv_many(&mut batch, 50).await > 0 {
            let mut done = Pairs::new();
            for report in batch.drain(..) {
                match report.outcome {
                    Outcome::Done => done.push((report.id, report.token)),
                    Outcome::Failed { error, is_final } => {
                        self.fail(report.id, report.token, error, is_final).await
                    }
                    Outcome::GaveBack(delay) => self.give_back(vec![(report.id, report.token)], delay).await,
                }
            }
            if !done.is_empty() {
                self.complete(done).await;
            }
        }
    }

    async fn complete(&self, pairs: Pairs) {
        let Some(answers) = self.until_answered(&Complete { pairs: pairs.clone() }).await else { return };
        for ((id, token), answer) in pairs.iter().zip(answers) {
            self.running.end(id, token);
            self.account.answered(id, token, answer.as_str());
            self.account.note(|account| match answer {
                Completed::Completed | Completed::Already => account.completed += 1,
                Completed::Withdrawn => account.withdrawn += 1,
                Completed::Late | Completed::Gone => account.refused += 1,
            });
            match answer {
                Completed::Completed | Completed::Already => {}
                Completed::Withdrawn => {
                    tracing::info!(task = %id, "a late result was accepted; the reset was false")
                }
                Completed::Late | Completed::Gone => {
                    tracing::warn!(task = %id, answer = answer.as_str(), "a completion was refused");
                }
            }
        }
    }

    async fn fail(&self, id: String, token: String, error: String, is_final: bool) {
        let jitter = getrandom::u32().unwrap_or(500) % 1001;
        let fail = Fail { id, token, error: error.into_bytes(), jitter, is_final };
        let Some(answer) = self.until_answered(&fail).await else { return };
        self.running.end(&fail.id, &fail.token);
        self.account.note(|account| match answer {
            Failed::Retried(_) => account.retried += 1,
            Failed::Dead => account.dead += 1,
            Failed::Discarded => account.released += 1,
            Failed::Late | Failed::Gone => account.refused += 1,
        });
    }

    /// Gives tasks back. Repeats are answered `late`, so what counts is that they are no longer ours.
    pub(super) async fn give_back(&self, pairs: Pairs, delay: Option<Duration>) {
        for pairs in pairs.chunks(50) {
            let release = Release { session: self.session.clone(), delay, pairs: pairs.to_vec() };
            let Some(answers) = self.until_answered(&release).await else { return };
            for ((id, token), _) in pairs.iter().zip(answers) {
                self.running.end(id, token);
                self.account.note(|account| account.released += 1);
            }
        }
    }

    /// Sends a command until it is answered; `None`: nobody waits any more. Each of these commands says in its script
    /// what makes a repeat harmless.
    async fn until_answered<C: Command>(&self, command: &C) -> Option<C::Answer> {
        let mut wait = Duration::from_millis(50);
        loop {
            match self.queue.run(command).await {
                Ok(answer) => return Some(answer),
                Err(error) => {
                    if error.failure() == Failure::Permanent {
                        tracing::error!(%error, "an outcome can't be told; trying again");
                        wait = Duration::from_secs(5);
                    } else {
                        tracing::debug!(%error, "an outcome is untold yet");
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(Duration::from_secs(2)).max(wait),
                () = self.give_up.cancelled() => return None,
            }
        }
    }
}
