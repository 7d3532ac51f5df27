//! The rights of each role in `deploy/acl/`: it can do what it must, and not what it mustn't.

mod files; // what they grant is what the scripts need
mod refused; // what no role, and what which role, can't do
mod scripts; // every script of a role, run as that role

use std::path::Path;

use backstop::core::id::QueueName;
use backstop::native::Queue;
use backstop::store::{Options, Store};

use crate::support::Server;

const ROLES: [&str; 4] = ["agent", "sweeper", "operator", "reader"];

/// The one line of a role's file that is no comment: `user`, its name, its rules.
fn line(role: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("deploy/acl/{role}.acl"));
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines.len(), 1, "{}: Redis takes a user in one line", path.display());
    lines[0].to_owned()
}

/// Connects as a role, whose user is made of its file.
async fn enter(server: &Server, role: &str) -> Store {
    let line = line(role);
    let mut words = line.split(' ');
    assert_eq!(words.next(), Some("user"));
    let command: Vec<_> = ["ACL", "SETUSER"].into_iter().chain(words).chain([">secret"]).collect();
    server.store().command(&command).await.unwrap();
    let url = format!("{}?user=backstop-{role}&pass=secret", server.url());
    Store::connect(&url, &Options::default()).unwrap()
}

fn queue(store: &Store) -> Queue {
    Queue::new(store.clone(), QueueName::new("q").unwrap())
}
