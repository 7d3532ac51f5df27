//! What this process says of itself: metrics, log lines, and words to the service manager.

pub mod clock;
pub mod log;
pub mod metrics;
mod observer;
pub mod recorder;
pub mod systemd;

mod durable;
mod events;
mod gauges;

#[cfg(test)]
mod tests;
