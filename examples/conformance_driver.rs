//! What the conformance suite speaks to: an agent of this library, driven by lines of JSON.
//!
//!     cargo build --example conformance_driver
//!     clients/conformance/run.py -- target/debug/examples/conformance_driver
//!
//! `clients/conformance/README.md` says what the commands and events are.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::collections::HashMap;
use std::error::Error;
use std::io::BufRead;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backstop::agent::{
    Account, Agent, AgentError, Choice, Client, ExternalError, Failure, Left, NewTask, OnReconnect,
    StopReason, Task, fresh_id, new_task,
};
use backstop::core::id::{Identity, QueueName, TaskId, TaskType};
use backstop::store::{Options, Store};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// What a handler is told.
enum Order {
    End(Result<(), Failure>),
    Checkpoint(Vec<u8>),
    Alive,
    Block(Duration),
    External(String),
    IgnoreStop,
}

/// What waits for commands, by the name of its task.
struct Waiting<T>(Arc<Mutex<HashMap<String, T>>>);

impl<T> Clone for Waiting<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Waiting<T> {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Driver {
    handlers: Waiting<mpsc::UnboundedSender<Order>>,
    decisions: Waiting<oneshot::Sender<Choice>>,
    stop: CancellationToken,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let driver = Driver::default();
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut commands = commands();
    say(&json!({ "event": "ready", "can": ["block"] }));
    loop {
        let line = tokio::select! {
            line = commands.recv() => line,
            _ = terminated.recv() => {
                driver.stop.cancel();
                continue;
            }
            _ = interrupted.recv() => {
                driver.stop.cancel();
                continue;
            }
        };
        let Some(line) = line else { return Ok(()) };
        let command: Value = serde_json::from_str(&line)?;
        if text(&command, "do") == "quit" {
            return Ok(());
        }
        if let Err(error) = driver.obey(&command).await {
            say(&json!({ "event": "refused", "id": command.get("id"), "error": error.to_string() }));
        }
    }
}

/// The lines of the standard input, read by a thread of their own: one that waits there would keep the runtime.
fn commands() -> mpsc::UnboundedReceiver<String> {
    let (send, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

impl Driver {
    /// Carries out a command; an error is that it was refused, and nothing sent.
    async fn obey(&self, command: &Value) -> Result<(), Box<dyn Error>> {
        match text(command, "do") {
            "start" => self.start(command)?,
            "enqueue" => enqueue(command).await?,
            "finish" => self.order(command, Order::End(outcome(command))),
            "checkpoint" => self.order(command, Order::Checkpoint(bytes(command, "hex"))),
            "block" => self.order(command, Order::Block(millis(command, "ms").unwrap_or_default())),
            "alive" => self.order(command, Order::Alive),
            "external" => self.order(command, Order::External(text(command, "handle").to_owned())),
            "ignore_stop" => self.order(command, Order::IgnoreStop),
            "decide" => self.decide(command),
            "stop" => self.stop.cancel(),
            other => {
                say(&json!({ "event": "error", "error": format!("there is no command {other:?}") }));
            }
        }
        Ok(())
    }

    fn start(&self, command: &Value) -> Result<(), Box<dyn Error>> {
        let mut options = Options::default();
        if let Some(long) = millis(command, "response_timeout_ms") {
            options.response_timeout = long;
        }
        let store = Store::connect(text(command, "redis"), &options)?;
        let mut builder = Agent::builder(store)
            .options(options)
            .queue(QueueName::new(text(command, "queue"))?)
            .stop(self.stop.clone())
            .on_reconnect(self.on_reconnect(text(command, "on_reconnect")))
            .wait_for_pool(text(command, "pool_full") == "wait")
            .on_answer(Arc::new(|id: &str, token: &str, word: &str| {
                say(&json!({ "event": "answer", "id": id, "token": token, "word": word }));
            }));
        builder = match command.get("pool").and_then(Value::as_array).map(Vec::as_slice) {
            Some([prefix, size]) => {
                let size = u32::try_from(size.as_u64().unwrap_or(0))?;
                builder.pool(Identity::new(prefix.as_str().unwrap_or_default())?, size)
            }
            _ => builder.identity(Identity::new(text(command, "as"))?),
        };
        if let Some(tasks) = number(command, "concurrency") {
            builder = builder.concurrency(usize::try_from(tasks)?);
        }
        if let Some(tasks) = number(command, "count") {
            builder = builder.count(tasks);
        }
        if let Some(long) = millis(command, "drain_timeout_ms") {
            builder = builder.drain_timeout(long);
        }
        if let Some(long) = millis(command, "stop_grace_ms") {
            builder = builder.stop_grace(long);
        }
        let agent = builder.build()?;
        let handlers = self.handlers.clone();
        tokio::spawn(async move {
            ended(agent.run(move |task| handle(task, handlers.clone())).await);
        });
        Ok(())
    }

    fn on_reconnect(&self, choice: &str) -> OnReconnect {
        match choice {
            "resume" => OnReconnect::Resume,
            "fail" => OnReconnect::Fail,
            "ask" => {
                let decisions = self.decisions.clone();
                OnReconnect::ask(move |left| ask(left, decisions.clone()))
            }
            _ => OnReconnect::Reset,
        }
    }

    /// Passes an order on. A task that has ended hears nothing any more.
    fn order(&self, command: &Value, order: Order) {
        if let Some(handler) = self.handlers.lock().get(text(command, "id")) {
            let _ = handler.send(order);
        }
    }

    fn decide(&self, command: &Value) {
        let choice = match text(command, "choice") {
            "resume" => Choice::Resume,
            "fail" => Choice::Fail,
            _ => Choice::Reset,
        };
        if let Some(asked) = self.decisions.lock().remove(text(command, "id")) {
            let _ = asked.send(choice);
        }
    }
}

/// Runs a task until it is told how to end, or to stop.
async fn handle(task: Task, handlers: Waiting<mpsc::UnboundedSender<Order>>) -> Result<(), Failure> {
    let (send, mut orders) = mpsc::unbounded_channel();
    handlers.lock().insert(task.id().to_owned(), send);
    say(&json!({
        "event": "started",
        "id": task.id(),
        "token": task.token(),
        "type": task.task_type(),
        "attempt": task.attempt(),
        "payload_hex": hex(task.payload()),
        "checkpoint_hex": hex(task.checkpoint().unwrap_or_default()),
        "external": task.external(),
    }));
    let given_back = Err(Failure::GiveBack(Some(Duration::ZERO)));
    let (mut ignores_stop, mut told) = (false, false);
    loop {
        tokio::select! {
            // What was said before an order to stop comes before it.
            biased;
            order = orders.recv() => match order {
                Some(Order::End(outcome)) => return outcome,
                Some(Order::Checkpoint(data)) => say(&match task.save_checkpoint(&data) {
                    Ok(()) => json!({ "event": "saved", "id": task.id() }),
                    Err(error) => json!({ "event": "refused", "id": task.id(), "error": error.to_string() }),
                }),
                Some(Order::Alive) => task.alive(),
                // On purpose without waiting: it keeps the thread that it runs on.
                Some(Order::Block(long)) => std::thread::sleep(long),
                Some(Order::External(handle)) => {
                    let task = task.clone();
                    tokio::spawn(async move { record(&task, &handle).await });
                }
                Some(Order::IgnoreStop) => ignores_stop = true,
                // A newer run of this task has taken its name.
                None => {
                    task.stop().cancelled().await;
                    if !told {
                        say(&json!({ "event": "stopping", "id": task.id(), "why": why(&task) }));
                    }
                    return given_back;
                }
            },
            () = task.stop().cancelled(), if !told => {
                told = true;
                say(&json!({ "event": "stopping", "id": task.id(), "why": why(&task) }));
                if !ignores_stop {
                    return given_back;
                }
            }
        }
    }
}

async fn record(task: &Task, handle: &str) {
    let id = task.id();
    say(&match task.record_external(handle).await {
        Ok(()) => json!({ "event": "recorded", "id": id }),
        Err(ExternalError::Fenced) => json!({ "event": "fenced", "id": id }),
        Err(error) => json!({ "event": "refused", "id": id, "error": error.to_string() }),
    });
}

async fn ask(left: Left, decisions: Waiting<oneshot::Sender<Choice>>) -> Choice {
    let (send, decided) = oneshot::channel();
    decisions.lock().insert(left.id.clone(), send);
    say(&json!({
        "event": "asked",
        "id": left.id,
        "type": left.task_type,
        "session": left.session,
        "token": left.token,
        "checkpoint_hex": hex(&left.checkpoint),
        "external": left.external,
    }));
    decided.await.unwrap_or(Choice::Reset)
}

async fn enqueue(command: &Value) -> Result<(), Box<dyn Error>> {
    let id = command.get("id").and_then(Value::as_str);
    let kind = command.get("type").and_then(Value::as_str);
    let task = NewTask {
        id: id.map_or_else(|| fresh_id().map_err(Box::<dyn Error>::from), |id| Ok(TaskId::new(id)?))?,
        task_type: kind.map_or_else(|| Ok(TaskType::default_type()), TaskType::new)?,
        delay: millis(command, "delay_ms").unwrap_or_default(),
        deadline: millis(command, "deadline_in_ms"),
        ..new_task(bytes(command, "payload_hex"))?
    };
    let id = task.id.clone();
    let queue = QueueName::new(text(command, "queue"))?;
    let store = Store::connect(text(command, "redis"), &Options::default())?;
    for answer in Client::new(store, queue).enqueue_all(vec![task]).await? {
        say(&json!({ "event": "enqueued", "id": id.as_str(), "answer": answer.as_str() }));
    }
    Ok(())
}

fn ended(result: Result<Account, AgentError>) {
    let (account, error) = match &result {
        Ok(account) => (counts(account), None),
        Err(error) => (Value::Null, Some(error.to_string())),
    };
    let how = match result {
        Ok(_) => "done",
        Err(AgentError::Superseded) => "superseded",
        Err(AgentError::PoolFull) => "pool_full",
        Err(AgentError::Stopped) => "stopped",
        Err(_) => "error",
    };
    say(&json!({ "event": "ended", "how": how, "account": account, "error": error }));
}

fn counts(account: &Account) -> Value {
    let Account { taken, adopted, completed, withdrawn, refused, retried, dead, released, fenced } = *account;
    json!({
        "taken": taken, "adopted": adopted, "completed": completed, "withdrawn": withdrawn, "refused": refused,
        "retried": retried, "dead": dead, "released": released, "fenced": fenced,
    })
}

fn outcome(command: &Value) -> Result<(), Failure> {
    match text(command, "how") {
        "done" => Ok(()),
        "fatal" => Err(Failure::fatal(text(command, "error"))),
        "give_back" => Err(Failure::GiveBack(millis(command, "delay_ms"))),
        _ => Err(Failure::retry(text(command, "error"))),
    }
}

fn why(task: &Task) -> &'static str {
    match task.why() {
        Some(StopReason::Fenced) => "fenced",
        Some(StopReason::Revoked) => "revoked",
        Some(StopReason::Cancelled) => "cancelled",
        Some(StopReason::OutOfTouch) => "out_of_touch",
        Some(StopReason::Stopping) | None => "stopping",
    }
}

/// One event, on a line of its own.
fn say(event: &Value) {
    println!("{event}");
}

fn text<'a>(command: &'a Value, field: &str) -> &'a str {
    command.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn number(command: &Value, field: &str) -> Option<u64> {
    command.get(field).and_then(Value::as_u64)
}

fn millis(command: &Value, field: &str) -> Option<Duration> {
    number(command, field).map(Duration::from_millis)
}

fn bytes(command: &Value, field: &str) -> Vec<u8> {
    let digits = text(command, field).as_bytes();
    let byte = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|two| u8::from_str_radix(two, 16).ok());
    digits.chunks(2).filter_map(byte).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
