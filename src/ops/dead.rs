//! Dead letters: which are meant, and what becomes of them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::BATCH;
use super::tasks::{Listed, State, list};
use crate::native::Queue;
use crate::native::scripts::discard::Discard;
use crate::native::scripts::redrive::{Redrive, SeenDead};
use crate::store::StoreError;

/// Which dead letters are meant.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only those that died of this.
    pub reason: Option<String>,
    /// Only those that have been dead for longer.
    pub older_than: Option<Duration>,
}

/// What is to become of them.
#[derive(Debug, Clone)]
pub enum Fate {
    /// They wait again, with a new deadline if one is given.
    Redrive(Option<Duration>),
    /// They leave the system.
    Discard,
}

/// The dead letters of a queue that are meant, as they stand now.
///
/// # Errors
/// [`StoreError`].
pub async fn select(queue: &Queue, selection: &Selection) -> Result<Vec<Listed>, StoreError> {
    let now = queue.store().server_time().await?;
    let oldest = selection.older_than.map(|age| now - i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
    let mut meant = Vec::new();
    let mut at = 0;
    loop {
        let page = list(queue, State::Dead, at, 200).await?;
        if page.is_empty() {
            return Ok(meant);
        }
        at += page.len();
        meant.extend(page.into_iter().filter(|letter| {
            selection.reason.as_ref().is_none_or(|reason| letter.reason.as_ref() == Some(reason))
                && oldest.is_none_or(|oldest| letter.at_ms.is_some_and(|died| died <= oldest))
        }));
    }
}

/// What a person saw of a dead letter, so that the act hits that death and no other.
///
/// # Errors
/// [`StoreError`].
pub async fn seen(queue: &Queue, id: &str, died_at_ms: i64) -> Result<SeenDead, StoreError> {
    let record = queue.store().hash(&queue.keys().task(id)).await?;
    let token = record.get("token").cloned().unwrap_or_default();
    Ok(SeenDead { id: id.to_owned(), token, died_at_ms })
}

/// Does it, in batches; how many ended with which word. `told` hears how many are done.
///
/// # Errors
/// [`StoreError`]; what was done before stays done.
pub async fn decide(
    queue: &Queue,
    letters: &[SeenDead],
    fate: &Fate,
    by: &str,
    told: impl Fn(u64),
) -> Result<BTreeMap<&'static str, u64>, StoreError> {
    let mut words = BTreeMap::new();
    for dead in letters.chunks(BATCH) {
        let (by, dead) = (by.to_owned(), dead.to_vec());
        let n = dead.len() as u64;
        let answers: Vec<&'static str> = match fate {
            Fate::Redrive(deadline) => {
                let redrive = Redrive { deadline: *deadline, by, dead };
                queue.run(&redrive).await?.into_iter().map(|word| word.as_str()).collect()
            }
            Fate::Discard => {
                queue.run(&Discard { by, dead }).await?.into_iter().map(|word| word.as_str()).collect()
            }
        };
        for word in answers {
            *words.entry(word).or_default() += 1;
        }
        told(n);
    }
    Ok(words)
}
