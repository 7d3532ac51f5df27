//! What a person asks for, over the native scripts: no printing here.

pub mod agents;
pub mod dead;
pub mod drain;
pub mod explain;
pub mod find;
pub mod fsck;
pub mod hands;
pub mod over;
pub mod status;
pub mod switch;
pub mod tasks;
pub mod unwanted;

use crate::store::{Shape, Store, StoreError};

/// Tasks that one call of a script is given.
pub(crate) const BATCH: usize = 50;

/// Records that are asked for before the first answer is awaited: a far Redis would make a long list slow.
const AHEAD: usize = 50;

/// A whole number that a command answers.
///
/// # Errors
/// [`StoreError`].
pub async fn number(store: &Store, parts: &[&str]) -> Result<i64, StoreError> {
    let shape = Shape::of(parts.first().copied().unwrap_or_default());
    Ok(shape.maybe_int(store.command(parts).await?)?.unwrap_or(0))
}
