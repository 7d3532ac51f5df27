//! Heartbeats, on a thread of their own.
//!
//! A handler that keeps the runtime busy must not make its agent look dead. So the heart has a small runtime and a
//! connection of its own, and shares nothing with the handlers but the list of what runs.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::running::{Pairs, Running};
use super::task::StopReason;
use crate::core::id::{QueueName, Session};
use crate::core::liveness::Rhythm;
use crate::native::Queue;
use crate::native::scripts::beat::{Beat, BeatAnswer, BeatWord, Drain};
use crate::native::scripts::release::Release;
use crate::store::{Options, Store};

/// How often it is said that Redis doesn't answer.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// What the heart has learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Pulse {
    /// The queue or this agent is being drained.
    pub(super) drain: Option<Drain>,
    /// No beat was answered for so long that all work was stopped.
    pub(super) out_of_touch: bool,
    /// The session is over.
    pub(super) over: Option<Over>,
}

/// How a session ends that didn't leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// A newer session acts under this identity.
    Superseded,
    /// The sweeper gave it up.
    Lost,
    /// The heart could not even begin.
    Broken,
}

/// What a heart beats for.
pub(super) struct Life {
    pub(super) store: Store,
    pub(super) options: Options,
    pub(super) queue: QueueName,
    pub(super) session: Session,
    pub(super) running: Running,
    /// As it was answered at the registration.
    pub(super) rhythm: Rhythm,
    /// When the registration was first sent: a repeat renews no heartbeat.
    pub(super) since: Instant,
}

/// A beating heart; dropped, it stops.
pub(super) struct Heart {
    pulse: watch::Receiver<Pulse>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Heart {
    /// Starts to beat, at once.
    pub(super) fn start(life: Life) -> std::io::Result<Self> {
        let (publish, pulse) = watch::channel(Pulse::default());
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().name("backstop-heart".into()).spawn(move || {
            let publish = Arc::new(publish);
            match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(beat_on(life, &publish, stopped)),
                Err(error) => {
                    tracing::error!(%error, "the heart could not begin");
                    publish.send_modify(|pulse| pulse.over = Some(Over::Broken));
                }
            }
        })?;
        Ok(Self { pulse, stop, thread: Some(thread) })
    }

    /// What it has learned; changes can be waited for.
    pub(super) fn pulse(&self) -> watch::Receiver<Pulse> {
        self.pulse.clone()
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // It ends within one answer's time-out; nothing is gained by waiting for it.
            drop(thread);
        }
    }
}

async fn beat_on(life: Life, publish: &watch::Sender<Pulse>, stop: CancellationToken) {
    let store = match life.store.again(&life.options) {
        Ok(store) => store,
        Err(error) => {
            tracing::error!(%error, "the heart has no connection");
            publish.send_modify(|pulse| pulse.over = Some(Over::Broken));
            return;
        }
    };
    let queue = Queue::new(store, life.queue.clone());
    let mut number = 0;
    let mut answered = life.since;
    let mut rhythm = life.rhythm;
    let mut warned: Option<Instant> = None;
    life.running.has_to_stop_within(rhythm.time_to_stop());
    loop {
        number += 1;
        let sent = Instant::now();
        let pairs = life.running.listed();
        let beat = Beat { session: life.session.clone(), number, pairs };
        let answer = tokio::select! {
            answer = queue.run(&beat) => answer,
            () = out_of_touch(&life, answered, rhythm, publish) => {
                life.running.unsent(beat.pairs);
                continue;
            }
            () = stop.cancelled() => return,
        };
        let wait = match answer {
            Ok(answer) => {
                answered = sent;
                rhythm = answer.rhythm;
                warned = None;
                life.running.has_to_stop_within(rhythm.time_to_stop());
                life.running.sent(&beat.pairs);
                let unknown = take_in(&life, &answer, sent, publish);
                if publish.borrow().over.is_some() {
                    return;
                }
                tokio::select! {
                    () = give_back(&life, &queue, unknown) => {}
                    () = out_of_touch(&life, answered, rhythm, publish) => {}
                    () = stop.cancelled() => return,
                }
                jittered(rhythm.next)
            }
            Err(error) => {
                life.running.unsent(beat.pairs);
                if warned.is_none_or(|last| last.elapsed() > WARN_EVERY) {
                    warned = Some(Instant::now());
                    let silent = answered.elapsed();
                    tracing::warn!(%error, silent_s = silent.as_secs(), session = %life.session, "heartbeat unanswered");
                }
                (rhythm.next / 5).min(Duration::from_secs(1))
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            // An unanswered beat is sent again in its own time: nothing is gained by hurry.
            () = life.running.hurried(), if warned.is_none() => {}
            () = out_of_touch(&life, answered, rhythm, publish) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Waits until no beat was answered for so long that the sweeper may soon give the work to others, and stops it.
async fn out_of_touch(life: &Life, answered: Instant, rhythm: Rhythm, publish: &watch::Sender<Pulse>) {
    let Some(limit) = rhythm.stop_after.filter(|_| !publish.borrow().out_of_touch) else {
        return std::future::pending().await;
    };
    tokio::time::sleep(limit.saturating_sub(answered.elapsed())).await;
    tracing::error!(session = %life.session, "out of touch with Redis: stopping all work");
    life.running.stop_all(StopReason::OutOfTouch);
    publish.send_modify(|pulse| pulse.out_of_touch = true);
}

/// Acts on an answer; what it shows that must be given back.
fn take_in(life: &Life, answer: &BeatAnswer, sent: Instant, publish: &watch::Sender<Pulse>) -> Pairs {
    let unknown = life.running.heard(answer, sent, life.options.response_timeout);
    let over = match answer.word {
        BeatWord::GoOn | BeatWord::Drain => None,
        BeatWord::Superseded => Some(Over::Superseded),
        BeatWord::Lost => Some(Over::Lost),
    };
    let pulse = Pulse { drain: answer.drain, out_of_touch: false, over };
    publish.send_if_modified(|known| std::mem::replace(known, pulse) != pulse);
    unknown
}

async fn give_back(life: &Life, queue: &Queue, unknown: Pairs) {
    for pairs in unknown.chunks(50) {
        tracing::warn!(session = %life.session, tasks = pairs.len(), "giving back tasks whose answer was lost");
        let release =
            Release { session: life.session.clone(), delay: Some(Duration::ZERO), pairs: pairs.to_vec() };
        if let Err(error) = queue.run(&release).await {
            // The next beats show them again.
            tracing::warn!(%error, "could not give them back yet");
        }
    }
}

/// Up to a tenth earlier or later, so that a fleet that was started together doesn't beat as one.
fn jittered(interval: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(0) % 200;
    interval * (900 + random) / 1000
}
