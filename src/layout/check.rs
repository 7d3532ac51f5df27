//! What a layout would find in a live Redis: for a person, before a sweeper is let near it. Writes nothing.

use std::time::Duration;

use serde::Serialize;

use super::System;
use super::page::Cursor;
use crate::core::layout::{Agents, Heartbeat, Life, Means};
use crate::core::watch::Sign;
use crate::core::words::Action;
use crate::store::{Reply, Shape, StoreError};

/// Pages that are read of what silent agents hold.
const MOST_PAGES: usize = 200;

/// An agent, as one look sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Its name.
    pub agent: String,
    /// Whether one look takes it for silent. By the agent's own clock, where that is all there is: a sweeper times it.
    pub silent: bool,
    /// How old its sign of life is by its own clock, ms; `None`: nothing stands there, or it has no time in it.
    pub age_ms: Option<i64>,
    /// How many tasks it holds.
    pub held: u64,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// The system's name.
    pub name: String,
    /// Its layout.
    pub layout: String,
    /// Who shows life: `agent`, each for all that it holds, or `task`, each for itself.
    pub life: &'static str,
    /// The agents; none where tasks show life for themselves.
    pub agents: Vec<Seen>,
    /// The queues.
    pub queues: Vec<String>,
    /// Tasks that wait.
    pub pending: u64,
    /// Tasks that agents hold.
    pub running: u64,
    /// Tasks that were set aside.
    pub dead: u64,
    /// Running tasks that one look takes for silent, or whose agent it does.
    pub silent: u64,
    /// Silent tasks that nobody can read.
    pub unreadable: u64,
    /// Silent tasks that a pass would put back.
    pub would_reset: u64,
    /// Silent tasks that a pass would set aside.
    pub would_dead_letter: u64,
    /// Whether there was more than was read.
    pub truncated: bool,
    /// What looks wrong.
    pub warnings: Vec<String>,
}

impl System {
    /// Looks once.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn check(&mut self) -> Result<Checked, StoreError> {
        self.look(|| Duration::ZERO, Duration::from_secs(1)).await?;
        let now_ms = self.queue.store().server_time().await?;
        let mut found = Checked {
            name: self.queue.name().to_string(),
            layout: self.layout().name.clone(),
            life: if self.life() == Life::Tasks { "task" } else { "agent" },
            agents: Vec::new(),
            queues: Vec::new(),
            pending: 0,
            running: 0,
            dead: 0,
            silent: 0,
            unreadable: 0,
            would_reset: 0,
            would_dead_letter: 0,
            truncated: false,
            warnings: Vec::new(),
        };
        let mut pages = 0;
        for name in self.watch.agents() {
            let (silent, age_ms) = self.one_look(&name, now_ms);
            let mut held = 0;
            for queue in self.queues_of(&name).await? {
                let keys = self.layout().running.key.fill(&self.values_in(&name, &queue));
                held += self
                    .sizes(self.layout().running.kind, keys.into_iter().collect())
                    .await?
                    .iter()
                    .sum::<u64>();
                if silent {
                    pages = self.would(&name, &queue, pages, &mut found).await?;
                }
            }
            found.agents.push(Seen {
                agent: String::from_utf8_lossy(&name).into_owned(),
                silent,
                age_ms,
                held,
            });
        }
        found.running = found.agents.iter().map(|agent| agent.held).sum();
        found.silent = found.agents.iter().filter(|agent| agent.silent).map(|agent| agent.held).sum();
        let tasks = self.count().await?;
        (found.pending, found.dead) = (tasks.pending, tasks.dead);
        let mut queues: Vec<_> = self.queues.iter().cloned().collect();
        if self.life() == Life::Tasks {
            found.running = tasks.running;
            self.check_tasks(&mut found).await?;
            queues = self.queues_of(b"").await?;
            queues.retain(|queue| !queue.is_empty());
        }
        found.queues = queues.iter().map(|queue| String::from_utf8_lossy(queue).into_owned()).collect();
        self.warn(&mut found, now_ms).await?;
        Ok(found)
    }

    /// What one look takes for silent, where tasks show life for themselves.
    async fn check_tasks(&self, found: &mut Checked) -> Result<(), StoreError> {
        let mut pages = 0;
        for (queue, silent) in self.silent_tasks() {
            found.silent += silent.len() as u64;
            let mut rest = silent.as_slice();
            while !rest.is_empty() {
                if pages >= MOST_PAGES {
                    found.truncated = true;
                    return Ok(());
                }
                pages += 1;
                let page = rest.get(..self.fits(rest)).unwrap_or(rest);
                let entries = self.entries_of(&queue, page).await?;
                for entry in &entries {
                    match entry.verdict(&self.foreign.policy.task) {
                        _ if entry.not_ours => {}
                        _ if entry.id.is_empty() => found.unreadable += 1,
                        Action::Reset => found.would_reset += 1,
                        _ => found.would_dead_letter += 1,
                    }
                }
                rest = rest.get(entries.len().max(1)..).unwrap_or_default();
            }
        }
        Ok(())
    }

    /// Whether leases lie decades from now, as the one that ends last does.
    async fn leases_are_far_off(&self, now_ms: i64) -> Result<bool, StoreError> {
        let Heartbeat::Score { key, unit, .. } = &self.layout().heartbeat else { return Ok(false) };
        let shape = Shape::of("ZRANGE");
        for queue in self.queues_of(b"").await? {
            let Some(key) = key.fill(&self.values_in(b"", &queue)) else { continue };
            let parts: [&[u8]; 5] = [b"ZRANGE", &key, b"-1", b"-1", b"WITHSCORES"];
            let rows: Vec<[Reply; 2]> = match self.queue.store().command(&parts).await {
                Err(error) if error.is_wrong_type() => continue,
                other => shape.rows(other?)?,
            };
            for [_, score] in rows {
                let at =
                    shape.text(score)?.parse::<f64>().ok().filter(|at| at.is_finite() && at.abs() < 9e12);
                #[allow(clippy::cast_possible_truncation, reason = "bounded a line above")]
                let age = at.map(|at| now_ms.saturating_sub((at as i64).saturating_mul(unit.millis())));
                if age.is_none_or(|age| far_off(age, now_ms)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    pub(super) fn one_look(&self, agent: &[u8], now_ms: i64) -> (bool, Option<i64>) {
        let patience = self.patience();
        match (self.watch.sign(agent), &self.layout().heartbeat) {
            (Some(Sign::Alive) | None, _) => (false, None),
            (Some(Sign::Figure(figure)), Heartbeat::Score { means, unit, .. }) => {
                let at = figure.parse::<f64>().ok().filter(|at| at.is_finite() && at.abs() < 9e12);
                #[allow(clippy::cast_possible_truncation, reason = "bounded a line above")]
                let age = at.map(|at| now_ms - at as i64 * unit.millis());
                let limit = match means {
                    Means::LastSeen => patience.suspect + patience.lost,
                    Means::Expires => patience.lost,
                };
                let limit = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
                (age.is_none_or(|age| age > limit), age)
            }
            _ => (true, None),
        }
    }

    async fn would(
        &self,
        agent: &[u8],
        queue: &[u8],
        mut pages: usize,
        found: &mut Checked,
    ) -> Result<usize, StoreError> {
        let mut cursor = Cursor::default();
        loop {
            if pages >= MOST_PAGES {
                found.truncated = true;
                return Ok(pages);
            }
            pages += 1;
            let page = self.page(agent, queue, &cursor).await?;
            let stay = page.entries.len();
            for entry in &page.entries {
                match entry.verdict(&self.foreign.policy.task) {
                    Action::Reset => found.would_reset += 1,
                    _ => found.would_dead_letter += 1,
                }
            }
            let Some(next) = page.next else { return Ok(pages) };
            cursor = next.over(stay);
        }
    }

    async fn warn(&self, found: &mut Checked, now_ms: i64) -> Result<(), StoreError> {
        let mut warnings = Vec::new();
        let tasks = self.life() == Life::Tasks;
        if tasks && found.running == 0 {
            warnings.push(format!(
                "no task runs now, or nothing was found: is this the right Redis and database, and do the layout's \
                 variables say what the system's own configuration says? Looked for: {}",
                self.looked_for()
            ));
        }
        if tasks && found.silent > 0 && found.silent >= found.running {
            warnings.push(
                "every running task looks silent: if they are not, the heartbeat's name, its unit or its time-out is wrong"
                    .to_owned(),
            );
        }
        if found.unreadable > 0 {
            warnings.push(format!(
                "{} silent tasks can't be read as this layout's: they would stay where they are",
                found.unreadable
            ));
        }
        if let Some(version) = self.strange_version() {
            warnings.push(format!(
                "the system says that it is {version:?}, which this layout doesn't know: it would only be observed"
            ));
        }
        if found.agents.is_empty() && !tasks {
            warnings.push(format!(
                "no agent was found: is this the right Redis and database, and do the layout's variables say what the \
                 system's own configuration says? Looked for: {}",
                self.looked_for()
            ));
        }
        let far = |age: i64| far_off(age, now_ms);
        if found.agents.iter().any(|agent| agent.age_ms.is_some_and(far))
            || tasks && self.leases_are_far_off(now_ms).await?
        {
            warnings.push(
                "heartbeats lie decades from now: heartbeat.unit is probably wrong by a factor of 1000"
                    .to_owned(),
            );
        } else if found.agents.iter().any(|agent| agent.age_ms.is_some_and(|age| age < -5000)) {
            warnings.push(
                "heartbeats lie in the future: an agent's clock is ahead. It does no harm here".to_owned(),
            );
        }
        if self.strange > 0 {
            warnings.push(format!(
                "{} keys look like running collections and can't be read as such, such as {:?}",
                self.strange,
                self.strangers
                    .first()
                    .map(|name| String::from_utf8_lossy(name).into_owned())
                    .unwrap_or_default()
            ));
        }
        if found.running == 0 && !found.agents.is_empty() {
            warnings.push(
                "no agent holds a task now: look again while they work, to see that they are found"
                    .to_owned(),
            );
        }
        if !found.agents.is_empty() && found.agents.iter().all(|agent| agent.silent) {
            warnings.push(
                "every agent looks silent: if they are not, the heartbeat's name or unit is wrong".to_owned(),
            );
        }
        found.warnings = warnings;
        Ok(())
    }

    fn looked_for(&self) -> String {
        match &self.layout().agents {
            Agents::Set(key) | Agents::SortedSet(key) => key.to_string(),
            Agents::Keys | Agents::None => self.layout().running.key.to_string(),
        }
    }
}

/// Whether an age is more than twenty years, or the time itself lies before 1980.
fn far_off(age_ms: i64, now_ms: i64) -> bool {
    const YEARS: i64 = 20 * 31_557_600_000;
    age_ms.abs() > YEARS || now_ms - age_ms < YEARS / 2
}
