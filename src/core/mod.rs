//! The judgement, and nothing else: no I/O, no clock, no Redis. What goes in are facts and settings, what comes out
//! are verdicts.
//!
//! # Words
//! - A session is **suspect** when it has been silent for `heartbeat_timeout`, and **lost** when it has been silent for
//!   `lost_after` longer. A suspect that beats again costs nothing.
//! - A task is **abandoned** when it runs and its session is lost, or a limit of its own has passed.
//! - **Reset**: back to pending at its place, charged with an abandonment; the old token can't complete it once a new
//!   attempt has begun.
//! - **Dead letter**: set aside with the reason, for a person, who redrives or discards it.
//! - **Expired**: a dead letter because its deadline passed: nobody wants the result any more.
//! - **Revoked**: its agent lives and was told to stop; reset and fenced if it doesn't within `revoke_grace`.
//! - **Held**: a verdict that a guard keeps from being carried out. **Observed**: one that observe mode only counts.

pub mod decision;
pub mod external;
pub mod facts;
pub mod guard;
pub mod health;
pub mod id;
pub mod layout;
pub mod liveness;
pub mod observer;
pub mod pattern;
pub mod plan;
pub mod policy;
pub mod summary;
pub mod watch;
pub mod words;
