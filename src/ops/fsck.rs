//! Whether records and indices agree, all of them: a walk over the whole keyspace, for a person to start.

use std::collections::BTreeMap;

use crate::native::Queue;
use crate::native::scripts::reconcile::{Reconcile, Reconciled};
use crate::store::{Reply, Shape, StoreError};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// Entries and records that were compared; one that stands in several places is compared in each.
    pub compared: u64,
    /// How many there were of each unsound kind.
    pub unsound: BTreeMap<&'static str, u64>,
    /// Some of them, with what was found.
    pub examples: Vec<(String, &'static str)>,
}

/// Walks over everything; mends what can only be mended one way, if `repair` says so. `told` hears how far it is.
///
/// # Errors
/// [`StoreError`].
pub async fn walk(queue: &Queue, repair: bool, told: impl Fn(u64)) -> Result<Findings, StoreError> {
    let mut findings = Findings::default();
    let pattern = queue.keys().all_tasks();
    let prefix = pattern.trim_end_matches('*').to_owned();
    let mut at = "0".to_owned();
    loop {
        let (next, keys) = page(queue, &["SCAN", &at, "MATCH", &pattern, "COUNT", "500"]).await?;
        let ids = keys.into_iter().filter_map(|key| key.strip_prefix(&prefix).map(str::to_owned)).collect();
        compare(queue, repair, None, ids, &mut findings).await?;
        told(findings.compared);
        at = next;
        if at == "0" {
            break;
        }
    }
    for index in ["pending", "delayed", "dead", "expiring"] {
        entries(queue, &queue.keys().named(index), None, repair, &mut findings).await?;
        told(findings.compared);
    }
    for index in ["due", "agents"] {
        for session in members(queue, &queue.keys().named(index)).await? {
            let key = queue.keys().running(&session);
            entries(queue, &key, Some(session), repair, &mut findings).await?;
            told(findings.compared);
        }
    }
    Ok(findings)
}

async fn entries(
    queue: &Queue,
    key: &str,
    session: Option<String>,
    repair: bool,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let ids = members(queue, key).await?;
    compare(queue, repair, session, ids, findings).await
}

async fn members(queue: &Queue, key: &str) -> Result<Vec<String>, StoreError> {
    let mut all = Vec::new();
    let mut at = "0".to_owned();
    loop {
        let (next, flat) = page(queue, &["ZSCAN", key, &at, "COUNT", "500"]).await?;
        all.extend(flat.into_iter().step_by(2));
        at = next;
        if at == "0" {
            return Ok(all);
        }
    }
}

async fn page(queue: &Queue, command: &[&str]) -> Result<(String, Vec<String>), StoreError> {
    let shape = Shape::of(command.first().copied().unwrap_or_default());
    let [next, found]: [Reply; 2] = shape.array(queue.store().command(command).await?)?;
    let found = shape.list(found)?.into_iter().map(|one| shape.text(one)).collect::<Result<_, _>>()?;
    Ok((shape.text(next)?, found))
}

async fn compare(
    queue: &Queue,
    repair: bool,
    session: Option<String>,
    ids: Vec<String>,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    for ids in ids.chunks(100) {
        let reconcile = Reconcile { repair, session: session.clone(), ids: ids.to_vec() };
        for (id, found) in ids.iter().zip(queue.run(&reconcile).await?) {
            findings.compared += 1;
            if found != Reconciled::Sound {
                *findings.unsound.entry(found.as_str()).or_default() += 1;
                if findings.examples.len() < 20 {
                    findings.examples.push((id.clone(), found.as_str()));
                }
            }
        }
    }
    Ok(())
}
