//! One process, two queues: two agents with sessions of their own. Losing one stops that queue's work only.
//!
//!     cargo run --example two_queues              # Ctrl-C: both finish what runs, and leave

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use backstop::agent::{Agent, AgentError, Client, Failure, Task};
use backstop::core::id::{Identity, QueueName};
use backstop::store::{Options, Store};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("BACKSTOP_REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    let store = Store::connect(&url, &Options::default())?;
    let stop = CancellationToken::new();
    let on_signal = stop.clone();
    tokio::spawn(async move {
        // Without signals to wait for, nothing but a kill stops it.
        let _ = tokio::signal::ctrl_c().await;
        on_signal.cancel();
    });
    for name in ["urgent", "nightly"] {
        let mut client = Client::new(store.clone(), QueueName::new(name)?);
        client.enqueue(format!("something {name}")).await?;
    }
    let agent = |queue: &str| -> Result<Agent, Box<dyn std::error::Error>> {
        Ok(Agent::builder(store.clone())
            .queue(QueueName::new(queue)?)
            .identity(Identity::new("both-1")?)
            .stop(stop.clone())
            .build()?)
    };
    let (urgent, nightly) = tokio::join!(agent("urgent")?.run(show), agent("nightly")?.run(show));
    for (queue, ended) in [("urgent", urgent), ("nightly", nightly)] {
        match ended {
            Ok(account) => println!("{queue}: {} completed", account.completed),
            Err(AgentError::Superseded) => println!("{queue}: a younger process has taken over"),
            Err(error) => println!("{queue}: {error}"),
        }
    }
    Ok(())
}

async fn show(task: Task) -> Result<(), Failure> {
    println!("{}: {}", task.queue(), String::from_utf8_lossy(task.payload()));
    Ok(())
}
