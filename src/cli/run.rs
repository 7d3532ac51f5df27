//! `run`: the daemon.

use std::io::IsTerminal;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{CliError, DONE, Global};
use crate::config::{LogFormat, LogSettings};
use crate::daemon;
use crate::native::fresh_nonce;
use crate::telemetry::log::{self, Format};

/// Run the daemon: sweep on a schedule, serve metrics and health
///
/// SIGTERM: finish the page and leave. SIGHUP: read the configuration again; an invalid one changes nothing.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where HTTP is served
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Serve on an address that isn't loopback, without TLS or password
    #[arg(long)]
    insecure_listen: bool,
}

pub(super) async fn run(args: Args, global: &Global) -> Result<u8, CliError> {
    let origin = global.origin(args.listen);
    let settings = origin.load()?;
    start_log(settings.log)?;
    let listen = settings.listen;
    if !listen.ip().is_loopback() && !args.insecure_listen {
        return Err(CliError::Usage(format!(
            "{listen} can be reached from other machines, and nothing asks them for a password: listen on 127.0.0.1, or \
             say --insecure-listen"
        )));
    }
    let listener = TcpListener::bind(listen).await.map_err(|error| {
        CliError::failed(format!("could not listen on {listen}: {error}; choose another --listen"))
    })?;
    let address = listener.local_addr().map_err(CliError::failed)?;
    tracing::info!(%address, redis = %settings.redis_url, version = env!("CARGO_PKG_VERSION"), "backstop runs");
    let (reload, shutdown) = (Arc::new(Notify::new()), CancellationToken::new());
    watch_signals(&reload, &shutdown)?;
    let nonce = fresh_nonce().map_err(CliError::failed)?;
    let owner = format!("{}-{}", std::process::id(), nonce.as_str().get(..8).unwrap_or_default());
    daemon::run(origin, settings, listener, owner, reload, shutdown).await.map_err(CliError::failed)?;
    tracing::info!("backstop leaves");
    Ok(DONE)
}

/// Begins to log as the settings say.
pub(super) fn start_log(settings: LogSettings) -> Result<(), CliError> {
    let human = match settings.format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    let format = if human { Format::Human } else { Format::Json };
    log::init(format, &settings.level.to_string()).map_err(|error| CliError::Usage(error.to_string()))
}

fn watch_signals(reload: &Arc<Notify>, shutdown: &CancellationToken) -> Result<(), CliError> {
    let mut hup = signal(SignalKind::hangup()).map_err(CliError::failed)?;
    let reload = Arc::clone(reload);
    tokio::spawn(async move {
        while hup.recv().await.is_some() {
            reload.notify_one();
        }
    });
    stop_on_signals(shutdown)
}

/// Cancels `shutdown` on SIGTERM and on Ctrl-C.
pub(super) fn stop_on_signals(shutdown: &CancellationToken) -> Result<(), CliError> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind).map_err(CliError::failed)?;
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            signals.recv().await;
            shutdown.cancel();
        });
    }
    Ok(())
}
