//! Moving a page.

use std::sync::LazyLock;

use super::System;
use super::page::Entry;
use super::plan;
use crate::core::watch::Sign;
use crate::core::words::{Action, Cause};
use crate::native::keys::FORMAT;
use crate::native::scripts::PARTS;
use crate::store::{Args, Reply, Script, Shape, StoreError};

static MOVE: LazyLock<Script> =
    LazyLock::new(|| Script::assemble("move", include_str!("scripts/move.lua"), PARTS));

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// It waits again.
    Reset,
    /// It was set aside.
    DeadLetter,
    /// It was gone.
    Skipped,
    /// It had no record: the entry was taken out, and that is all.
    NoRecord,
    /// A key of its own is of another type: it stays where it is.
    WrongType,
    /// Its record says that it doesn't run: its entry stays, and is nobody's loss.
    NotRunning,
    /// It shows life itself.
    Alive,
    /// The page had enough bytes without it.
    Later,
}

/// What became of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transfer {
    /// Another server answers than the one that was known, or a grace is open.
    Held,
    /// The agent showed life.
    Alive,
    /// The queue is paused.
    Paused,
    /// Other groups read this stream, and would see what is put back again.
    Others,
    /// For each entry, what became of it.
    Done(Vec<Moved>),
}

impl System {
    /// Moves these entries of an agent that shows what was last seen of it, and no more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn carry_out(
        &self,
        agent: &[u8],
        queue: &[u8],
        cause: Cause,
        verdicts: &[(Entry, Action)],
    ) -> Result<Transfer, StoreError> {
        let shape = Shape::of("move");
        let now_ms = self.queue.store().server_time().await?;
        let counts = self.counts_keys(now_ms);
        let values = self.values_in(agent, queue);
        let Some(keys) = plan::keys(self.layout(), &values, counts) else {
            // The configuration refuses such layouts; should one slip through, nothing is moved.
            return Ok(Transfer::Done(vec![Moved::WrongType; verdicts.len()]));
        };
        let mut all: Vec<Vec<u8>> =
            self.queue.keys().fixed().iter().map(|key| key.clone().into_bytes()).collect();
        all.extend(keys);
        let seen = match self.watch.sign(agent) {
            Some(Sign::Figure(figure)) => figure.clone(),
            Some(Sign::Gone | Sign::Alive) | None => String::new(),
        };
        let mut args = Args::default();
        args.push(FORMAT)
            .push(self.plan.text())
            .push(agent)
            .push(queue)
            .push(self.layout().base(queue))
            .push(seen)
            .push(cause.as_str())
            .push(iso(now_ms));
        let places = || verdicts.iter().map(|(entry, _)| entry.at);
        for edge in [places().min(), places().max()] {
            args.push(edge.unwrap_or(0).to_string());
        }
        for (entry, action) in verdicts {
            args.push(&entry.bytes).push(&entry.id).push(action.as_str());
            args.push(&entry.seen).push(&entry.put).push(&entry.waiting).push(&entry.rest);
        }
        let answer = self.queue.store().run(&MOVE, &all, &args).await;
        let answer = answer.map_err(|error| error.of_queue(self.queue.name()))?;
        let whole = answer.clone();
        let mut items = shape.list(answer)?.into_iter();
        let word = shape.text(items.next().unwrap_or(Reply::Nil))?;
        match (word.as_str(), items.next()) {
            ("held", None) => Ok(Transfer::Held),
            ("alive", None) => Ok(Transfer::Alive),
            ("paused", None) => Ok(Transfer::Paused),
            ("others", None) => Ok(Transfer::Others),
            ("done", Some(answers)) => {
                let answers = shape.list(answers)?;
                if answers.len() != verdicts.len() {
                    return Err(shape.unknown(&whole));
                }
                let read = |answer| match shape.text(answer)?.as_str() {
                    "reset" => Ok(Moved::Reset),
                    "dead_letter" => Ok(Moved::DeadLetter),
                    "skipped" => Ok(Moved::Skipped),
                    "no_record" => Ok(Moved::NoRecord),
                    "wrong_type" => Ok(Moved::WrongType),
                    "not_running" => Ok(Moved::NotRunning),
                    "alive" => Ok(Moved::Alive),
                    "later" => Ok(Moved::Later),
                    _ => Err(shape.unknown(&whole)),
                };
                answers.into_iter().map(read).collect::<Result<_, _>>().map(Transfer::Done)
            }
            _ => Err(shape.unknown(&whole)),
        }
    }
}

/// A moment as Python writes it, to the microsecond.
fn iso(now_ms: i64) -> String {
    let moment = chrono::DateTime::from_timestamp_millis(now_ms).unwrap_or_default();
    moment.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}
