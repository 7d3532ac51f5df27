//! Histories made at random are acted out on a real Redis; the model looks after every step.
//!
//! Plain histories and not a state machine with preconditions: what a step acts on is chosen when its turn comes, from
//! what the server answered, so every history is valid, every part of it is too, and shrinking is never blocked.

mod checks;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use backstop::core::facts::{SessionFacts, TaskFacts};
use backstop::core::id::{Identity, Session, TaskType};
use backstop::core::policy::{LimitAction, QueuePolicy};
use backstop::core::words::{Action, Cause};
use backstop::native::scripts::adopt::Adopt;
use backstop::native::scripts::apply::Apply;
use backstop::native::scripts::beat::{Beat, Mark};
use backstop::native::scripts::cancel::Cancel;
use backstop::native::scripts::complete::Complete;
use backstop::native::scripts::declare::Declare;
use backstop::native::scripts::discard::Discard;
use backstop::native::scripts::enqueue::Enqueue;
use backstop::native::scripts::expire::Expire;
use backstop::native::scripts::extend::Extend;
use backstop::native::scripts::fail::Fail;
use backstop::native::scripts::forget::Forget;
use backstop::native::scripts::leave::Leave;
use backstop::native::scripts::observe::Page;
use backstop::native::scripts::redrive::{Redrive, SeenDead};
use backstop::native::scripts::register::{Register, Wanted};
use backstop::native::scripts::release::Release;
use backstop::native::scripts::reset::Reset;
use backstop::native::scripts::take::Take;
use proptest::test_runner::{Config, TestRunner};

use super::model::State;
use super::ops::{JUMPS, Op, histories, policy};
use super::scene::{Pair, Scene, failing, look, page, task};
use backstop::private_server::Fsync;

/// A command that was sent, and may be sent again.
#[derive(Debug, Clone)]
enum Sent {
    Enqueue(Enqueue),
    Register(Register),
    Take(Take, bool),
    Beat(Beat),
    Complete(Complete),
    Fail(Fail),
    Release(Release),
    Adopt(Adopt, bool),
    Leave(Leave),
    /// With what the clock had been moved by when the sweeper looked.
    Apply(Apply, i64),
    Declare(Declare, i64),
    Forget(Forget, i64),
    Expire(Expire),
    Cancel(Cancel),
    Extend(Extend),
    Reset(Reset),
    Redrive(Redrive),
    Discard(Discard),
}

/// One history as it goes.
struct Machine<'a> {
    scene: &'a mut Scene,
    state: State,
    policy: QueuePolicy,
    sent: Vec<Sent>,
    sessions: Vec<Session>,
    /// Every attempt that was ever handed out, with whom it was handed to.
    pairs: Vec<(Session, Pair)>,
    pages: Vec<(Page, i64)>,
    beats: u64,
    /// By how much the clock was moved, ms.
    elapsed: i64,
    payloads: BTreeMap<String, Vec<u8>>,
    /// Which token completed which life of which task.
    completed: BTreeMap<(String, String), String>,
    nonces: BTreeMap<String, Session>,
}

impl<'a> Machine<'a> {
    async fn new(scene: &'a mut Scene) -> Self {
        scene.plain(&["FLUSHALL"]).await;
        let state = State::of(scene.dump().await, &scene.key(""));
        Self {
            scene,
            state,
            policy: QueuePolicy::default(),
            sent: Vec::new(),
            sessions: Vec::new(),
            pairs: Vec::new(),
            pages: Vec::new(),
            beats: 0,
            elapsed: 0,
            payloads: BTreeMap::new(),
            completed: BTreeMap::new(),
            nonces: BTreeMap::new(),
        }
    }

    /// Sends a command, remembers it, and looks at what became of the queue.
    async fn send(&mut self, sent: Sent) {
        self.sent.push(sent.clone());
        self.act_out(sent).await;
        self.look_again().await;
    }

    async fn look_again(&mut self) {
        let later = State::of(self.scene.dump().await, &self.scene.key(""));
        later.check();
        self.state.check_step(&later);
        self.state = later;
    }

    async fn step(&mut self, op: &Op) {
        match op {
            Op::Kill => {
                self.scene.restart().await;
                let before = self.state.clone();
                self.look_again().await;
                assert_eq!(before.records, self.state.records, "a restart changed records");
            }
            Op::Elapse { choice } => self.elapse(JUMPS[usize::from(*choice)]).await,
            Op::Publish { variant } => {
                self.policy = policy(*variant);
                self.scene.publish(&self.policy).await;
            }
            Op::Observe => {
                let seen = page(self.scene.run(&look(Duration::from_secs(10))).await);
                self.pages.push((seen, self.elapsed));
                self.look_again().await;
            }
            Op::Again { nth } => {
                if let Some(sent) = pick(&self.sent, *nth) {
                    self.act_out(sent).await;
                    self.look_again().await;
                }
            }
            Op::Sweep { page, entry, twice } => {
                for apply in self.verdicts(*page, *entry) {
                    self.send(apply.clone()).await;
                    if *twice {
                        self.nothing_is_left_to_do(apply).await;
                    }
                }
            }
            op => {
                if let Some(sent) = self.command(op) {
                    self.send(sent).await;
                }
            }
        }
    }

    async fn elapse(&mut self, by: Duration) {
        // Two lives of an id never begin in the same millisecond: between them, the memory of the first lapses here.
        tokio::time::sleep(Duration::from_millis(2)).await;
        self.scene.elapse(by).await;
        self.elapsed += i64::try_from(by.as_millis()).unwrap();
        self.look_again().await;
    }

    fn command(&mut self, op: &Op) -> Option<Sent> {
        Some(match op {
            Op::Enqueue { id, kind, delayed, deadline, payload } => {
                let mut new = task(&format!("t{id}"));
                new.task_type = TaskType::new(format!("k{kind}")).unwrap();
                new.delay = if *delayed { Duration::from_secs(10) } else { Duration::ZERO };
                new.deadline = deadline.map(|n| Duration::from_secs(if n == 0 { 20 } else { 90 }));
                new.payload = (0..*payload).map(|n| n.to_le_bytes()[0]).collect();
                Sent::Enqueue(Enqueue { tasks: vec![new] })
            }
            Op::Register { identity, names_lost } => {
                Sent::Register(self.registration(*identity, *names_lost))
            }
            Op::Take { session, most, answered } => {
                let session = pick(&self.sessions, *session)?;
                Sent::Take(Take { most: *most, ..self.scene.taking(&session) }, *answered)
            }
            Op::Beat { session, lists, mark, late } => Sent::Beat(self.beat(*session, *lists, *mark, *late)?),
            Op::Complete { pair } => Sent::Complete(Complete { pairs: vec![pick(&self.pairs, *pair)?.1] }),
            Op::Fail { pair, is_final } => {
                Sent::Fail(Fail { is_final: *is_final, ..failing(&pick(&self.pairs, *pair)?.1) })
            }
            Op::Release { pair, by } => {
                let (holder, pair) = pick(&self.pairs, *pair)?;
                // Its holder in half of the cases, anybody in the other half.
                let session = if by % 2 == 0 { holder } else { pick(&self.sessions, *by)? };
                Sent::Release(Release { session, delay: Some(Duration::ZERO), pairs: vec![pair] })
            }
            Op::Adopt { session, pair, answered } => {
                let (_, pair) = pick(&self.pairs, *pair)?;
                let session = pick(&self.sessions, *session)?;
                Sent::Adopt(Adopt { session, nonce: self.scene.nonce(), pairs: vec![pair] }, *answered)
            }
            Op::Leave { session } => Sent::Leave(Leave { session: pick(&self.sessions, *session)? }),
            Op::Declare { page, entry } => {
                let (seen, at) = self.seen(*page, *entry)?;
                let (session, seen_beat_ms) = (seen.session, seen.beat_ms?);
                Sent::Declare(Declare { session, seen_beat_ms }, at)
            }
            Op::Forget { page, entry } => {
                let (seen, at) = self.seen(*page, *entry)?;
                let (session, seen_beat_ms) = (seen.session, seen.beat_ms?);
                Sent::Forget(Forget { session, seen_beat_ms }, at)
            }
            Op::Expire { page } => {
                let (page, _) = pick(&self.pages, *page)?;
                Sent::Expire(Expire { ids: page.facts.expired.into_iter().map(|(id, _)| id).collect() })
            }
            op => return self.persons(op),
        })
    }

    /// What a person asks for, by what he sees now.
    fn persons(&self, op: &Op) -> Option<Sent> {
        let by = || "me".to_owned();
        let token = |id: &str| self.state.holder(id).and(self.state.field(id, "token")).map(str::to_owned);
        let dead = |nth: usize| {
            let (id, at) = pick(&self.state.zset("dead").into_iter().collect::<Vec<_>>(), nth)?;
            let token = self.state.field(&id, "token").unwrap_or_default().to_owned();
            #[allow(clippy::cast_possible_truncation, reason = "a time in ms")]
            Some(SeenDead { id, token, died_at_ms: at as i64 })
        };
        Some(match op {
            Op::Cancel { id } => {
                let id = format!("t{id}");
                let seen = token(&id).or_else(|| self.state.field(&id, "enqueued_at").map(str::to_owned))?;
                Sent::Cancel(Cancel { id, seen, by: by() })
            }
            Op::Extend { id } => {
                let id = format!("t{id}");
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
                let limit_ms = i64::try_from((now + Duration::from_secs(50)).as_millis()).unwrap();
                Sent::Extend(Extend { token: token(&id)?, id, limit_ms, by: by() })
            }
            Op::Reset { id } => {
                let id = format!("t{id}");
                Sent::Reset(Reset { by: by(), pairs: vec![(id.clone(), token(&id)?)] })
            }
            Op::Redrive { nth, deadline } => {
                let deadline = deadline.then_some(Duration::from_secs(60));
                Sent::Redrive(Redrive { deadline, by: by(), dead: vec![dead(*nth)?] })
            }
            Op::Discard { nth } => Sent::Discard(Discard { by: by(), dead: vec![dead(*nth)?] }),
            _ => return None,
        })
    }

    fn registration(&mut self, identity: u8, names_lost: bool) -> Register {
        let name = ["a", "b", "p", "p"][usize::from(identity)];
        let mut register = self.scene.registration(name);
        if identity >= 2 {
            register.wanted = Wanted::Pool { prefix: Identity::new(name).unwrap(), size: 2 };
        } else if names_lost {
            register.lost = self.sessions.iter().rev().find(|s| s.identity() == name).cloned();
        }
        register
    }

    fn beat(&mut self, session: usize, lists: u8, mark: u8, late: bool) -> Option<Beat> {
        let session = pick(&self.sessions, session)?;
        self.beats += 1;
        let mark = match mark {
            0 => Mark::None,
            1 => Mark::Alive,
            _ => Mark::Checkpoint(vec![mark; 70]),
        };
        let mine = self.pairs.iter().filter(|(holder, _)| *holder == session);
        // Which of those it lists: any part of them.
        let listed = mine.enumerate().filter(|(n, _)| lists >> (n % 8) & 1 == 1);
        let pairs = listed.map(|(_, (_, (id, token)))| (id.clone(), token.clone(), mark.clone())).collect();
        Some(Beat { session, number: if late { 1 } else { self.beats }, pairs })
    }

    fn seen(&self, page: usize, entry: usize) -> Option<(SessionFacts, i64)> {
        let (page, at) = pick(&self.pages, page)?;
        Some((pick(&page.facts.silent, entry)?, at))
    }

    /// What an honest sweeper decides about one session of a page, however old the page is: a call for each kind.
    fn verdicts(&self, page: usize, entry: usize) -> Vec<Sent> {
        let Some((page, at)) = pick(&self.pages, page) else { return Vec::new() };
        let facts = &page.facts;
        let all: Vec<_> =
            facts.silent.iter().map(|s| (s, true)).chain(facts.overdue.iter().map(|s| (s, false))).collect();
        let Some((seen, silent)) = pick(&all, entry) else { return Vec::new() };
        let mut kinds: BTreeMap<(Action, u32), Vec<Pair>> = BTreeMap::new();
        for task in seen.tasks.iter().filter(|task| !task.token.is_empty()) {
            let action =
                if silent { Some(self.end(task, facts.now_ms)) } else { self.limit(task, facts.now_ms) };
            if let Some(action) = action {
                let pair = (task.id.clone(), task.token.clone());
                kinds.entry((action, task.abandonments)).or_default().push(pair);
            }
        }
        let apply = |((action, abandonments), pairs)| Apply {
            session: seen.session.clone(),
            seen_beat_ms: seen.beat_ms.filter(|_| silent),
            cause: if silent { Cause::AgentLost } else { Cause::StartToClose },
            action,
            abandonments,
            delay: Duration::ZERO,
            revoke_grace: self.policy.task.revoke_grace,
            pairs,
        };
        kinds.into_iter().map(|kind| Sent::Apply(apply(kind), at)).collect()
    }

    fn end(&self, task: &TaskFacts, now: i64) -> Action {
        let most = self.policy.of(&task.task_type).max_abandonments;
        match task {
            task if task.cancelled => Action::Discard,
            task if task.deadline_ms.is_some_and(|at| at <= now) => Action::Expire,
            task if task.abandonments >= most => Action::DeadLetter,
            _ => Action::Reset,
        }
    }

    fn limit(&self, task: &TaskFacts, now: i64) -> Option<Action> {
        let policy = self.policy.of(&task.task_type);
        let passed = |at: Option<i64>| at.is_some_and(|at| at <= now);
        if let Some(since) = task.revoked_at_ms {
            let grace = i64::try_from(policy.revoke_grace.as_millis()).unwrap();
            return passed(Some(since + grace)).then(|| self.end(task, now));
        }
        if passed(task.deadline_ms) {
            return Some(Action::Revoke);
        }
        if passed(task.alive_until_ms) {
            return Some(self.end(task, now));
        }
        passed(task.limit_ms).then(|| match policy.start_to_close.action {
            LimitAction::Alert => Action::Alert,
            LimitAction::Revoke => Action::Revoke,
            LimitAction::Reset => self.end(task, now),
        })
    }

    /// All agents fall silent. Sweepers must get everything back, a new agent must get it all done.
    async fn finish(&mut self) {
        for _ in 0..5 {
            self.elapse(JUMPS[3]).await;
            self.step(&Op::Observe).await;
            let last = self.pages.len() - 1;
            for entry in 0..self.pages[last].0.facts.silent.len() {
                self.step(&Op::Sweep { page: last, entry, twice: true }).await;
                self.step(&Op::Forget { page: last, entry }).await;
            }
        }
        assert!(self.state.running.is_empty(), "I4, I8: {:?}", self.state.running);
        self.step(&Op::Register { identity: 0, names_lost: false }).await;
        let session = self.sessions.len() - 1;
        while !(self.state.zset("pending").is_empty() && self.state.zset("delayed").is_empty()) {
            self.elapse(JUMPS[4]).await;
            let known = self.pairs.len();
            self.step(&Op::Beat { session, lists: 0, mark: 0, late: false }).await;
            self.step(&Op::Take { session, most: 50, answered: true }).await;
            for pair in known..self.pairs.len() {
                self.step(&Op::Complete { pair }).await;
            }
        }
        self.step(&Op::Leave { session }).await;
        self.state.check_end();
    }
}

/// The one that the number chooses, if there is any.
fn pick<T: Clone>(of: &[T], nth: usize) -> Option<T> {
    of.get(nth.checked_rem(of.len())?).cloned()
}

fn act_out(cases: u32, most: usize, keeps: Fsync) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let scene = RefCell::new(runtime.block_on(Scene::on(keeps)));
    let mut config = Config { failure_persistence: None, max_shrink_iters: 4000, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    let histories = histories(most, keeps == Fsync::Always);
    let outcome = TestRunner::new(config).run(&histories, |history| {
        let scene = &mut *scene.borrow_mut();
        runtime.block_on(async {
            let mut machine = Machine::new(scene).await;
            for op in &history {
                machine.step(op).await;
            }
            machine.finish().await;
        });
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[test]
fn no_interleaving_loses_a_task_or_completes_it_twice_or_leaves_it_stuck() {
    act_out(64, 60, Fsync::Off);
}

#[test]
fn no_kill_of_redis_between_two_commands_does_either() {
    act_out(8, 40, Fsync::Always);
}
