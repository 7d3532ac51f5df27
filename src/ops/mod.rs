//! What a person asks for, over the native scripts: no printing here.

pub mod agents;
pub mod dead;
pub mod explain;
pub mod find;
pub mod fsck;
pub mod status;
pub mod switch;
pub mod tasks;

use std::collections::BTreeMap;

use crate::store::{Reply, Shape, Store, StoreError};

/// Tasks that one call of a script is given.
pub(crate) const BATCH: usize = 50;

/// A hash, field by field.
///
/// # Errors
/// [`StoreError`].
pub async fn hash(store: &Store, key: &str) -> Result<BTreeMap<String, String>, StoreError> {
    let shape = Shape::of("HGETALL");
    let pairs: Vec<[Reply; 2]> = shape.rows(store.command(&["HGETALL", key]).await?)?;
    pairs.into_iter().map(|[field, value]| Ok((shape.text(field)?, shape.text(value)?))).collect()
}

/// A whole number that a command answers.
///
/// # Errors
/// [`StoreError`].
pub async fn number(store: &Store, parts: &[&str]) -> Result<i64, StoreError> {
    let shape = Shape::of(parts.first().copied().unwrap_or_default());
    Ok(shape.maybe_int(store.command(parts).await?)?.unwrap_or(0))
}

/// Some members of a sorted set with their scores, in order, from this rank on.
async fn range(store: &Store, key: &str, from: usize, most: usize) -> Result<Vec<(String, i64)>, StoreError> {
    let shape = Shape::of("ZRANGE");
    let (first, last) = (from.to_string(), (from + most.max(1) - 1).to_string());
    let rows: Vec<[Reply; 2]> =
        shape.rows(store.command(&["ZRANGE", key, &first, &last, "WITHSCORES"]).await?)?;
    rows.into_iter().map(|[member, score]| Ok((shape.text(member)?, shape.int(score)?))).collect()
}
