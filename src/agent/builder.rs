//! How an agent is set up.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::account::OnAnswer;
use super::reconnect::OnReconnect;
use super::{Agent, AgentError};
use crate::core::id::{Identity, QueueName};
use crate::native::scripts::register::Wanted;
use crate::store::{Options, Store};

/// Tasks that one session may hold.
const MOST_HELD: usize = 256;

/// The longest time to wait for an end, whatever was asked for: sums with it stay far from overflowing.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// What an agent goes by.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) queue: QueueName,
    pub(super) wanted: Wanted,
    pub(super) concurrency: usize,
    pub(super) count: Option<u64>,
    pub(super) drain_timeout: Duration,
    pub(super) stop_grace: Duration,
    pub(super) on_reconnect: OnReconnect,
    pub(super) wait_for_pool: bool,
    pub(super) options: Options,
}

/// Sets an agent up. A queue and an identity (or a pool) must be given; all else has a default.
#[must_use = "a builder does nothing until it is built"]
pub struct Builder {
    store: Store,
    queue: Option<QueueName>,
    wanted: Option<Wanted>,
    concurrency: usize,
    count: Option<u64>,
    drain_timeout: Duration,
    stop_grace: Duration,
    on_reconnect: OnReconnect,
    wait_for_pool: bool,
    options: Options,
    stop: CancellationToken,
    on_answer: Option<OnAnswer>,
}

impl Builder {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            queue: None,
            wanted: None,
            concurrency: 1,
            count: None,
            drain_timeout: Duration::from_secs(30),
            stop_grace: Duration::from_secs(5),
            on_reconnect: OnReconnect::default(),
            wait_for_pool: false,
            options: Options::default(),
            stop: CancellationToken::new(),
            on_answer: None,
        }
    }

    /// Where its tasks come from.
    pub fn queue(mut self, queue: QueueName) -> Self {
        self.queue = Some(queue);
        self
    }

    /// The stable name under which it acts. At any time one live process acts under a name: a younger one wins.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.wanted = Some(Wanted::Identity(identity));
        self
    }

    /// A free name of `<prefix>-0` … `<prefix>-<size − 1>`, first one that left tasks behind; at most 500.
    pub fn pool(mut self, prefix: Identity, size: u32) -> Self {
        self.wanted = Some(Wanted::Pool { prefix, size });
        self
    }

    /// Whether it waits until an identity of the pool is free, instead of ending with [`AgentError::PoolFull`].
    pub fn wait_for_pool(mut self, wait: bool) -> Self {
        self.wait_for_pool = wait;
        self
    }

    /// How many tasks run at once, 1 to 256; default 1. Several at once need handlers that wait.
    pub fn concurrency(mut self, tasks: usize) -> Self {
        self.concurrency = tasks;
        self
    }

    /// Ends after so many tasks.
    pub fn count(mut self, tasks: u64) -> Self {
        self.count = Some(tasks);
        self
    }

    /// What running tasks are given when the agent is asked to stop, before they are stopped and given back; default 30 s.
    pub fn drain_timeout(mut self, long: Duration) -> Self {
        self.drain_timeout = long;
        self
    }

    /// What a handler that was told to stop is given before it is dropped where it waits; default 5 s. Less, if its task
    /// may be run by others before that: a second once they may have it, four fifths of what is left until then if the
    /// agent is out of touch.
    pub fn stop_grace(mut self, long: Duration) -> Self {
        self.stop_grace = long;
        self
    }

    /// What becomes of tasks that former sessions of the identity hold; default: they are reset.
    pub fn on_reconnect(mut self, choice: OnReconnect) -> Self {
        self.on_reconnect = choice;
        self
    }

    /// Time-outs of the connection.
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Cancelled, it makes the agent stop: nothing new is taken, what runs may finish.
    pub fn stop(mut self, stop: CancellationToken) -> Self {
        self.stop = stop;
        self
    }

    /// Hears each answer about a task's outcome, for whoever keeps books of their own.
    pub fn on_answer(mut self, hear: OnAnswer) -> Self {
        self.on_answer = Some(hear);
        self
    }

    /// Builds the agent; nothing is sent yet.
    ///
    /// # Errors
    /// [`AgentError::Setup`] with what is missing or out of bounds.
    pub fn build(self) -> Result<Agent, AgentError> {
        let queue = self.queue.ok_or(AgentError::Setup("name the queue"))?;
        let wanted = self.wanted.ok_or(AgentError::Setup("name the identity, or a pool of them"))?;
        if let Wanted::Pool { size, .. } = wanted
            && !(1..=500).contains(&size)
        {
            return Err(AgentError::Setup("a pool has 1 to 500 identities"));
        }
        if let Wanted::Pool { prefix, size } = &wanted
            && Identity::new(format!("{prefix}-{}", size - 1)).is_err()
        {
            return Err(AgentError::Setup("the pool's names would be too long: shorten the prefix"));
        }
        if !(1..=MOST_HELD).contains(&self.concurrency) {
            return Err(AgentError::Setup("the concurrency is 1 to 256; beyond that start another agent"));
        }
        let settings = Settings {
            queue,
            wanted,
            concurrency: self.concurrency,
            count: self.count,
            drain_timeout: self.drain_timeout.min(LONGEST),
            stop_grace: self.stop_grace.min(LONGEST),
            on_reconnect: self.on_reconnect,
            wait_for_pool: self.wait_for_pool,
            options: self.options,
        };
        Ok(Agent { store: self.store, settings, stop: self.stop, on_answer: self.on_answer })
    }
}
