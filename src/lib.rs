//! Backstop brings back the tasks of dead agents.

#[cfg(feature = "daemon")]
pub mod config;
pub mod core;
pub mod native;
pub mod store;
#[cfg(feature = "daemon")]
pub mod sweep;
