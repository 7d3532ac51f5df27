//! Connections to Redis, and the one runner of scripts.
//!
//! The only place that uses the `redis` crate. A call ends in one of three ways, and callers must tell them apart: it
//! was answered, it was refused ([`Failure::Permanent`], [`Failure::Transient`]), or nobody knows whether it ran
//! ([`Failure::Unknown`]): a time-out does not undo a script.

mod connection;
pub mod engine;
mod error;
mod reply;
mod script;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use connection::Connection;
pub use error::{Failure, StoreError};
pub use reply::{Reply, Shape};
pub use script::{Args, Script};

use crate::core::observer::{NoObserver, Observer};

/// How to connect.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long an answer may take before its fate is unknown.
    pub response_timeout: Duration,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { response_timeout: Duration::from_secs(3), connect_timeout: Duration::from_secs(2) }
    }
}

/// A connection to one Redis, shared by its clones, made when it is first used and again whenever it breaks or
/// leaves a question unanswered.
#[derive(Clone)]
pub struct Store {
    connection: Connection,
    client: redis::Client,
    observer: Arc<dyn Observer>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The client holds a password.
        f.write_str("Store")
    }
}

impl Store {
    /// Prepares a connection; nothing is sent yet, so this works while Redis is away.
    ///
    /// # Errors
    /// [`Failure::Permanent`] if `url` is none that Redis knows.
    pub fn connect(url: &str, options: &Options) -> Result<Self, StoreError> {
        #[cfg(feature = "tls")]
        {
            // Without a provider a `rediss://` address panics. An error only says that there is one already.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let wrong = |source| StoreError::from_redis("understand the address of Redis", source);
        let client = redis::Client::open(url).map_err(wrong)?;
        Self::prepare(client, options, Arc::new(NoObserver))
    }

    fn prepare(
        client: redis::Client,
        options: &Options,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, StoreError> {
        let connection = Connection::prepare(&client, options)
            .map_err(|source| StoreError::from_redis("prepare a connection to Redis", source))?;
        Ok(Self { connection, client, observer })
    }

    /// Another connection to the same Redis, belonging to the runtime in which this is called.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub fn again(&self, options: &Options) -> Result<Self, StoreError> {
        Self::prepare(self.client.clone(), options, Arc::clone(&self.observer))
    }

    /// The same connection, reporting to `observer`.
    #[must_use]
    pub fn observed_by(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Runs a script on these keys.
    ///
    /// # Errors
    /// [`StoreError`]; only [`Failure::Unknown`] leaves open whether the script ran.
    pub async fn run<K: AsRef<[u8]> + Sync>(
        &self,
        script: &Script,
        keys: &[K],
        args: &Args,
    ) -> Result<Reply, StoreError> {
        let started = Instant::now();
        let mut answer = self.eval("EVALSHA", script.sha(), keys, args).await;
        if answer.as_ref().is_err_and(is_no_script) {
            answer = self.eval("EVAL", script.source(), keys, args).await;
        }
        self.observer.script(script.name(), started.elapsed(), answer.is_ok());
        answer.map(Reply::from).map_err(|e| self.failed(&format!("run the script {:?}", script.name()), e))
    }

    /// Sends one plain command, for reads that need no script.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn command<P: AsRef<[u8]> + Sync>(&self, parts: &[P]) -> Result<Reply, StoreError> {
        let mut command = redis::Cmd::new();
        for part in parts {
            command.arg(part.as_ref());
        }
        let answer: Result<redis::Value, _> = self.connection.command(&command).await;
        let name = parts.first().map_or_else(Default::default, |name| String::from_utf8_lossy(name.as_ref()));
        answer.map(Reply::from).map_err(|e| self.failed(&format!("send {name}"), e))
    }

    /// Sends many plain commands in one go; what became of each, in their order.
    ///
    /// # Errors
    /// [`StoreError`] if they could not be sent, or nobody knows what became of them.
    pub async fn commands<P: AsRef<[u8]> + Sync>(
        &self,
        all: &[Vec<P>],
    ) -> Result<Vec<Result<Reply, StoreError>>, StoreError> {
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipe = redis::pipe();
        for parts in all {
            let mut command = redis::Cmd::new();
            for part in parts {
                command.arg(part.as_ref());
            }
            pipe.add_command(command);
        }
        let doing = "send a page of commands";
        let answers: Result<Vec<redis::RedisResult<redis::Value>>, _> =
            self.connection.pipeline(pipe.ignore_errors()).await;
        let answers = answers.map_err(|e| self.failed(doing, e))?;
        Ok(answers.into_iter().map(|one| one.map(Reply::from).map_err(|e| self.failed(doing, e))).collect())
    }

    /// The server's clock, ms.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn server_time(&self) -> Result<i64, StoreError> {
        let shape = Shape::of("TIME");
        let [seconds, micros] = shape.array(self.command(&["TIME"]).await?)?;
        Ok(shape.int(seconds)? * 1000 + shape.int(micros)? / 1000)
    }

    /// A hash, field by field; a value that is no text is read as well as it can be.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn hash(&self, key: &str) -> Result<BTreeMap<String, String>, StoreError> {
        let shape = Shape::of("HGETALL");
        let pairs: Vec<[Reply; 2]> = shape.rows(self.command(&["HGETALL", key]).await?)?;
        pairs.into_iter().map(|[field, value]| Ok((shape.text(field)?, shape.text(value)?))).collect()
    }

    /// Some members of a sorted set with their scores, in order, from this rank on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn range(&self, key: &str, from: usize, most: usize) -> Result<Vec<(String, i64)>, StoreError> {
        let shape = Shape::of("ZRANGE");
        let (first, last) = (from.to_string(), (from + most.max(1) - 1).to_string());
        let reply = self.command(&["ZRANGE", key, &first, &last, "WITHSCORES"]).await?;
        let rows: Vec<[Reply; 2]> = shape.rows(reply)?;
        rows.into_iter().map(|[member, score]| Ok((shape.text(member)?, shape.int(score)?))).collect()
    }

    /// Listens on a channel; the stream of hints ends when the connection does.
    ///
    /// # Errors
    /// [`StoreError`] if no connection can be made.
    pub async fn listen(&self, channel: &str) -> Result<redis::aio::PubSub, StoreError> {
        let failed = |e| self.failed("listen for new work", e);
        let mut pubsub = self.client.get_async_pubsub().await.map_err(failed)?;
        pubsub.subscribe(channel).await.map_err(failed)?;
        Ok(pubsub)
    }

    async fn eval<K: AsRef<[u8]>>(
        &self,
        how: &str,
        what: &str,
        keys: &[K],
        args: &Args,
    ) -> Result<redis::Value, redis::RedisError> {
        let mut command = redis::cmd(how);
        command.arg(what).arg(keys.len());
        for key in keys {
            command.arg(key.as_ref());
        }
        for arg in args.iter() {
            command.arg(arg);
        }
        self.connection.command(&command).await
    }

    fn failed(&self, doing: &str, source: redis::RedisError) -> StoreError {
        let error = StoreError::from_redis(doing, source);
        self.observer.redis_error(error.failure().as_str());
        error
    }
}

fn is_no_script(error: &redis::RedisError) -> bool {
    error.kind() == redis::ErrorKind::Server(redis::ServerErrorKind::NoScript)
}
