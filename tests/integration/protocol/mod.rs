//! The scripts against what the protocol promises.

// Any interleaving of any commands: what is done, and what is checked after each step.
mod machine;
mod model;
mod ops;
// Chosen interleavings, a sentence each.
mod races;
mod scene;
