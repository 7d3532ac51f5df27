//! The beginning of a session, and what its predecessors left.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::AgentError;
use super::builder::Settings;
use super::hints::poll;
use super::reconnect::{Choice, Left};
use super::running::{Pairs, Running};
use super::tries::until_answered;
use crate::core::id::{Identity, Nonce, Session};
use crate::core::liveness::Rhythm;
use crate::native::scripts::adopt::{Adopt, Adopted};
use crate::native::scripts::fail::Fail;
use crate::native::scripts::register::{HeldTask, Register, RegisterAnswer, Wanted};
use crate::native::scripts::release::Release;
use crate::native::scripts::take::Taken;
use crate::native::{Command, Queue, fresh_nonce};

/// A session that has begun.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) session: Session,
    pub(super) rhythm: Rhythm,
    /// When it was first asked for.
    pub(super) since: Instant,
    nonce: Nonce,
    held: Vec<HeldTask>,
}

/// Registers, trying until it is answered.
///
/// # Errors
/// [`AgentError`] if the identity is another's, the pool is full, or `stop` came first.
pub(super) async fn register(
    queue: &Queue,
    settings: &Settings,
    lost: Option<Session>,
    stop: &CancellationToken,
) -> Result<Begun, AgentError> {
    let nonce = fresh_nonce()?;
    // One that was given up comes back under its own name: another free one of the pool is somebody else's past.
    let own = lost.as_ref().and_then(|session| Identity::new(session.identity()).ok());
    let register = Register {
        wanted: own.map_or_else(|| settings.wanted.clone(), Wanted::Identity),
        nonce: nonce.clone(),
        lost,
        host: host_name(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let mut told = false;
    loop {
        let since = Instant::now();
        match unless_stopped(queue, &register, stop).await? {
            RegisterAnswer::Registered { session, rhythm, held } => {
                tracing::info!(queue = %queue.name(), %session, held = held.len(), "registered");
                return Ok(Begun { session, rhythm, since, nonce, held });
            }
            RegisterAnswer::Superseded => return Err(AgentError::Superseded),
            RegisterAnswer::PoolFull if settings.wait_for_pool => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(queue = %queue.name(), "each identity of the pool is in use; waiting for one");
                }
            }
            RegisterAnswer::PoolFull => return Err(AgentError::PoolFull),
        }
        tokio::select! {
            () = tokio::time::sleep(poll()) => {}
            () = stop.cancelled() => return Err(AgentError::Stopped),
        }
    }
}

impl Begun {
    /// Adopts, gives back or fails what predecessors hold, as was decided. The adopted tasks are on the list already when
    /// this returns.
    pub(super) async fn settle(
        &mut self,
        queue: &Queue,
        settings: &Settings,
        running: &Running,
        stop: &CancellationToken,
    ) -> Result<Vec<Taken>, AgentError> {
        let mut adopted = Vec::new();
        while !self.held.is_empty() {
            let held: Vec<HeldTask> = self.held.drain(..).collect();
            let pairs: Pairs = held.iter().map(|task| (task.id.clone(), task.token.clone())).collect();
            let (mut mine, mut others, mut failed) = (Vec::new(), Vec::new(), Vec::new());
            for HeldTask { session, id, token, task_type, checkpoint, external } in held {
                let pair = (id.clone(), token.clone());
                let left = Left { id, task_type, checkpoint, external, session, token };
                match settings.on_reconnect.decide(left).await {
                    Choice::Resume if adopted.len() + mine.len() < settings.concurrency => mine.push(pair),
                    Choice::Resume | Choice::Reset => others.push(pair),
                    Choice::Fail => failed.push(pair),
                }
            }
            for pairs in mine.chunks(50) {
                adopted.extend(self.adopt(queue, pairs, running, stop).await?);
            }
            for pairs in others.chunks(50) {
                let delay = Some(Duration::ZERO);
                let release = Release { session: self.session.clone(), delay, pairs: pairs.to_vec() };
                unless_stopped(queue, &release, stop).await?;
            }
            for (id, token) in failed {
                let error = b"its agent was lost, and the next one of its name was told to fail it".to_vec();
                unless_stopped(queue, &Fail { id, token, error, jitter: 0, is_final: true }, stop).await?;
            }
            // Asking again with the same nonce gives the same session, and what is held still.
            let again = Register {
                wanted: settings.wanted.clone(),
                nonce: self.nonce.clone(),
                lost: None,
                host: host_name(),
                pid: std::process::id(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            };
            match unless_stopped(queue, &again, stop).await? {
                RegisterAnswer::Registered { held, .. }
                    if held.len() < pairs.len() || !same(&held, &pairs) =>
                {
                    self.held = held;
                }
                RegisterAnswer::Registered { .. } => break,
                RegisterAnswer::Superseded | RegisterAnswer::PoolFull => return Err(AgentError::Superseded),
            }
        }
        Ok(adopted)
    }

    async fn adopt(
        &self,
        queue: &Queue,
        pairs: &[(String, String)],
        running: &Running,
        stop: &CancellationToken,
    ) -> Result<Vec<Taken>, AgentError> {
        running.adopting(pairs.iter().map(|(id, _)| id.clone()));
        let adopt = Adopt { session: self.session.clone(), nonce: fresh_nonce()?, pairs: pairs.to_vec() };
        let answers = unless_stopped(queue, &adopt, stop).await?;
        let adopted = answers.into_iter().filter_map(|answer| match answer {
            Adopted::Adopted(task) => Some(*task),
            Adopted::Dead
            | Adopted::Expired
            | Adopted::Discarded
            | Adopted::NotYours
            | Adopted::Full
            | Adopted::Lost => None,
        });
        let adopted: Vec<Taken> = adopted.collect();
        for task in &adopted {
            running.begin(&task.id, &task.token);
        }
        running.adopting(std::iter::empty());
        Ok(adopted)
    }
}

fn same(held: &[HeldTask], pairs: &[(String, String)]) -> bool {
    held.iter().all(|task| pairs.iter().any(|(id, token)| *id == task.id && *token == task.token))
}

/// Sends a command until it is answered, or `stop` comes.
async fn unless_stopped<C: Command>(
    queue: &Queue,
    command: &C,
    stop: &CancellationToken,
) -> Result<C::Answer, AgentError> {
    tokio::select! {
        answer = until_answered(queue, command, |error| tracing::warn!(%error, "trying again")) => Ok(answer?),
        () = stop.cancelled() => Err(AgentError::Stopped),
    }
}

/// The name of the host on which this process runs.
#[must_use]
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "unknown".to_owned() } else { name.chars().take(64).collect() }
}
