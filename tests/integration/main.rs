//! What the parts do together, on a real Redis.

// The scripts: the model that watches them, their races, their headers.
#[cfg(test)]
mod protocol;
// A private Redis, and the whole of what stands in it.
#[cfg(test)]
mod support;
