//! What a person asks for, over the native scripts: no printing here.

pub mod status;

use std::collections::BTreeMap;

use crate::store::{Reply, Shape, Store, StoreError};

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
    Ok(Shape::of(parts.first().copied().unwrap_or_default())
        .maybe_int(store.command(parts).await?)?
        .unwrap_or(0))
}
