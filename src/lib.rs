//! Backstop brings back the tasks of dead agents.

pub mod core;
#[cfg(feature = "daemon")]
pub mod http;
pub mod native;
pub mod store;
#[cfg(feature = "daemon")]
pub mod telemetry;
