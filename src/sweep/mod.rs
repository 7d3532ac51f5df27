//! The sweep.
pub mod schedule;
