//! Outcomes, told to Redis until they are answered. Until then a task stays on the list that beats show.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::account::Shared;
use super::running::{Pairs, Running};
use super::tries::until_answered;
use crate::core::id::Session;
use crate::native::scripts::complete::{Complete, Completed};
use crate::native::scripts::fail::{Fail, Failed};
use crate::native::scripts::release::Release;
use crate::native::{Command, Queue};
use crate::store::StoreError;

/// When an outcome that was refused is told again: a person may have mended what stood in the way.
const REFUSED_AGAIN: Duration = Duration::from_secs(5);

/// Redis won't have it, or nobody waits any more; the log says why.
struct Refused;

/// What is to be told of a task.
#[derive(Debug, Clone)]
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
        let mut refused = Vec::new();
        let mut again_at = Instant::now();
        let mut open = true;
        while open || !refused.is_empty() {
            let mut batch = Vec::with_capacity(50);
            tokio::select! {
                // Whatever has come by now goes in one call; a single one doesn't wait for company.
                come = reports.recv_many(&mut batch, 50), if open => open = come > 0,
                () = sleep_until(again_at), if !refused.is_empty() => {
                    batch = refused.drain(..refused.len().min(50)).collect();
                }
                () = self.give_up.cancelled() => return,
            }
            let before = refused.len();
            let mut done = Pairs::new();
            for report in batch {
                let (id, token) = (report.id.clone(), report.token.clone());
                let told = match report.outcome.clone() {
                    Outcome::Done => {
                        done.push((id, token));
                        continue;
                    }
                    _ if !self.saved(&id, &token).await => Err(Refused),
                    Outcome::Failed { error, is_final } => self.fail(id, token, error, is_final).await,
                    Outcome::GaveBack(delay) => self.give_back(id, token, delay).await,
                };
                if told.is_err() {
                    refused.push(report);
                }
            }
            if !done.is_empty() && self.complete(&done).await.is_err() {
                let again = |(id, token)| Report { id, token, outcome: Outcome::Done };
                refused.extend(done.into_iter().map(again));
            }
            if refused.len() > before {
                again_at = Instant::now() + REFUSED_AGAIN;
            }
        }
    }

    /// Waits until what the task left for its next attempt is saved; `false`: nobody waits any more.
    async fn saved(&self, id: &str, token: &str) -> bool {
        tokio::select! {
            () = self.running.saved(id, token) => true,
            () = self.give_up.cancelled() => false,
        }
    }

    async fn complete(&self, pairs: &[(String, String)]) -> Result<(), Refused> {
        let answers = self.told(&Complete { pairs: pairs.to_vec() }).await?;
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
        Ok(())
    }

    async fn fail(&self, id: String, token: String, error: String, is_final: bool) -> Result<(), Refused> {
        let jitter = getrandom::u32().unwrap_or(500) % 1001;
        let fail = Fail { id, token, error: error.into_bytes(), jitter, is_final };
        let answer = self.told(&fail).await?;
        self.running.end(&fail.id, &fail.token);
        self.account.note(|account| match answer {
            Failed::Retried(_) => account.retried += 1,
            Failed::Dead => account.dead += 1,
            Failed::Discarded => account.released += 1,
            Failed::Late | Failed::Gone => account.refused += 1,
        });
        Ok(())
    }

    /// Gives a task back. A repeat is answered `late`, so what counts is that it is no longer ours.
    async fn give_back(&self, id: String, token: String, delay: Option<Duration>) -> Result<(), Refused> {
        let pairs = vec![(id.clone(), token.clone())];
        self.told(&Release { session: self.session.clone(), delay, pairs }).await?;
        self.running.end(&id, &token);
        self.account.note(|account| account.released += 1);
        Ok(())
    }

    /// Sends a command until it is answered, or refused for a reason that sending it again does not change, or nobody
    /// waits any more.
    async fn told<C: Command>(&self, command: &C) -> Result<C::Answer, Refused> {
        let told = |error: &StoreError| tracing::debug!(%error, "an outcome is untold yet");
        tokio::select! {
            answer = until_answered(&self.queue, command, told) => answer.map_err(|error| {
                tracing::error!(%error, "an outcome was refused; trying again in a while");
                Refused
            }),
            () = self.give_up.cancelled() => Err(Refused),
        }
    }
}
