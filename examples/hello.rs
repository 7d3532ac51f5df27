//! Ten tasks, and an agent that runs them.
//!
//!     backstop dev                                # in one terminal: prints the address to export
//!     cargo run --example hello                   # in another

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use backstop::agent::{Agent, Client, Failure};
use backstop::core::id::{Identity, QueueName};
use backstop::store::{Options, Store};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("BACKSTOP_REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    let store = Store::connect(&url, &Options::default())?;
    let queue = QueueName::new("hello")?;

    let mut client = Client::new(store.clone(), queue.clone());
    for number in 1..=10 {
        client.enqueue(number.to_string()).await?;
    }

    let agent =
        Agent::builder(store).queue(queue).identity(Identity::new("greeter-1")?).concurrency(4).count(10);
    let account = agent
        .build()?
        .run(|task| async move {
            // A payload that can't be read will not be better the next time.
            let number: u32 = String::from_utf8_lossy(task.payload()).parse().map_err(Failure::fatal)?;
            println!("hello {number}, attempt {}", task.attempt());
            Ok(())
        })
        .await?;
    println!("{} completed", account.completed);
    Ok(())
}
