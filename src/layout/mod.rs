//! Somebody else's system, watched from outside through its [`Layout`].
//!
//! [`System::look`] finds agents and queues and notes what each agent shows; [`System::page`] reads what a silent one
//! holds; [`System::carry_out`] moves a page of that, in one script. What is decided, and whether it may be carried out,
//! is the sweep's. Our own keys lie under the queue of the system's name: lease, grace, totals and events are as those
//! of a queue of ours.

mod check;
mod count;
mod explain;
mod find;
mod kombu;
mod lost;
mod page;
mod plan;
mod shown;
mod signs;
mod silence;
mod silent;
pub mod transfer;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::config::Foreign;
use crate::core::layout::{Layout, Life, Queues};
use crate::core::pattern::Values;
use crate::core::watch::{Patience, Sign, Watch};
use crate::core::words::Liveness;
use crate::native::Queue;
use crate::store::{Shape, StoreError};
pub use check::{Checked, Seen};
pub use explain::{Explained, Place};
pub use page::{Cursor, Entry, Page};
use plan::Plan;
use silence::Silence;
pub use silence::{Lost, Settled};

/// Names that one command asks for: what answers in less than a millisecond.
const AT_ONCE: usize = 500;

/// Why nothing is watched there.
pub(crate) const CLUSTER: &str = "this is a Redis cluster: the keys of other systems lie in many slots, and no script may move \
    tasks between them. Only a Redis without cluster mode can be watched";

/// An agent: what stands in the holes of its names.
#[derive(Debug, Clone, Default)]
struct Agent {
    values: Values,
    /// It was lost and held nothing when it was looked at last.
    settled: bool,
    /// We saw it live, and its death isn't counted yet.
    lived: bool,
}

/// What a look saw of the whole fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fleet {
    /// Agents that may hold tasks.
    pub agents: u64,
    /// Those that are suspect.
    pub suspect: u64,
    /// Those that are lost.
    pub lost: u64,
    /// Whether any agent was seen to live since this sweeper began.
    pub proven: bool,
}

/// What waits, runs and is set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tasks {
    /// Tasks that wait.
    pub pending: u64,
    /// Tasks that agents hold, as far as they were counted.
    pub running: u64,
    /// Tasks that were set aside.
    pub dead: u64,
}

/// A system, and what is known of it.
pub struct System {
    queue: Queue,
    foreign: Foreign,
    plan: Plan,
    watch: Watch,
    silence: Silence,
    agents: BTreeMap<Vec<u8>, Agent>,
    queues: BTreeSet<Vec<u8>>,
    discovered: Option<Duration>,
    looked: Option<Duration>,
    /// What agents hold: the last whole count, and the one that is under way.
    counted: Option<u64>,
    counting: u64,
    count_from: usize,
    /// Names that the last discovery's pattern let through and that are none of the layout's, and the first few.
    strange: u64,
    proven: bool,
    /// Steps of looking for names, not asked for yet.
    steps: u64,
    /// A version of the system that its layout doesn't know.
    strange_version: Option<String>,
    /// Agents that the last discovery saw live and hold nothing.
    others: u64,
    strangers: Vec<Vec<u8>>,
}

impl System {
    /// A system of which nothing is known yet; nothing is sent.
    #[must_use]
    pub fn new(queue: Queue, foreign: Foreign) -> Self {
        let plan = Plan::new(&foreign.layout, foreign.position, foreign.timeout);
        Self {
            queue,
            foreign,
            plan,
            watch: Watch::default(),
            silence: Silence::default(),
            agents: BTreeMap::new(),
            queues: BTreeSet::new(),
            discovered: None,
            looked: None,
            counted: None,
            counting: 0,
            count_from: 0,
            strange: 0,
            proven: false,
            others: 0,
            steps: 0,
            strange_version: None,
            strangers: Vec::new(),
        }
    }

    /// Whether each task shows life for itself, or its agent does.
    #[must_use]
    pub fn life(&self) -> Life {
        self.layout().life
    }

    /// A version that the system says it is of and that its layout doesn't know.
    #[must_use]
    pub fn strange_version(&self) -> Option<&str> {
        self.strange_version.as_deref()
    }

    fn layout(&self) -> &Layout {
        &self.foreign.layout
    }

    fn patience(&self) -> Patience {
        Patience { suspect: self.foreign.timeout, lost: self.foreign.policy.session.lost_after }
    }

    /// Looks at all agents, by this clock. `interval` is the time between two looks: after a longer one nothing is known of
    /// silence.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn look(
        &mut self,
        clock: impl Fn() -> Duration,
        interval: Duration,
    ) -> Result<Fleet, StoreError> {
        let present = self.indexed().await?;
        if self.discovered.is_none_or(|at| clock().saturating_sub(at) >= self.foreign.discover_every) {
            self.forget_gone(&present);
            if self.is_cluster().await {
                return Err(StoreError::unsupported(
                    &format!("watch [foreign.{}]", self.queue.name()),
                    CLUSTER,
                ));
            }
            self.discover().await?;
            self.try_again();
            self.strange_version = self.version().await?;
            self.discovered = Some(clock());
            // One that was empty may have been given something by a process that did not know it was lost.
            self.agents.values_mut().for_each(|agent| agent.settled = false);
        }
        // Taken before the reads, and right before: what they show is at least as new.
        let now = clock();
        let gap = self.looked.map(|at| now.saturating_sub(at));
        let restart = gap.is_some_and(|gap| gap > interval.saturating_mul(3) + Duration::from_secs(5));
        if self.life() == Life::Tasks {
            let fleet = self.look_at_tasks(now, restart).await?;
            self.looked = Some(now);
            return Ok(fleet);
        }
        if restart {
            self.watch.restart(now);
        }
        for (name, sign) in self.signs().await? {
            if self.watch.see(&name, sign, now) {
                self.proven = true;
                if let Some(agent) = self.agents.get_mut(&name) {
                    (agent.settled, agent.lived) = (false, true);
                }
            }
        }
        self.looked = Some(now);
        // One that was dead when we came and holds nothing is no loss of now; one that we saw live is.
        for agent in self.empty().await? {
            if self.agents.get(&agent).is_some_and(|known| !known.lived) {
                self.settle(&agent);
            }
        }
        let mut fleet = Fleet { agents: self.others, proven: self.proven, ..Fleet::default() };
        for name in self.agents.iter().filter(|(_, agent)| !agent.settled).map(|(name, _)| name) {
            fleet.agents += 1;
            match self.watch.judge(name, self.patience()).0 {
                Liveness::Alive => {}
                Liveness::Suspect => fleet.suspect += 1,
                Liveness::Lost => fleet.lost += 1,
            }
        }
        Ok(fleet)
    }

    /// The lost agents that hold nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn empty(&self) -> Result<BTreeSet<Vec<u8>>, StoreError> {
        let mut empty = BTreeSet::new();
        for (agent, _) in self.lost() {
            let mut keys = Vec::new();
            for queue in self.queues_of(&agent).await? {
                keys.extend(self.layout().running.key.fill(&self.values_in(&agent, &queue)));
            }
            let held: u64 = self.sizes(self.layout().running.kind, keys).await?.into_iter().sum();
            if held == 0 {
                empty.insert(agent);
            }
        }
        Ok(empty)
    }

    /// Forgets agents that hold nothing, show nothing and stand in no index: processes come and go for ever.
    fn forget_gone(&mut self, present: &BTreeSet<Vec<u8>>) {
        let watch = &mut self.watch;
        self.agents.retain(|name, agent| {
            let keep = !agent.settled || present.contains(name) || watch.sign(name) != Some(&Sign::Gone);
            if !keep {
                watch.forget(name);
            }
            keep
        });
    }

    /// The agents that are lost and may hold tasks, in order of name, each with how late that is found.
    #[must_use]
    pub fn lost(&self) -> Vec<(Vec<u8>, Duration)> {
        let unsettled = self.agents.iter().filter(|(_, agent)| !agent.settled);
        let judged = unsettled.map(|(name, _)| (name, self.watch.judge(name, self.patience())));
        let lost = judged.filter(|(_, (liveness, _))| *liveness == Liveness::Lost);
        lost.map(|(name, (_, late_by))| (name.clone(), late_by)).collect()
    }

    /// How many steps of looking for names were taken since this was asked last: each takes the time of a page.
    pub fn steps(&mut self) -> u64 {
        std::mem::take(&mut self.steps)
    }

    /// How long an agent has been seen to be silent.
    #[must_use]
    pub fn silence(&self, agent: &[u8]) -> Duration {
        self.watch.silence(agent)
    }

    /// A lost agent holds nothing, and its death is counted: it is left out of the fleet until it shows life, or is found
    /// to hold something again.
    pub fn settle(&mut self, agent: &[u8]) {
        if let Some(agent) = self.agents.get_mut(agent) {
            (agent.settled, agent.lived) = (true, false);
        }
    }

    /// The queues in which this agent may hold tasks; one without a name where the layout has none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn queues_of(&self, agent: &[u8]) -> Result<Vec<Vec<u8>>, StoreError> {
        let wanted = |queue: &[u8]| {
            let listed = &self.foreign.queues;
            let base = self.layout().base(queue);
            listed.is_empty() || listed.iter().any(|name| name.as_bytes() == queue || name.as_bytes() == base)
        };
        let found = match &self.layout().queues {
            Queues::One => return Ok(vec![Vec::new()]),
            Queues::Listed => self.foreign.queues.iter().map(|name| name.clone().into_bytes()).collect(),
            Queues::Keys => self.queues.iter().cloned().collect(),
            Queues::Set(pattern) => match pattern.fill(&self.values(agent)) {
                Some(key) => self.members(&key).await?,
                None => Vec::new(),
            },
        };
        let bare = |queue: Vec<u8>| {
            queue.strip_prefix(self.layout().prefix.as_bytes()).map_or(queue.clone(), <[u8]>::to_vec)
        };
        Ok(found.into_iter().map(bare).filter(|queue| wanted(queue)).collect())
    }

    fn values(&self, agent: &[u8]) -> Values {
        self.agents.get(agent).map(|known| known.values.clone()).unwrap_or_default()
    }

    fn values_in(&self, agent: &[u8], queue: &[u8]) -> Values {
        let mut values = self.values(agent);
        values.insert("base".to_owned(), self.layout().base(queue).to_vec());
        values.insert("queue".to_owned(), queue.to_vec());
        values
    }

    async fn members(&self, key: &[u8]) -> Result<Vec<Vec<u8>>, StoreError> {
        let shape = Shape::of("SSCAN");
        let mut members = Vec::new();
        let mut at = b"0".to_vec();
        loop {
            let parts: [&[u8]; 5] = [b"SSCAN", key, &at, b"COUNT", b"500"];
            let answer = match self.queue.store().command(&parts).await {
                Err(error) if error.is_wrong_type() => return Ok(Vec::new()),
                other => other?,
            };
            let [next, page] = shape.array(answer)?;
            for member in shape.list(page)? {
                members.push(shape.bytes(member)?);
            }
            at = shape.bytes(next)?;
            if at == b"0" {
                members.sort_unstable();
                members.dedup();
                return Ok(members);
            }
        }
    }

    fn meet(&mut self, mut values: Values) {
        values.remove("queue");
        let name = self.layout().agent(&values);
        self.agents.entry(name).or_insert(Agent { values, settled: false, lived: false });
    }
}
