//! A queue in a Redis of its own, with the short words in which tests tell what happens there.

use std::time::Duration;

use backstop::core::facts::SessionFacts;
use backstop::core::id::{Identity, Nonce, Session, TaskId, TaskType};
use backstop::core::policy::QueuePolicy;
use backstop::core::words::{Action, Cause};
use backstop::native::scripts::apply::{Apply, ApplyAnswer};
use backstop::native::scripts::beat::{Beat, BeatAnswer, Mark};
use backstop::native::scripts::complete::{Complete, Completed};
use backstop::native::scripts::enqueue::{Enqueue, Enqueued, NewTask};
use backstop::native::scripts::fail::{Fail, Failed};
use backstop::native::scripts::observe::{Cursor, Observe, ObserveAnswer, Page};
use backstop::native::scripts::publish::Publish;
use backstop::native::scripts::register::{HeldTask, Register, RegisterAnswer, Wanted};
use backstop::native::scripts::release::{Release, Released};
use backstop::native::scripts::take::{Take, TakeAnswer, Taken};
use backstop::native::{Command, Queue};
use backstop::store::Store;

use crate::support::Server;
use crate::support::dump::Dump;
use backstop::private_server::Fsync;

/// Silence after which these tests' sweepers call a session lost, as the default policy has it.
pub(crate) const LOST: Duration = Duration::from_secs(30);

/// Moves everything that stands in the queue into the past, as if that much time had gone by: no test waits for a
/// clock. What names a thing (`enqueued_at`, times of death) stays.
const ELAPSE: &str = "
local base, by = ARGV[1], tonumber(ARGV[2])
local call = redis.call
local function shift(key)
  if call('TYPE', key).ok ~= 'zset' then return end
  local all = call('ZRANGE', key, 0, -1, 'WITHSCORES')
  for i = 1, #all, 2 do call('ZADD', key, tonumber(all[i + 1]) - by, all[i]) end
end
for _, name in ipairs({ 'agents', 'due', 'delayed', 'expiring' }) do shift(base .. name) end
for _, key in ipairs(call('KEYS', '*running:*')) do shift(key) end
for _, key in ipairs(call('KEYS', '*task:*')) do
  for _, field in ipairs({ 'limit', 'alive_until', 'deadline', 'taken_at', 'revoked_at' }) do
    local at = call('HGET', key, field)
    if at and string.find(at, '^%-?%d+$') and #at < 17 then call('HSET', key, field, string.format('%.0f', at - by)) end
  end
end
for _, key in ipairs(call('KEYS', '*done:*')) do
  local left = call('PTTL', key)
  if left > by then call('PEXPIRE', key, left - by) else call('DEL', key) end
end
local grace = call('HGET', base .. 'control', 'grace_until')
if grace then call('HSET', base .. 'control', 'grace_until', string.format('%.0f', tonumber(grace) - by)) end
return 'elapsed'";

/// Id and token of an attempt.
pub(crate) type Pair = (String, String);

/// A queue, and whoever acts on it.
pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) queue: Queue,
    nonces: u64,
}

impl Scene {
    /// An empty queue without a policy of its own, on a server that its sweeper knows.
    pub(crate) async fn new() -> Self {
        let scene = Self::on(Fsync::Off).await;
        scene.observe().await;
        scene
    }

    /// An empty queue on a server that nobody has looked at.
    pub(crate) async fn on(keeps: Fsync) -> Self {
        let server = Server::with(keeps, &[]).await;
        let queue = server.queue("q");
        Self { server, queue, nonces: 0 }
    }

    pub(crate) fn store(&self) -> &Store {
        self.queue.store()
    }

    /// Kills the server, and starts it again on the same files.
    pub(crate) async fn restart(&mut self) {
        self.server.inner.restart().await.unwrap();
        self.queue = self.server.queue("q");
    }

    pub(crate) async fn dump(&self) -> Dump {
        Dump::read(self.store()).await
    }

    /// The name of one of the queue's keys.
    pub(crate) fn key(&self, name: &str) -> String {
        self.queue.keys().named(name)
    }

    /// A plain command, for what a test arranges by hand.
    pub(crate) async fn plain(&self, parts: &[&str]) {
        self.store().command(parts).await.unwrap();
    }

    pub(crate) fn nonce(&mut self) -> Nonce {
        self.nonces += 1;
        // Sessions show the upper half, tokens all of it.
        Nonce::from_bits(self.nonces << 32 | self.nonces)
    }

    pub(crate) async fn run<C: Command>(&self, command: &C) -> C::Answer {
        self.queue.run(command).await.unwrap()
    }

    pub(crate) async fn elapse(&self, by: Duration) {
        let by = by.as_millis().to_string();
        self.plain(&["EVAL", ELAPSE, "0", &self.key(""), &by]).await;
    }

    pub(crate) async fn publish(&self, policy: &QueuePolicy) {
        self.run(&Publish { policy: policy.clone() }).await;
    }

    pub(crate) async fn enqueue(&self, id: &str) -> Enqueued {
        self.run(&Enqueue { tasks: vec![task(id)] }).await[0]
    }

    pub(crate) fn registration(&mut self, identity: &str) -> Register {
        Register {
            wanted: Wanted::Identity(Identity::new(identity).unwrap()),
            nonce: self.nonce(),
            lost: None,
            host: "host".to_owned(),
            pid: 1,
            version: "1".to_owned(),
        }
    }

    pub(crate) async fn register(&mut self, identity: &str) -> Session {
        let command = self.registration(identity);
        registered(self.run(&command).await).0
    }

    pub(crate) fn taking(&mut self, session: &Session) -> Take {
        Take { session: session.clone(), nonce: self.nonce(), most: 50 }
    }

    pub(crate) async fn take(&mut self, session: &Session) -> Vec<Taken> {
        let command = self.taking(session);
        match self.run(&command).await {
            TakeAnswer::Took(taken) => taken,
            TakeAnswer::Empty(_) => Vec::new(),
            other => panic!("{other:?}"),
        }
    }

    /// Takes the one task that is ready.
    pub(crate) async fn take_one(&mut self, session: &Session) -> Pair {
        let taken = self.take(session).await;
        assert_eq!(taken.len(), 1, "{taken:?}");
        (taken[0].id.clone(), taken[0].token.clone())
    }

    /// A task `t` that a new session `a` runs.
    pub(crate) async fn running(&mut self) -> (Session, Pair) {
        self.enqueue("t").await;
        let session = self.register("a").await;
        let pair = self.take_one(&session).await;
        (session, pair)
    }

    /// The same, and the session has been silent for long.
    pub(crate) async fn abandoned(&mut self) -> (Session, Pair) {
        let (session, pair) = self.running().await;
        self.elapse(2 * LOST).await;
        (session, pair)
    }

    pub(crate) async fn beat(
        &self,
        session: &Session,
        number: u64,
        pairs: &[Pair],
        mark: Mark,
    ) -> BeatAnswer {
        let pairs = pairs.iter().map(|(id, token)| (id.clone(), token.clone(), mark.clone())).collect();
        self.run(&Beat { session: session.clone(), number, pairs }).await
    }

    pub(crate) async fn complete(&self, pair: &Pair) -> Completed {
        self.run(&Complete { pairs: vec![pair.clone()] }).await[0]
    }

    pub(crate) async fn release(&self, session: &Session, pair: &Pair) -> Released {
        let release =
            Release { session: session.clone(), delay: Some(Duration::ZERO), pairs: vec![pair.clone()] };
        self.run(&release).await[0]
    }

    pub(crate) async fn fail(&self, pair: &Pair) -> Failed {
        self.run(&failing(pair)).await
    }

    /// One page, as a sweeper asks for it that knows this server.
    pub(crate) async fn observe(&self) -> Page {
        page(self.run(&look(Duration::ZERO)).await)
    }

    /// Carries out one verdict about all that the first silent session of a page runs.
    pub(crate) async fn apply(&self, page: &Page, action: Action) -> ApplyAnswer {
        self.run(&by_silence(&page.facts.silent[0], action)).await
    }

    /// Carries out one verdict about all overdue tasks of a page's first overdue session.
    pub(crate) async fn apply_overdue(&self, page: &Page, action: Action) -> ApplyAnswer {
        self.run(&by_limit(&page.facts.overdue[0], action)).await
    }
}

/// A task of the type `kind` with a payload that must come back byte by byte.
pub(crate) fn task(id: &str) -> NewTask {
    NewTask {
        id: TaskId::new(id).unwrap(),
        task_type: TaskType::new("kind").unwrap(),
        delay: Duration::ZERO,
        deadline: None,
        payload: b"[]\x00\xff 12345678901234567890".to_vec(),
    }
}

/// A failure that may be retried, without jitter.
pub(crate) fn failing(pair: &Pair) -> Fail {
    let (id, token) = pair.clone();
    Fail { id, token, error: b"boom".to_vec(), jitter: 0, is_final: false }
}

pub(crate) fn registered(answer: RegisterAnswer) -> (Session, Vec<HeldTask>) {
    match answer {
        RegisterAnswer::Registered { session, held, .. } => (session, held),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn look(failover_grace: Duration) -> Observe {
    Observe {
        lease: None,
        lost_after: LOST,
        suspect_after: LOST / 2,
        failover_grace,
        most: 100,
        cursor: Cursor::default(),
        handles: false,
    }
}

pub(crate) fn page(answer: ObserveAnswer) -> Page {
    match answer {
        ObserveAnswer::Page(page) => *page,
        other => panic!("{other:?}"),
    }
}

/// One verdict about all tasks of a silent session, which were abandoned as often as its first.
pub(crate) fn by_silence(seen: &SessionFacts, action: Action) -> Apply {
    Apply {
        session: seen.session.clone(),
        seen_beat_ms: seen.beat_ms,
        cause: Cause::AgentLost,
        action,
        abandonments: seen.tasks.first().map_or(0, |task| task.abandonments),
        delay: Duration::ZERO,
        revoke_grace: Duration::from_secs(30),
        pairs: seen.tasks.iter().map(|task| (task.id.clone(), task.token.clone())).collect(),
    }
}

/// One verdict about all overdue tasks of a session that may well live.
pub(crate) fn by_limit(seen: &SessionFacts, action: Action) -> Apply {
    Apply { seen_beat_ms: None, cause: Cause::StartToClose, ..by_silence(seen, action) }
}
