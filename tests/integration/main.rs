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

mod agent; // the agent library: runs each task once, comes back, stops when told to
mod house_rules; // who may use what, how large a file may be
mod program;
mod protocol; // the scripts against any order of commands, races, late copies, wrong keys
mod support; // a private Redis, conditions to wait for
mod sweeping; // a pass over a real queue: what it moves, what it leaves, what it says // any program as an agent: exit codes, stopping, what is left behind
