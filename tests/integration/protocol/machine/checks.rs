//! What each answer must be, told by what stood in the queue when the command arrived.

use backstop::core::id::Session;
use backstop::core::words::Action;
use backstop::native::scripts::adopt::Adopted;
use backstop::native::scripts::apply::{Apply, ApplyAnswer};
use backstop::native::scripts::cancel::Cancelled;
use backstop::native::scripts::complete::{Complete, Completed};
use backstop::native::scripts::dismiss::{Dismiss, Dismissed, How};
use backstop::native::scripts::enqueue::{Enqueue, Enqueued};
use backstop::native::scripts::external::{External, Recorded};
use backstop::native::scripts::fail::Failed;
use backstop::native::scripts::forget::Forgotten;
use backstop::native::scripts::leave::LeaveAnswer;
use backstop::native::scripts::register::{Register, RegisterAnswer, Wanted};
use backstop::native::scripts::release::Released;
use backstop::native::scripts::settle::{Settle, Settled};
use backstop::native::scripts::take::{TakeAnswer, Taken};

use super::{Machine, Sent};
use crate::protocol::model::State;
use crate::protocol::scene::Pair;

impl Machine<'_> {
    pub(super) async fn act_out(&mut self, sent: Sent) {
        match sent {
            Sent::Enqueue(command) => self.enqueue(&command).await,
            Sent::Register(command) => self.register(&command).await,
            Sent::Take(command, answered) => {
                let answer = self.scene.run(&command).await;
                let fit = self.is_current(&command.session) && self.is_watched(&command.session);
                if let TakeAnswer::Took(taken) = answer {
                    assert!(fit, "{} may not take", command.session);
                    for one in taken {
                        assert!(self.state.holder(&one.id).is_none(), "{} is taken", one.id);
                        self.hand_out(&command.session, one, answered);
                    }
                } else {
                    let refused = matches!(answer, TakeAnswer::Superseded | TakeAnswer::Lost);
                    assert_eq!(refused, !fit, "{answer:?}");
                }
            }
            Sent::Beat(command) => {
                let answer = self.scene.run(&command).await;
                for (id, token, _) in &command.pairs {
                    let stops = answer.stop.iter().any(|(i, t, _)| i == id && t == token);
                    let held = self.holder(&(id.clone(), token.clone())) == Some(command.session.as_str());
                    let told = self.state.field(id, "revoked_at").is_some();
                    assert_eq!(stops, !held || told, "{id} {token}");
                }
                let set = self.state.running.get(command.session.as_str());
                let unlisted = set.into_iter().flat_map(|set| set.keys()).filter(|id| {
                    !command.pairs.iter().any(|(i, t, _)| i == *id && self.state.field(i, "token") == Some(t))
                });
                assert_eq!(answer.unlisted.len(), unlisted.count());
            }
            Sent::Complete(command) => self.complete(&command).await,
            Sent::Fail(command) => {
                let pair = (command.id.clone(), command.token.clone());
                let answer = self.scene.run(&command).await;
                let refused = matches!(answer, Failed::Late | Failed::Gone);
                assert_eq!(refused, self.holder(&pair).is_none(), "{answer:?} {pair:?}");
            }
            Sent::Release(command) => {
                let pair = &command.pairs[0];
                let holder = self.holder(pair).map(identity).filter(|h| *h == command.session.identity());
                let own = self.holder(pair) == Some(command.session.as_str());
                let free = own && self.state.field(&pair.0, "revoked_at").is_none();
                let answer = self.scene.run(&command).await[0];
                assert_eq!(answer == Released::Late, holder.is_none(), "{answer:?} {pair:?}");
                assert_eq!(answer == Released::Released, free, "{answer:?} {pair:?}");
            }
            Sent::Adopt(command, answered) => {
                let pair = &command.pairs[0];
                let holder = self.holder(pair).filter(|h| *h != command.session.as_str());
                let right = holder.map(identity) == Some(command.session.identity());
                let repeat = self.state.holder(&pair.0) == Some(command.session.as_str())
                    && self
                        .state
                        .field(&pair.0, "token")
                        .is_some_and(|t| t.ends_with(command.nonce.as_str()));
                let fit = self.is_current(&command.session) && self.is_watched(&command.session);
                let answer = self.scene.run(&command).await.remove(0);
                let refused = matches!(answer, Adopted::NotYours | Adopted::Lost);
                assert_eq!(refused, !(fit && (right || repeat)), "{answer:?} {pair:?}");
                if let Adopted::Adopted(taken) = answer {
                    self.hand_out(&command.session, *taken, answered);
                }
            }
            Sent::Leave(command) => {
                let holds = self.state.running.contains_key(command.session.as_str());
                let answer = self.scene.run(&command).await;
                assert_eq!(matches!(answer, LeaveAnswer::Holds(_)), holds);
            }
            Sent::Apply(command, at) => {
                self.apply(command, at).await;
            }
            Sent::Settle(command, at) => self.settle_it(command, at).await,
            Sent::External(command) => self.record(&command).await,
            Sent::Dismiss(command) => self.dismiss(&command).await,
            Sent::Declare(mut command, at) => {
                command.seen_beat_ms -= self.elapsed - at;
                self.scene.run(&command).await;
            }
            Sent::Forget(mut command, at) => {
                command.seen_beat_ms -= self.elapsed - at;
                let beat = self.state.zset("agents").get(&command.session).copied();
                let holds = self.state.running.contains_key(&command.session);
                if self.scene.run(&command).await == Forgotten::Forgotten {
                    #[allow(clippy::cast_precision_loss, reason = "a time in ms")]
                    let seen = command.seen_beat_ms as f64;
                    assert!(!holds && beat.is_some_and(|beat| beat <= seen), "{command:?}");
                }
            }
            Sent::Cancel(command) => {
                let runs = self.state.holder(&command.id).is_some();
                let answer = self.scene.run(&command).await;
                assert!(answer != Cancelled::Discarded || !runs, "a running task was torn away");
            }
            Sent::Expire(command) => drop(self.scene.run(&command).await),
            Sent::Extend(command) => drop(self.scene.run(&command).await),
            Sent::Reset(command) => drop(self.scene.run(&command).await),
            Sent::Redrive(command) => drop(self.scene.run(&command).await),
            Sent::Discard(command) => drop(self.scene.run(&command).await),
        }
    }

    /// Who holds the task by this token.
    fn holder(&self, pair: &Pair) -> Option<&str> {
        let session = self.state.holder(&pair.0);
        session.filter(|_| self.state.field(&pair.0, "token") == Some(&pair.1))
    }

    fn agent(&self, identity: &str) -> Option<String> {
        self.state.dump.hash(&self.scene.queue.keys().agent(identity)).remove("session")
    }

    fn is_current(&self, session: &Session) -> bool {
        self.agent(session.identity()).is_some_and(|current| current == session.as_str())
    }

    fn is_watched(&self, session: &Session) -> bool {
        self.state.zset("agents").contains_key(session.as_str())
    }

    fn hand_out(&mut self, session: &Session, taken: Taken, answered: bool) {
        assert_eq!(self.payloads.get(&taken.id), Some(&taken.payload), "{} came back changed", taken.id);
        let pair = (session.clone(), (taken.id, taken.token));
        if answered && !self.pairs.contains(&pair) {
            self.pairs.push(pair);
        }
    }

    async fn enqueue(&mut self, command: &Enqueue) {
        let task = &command.tasks[0];
        let id = task.id.as_str();
        let known = self.state.records.contains_key(id) || self.state.stub(id).is_some();
        let answer = self.scene.run(command).await[0];
        assert_eq!(answer == Enqueued::Exists, known, "{id}");
        if !known {
            self.payloads.insert(id.to_owned(), task.payload.clone());
        }
    }

    async fn register(&mut self, command: &Register) {
        let answer = self.scene.run(command).await;
        let before = self.nonces.get(command.nonce.as_str()).cloned();
        let RegisterAnswer::Registered { session, held, .. } = answer else {
            let pool = matches!(command.wanted, Wanted::Pool { .. });
            let superseded = answer == RegisterAnswer::Superseded;
            assert!(!(pool && superseded && before.is_none()), "a pool gave out what is not free");
            return;
        };
        if let Some(before) = before {
            assert_eq!(session, before, "one nonce, two sessions");
            assert!(self.is_current(&before), "a superseded session was given out again");
        } else if let (Some(lost), Wanted::Identity(_)) = (&command.lost, &command.wanted) {
            let current = self.agent(lost.identity());
            assert!(current.is_none_or(|current| current == lost.as_str()), "a newer session was superseded");
        }
        for task in held {
            assert_eq!(self.holder(&(task.id.clone(), task.token.clone())), Some(task.session.as_str()));
            assert_eq!(identity(&task.session), session.identity());
            // A predecessor's tasks are known to its successor by token, though no answer ever brought them.
            let pair = (Session::new(task.session).unwrap(), (task.id, task.token));
            if !self.pairs.contains(&pair) {
                self.pairs.push(pair);
            }
        }
        if self.nonces.insert(command.nonce.as_str().to_owned(), session.clone()).is_none() {
            self.sessions.push(session);
        }
    }

    async fn complete(&mut self, command: &Complete) {
        let (id, token) = &command.pairs[0];
        let ours = self.state.field(id, "token") == Some(token);
        let runs = self.state.holder(id).is_some();
        let failed = self.state.why(id) == Some("failed");
        let stub = self.state.stub(id) == Some(format!("completed:{token}"))
            || self.state.stub(id).is_some_and(|stub| stub.starts_with(&format!("completed:{token} ")));
        let answer = self.scene.run(command).await[0];
        assert_eq!(answer == Completed::Completed, ours && runs, "{answer:?} {id} {token}");
        assert!(answer != Completed::Withdrawn || (ours && !runs && !failed), "{id} {token}");
        assert_eq!(answer == Completed::Already, stub, "{answer:?} {id} {token}");
        if matches!(answer, Completed::Completed | Completed::Withdrawn) {
            self.over.extend(self.state.handle(id).map(|handle| (id.clone(), handle)));
            let life = (id.clone(), token.split('-').nth(1).unwrap().to_owned());
            let earlier = self.completed.insert(life, token.clone());
            assert_eq!(earlier, None, "I2: {id} was completed before {token} did it");
        }
    }

    async fn apply(&mut self, mut command: Apply, at: i64) -> ApplyAnswer {
        command.seen_beat_ms = command.seen_beat_ms.map(|seen| seen - (self.elapsed - at));
        let answer = self.scene.run(&command).await;
        let beat = self.state.zset("agents").get(&command.session).copied();
        #[allow(clippy::cast_precision_loss, reason = "a time in ms")]
        let seen = command.seen_beat_ms.map(|seen| seen as f64);
        let alive = seen.is_some_and(|seen| beat.is_none_or(|beat| beat > seen));
        if let ApplyAnswer::Done(done) = &answer {
            for (pair, moved) in command.pairs.iter().zip(done) {
                let held = self.holder(pair) == Some(command.session.as_str());
                assert!(!moved || (held && !alive), "I3: {pair:?} of {} was moved", command.session);
            }
        }
        answer
    }

    async fn record(&mut self, command: &External) {
        let pair = (command.id.clone(), command.token.clone());
        let answer = self.scene.run(command).await;
        assert!(answer != Recorded::Recorded || self.holder(&pair).is_some(), "{answer:?} {pair:?}");
        assert_eq!(answer == Recorded::Gone, !self.state.records.contains_key(&command.id), "{pair:?}");
        let handle = (command.id.clone(), command.handle.clone());
        // Of a late copy, what was over stays over.
        let known = self.handles.contains(&handle) && self.over.contains(&handle);
        let later = State::of(self.scene.dump().await, &self.scene.key(""));
        if !known || later.handle(&command.id).as_ref() == Some(&command.handle) {
            self.over.remove(&handle);
        }
        // Who completed the task knew that its work was over.
        let done = format!("completed:{}", command.token);
        if self.state.stub(&command.id).is_some_and(|stub| stub.split(' ').next() == Some(&done)) {
            self.over.insert(handle.clone());
        }
        self.handles.insert(handle);
    }

    async fn dismiss(&mut self, command: &Dismiss) {
        let entry = command.entries[0].splitn(3, ' ').map(str::to_owned).collect::<Vec<_>>();
        let (id, there) = (entry[1].clone(), self.state.zset("unwanted").contains_key(&command.entries[0]));
        let (waits, token) = (self.state.field(&id, "ending").is_some(), self.state.field(&id, "token"));
        let token = token.map(str::to_owned);
        let answer = self.scene.run(command).await[0];
        assert_eq!(answer == Dismissed::Gone, !there, "{command:?}");
        if answer == Dismissed::Dismissed {
            self.over.insert((id.clone(), entry[2].clone()));
        }
        let later = State::of(self.scene.dump().await, &self.scene.key(""));
        if there && self.state.records.contains_key(&id) && !later.records.contains_key(&id) {
            assert!(waits && command.how == How::Succeeded, "{command:?} took a task along");
            let token = token.unwrap();
            let life = (id.clone(), token.split('-').nth(1).unwrap().to_owned());
            let earlier = self.completed.insert(life, token);
            assert_eq!(earlier, None, "I2: {id} was completed before its work elsewhere was");
        }
    }

    async fn settle_it(&mut self, mut command: Settle, at: i64) {
        command.seen_beat_ms = command.seen_beat_ms.map(|seen| seen - (self.elapsed - at));
        let pair = (command.id.clone(), command.token.clone());
        let beat = self.state.zset("agents").get(&command.session).copied();
        #[allow(clippy::cast_precision_loss, reason = "a time in ms")]
        let seen = command.seen_beat_ms.map(|seen| seen as f64);
        let alive = seen.is_some_and(|seen| beat.is_none_or(|beat| beat > seen));
        let held = self.holder(&pair) == Some(command.session.as_str());
        let same = self.state.handle(&command.id).as_ref() == Some(&command.handle);
        let answer = self.scene.run(&command).await;
        if matches!(answer, Settled::Held | Settled::Skipped) {
            return;
        }
        assert!(held && same && !alive, "I3: {command:?} was settled");
        assert!(
            self.state.field(&command.id, "cancelled").is_none(),
            "{command:?}: a person wanted otherwise"
        );
        self.over.insert((command.id.clone(), command.handle));
        if command.action == Action::Collect {
            let life = (command.id.clone(), command.token.split('-').nth(1).unwrap().to_owned());
            let earlier = self.completed.insert(life, command.token);
            assert_eq!(
                earlier, None,
                "I2: {} was completed before its work elsewhere was collected",
                command.id
            );
        }
    }

    /// I7: the same page again, at once.
    pub(super) async fn nothing_is_left_to_do(&mut self, sent: Sent) {
        let Sent::Apply(command, at) = sent else { return };
        if let ApplyAnswer::Done(done) = self.apply(command, at).await {
            assert!(done.iter().all(|moved| !moved), "I7: {done:?}");
        }
        let before = self.state.clone();
        self.look_again().await;
        assert_eq!(before.dump, self.state.dump, "I7: a second pass over the same page changed something");
    }
}

fn identity(session: &str) -> &str {
    session.split('.').next().unwrap_or(session)
}
