//! The scripts against what the protocol promises.

// Commands that arrive twice or late, a sentence each.
mod copies;
// What something else has changed: one damaged key costs nobody but itself.
mod damaged;
// Work that is done elsewhere, a sentence each.
mod elsewhere;
// Sessions, charges, graces: a sentence each.
mod fences;
// Headers, types and the law that holds for all scripts.
mod headers;
// Any interleaving of any commands: what is done, and what is checked after each step.
mod machine;
mod model;
mod ops;
// Names out of a pool, a sentence each.
mod pools;
// Chosen interleavings, a sentence each.
mod races;
mod scene;
