//! Histories made at random are acted out on a real Redis; the model looks after every step.
//!
//! Plain histories and not a state machine with preconditions: what a step acts on is chosen when its turn comes, from
//! what the server answered, so every history is valid, every part of it is too, and shrinking is never blocked.

mod checks;
mod commands;
mod sweeper;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use backstop::core::id::Session;
use backstop::core::policy::QueuePolicy;
use backstop::native::scripts::adopt::Adopt;
use backstop::native::scripts::apply::Apply;
use backstop::native::scripts::beat::Beat;
use backstop::native::scripts::cancel::Cancel;
use backstop::native::scripts::complete::Complete;
use backstop::native::scripts::declare::Declare;
use backstop::native::scripts::discard::Discard;
use backstop::native::scripts::dismiss::Dismiss;
use backstop::native::scripts::enqueue::Enqueue;
use backstop::native::scripts::expire::Expire;
use backstop::native::scripts::extend::Extend;
use backstop::native::scripts::external::External;
use backstop::native::scripts::fail::Fail;
use backstop::native::scripts::forget::Forget;
use backstop::native::scripts::leave::Leave;
use backstop::native::scripts::observe::{Observe, Page};
use backstop::native::scripts::redrive::Redrive;
use backstop::native::scripts::register::Register;
use backstop::native::scripts::release::Release;
use backstop::native::scripts::reset::Reset;
use backstop::native::scripts::settle::Settle;
use backstop::native::scripts::take::Take;
use proptest::test_runner::{Config, TestRunner};

use super::model::State;
use super::ops::{JUMPS, Op, histories, policy};
use super::scene::{Pair, Scene, look, page};
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
    Settle(Settle, i64),
    Dismiss(Dismiss),
    External(External),
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
    /// Every handle that was recorded, of which task.
    handles: BTreeSet<(String, String)>,
    /// Those that somebody knows to be over.
    over: BTreeSet<(String, String)>,
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
            handles: BTreeSet::new(),
            over: BTreeSet::new(),
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
        for (id, handle) in &self.handles {
            let known = later.handle(id).as_ref() == Some(handle) || later.is_unwanted(id, handle);
            let over = self.over.contains(&(id.clone(), handle.clone()));
            assert!(known || over, "nobody knows of {handle} of {id} any more");
        }
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
                let look = Observe { handles: true, ..look(Duration::from_secs(10)) };
                let seen = page(self.scene.run(&look).await);
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

    /// All agents fall silent. Sweepers must get everything back, a new agent must get it all done.
    async fn finish(&mut self) {
        for _ in 0..5 {
            self.elapse(JUMPS[3]).await;
            self.step(&Op::Observe).await;
            let last = self.pages.len() - 1;
            for entry in 0..self.pages[last].0.facts.silent.len() {
                self.step(&Op::Sweep { page: exact(last), entry, twice: true }).await;
                self.step(&Op::Forget { page: exact(last), entry }).await;
            }
        }
        assert!(self.state.running.is_empty(), "I4, I8: {:?}", self.state.running);
        self.step(&Op::Register { identity: 0, names_lost: false }).await;
        let session = exact(self.sessions.len() - 1);
        while !(self.state.zset("pending").is_empty() && self.state.zset("delayed").is_empty()) {
            self.elapse(JUMPS[4]).await;
            let known = self.pairs.len();
            self.step(&Op::Beat { session, lists: 0, mark: 0, late: false }).await;
            self.step(&Op::Take { session, most: 50, answered: true }).await;
            for pair in known..self.pairs.len() {
                self.step(&Op::Complete { pair: exact(pair) }).await;
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

/// One of the last few in three of four cases, else any: much of what is old can't do anything any more.
fn recent<T: Clone>(of: &[T], nth: usize) -> Option<T> {
    if nth.is_multiple_of(4) { pick(of, nth / 4) } else { pick(&of[of.len().saturating_sub(3)..], nth / 4) }
}

/// The number by which [`recent`] chooses just this one.
fn exact(nth: usize) -> usize {
    nth * 4
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
