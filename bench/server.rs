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
    /// Of each command as Redis counts its own execution.
    commands: BTreeMap<String, f64>,
    /// Of the whole process: parsing, answering and system calls as well.
    process: f64,
}

impl Cpu {
    pub async fn now(store: &Store) -> Self {
        let commands = info(store, "commandstats").await;
        let commands = commands.lines().filter_map(|line| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(':')?;
            let usec = rest.split("usec=").nth(1)?.split(',').next()?.parse().ok()?;
            // What a script calls is counted in the script as well.
            let plain = ["evalsha", "eval", "hgetall", "zscan", "zrandmember", "zrange", "time", "smembers"];
            plain.contains(&name).then(|| (name.to_owned(), usec))
        });
        let process =
            figure(store, "cpu", "used_cpu_user").await + figure(store, "cpu", "used_cpu_sys").await;
        Self { commands: commands.collect(), process: process * 1e6 }
    }

    /// What scripts took since.
    pub fn scripts_since(&self, before: &Self) -> f64 {
        let of = |cpu: &Self| {
            cpu.commands.get("evalsha").unwrap_or(&0.0) + cpu.commands.get("eval").unwrap_or(&0.0)
        };
        of(self) - of(before)
    }

    /// What all commands of a sweeper took since.
    pub fn commands_since(&self, before: &Self) -> f64 {
        self.commands.values().sum::<f64>() - before.commands.values().sum::<f64>()
    }

    /// What the process took since.
    pub fn process_since(&self, before: &Self) -> f64 {
        self.process - before.process
    }
}
