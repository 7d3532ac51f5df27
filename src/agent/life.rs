//! One session's life: take, run, report; stop when told to.

use std::collections::HashMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::{Id, JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::account::Shared;
use super::builder::Settings;
use super::heart::{Heart, Over, Pulse};
use super::hints::{POLL, listen, poll};
use super::leave::{LAST_WORDS, leave};
use super::reporter::{Outcome, Report, Reporter};
use super::running::Running;
use super::session;
use super::task::{Failure, StopReason, Task};
use super::{AgentError, heart};
use crate::core::id::Session;
use crate::native::scripts::beat::Drain;
use crate::native::scripts::take::{Take, TakeAnswer, Taken};
use crate::native::{Queue, fresh_nonce};
use crate::store::{Store, StoreError};

/// Tasks that a session may hold, running or unreported.
const MOST_HELD: usize = 256;

/// How often a handler that must stop is looked at.
const STEP: Duration = Duration::from_millis(50);

/// How a life ends that ends in order.
pub(super) enum End {
    /// It was stopped, or has done its count.
    Done,
    /// The session was given up; another may begin.
    Lost(Session),
}

/// A session that lives.
pub(super) struct Life {
    settings: Settings,
    queue: Queue,
    session: Session,
    running: Running,
    account: Shared,
    heart: Heart,
    adopted: Vec<Taken>,
    reports: mpsc::Sender<Report>,
    reporter: JoinHandle<()>,
    give_up: CancellationToken,
    wake: Arc<Notify>,
    _listening: DropGuard,
}

/// How one run ended: by its own word, dropped where it waited, or by a panic.
type Ended = Option<Result<(), Failure>>;

struct Work {
    handlers: JoinSet<Ended>,
    names: HashMap<Id, (String, String)>,
    left: u64,
    taking: Option<JoinHandle<Result<TakeAnswer, StoreError>>>,
    look_at: Instant,
    stopping: bool,
    force_at: Option<Instant>,
    /// The time to finish is over: also what a take brings from here on must stop.
    forced: bool,
}

impl Life {
    pub(super) async fn begin(
        store: &Store,
        settings: &Settings,
        lost: Option<Session>,
        stop: &CancellationToken,
        account: &Shared,
    ) -> Result<Self, AgentError> {
        let store = store.again(&settings.options)?;
        let queue = Queue::new(store.clone(), settings.queue.clone());
        let mut begun = session::register(&queue, settings, lost, stop).await?;
        if let Err(error) = queue.announce().await {
            // The daemon may know the queue from its configuration; whoever enqueues announces it too.
            tracing::debug!(%error, "could not announce the queue");
        }
        let running = Running::default();
        // It beats while it settles what its predecessors left.
        let heart = Heart::start(heart::Life {
            store,
            options: settings.options.clone(),
            queue: settings.queue.clone(),
            session: begun.session.clone(),
            running: running.clone(),
            rhythm: begun.rhythm,
            since: begun.since,
        })?;
        let adopted = match begun.settle(&queue, settings, &running, stop).await {
            Ok(adopted) => adopted,
            Err(AgentError::Superseded) => return Err(AgentError::Superseded),
            Err(error) => {
                // What it has adopted by now nobody would run.
                leave(&queue, &begun.session).await;
                return Err(error);
            }
        };
        account.note(|account| account.adopted += adopted.len() as u64);
        let (reports, told) = mpsc::channel(MOST_HELD);
        let give_up = CancellationToken::new();
        let reporter = Reporter {
            queue: queue.clone(),
            session: begun.session.clone(),
            running: running.clone(),
            account: account.clone(),
            give_up: give_up.clone(),
        };
        let wake = Arc::new(Notify::new());
        let ears = CancellationToken::new();
        tokio::spawn(listen(queue.clone(), Arc::clone(&wake), ears.clone()));
        Ok(Self {
            settings: settings.clone(),
            session: begun.session,
            running,
            account: account.clone(),
            heart,
            adopted,
            reports,
            reporter: tokio::spawn(reporter.work(told)),
            give_up,
            wake,
            _listening: ears.drop_guard(),
            queue,
        })
    }

    /// Takes, runs and reports until the session ends.
    pub(super) async fn live<H, F>(mut self, handler: &H, stop: &CancellationToken) -> Result<End, AgentError>
    where
        H: Fn(Task) -> F,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let mut pulse = self.heart.pulse();
        let done_before = self.account.get().taken;
        let mut work = Work {
            handlers: JoinSet::new(),
            names: HashMap::new(),
            left: self.settings.count.map_or(u64::MAX, |count| count.saturating_sub(done_before)),
            taking: None,
            look_at: Instant::now(),
            stopping: false,
            force_at: None,
            forced: false,
        };
        for task in std::mem::take(&mut self.adopted) {
            self.start(&mut work, task, handler);
        }
        let over = loop {
            let now = *pulse.borrow_and_update();
            if let Some(over) = now.over {
                break Some(over);
            }
            if now.out_of_touch {
                // Also what a take brought whose answer was still on its way.
                self.running.stop_all(StopReason::OutOfTouch);
            }
            if now.drain == Some(Drain::Release) || work.forced {
                self.running.stop_all(StopReason::Stopping);
            }
            if work.handlers.is_empty() && work.taking.is_none() && (work.stopping || work.left == 0) {
                break None;
            }
            let room = self.room(&work, now);
            let force_at = work.force_at.unwrap_or_else(Instant::now);
            tokio::select! {
                changed = pulse.changed() => if changed.is_err() { break Some(Over::Broken) },
                () = stop.cancelled(), if !work.stopping => {
                    work.stopping = true;
                    let (running, most) = (work.handlers.len(), self.settings.drain_timeout);
                    tracing::info!(session = %self.session, running, ?most, "stopping: nothing new is taken");
                    work.force_at = Some(Instant::now() + self.settings.drain_timeout);
                }
                () = sleep_until(force_at), if work.force_at.is_some() => {
                    work.force_at = None;
                    work.forced = true;
                    let running = work.handlers.len();
                    tracing::warn!(session = %self.session, running, "the time to finish is over: giving back what runs");
                }
                Some(ended) = work.handlers.join_next_with_id(), if !work.handlers.is_empty() => {
                    self.report(&mut work, ended).await;
                }
                answer = answered(&mut work.taking), if work.taking.is_some() => {
                    work.taking = None;
                    if let Some(over) = self.took(&mut work, answer, handler) {
                        break Some(over);
                    }
                }
                () = self.reports.closed() => break Some(Over::Broken),
                () = self.wake.notified(), if room > 0 && work.look_at > Instant::now() => {
                    work.look_at = Instant::now();
                }
                () = sleep_until(work.look_at), if room > 0 => {
                    let take = Take { session: self.session.clone(), nonce: fresh_nonce()?, most: room };
                    let queue = self.queue.clone();
                    work.taking = Some(tokio::spawn(async move { queue.run(&take).await }));
                }
            }
        };
        self.end(work, over).await
    }

    /// How many tasks may be taken now: only what can start at once, so that nobody waits behind a busy agent.
    fn room(&self, work: &Work, pulse: Pulse) -> u32 {
        if work.stopping || pulse.drain.is_some() || pulse.out_of_touch || work.taking.is_some() {
            return 0;
        }
        let free = self.settings.concurrency.saturating_sub(work.handlers.len());
        let room = free.min(MOST_HELD.saturating_sub(self.running.len())).min(50);
        u32::try_from(work.left.min(room as u64)).unwrap_or(0)
    }

    /// Starts what was taken; whether the session turned out to be over.
    fn took<H, F>(&self, work: &mut Work, answer: Result<TakeAnswer, StoreError>, handler: &H) -> Option<Over>
    where
        H: Fn(Task) -> F,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let later = |wait: Duration| Instant::now() + wait;
        match answer {
            Ok(TakeAnswer::Took(tasks)) => {
                // All stand on the list before the first handler can keep this thread: what nobody knows is given back.
                let mine: Vec<_> =
                    tasks.into_iter().filter(|task| self.running.begin(&task.id, &task.token)).collect();
                self.account.note(|account| account.taken += mine.len() as u64);
                work.left = work.left.saturating_sub(mine.len() as u64);
                for task in mine {
                    self.start(work, task, handler);
                }
            }
            Ok(TakeAnswer::Empty(next)) => work.look_at = later(next.unwrap_or(POLL).min(poll())),
            Ok(TakeAnswer::Paused | TakeAnswer::Draining) => work.look_at = later(poll()),
            Ok(TakeAnswer::Superseded) => return Some(Over::Superseded),
            Ok(TakeAnswer::Lost) => return Some(Over::Lost),
            Err(error) => {
                // If it ran, the next beats show what it took.
                tracing::warn!(%error, "could not take tasks; trying again");
                // What a person must mend is not asked for twice a second.
                let permanent = error.failure() == crate::store::Failure::Permanent;
                work.look_at = later(if permanent { poll() * 10 } else { poll() / 2 });
            }
        }
        None
    }

    fn start<H, F>(&self, work: &mut Work, taken: Taken, handler: &H)
    where
        H: Fn(Task) -> F,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let (id, token) = (taken.id.clone(), taken.token.clone());
        let stop = self.running.token_of(&id, &token);
        let task = Task {
            queue: self.queue.clone(),
            taken: Arc::new(taken),
            stop: stop.clone(),
            running: self.running.clone(),
            recorded: Arc::default(),
        };
        let (running, grace) = (self.running.clone(), self.settings.stop_grace);
        let (own_id, own_token) = (id.clone(), token.clone());
        // A handler may panic before it waits for the first time; that too is its task's failure only.
        let begun = catch_unwind(AssertUnwindSafe(|| handler(task)));
        let handle = work.handlers.spawn(async move {
            let Ok(handling) = begun else { return Some(Err(Failure::retry("the handler panicked"))) };
            let dropped = async {
                stop.cancelled().await;
                let told = Instant::now();
                // A reason that leaves less time may come after the first.
                while told.elapsed() < running.grace(&own_id, &own_token, grace) {
                    tokio::time::sleep(STEP.min(grace)).await;
                }
            };
            tokio::select! {
                ended = handling => Some(ended),
                () = dropped => None,
            }
        });
        work.names.insert(handle.id(), (id, token));
    }

    async fn report(&self, work: &mut Work, ended: Result<(Id, Ended), JoinError>) {
        let (handler, ended) = match ended {
            Ok((handler, ended)) => (handler, ended),
            Err(error) => {
                let failure = Failure::retry(format!("the handler panicked: {error}"));
                (error.id(), error.is_panic().then_some(Err(failure)))
            }
        };
        let Some((id, token)) = work.names.remove(&handler) else { return };
        let why = self.running.why(&id, &token);
        if why == Some(StopReason::Fenced) {
            tracing::warn!(task = %id, "stopped: this agent no longer holds it");
            self.account.note(|account| account.fenced += 1);
            self.running.end(&id, &token);
            return;
        }
        let outcome = match (ended, why) {
            (Some(Ok(())), _) => Outcome::Done,
            // It ended because it was told to: that is no failure.
            (_, Some(_)) | (None, None) => Outcome::GaveBack(Some(Duration::ZERO)),
            (Some(Err(Failure::Retry(error))), None) => Outcome::Failed { error, is_final: false },
            (Some(Err(Failure::Fatal(error))), None) => Outcome::Failed { error, is_final: true },
            (Some(Err(Failure::GiveBack(delay))), None) => Outcome::GaveBack(delay),
        };
        if self.reports.send(Report { id, token, outcome }).await.is_err() {
            tracing::error!("the reporter is gone: an outcome can't be told");
        }
    }

    async fn end(self, mut work: Work, over: Option<Over>) -> Result<End, AgentError> {
        if over.is_some() {
            self.running.fence_all();
        }
        // Handlers are given their time to stop; those that don't are dropped.
        let grace = self.settings.stop_grace + Duration::from_secs(1);
        let ended = timeout(grace, async {
            while let Some(ended) = work.handlers.join_next_with_id().await {
                self.report(&mut work, ended).await;
            }
        });
        if ended.await.is_err() {
            // One that keeps its thread can't be dropped, and goes on; its session is over in any case.
            work.handlers.abort_all();
        }
        drop(self.reports);
        let all_told = matches!(timeout(LAST_WORDS, self.reporter).await, Ok(Ok(())));
        if !all_told {
            self.give_up.cancel();
        }
        match over {
            Some(Over::Lost) => Ok(End::Lost(self.session)),
            Some(Over::Superseded) => Err(AgentError::Superseded),
            Some(Over::Broken) => {
                Err(AgentError::Setup("a part of it ended before its time; the log says which"))
            }
            None if all_told => {
                leave(&self.queue, &self.session).await;
                Ok(End::Done)
            }
            None => {
                let tasks = self.running.len();
                tracing::error!(session = %self.session, tasks, "ended with outcomes untold: the sweeper will reset them");
                Ok(End::Done)
            }
        }
    }
}

async fn answered(
    taking: &mut Option<JoinHandle<Result<TakeAnswer, StoreError>>>,
) -> Result<TakeAnswer, StoreError> {
    match taking {
        Some(handle) => match handle.await {
            Ok(answer) => answer,
            Err(error) => Err(StoreError::unknown_reply("take tasks", &error.to_string())),
        },
        None => std::future::pending().await,
    }
}
