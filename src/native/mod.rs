//! The native protocol: how tasks, agents and the sweeper share one Redis. `docs/protocol.md` is its contract.

pub mod keys;
pub mod scripts;

use crate::core::id::{Nonce, QueueName};
use crate::store::{Args, Reply, Script, Shape, Store, StoreError};
use keys::{FORMAT, Keys, QUEUES};

/// One call of one script: what goes in, what may come out.
pub trait Command {
    /// The closed set of answers.
    type Answer;
    /// The script to run.
    fn script(&self) -> &'static Script;
    /// The arguments after the format, in the order of the script's header.
    fn args(&self, args: &mut Args);
    /// Reads the answer.
    ///
    /// # Errors
    /// If it isn't one of the closed set.
    fn read(&self, shape: &Shape<'_>, reply: Reply) -> Result<Self::Answer, StoreError>;
}

/// A queue in a Redis.
#[derive(Debug, Clone)]
pub struct Queue {
    name: QueueName,
    keys: Keys,
    store: Store,
}

impl Queue {
    /// The queue of this name; nothing is sent.
    #[must_use]
    pub fn new(store: Store, name: QueueName) -> Self {
        Self { keys: Keys::of(&name), name, store }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &QueueName {
        &self.name
    }

    /// Its keys.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The Redis in which it lies.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Runs one script.
    ///
    /// # Errors
    /// [`StoreError`]. After [`crate::store::Failure::Unknown`] the same command may be sent again: each script says in
    /// its header what makes that harmless.
    pub async fn run<C: Command>(&self, command: &C) -> Result<C::Answer, StoreError> {
        let mut args = Args::default();
        args.push(FORMAT);
        command.args(&mut args);
        let script = command.script();
        let answer = self.store.run(script, self.keys.fixed(), &args).await;
        let read = answer.and_then(|reply| command.read(&Shape::of(script.name()), reply));
        read.map_err(|error| error.of_queue(&self.name))
    }

    /// Makes the queue known, so that sweepers find it. Harmless when repeated.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn announce(&self) -> Result<(), StoreError> {
        self.store.command(&["SADD", QUEUES, self.name.as_str()]).await.map(|_| ())
    }
}

/// The queues that announced themselves, sorted; names that aren't valid are left out.
///
/// # Errors
/// [`StoreError`].
pub async fn known_queues(store: &Store) -> Result<Vec<QueueName>, StoreError> {
    let shape = Shape::of("SMEMBERS");
    let names = shape.list(store.command(&["SMEMBERS", QUEUES]).await?)?;
    let mut queues = Vec::with_capacity(names.len());
    for name in names {
        queues.extend(QueueName::new(shape.text(name)?));
    }
    queues.sort();
    Ok(queues)
}

/// 64 fresh random bits.
///
/// # Errors
/// If the operating system has no randomness to give.
pub fn fresh_nonce() -> Result<Nonce, getrandom::Error> {
    getrandom::u64().map(Nonce::from_bits)
}
