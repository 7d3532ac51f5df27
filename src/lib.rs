//! Backstop brings back the tasks of dead agents.

pub mod core;
