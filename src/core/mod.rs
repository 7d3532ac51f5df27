//! The judgement, and nothing else: no I/O, no clock, no Redis. What goes in are facts and settings, what comes out
//! are verdicts.

pub mod health;
pub mod id;
pub mod observer;
pub mod policy;
