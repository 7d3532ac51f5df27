//! The connection that the clones of a store share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, FromRedisValue, Pipeline, RedisError, RedisResult};
use std::time::Duration;

use super::Options;

/// Made when it is first used, and again whenever it breaks, or leaves a question unanswered: a firewall that forgets a
/// connection leaves it open and dumb for a quarter of an hour.
#[derive(Clone)]
pub(super) struct Connection {
    client: Client,
    config: ConnectionManagerConfig,
    current: Arc<Mutex<Current>>,
}

struct Current {
    manager: ConnectionManager,
    /// How many there were before.
    number: u64,
}

impl Connection {
    /// Prepares it; nothing is sent yet.
    pub(super) fn prepare(client: &Client, options: &Options) -> RedisResult<Self> {
        // One retry with a short delay: with the server down each call would block for 9.5 s by default, and the
        // callers' own next tick is the retry.
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(50))
            .set_max_delay(Duration::from_millis(500))
            .set_response_timeout(Some(options.response_timeout))
            .set_connection_timeout(Some(options.connect_timeout));
        let manager = ConnectionManager::new_lazy_with_config(client.clone(), config.clone())?;
        let current = Arc::new(Mutex::new(Current { manager, number: 0 }));
        Ok(Self { client: client.clone(), config, current })
    }

    pub(super) async fn command<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let (mut manager, number) = self.get();
        let answer = command.query_async(&mut manager).await;
        self.look_at(answer.as_ref().err(), number);
        answer
    }

    pub(super) async fn pipeline<T: FromRedisValue>(&self, pipeline: &Pipeline) -> RedisResult<T> {
        let (mut manager, number) = self.get();
        let answer = pipeline.query_async(&mut manager).await;
        self.look_at(answer.as_ref().err(), number);
        answer
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self) -> (impl ConnectionLike + use<>, u64) {
        let current = self.lock();
        (current.manager.clone(), current.number)
    }

    /// After a question that wasn't answered in time the next ones go another way. What waits on the old one still may be
    /// answered there; what comes for the question that was given up is read by nobody.
    fn look_at(&self, error: Option<&RedisError>, number: u64) {
        if !error.is_some_and(RedisError::is_timeout) {
            return;
        }
        let mut current = self.lock();
        // Several may have waited in vain on the same one.
        if current.number == number
            && let Ok(manager) =
                ConnectionManager::new_lazy_with_config(self.client.clone(), self.config.clone())
        {
            *current = Current { manager, number: number + 1 };
        }
    }
}
