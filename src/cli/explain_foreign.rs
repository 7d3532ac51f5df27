//! `explain` of a task in somebody else's system.

use super::{CliError, DONE, Global, out};
use crate::config::Foreign;
use crate::core::id::QueueName;
use crate::layout::{Explained, System};
use crate::native::Queue;
use crate::ops::explain::{Happened, history};
use crate::store::Store;

/// Explains it; nothing, if the system doesn't know it.
pub(super) async fn explain(
    store: &Store,
    name: QueueName,
    foreign: &Foreign,
    task: &str,
    global: &Global,
) -> Result<Option<u8>, CliError> {
    let queue = Queue::new(store.clone(), name);
    let found = System::new(queue.clone(), foreign.clone()).explain(task.as_bytes()).await?;
    let now_ms = store.server_time().await?;
    let (happened, begins) = history(&queue, task, now_ms).await?;
    if found.places.is_empty() && found.record_fields.unwrap_or(0) == 0 && happened.is_empty() {
        return Ok(None);
    }
    let control = store.hash(&queue.keys().named("control")).await?;
    let mut held_by = Vec::new();
    if control.get("mode").is_some_and(|mode| mode == "observe") {
        held_by.push("observe mode: its sweeper counts and moves nothing".to_owned());
    }
    held_by.extend(control.get("guards").into_iter().flat_map(|all| all.lines()).map(str::to_owned));
    if global.json {
        out::json(&serde_json::json!({
            "task": found, "held_by": held_by, "history": happened, "history_begins_ms": begins,
        }))?;
        return Ok(Some(DONE));
    }
    for line in lines(&found, foreign, &held_by, &happened) {
        out::line(&line)?;
    }
    Ok(Some(DONE))
}

fn lines(found: &Explained, foreign: &Foreign, held_by: &[String], happened: &[Happened]) -> Vec<String> {
    let mut lines =
        vec![format!("task     {} of {} ({})", out::clean(&found.id), found.system, found.layout)];
    for place in &found.places {
        let agent = place.agent.as_deref().map(|agent| format!(", held by {}", out::clean(agent)));
        let shows = place.shows.as_deref().map(|shows| format!("; {shows}"));
        lines.push(format!(
            "state    {} in {}{}{}",
            place.state,
            out::clean(&place.key),
            agent.unwrap_or_default(),
            shows.unwrap_or_default()
        ));
    }
    if found.places.is_empty() {
        lines.push("state    in none of the places that the layout names".to_owned());
    }
    if let Some(fields) = found.record_fields {
        lines.push(format!("record   {fields} fields"));
    }
    lines.push(format!(
        "charged  {} of {} returns, as we counted them",
        found.returns, found.max_abandonments
    ));
    if found.places.iter().any(|place| place.state == "running") {
        let then = if found.returns >= found.max_abandonments { "it is set aside" } else { "it waits again" };
        lines.push(format!(
            "silence  after {} without a sign and {} more: {then}",
            humantime::format_duration(foreign.timeout),
            humantime::format_duration(foreign.policy.session.lost_after)
        ));
    }
    lines.extend(held_by.iter().map(|why| format!("held     {}", out::clean(why))));
    lines.extend(
        happened.iter().map(|event| {
            format!("history  {} ago: {}", out::duration(event.ago_ms), out::clean(&event.what))
        }),
    );
    lines.extend(found.cannot_tell.iter().map(|what| format!("unknown  {what}")));
    if found.truncated {
        lines.push("note     there was more than was read".to_owned());
    }
    lines
}
