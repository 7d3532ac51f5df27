//! A private Redis, and what it says of its own work.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use backstop::core::id::QueueName;
use backstop::native::Queue;
use backstop::private_server::{Fsync, Options as ServerOptions, PrivateServer};
use backstop::store::{Options, Reply, Store};

pub fn backstop() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_backstop"))
}

pub async fn start() -> PrivateServer {
    let options = ServerOptions { engine: None, launcher: backstop(), fsync: Fsync::Off, extra: Vec::new() };
    let server = PrivateServer::start(options).await.unwrap();
    println!("{} {}", server.engine().name, server.engine().version);
    server
}

pub fn store(server: &PrivateServer) -> Store {
    let options = Options { response_timeout: Duration::from_secs(60), ..Options::default() };
    Store::connect(&server.url(), &options).unwrap()
}

pub fn queue(server: &PrivateServer) -> Queue {
    Queue::new(store(server), QueueName::new("bench").unwrap())
}

async fn info(store: &Store, section: &str) -> String {
    match store.command(&["INFO", section]).await.unwrap() {
        Reply::Bytes(bytes) => String::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

pub async fn figure(store: &Store, section: &str, name: &str) -> f64 {
    let text = info(store, section).await;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap().trim().parse().unwrap()
}

/// CPU, µs.
#[derive(Debug, Clone, Default)]
pub struct Cpu {
    /// Calls and time of each command as Redis counts its own execution. What a script calls is counted in the script,
    /// and again under its own name.
    commands: BTreeMap<String, (f64, f64)>,
    /// Of the whole process: parsing, answering and system calls as well.
    process: f64,
}

/// Plain commands that a pass over one queue sends itself, and how often.
const PLAIN: [(&str, f64); 5] =
    [("time", 1.0), ("hgetall", 2.0), ("zscan", 1.5), ("zrandmember", 0.5), ("zrange", 2.0)];

impl Cpu {
    pub async fn now(store: &Store) -> Self {
        let commands = info(store, "commandstats").await;
        let commands = commands.lines().filter_map(|line| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(':')?;
            let field = |field: &str| rest.split(',').find_map(|part| part.strip_prefix(field)?.parse().ok());
            Some((name.to_owned(), (field("calls=")?, field("usec=")?)))
        });
        let process =
            figure(store, "cpu", "used_cpu_user").await + figure(store, "cpu", "used_cpu_sys").await;
        Self { commands: commands.collect(), process: process * 1e6 }
    }

    fn grown(&self, before: &Self, name: &str) -> (f64, f64) {
        let of = |cpu: &Self| cpu.commands.get(name).copied().unwrap_or_default();
        let ((calls, usec), (calls_before, usec_before)) = (of(self), of(before));
        (calls - calls_before, usec - usec_before)
    }

    /// What scripts took since.
    pub fn scripts_since(&self, before: &Self) -> f64 {
        self.grown(before, "evalsha").1 + self.grown(before, "eval").1
    }

    /// What so many passes over one queue took since: their scripts, and the plain commands beside them at the average
    /// of all calls of their name.
    pub fn passes_since(&self, before: &Self, passes: f64) -> f64 {
        let plain = PLAIN.iter().map(|(name, calls)| {
            let (all, usec) = self.grown(before, name);
            if all > 0.0 { usec / all * calls * passes } else { 0.0 }
        });
        self.scripts_since(before) + plain.sum::<f64>()
    }

    /// What the process took since.
    pub fn process_since(&self, before: &Self) -> f64 {
        self.process - before.process
    }
}
