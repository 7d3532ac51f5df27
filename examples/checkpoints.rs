//! A long task that goes on where the last attempt was, whatever killed that.
//!
//!     cargo run --example checkpoints             # kill it with kill -9 and start it again: it doesn't begin anew

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use backstop::agent::{Agent, Client, Failure, NewTask, OnReconnect, Task, new_task};
use backstop::core::id::{Identity, QueueName, TaskId};
use backstop::store::{Options, Store};

const STEPS: u32 = 60;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("BACKSTOP_REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    let store = Store::connect(&url, &Options::default())?;
    let queue = QueueName::new("checkpoints")?;

    // An id of its own makes adding it again harmless: the second start finds it where the first left it.
    let task = NewTask { id: TaskId::new("the-long-one")?, ..new_task("")? };
    Client::new(store.clone(), queue.clone()).enqueue_all(vec![task]).await?;

    Agent::builder(store)
        .queue(queue)
        .identity(Identity::new("walker-1")?)
        .on_reconnect(OnReconnect::Resume)
        .count(1)
        .build()?
        .run(walk)
        .await?;
    Ok(())
}

async fn walk(task: Task) -> Result<(), Failure> {
    let left = task.checkpoint().map(String::from_utf8_lossy);
    let done: u32 = left.and_then(|text| text.parse().ok()).unwrap_or(0);
    println!("attempt {} begins at step {done}", task.attempt());
    for step in done + 1..=STEPS {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            // Told to stop: the checkpoint is all that the next attempt needs.
            () = task.stop().cancelled() => return Err(Failure::retry("stopped")),
        }
        task.save_checkpoint(step.to_string().as_bytes()).map_err(Failure::fatal)?;
        println!("step {step} of {STEPS}");
    }
    Ok(())
}
