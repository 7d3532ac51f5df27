//! The client library: enqueue tasks, and be an agent with an identity.
//!
//! ```no_run
//! use backstop::agent::{Agent, Failure};
//! use backstop::core::id::{Identity, QueueName};
//! use backstop::store::{Options, Store};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Store::connect("redis://127.0.0.1:6379", &Options::default())?;
//! let agent = Agent::builder(store)
//!     .queue(QueueName::new("mail")?)
//!     .identity(Identity::new("worker-3")?)
//!     .concurrency(4)
//!     .build()?;
//! let account = agent
//!     .run(|task| async move {
//!         let address = String::from_utf8(task.payload().to_vec()).map_err(Failure::fatal)?;
//!         println!("mailing {address}, attempt {}", task.attempt());
//!         Ok(())
//!     })
//!     .await?;
//! println!("{} completed", account.completed);
//! # Ok(())
//! # }
//! ```
//!
//! Execution is at least once: a task may run again after its agent died, and two attempts may overlap in time. Each
//! task is *completed* at most once; what a handler changes outside Redis needs the task's token, checked there.

mod account;
mod builder;
mod client;
mod heart;
mod hints;
mod leave;
mod life;
mod reconnect;
mod reporter;
mod running;
mod session;
mod task;
mod tries;

use std::future::Future;

use tokio_util::sync::CancellationToken;

pub use account::{Account, OnAnswer};
pub use builder::Builder;
pub use client::{Client, EnqueueError, fresh_id, new_task};
pub use reconnect::{Ask, Choice, Left, OnReconnect};
pub use session::host_name;
pub use task::{CheckpointTooLarge, ExternalError, Failure, MAX_CHECKPOINT, MAX_HANDLE, StopReason, Task};

pub use crate::native::scripts::enqueue::{Enqueued, MAX_PAYLOAD, NewTask};

use crate::store::{Store, StoreError};

/// Why an agent ended, or could not begin.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Something is missing, or out of bounds.
    #[error("the agent can't be set up: {0}")]
    Setup(&'static str),
    /// A younger process acts under this identity. To go on would only throw that one out in turn.
    #[error("a younger process acts under this identity: this one ends")]
    Superseded,
    /// Each identity of the pool is in use.
    #[error("each identity of the pool is in use by a process that may be alive: enlarge the pool, or wait")]
    PoolFull,
    /// It was asked to stop before it had begun.
    #[error("stopped before it was registered")]
    Stopped,
    /// Redis refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The heart's thread could not be started.
    #[error("could not start the thread that beats")]
    Heart(#[from] std::io::Error),
    /// The operating system has no randomness to give.
    #[error("no randomness to make a nonce of")]
    Random(#[from] getrandom::Error),
}

/// A process that runs tasks of one queue under an identity. Several queues are several agents; losing one stops that
/// queue's work only.
pub struct Agent {
    store: Store,
    settings: builder::Settings,
    stop: CancellationToken,
    on_answer: Option<OnAnswer>,
}

impl Agent {
    /// Sets an agent up.
    pub fn builder(store: Store) -> Builder {
        Builder::new(store)
    }

    /// Takes tasks and runs `handler` on each until it is stopped; what became of them. A handler that panics fails its
    /// task, and nothing else.
    ///
    /// # Errors
    /// [`AgentError`]. What ran then has been stopped.
    pub async fn run<H, F>(self, handler: H) -> Result<Account, AgentError>
    where
        H: Fn(Task) -> F,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let account = account::Shared::new(self.on_answer);
        let mut lost = None;
        loop {
            let life = life::Life::begin(&self.store, &self.settings, lost, &self.stop, &account).await?;
            match life.live(&handler, &self.stop).await? {
                life::End::Done => return Ok(account.get()),
                life::End::Lost(session) => {
                    tracing::warn!(%session, "this session was given up; beginning another");
                    lost = Some(session);
                }
            }
        }
    }
}
