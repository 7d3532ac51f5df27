//! What a person may do with the rights that `deploy/acl` gives to the role.

use super::command;
use super::people::{agent, dead_letters};
use crate::acl::admit;
use crate::support::Server;

fn run_as(server: &Server, url: &str, args: &[&str]) -> (i32, String) {
    let (code, out, err) =
        super::answer(&command(server, args).env("BACKSTOP_REDIS_URL", url).output().unwrap());
    (code, format!("{out}{err}"))
}

const LOOKS: &[&[&str]] = &[
    &["status"],
    &["tasks", "q"],
    &["agents", "list", "q"],
    &["explain", "t"],
    &["dead", "list"],
    &["dead", "show", "d0"],
    &["guard", "list"],
];

const ACTS: &[&[&str]] = &[
    &["extend", "t", "1h"],
    &["reset", "t"],
    &["cancel", "t"],
    &["dead", "redrive", "d0"],
    &["dead", "discard", "d1"],
    &["pause", "q"],
    &["resume", "q"],
    &["drain", "q"],
    &["resume", "q"],
    &["guard", "override", "mass_loss", "--for", "1s", "--reason", "test"],
    &["fsck", "q", "--repair"],
];

#[tokio::test]
async fn an_operators_rights_are_enough_for_every_command_of_a_person() {
    let server = Server::start().await;
    dead_letters(&server, 2).await;
    super::run(&server, &["enqueue", "--queue", "q", "--id", "t", "x"]);
    agent(&server, 1).await;
    let url = admit(&server, "operator").await;
    for args in LOOKS.iter().chain(ACTS) {
        let (code, told) = run_as(&server, &url, args);
        assert_eq!(code, 0, "{args:?}: {told}");
    }
}

#[tokio::test]
async fn a_readers_rights_are_enough_to_look_and_for_nothing_more() {
    let server = Server::start().await;
    dead_letters(&server, 2).await;
    super::run(&server, &["enqueue", "--queue", "q", "--id", "t", "x"]);
    agent(&server, 1).await;
    let url = admit(&server, "reader").await;
    for args in LOOKS {
        let (code, told) = run_as(&server, &url, args);
        assert_eq!(code, 0, "{args:?}: {told}");
    }
    for args in ACTS {
        let (code, told) = run_as(&server, &url, args);
        assert!(code == 1 && told.contains("lacks a right"), "{args:?}: {told}");
    }
}
