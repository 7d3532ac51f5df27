//! The scripts against what the protocol promises.

mod races;
mod scene;
