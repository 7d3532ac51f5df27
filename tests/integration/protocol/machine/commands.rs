//! What agents and persons send, made of what there is when their turn comes.

use std::time::{Duration, SystemTime};

use backstop::core::id::{Identity, TaskType};
use backstop::native::scripts::adopt::Adopt;
use backstop::native::scripts::beat::{Beat, Mark};
use backstop::native::scripts::cancel::Cancel;
use backstop::native::scripts::complete::Complete;
use backstop::native::scripts::declare::Declare;
use backstop::native::scripts::discard::Discard;
use backstop::native::scripts::dismiss::{Dismiss, How};
use backstop::native::scripts::enqueue::Enqueue;
use backstop::native::scripts::expire::Expire;
use backstop::native::scripts::extend::Extend;
use backstop::native::scripts::external::External;
use backstop::native::scripts::fail::Fail;
use backstop::native::scripts::forget::Forget;
use backstop::native::scripts::leave::Leave;
use backstop::native::scripts::redrive::{Redrive, SeenDead};
use backstop::native::scripts::register::{Register, Wanted};
use backstop::native::scripts::release::Release;
use backstop::native::scripts::reset::Reset;
use backstop::native::scripts::take::Take;

use super::{Machine, Sent, pick, recent};
use crate::protocol::ops::Op;
use crate::protocol::scene::{failing, task};

impl Machine<'_> {
    pub(super) fn command(&mut self, op: &Op) -> Option<Sent> {
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
                let session = recent(&self.sessions, *session)?;
                Sent::Take(Take { most: *most, ..self.scene.taking(&session) }, *answered)
            }
            Op::Beat { session, lists, mark, late } => Sent::Beat(self.beat(*session, *lists, *mark, *late)?),
            Op::Complete { pair } => Sent::Complete(Complete { pairs: vec![recent(&self.pairs, *pair)?.1] }),
            Op::Fail { pair, is_final } => {
                Sent::Fail(Fail { is_final: *is_final, ..failing(&recent(&self.pairs, *pair)?.1) })
            }
            Op::Release { pair, by } => {
                let (holder, pair) = recent(&self.pairs, *pair)?;
                // Its holder in half of the cases, anybody in the other half.
                let session = if by % 2 == 0 { holder } else { recent(&self.sessions, *by)? };
                Sent::Release(Release { session, delay: Some(Duration::ZERO), pairs: vec![pair] })
            }
            Op::Adopt { session, pair, answered } => {
                let (holder, pair) = recent(&self.pairs, *pair)?;
                // Its identity's newest session mostly, else anybody.
                let heir = self.sessions.iter().rev().find(|heir| heir.identity() == holder.identity());
                let session =
                    if session % 4 == 0 { recent(&self.sessions, *session)? } else { heir?.clone() };
                Sent::Adopt(Adopt { session, nonce: self.scene.nonce(), pairs: vec![pair] }, *answered)
            }
            Op::External { pair, handle } => {
                let (id, token) = recent(&self.pairs, *pair)?.1;
                let task_type = self.state.field(&id, "type").unwrap_or("k0").to_owned();
                let number = self.pairs.len() as u64 + self.sent.len() as u64 + 1;
                let handle = format!("job \"{handle}\"\n");
                Sent::External(External { id, token, task_type, handle, number })
            }
            Op::Settle { page, entry, nth, word } => self.settle(*page, *entry, *nth, *word)?,
            Op::Dismiss { nth } => {
                let entries = self.state.zset("unwanted").into_keys().collect::<Vec<_>>();
                let entries = vec![pick(&entries, nth / 4)?];
                let how = [How::Ended, How::Succeeded, How::Failed, How::Cannot][nth % 4];
                Sent::Dismiss(Dismiss { by: "me".into(), how, jitter: 0, entries })
            }
            Op::Leave { session } => Sent::Leave(Leave { session: recent(&self.sessions, *session)? }),
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
                let (page, _) = recent(&self.pages, *page)?;
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
        }
        if names_lost {
            // A name of a pool's begins with the pool's.
            register.lost = self.sessions.iter().rev().find(|s| s.identity().starts_with(name)).cloned();
        }
        register
    }

    fn beat(&mut self, session: usize, lists: u8, mark: u8, late: bool) -> Option<Beat> {
        let session = recent(&self.sessions, session)?;
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
}
