//! All integration tests, in one binary: each on a real Redis of its own, with real processes and real signals.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    missing_docs,
    reason = "a test that fails should do so at once"
)]

mod acl; // each role can do what it must, and not what it mustn't
mod agent; // the agent library: runs each task once, comes back, stops when told to
mod cli; // the command line as a user has it: what it does, what it says, how it ends
mod clients; // the real clients of other systems, with Backstop beside them
mod daemon; // the daemon and agents as processes: killed, paused, twinned, reloaded
mod elsewhere; // tasks that are worked on elsewhere: agents, hooks and the service killed
mod foreign; // systems of others: one contract for every layout
mod house_rules; // who may use what, how large a file may be
mod identity; // agents under a name: pools, twins, drains, wrong clocks
mod languages; // agents in every language: one suite for all of them
mod private_server; // the private Redis: out of reach, true to its data, gone with its parent
mod program; // any program as an agent: exit codes, stopping, what is left behind
mod protocol; // the scripts: a model that watches them, their races and late copies, their headers
mod support; // a private Redis, conditions to wait for
mod sweeping; // a pass over a real queue: what it moves, what it leaves, what it says
mod systemd; // the unit files are sound and grant little
