//! Dead letters: what becomes of them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::BATCH;
use super::tasks::Listed;
use crate::native::Queue;
use crate::native::scripts::discard::Discard;
use crate::native::scripts::redrive::{Redrive, SeenDead};
use crate::store::StoreError;

/// What is to become of them.
#[derive(Debug, Clone)]
pub enum Fate {
    /// They wait again, with a new deadline if one is given.
    Redrive(Option<Duration>),
    /// They leave the system.
    Discard,
}

/// Does it, in batches; how many ended with which word. `told` hears how many are done.
///
/// # Errors
/// [`StoreError`]; what was done before stays done.
pub async fn decide(
    queue: &Queue,
    letters: &[Listed],
    fate: &Fate,
    by: &str,
    told: impl Fn(u64),
) -> Result<BTreeMap<&'static str, u64>, StoreError> {
    let mut words = BTreeMap::new();
    for letters in letters.chunks(BATCH) {
        let (by, dead) = (by.to_owned(), letters.iter().map(seen).collect());
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
        told(letters.len() as u64);
    }
    Ok(words)
}

fn seen(letter: &Listed) -> SeenDead {
    SeenDead { id: letter.id.clone(), token: letter.token.clone(), died_at_ms: letter.at_ms.unwrap_or(0) }
}
