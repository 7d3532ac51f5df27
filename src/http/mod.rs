//! The pages that the daemon serves: health for machines, metrics for Prometheus, one page for people.
//!
//! Nothing here asks Redis: what is shown was published by the sweep loop. A connection carries one request, so that
//! its limits are simple; a scrape every few seconds gains nothing from keeping it. Clients that are slow, or say more
//! than a reader of pages has to say, are cut.

mod page;
mod routes;

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::core::health::Snapshot;

/// What connections may do.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Most connections at once; more wait to be accepted.
    connections: usize,
    /// Longest time from a connection to the end of a request's head.
    head: Duration,
    /// Longest time from a connection to the end of the answer.
    whole: Duration,
    /// Largest head of a request, bytes.
    head_bytes: usize,
    /// Longest time, after being asked to leave, for answers on their way.
    leave: Duration,
}

const LIMITS: Limits = Limits {
    connections: 128,
    head: Duration::from_secs(5),
    whole: Duration::from_secs(15),
    head_bytes: 16 * 1024,
    leave: Duration::from_millis(1500),
};

/// After an answer that cut a client short: how long, and how much of what it still sends is thrown away, so that it
/// gets to read the answer instead of a reset.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_BYTES: u64 = 4 * 1024 * 1024;

/// Between two attempts to accept when the process has no file descriptors left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What the pages are made of.
#[derive(Clone)]
pub struct Site {
    /// The replica, as the sweep loop last published it.
    pub health: watch::Receiver<Arc<Snapshot>>,
    /// Writes the page for Prometheus; must not wait for anything.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site").field("health", &self.health).finish_non_exhaustive()
    }
}

/// Serves until `shutdown`, then lets answers on their way end, for less than two seconds.
pub async fn serve(listener: TcpListener, site: Site, shutdown: CancellationToken) {
    serve_within(LIMITS, listener, site, shutdown).await;
}

async fn serve_within(limits: Limits, listener: TcpListener, site: Site, shutdown: CancellationToken) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let open = TaskTracker::new();
    loop {
        // A place first: a connection that nobody has time for waits in the kernel and costs nothing.
        let place = tokio::select! {
            () = shutdown.cancelled() => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(limits, stream, site.clone(), shutdown.clone());
                open.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept an HTTP connection");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    drop(listener);
    open.close();
    // Each ends by itself within `limits.leave` and the linger.
    open.wait().await;
}

async fn connection(limits: Limits, mut stream: TcpStream, site: Site, shutdown: CancellationToken) {
    let answer = service_fn(|request| {
        let response = routes::answer(&site, &request);
        async { Ok::<_, Infallible>(response) }
    });
    {
        let mut http = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .keep_alive(false)
                .header_read_timeout(limits.head)
                .max_buf_size(limits.head_bytes)
                .serve_connection(TokioIo::new(&mut stream), answer)
        );
        let ended = tokio::select! {
            ended = http.as_mut() => ended,
            () = sleep(limits.whole) => return,
            () = shutdown.cancelled() => {
                http.as_mut().graceful_shutdown();
                match timeout(limits.leave, http).await {
                    Ok(ended) => ended,
                    Err(_) => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "an HTTP connection ended early");
        }
    }
    linger(stream, shutdown).await;
}

async fn linger(mut stream: TcpStream, shutdown: CancellationToken) {
    // The other side may be gone already, which is as good.
    drop(stream.shutdown().await);
    let mut rest = stream.take(LINGER_BYTES);
    let mut nowhere = tokio::io::sink();
    let drained = timeout(LINGER, tokio::io::copy(&mut rest, &mut nowhere));
    tokio::select! {
        _ = drained => {}
        () = shutdown.cancelled() => {}
    }
}
