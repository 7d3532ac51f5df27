//! What an agent runs: the one list that its heart, its taker and its reporter share.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::task::StopReason;
use crate::native::scripts::beat::{BeatAnswer, Mark, StopWhy};

/// Pairs of id and token.
pub(super) type Pairs = Vec<(String, String)>;

#[derive(Debug)]
struct Run {
    token: String,
    stop: CancellationToken,
    why: Option<StopReason>,
    mark: Mark,
    /// Whether it left a checkpoint that no answered beat has carried yet.
    unsaved: bool,
}

#[derive(Debug, Default)]
struct Inner {
    runs: HashMap<String, Run>,
    /// Tasks whose `adopt` awaits an answer.
    adopting: HashSet<String>,
    /// Pairs that are held and that nobody here knows, and when a beat first showed them.
    unknown: HashMap<(String, String), Instant>,
    /// Pairs that were given back because their answer was thought lost, and when: should it come after all, they are
    /// not this agent's to run.
    given_back: HashMap<(String, String), Instant>,
    /// What a run has to end once no beat is answered any more.
    time_to_stop: Duration,
}

/// What a run that counts for nothing any more has to end: another may have begun already.
const FENCED_GRACE: Duration = Duration::from_secs(1);
/// How long an answer may come after its pairs were given back. A runtime that a handler keeps busy reads it late.
const ANSWER_MAY_COME: Duration = Duration::from_secs(3600);

/// The list. A task stands in it from the moment it was taken until its outcome was answered.
#[derive(Debug, Clone, Default)]
pub(super) struct Running {
    inner: Arc<Mutex<Inner>>,
    /// Tells the heart not to wait for its next beat.
    hurry: Arc<Notify>,
    /// Tells that a beat was answered.
    answered: Arc<Notify>,
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A task begins, and stands on the list; `false`: it was given back before its answer came, and must not run. One of
    /// the same id that runs already is an older attempt, and stops.
    pub(super) fn begin(&self, id: &str, token: &str) -> bool {
        let run = Run {
            token: token.to_owned(),
            stop: CancellationToken::new(),
            why: None,
            mark: Mark::None,
            unsaved: false,
        };
        let mut inner = self.lock();
        if inner.given_back.remove(&(id.to_owned(), token.to_owned())).is_some() {
            return false;
        }
        inner.unknown.retain(|(known, _), _| known != id);
        if let Some(older) = inner.runs.insert(id.to_owned(), run) {
            older.stop.cancel();
        }
        true
    }

    /// What a run has to end, once it was told to, of the `grace` that it would have otherwise.
    pub(super) fn grace(&self, id: &str, token: &str, grace: Duration) -> Duration {
        match self.why(id, token) {
            Some(StopReason::Fenced) => grace.min(FENCED_GRACE),
            Some(StopReason::OutOfTouch) => grace.min(self.lock().time_to_stop),
            Some(StopReason::Revoked | StopReason::Cancelled | StopReason::Stopping) | None => grace,
        }
    }

    pub(super) fn has_to_stop_within(&self, time: Duration) {
        self.lock().time_to_stop = time;
    }

    /// What stops a task that stands on the list; one that doesn't any more is stopped already.
    pub(super) fn token_of(&self, id: &str, token: &str) -> CancellationToken {
        match self.lock().runs.get(id) {
            Some(run) if run.token == token => run.stop.clone(),
            Some(_) | None => {
                let stopped = CancellationToken::new();
                stopped.cancel();
                stopped
            }
        }
    }

    /// A task's outcome was answered, or needs no answer.
    pub(super) fn end(&self, id: &str, token: &str) {
        let mut inner = self.lock();
        if inner.runs.get(id).is_some_and(|run| run.token == token) {
            inner.runs.remove(id);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().runs.len()
    }

    pub(super) fn mark(&self, id: &str, token: &str, mark: Mark) {
        if let Some(run) = self.lock().runs.get_mut(id)
            && run.token == token
        {
            // A checkpoint that waits for its beat isn't overwritten by a mere sign of life.
            if !(mark == Mark::Alive && matches!(run.mark, Mark::Checkpoint(_))) {
                run.unsaved |= matches!(mark, Mark::Checkpoint(_));
                run.mark = mark;
            }
        }
    }

    /// Why a task must stop. One that stands here no longer, or under another token, is another's.
    pub(super) fn why(&self, id: &str, token: &str) -> Option<StopReason> {
        match self.lock().runs.get(id) {
            Some(run) if run.token == token => run.why,
            Some(_) | None => Some(StopReason::Fenced),
        }
    }

    pub(super) fn stop_all(&self, why: StopReason) {
        for run in self.lock().runs.values_mut() {
            // Who is out of touch has less time than for any other reason but being fenced.
            if why == StopReason::OutOfTouch && run.why != Some(StopReason::Fenced) {
                run.why = Some(why);
            }
            run.why.get_or_insert(why);
            run.stop.cancel();
        }
    }

    /// Stops all, and forgets them: what they do counts for nothing any more.
    pub(super) fn fence_all(&self) {
        for (_, run) in self.lock().runs.drain() {
            run.stop.cancel();
        }
        // Nothing of theirs will be saved.
        self.answered.notify_waiters();
    }

    pub(super) fn adopting(&self, ids: impl Iterator<Item = String>) {
        self.lock().adopting = ids.collect();
    }

    /// What a beat lists. Marks are taken, and put back by [`Self::unsent`] if the beat isn't answered.
    pub(super) fn listed(&self) -> Vec<(String, String, Mark)> {
        let mut inner = self.lock();
        let take = |run: &mut Run| std::mem::take(&mut run.mark);
        inner.runs.iter_mut().map(|(id, run)| (id.clone(), run.token.clone(), take(run))).collect()
    }

    /// A beat wasn't answered: what it carried goes with the next one, but for what is newer.
    pub(super) fn unsent(&self, pairs: Vec<(String, String, Mark)>) {
        let mut inner = self.lock();
        for (id, token, mark) in pairs {
            let Some(run) = inner.runs.get_mut(&id).filter(|run| run.token == token) else { continue };
            let newer = match &mark {
                Mark::Checkpoint(_) => matches!(run.mark, Mark::Checkpoint(_)),
                Mark::Alive | Mark::None => run.mark != Mark::None,
            };
            if !newer {
                run.mark = mark;
            }
        }
    }

    /// A beat was answered: what it carried is saved.
    pub(super) fn sent(&self, pairs: &[(String, String, Mark)]) {
        let mut inner = self.lock();
        for (id, token, _) in pairs.iter().filter(|(_, _, mark)| matches!(mark, Mark::Checkpoint(_))) {
            if let Some(run) = inner.runs.get_mut(id).filter(|run| run.token == *token) {
                run.unsaved = matches!(run.mark, Mark::Checkpoint(_));
            }
        }
        drop(inner);
        self.answered.notify_waiters();
    }

    /// Waits until what the task left for its next attempt is saved; once it is given back, no beat may carry that any more.
    pub(super) async fn saved(&self, id: &str, token: &str) {
        loop {
            let answered = self.answered.notified();
            tokio::pin!(answered);
            // From here on no answer is missed.
            answered.as_mut().enable();
            let unsaved = |run: &Run| run.token == token && run.unsaved;
            if !self.lock().runs.get(id).is_some_and(unsaved) {
                return;
            }
            self.hurry.notify_one();
            answered.await;
        }
    }

    /// Waits until somebody wants a beat before its time.
    pub(super) async fn hurried(&self) {
        self.hurry.notified().await;
    }

    /// Stops what the answer says, and returns what must be given back: pairs that two beats in a row showed as held and
    /// that nobody here knows, the second of them sent when any answer to a `take` or `adopt` had timed out. Once is not
    /// enough: the answer that brings them may be on its way.
    pub(super) fn heard(&self, answer: &BeatAnswer, sent: Instant, answer_timeout: Duration) -> Pairs {
        let mut inner = self.lock();
        for (id, token, why) in &answer.stop {
            let Some(run) = inner.runs.get_mut(id).filter(|run| run.token == *token) else { continue };
            let why = match why {
                StopWhy::Gone => StopReason::Fenced,
                StopWhy::Revoked => StopReason::Revoked,
                StopWhy::Cancelled => StopReason::Cancelled,
            };
            // Fenced overrides what was said before: its outcome is of no interest any more.
            if run.why.is_none() || why == StopReason::Fenced {
                run.why = Some(why);
            }
            run.stop.cancel();
        }
        let now = Instant::now();
        let mut unknown = HashMap::new();
        let mut give_back = Vec::new();
        for (id, token) in &answer.unlisted {
            let known =
                inner.runs.get(id).is_some_and(|run| run.token == *token) || inner.adopting.contains(id);
            if known {
                continue;
            }
            let pair = (id.clone(), token.clone());
            match inner.unknown.get(&pair) {
                Some(first) if sent.saturating_duration_since(*first) > answer_timeout => {
                    give_back.push(pair)
                }
                first => {
                    let first = first.copied().unwrap_or(now);
                    unknown.insert(pair, first);
                }
            }
        }
        inner.unknown = unknown;
        inner.given_back.retain(|_, when| now.saturating_duration_since(*when) < ANSWER_MAY_COME);
        inner.given_back.extend(give_back.iter().map(|pair| (pair.clone(), now)));
        give_back
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::liveness::Rhythm;
    use crate::native::scripts::beat::BeatWord;

    const TIMEOUT: Duration = Duration::from_secs(3);

    fn answer(unlisted: &[(&str, &str)], stop: &[(&str, &str, StopWhy)]) -> BeatAnswer {
        BeatAnswer {
            word: BeatWord::GoOn,
            rhythm: Rhythm {
                next: Duration::from_secs(5),
                stop_after: None,
                lost_after: Duration::from_secs(30),
            },
            drain: None,
            stop: stop.iter().map(|(id, token, why)| ((*id).into(), (*token).into(), *why)).collect(),
            unlisted: unlisted.iter().map(|(id, token)| ((*id).into(), (*token).into())).collect(),
        }
    }

    #[test]
    fn a_pair_that_two_beats_show_is_given_back_once_no_answer_can_bring_it_any_more() {
        let running = Running::default();
        let first = Instant::now();
        let seen = answer(&[("t", "1")], &[]);
        assert!(running.heard(&seen, first, TIMEOUT).is_empty(), "its answer may be on its way");
        assert!(running.heard(&seen, first + TIMEOUT / 2, TIMEOUT).is_empty());
        let later = Instant::now() + TIMEOUT * 2;
        assert_eq!(running.heard(&seen, later, TIMEOUT), [("t".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn a_pair_that_a_beat_in_between_did_not_show_begins_anew() {
        let running = Running::default();
        let seen = answer(&[("t", "1")], &[]);
        running.heard(&seen, Instant::now(), TIMEOUT);
        running.heard(&answer(&[], &[]), Instant::now(), TIMEOUT);
        assert!(running.heard(&seen, Instant::now() + TIMEOUT * 2, TIMEOUT).is_empty());
    }

    #[test]
    fn what_was_taken_meanwhile_or_is_being_adopted_is_not_given_back() {
        let running = Running::default();
        let seen = answer(&[("t", "1"), ("a", "2")], &[]);
        running.adopting(["a".to_owned()].into_iter());
        running.heard(&seen, Instant::now(), TIMEOUT);
        running.begin("t", "1");
        assert!(running.heard(&seen, Instant::now() + TIMEOUT * 2, TIMEOUT).is_empty());
    }

    #[test]
    fn a_task_that_comes_again_stops_its_older_run() {
        let running = Running::default();
        running.begin("t", "1");
        let older = running.token_of("t", "1");
        running.begin("t", "2");
        let newer = running.token_of("t", "2");
        assert!(older.is_cancelled() && !newer.is_cancelled());
        assert_eq!(running.why("t", "1"), Some(StopReason::Fenced));
        running.end("t", "1");
        assert_eq!(running.len(), 1, "the older run's end is not the newer one's");
    }

    #[test]
    fn a_stop_reaches_the_token_that_it_names() {
        let running = Running::default();
        running.begin("t", "2");
        let stop = running.token_of("t", "2");
        running.heard(&answer(&[], &[("t", "1", StopWhy::Gone)]), Instant::now(), TIMEOUT);
        assert!(!stop.is_cancelled());
        running.heard(&answer(&[], &[("t", "2", StopWhy::Revoked)]), Instant::now(), TIMEOUT);
        assert!(stop.is_cancelled());
        assert_eq!(running.why("t", "2"), Some(StopReason::Revoked));
    }

    #[test]
    fn a_task_that_was_given_back_does_not_run_when_its_answer_comes_after_all() {
        let running = Running::default();
        let seen = answer(&[("t", "1")], &[]);
        running.heard(&seen, Instant::now(), TIMEOUT);
        assert_eq!(running.heard(&seen, Instant::now() + TIMEOUT * 2, TIMEOUT).len(), 1);
        assert!(!running.begin("t", "1"), "another may have it by now");
        assert_eq!(running.len(), 0);
        assert!(running.begin("t", "2"), "a later attempt is this agent's");
    }

    #[test]
    fn who_may_have_lost_a_task_ends_before_others_begin_it() {
        let running = Running::default();
        let grace = |id| running.grace(id, "1", Duration::from_secs(60));
        for id in ["outage", "stop"] {
            running.begin(id, "1");
        }
        running.has_to_stop_within(Duration::from_secs(6));
        running.heard(&answer(&[], &[("stop", "1", StopWhy::Cancelled)]), Instant::now(), TIMEOUT);
        assert_eq!(grace("stop"), Duration::from_secs(60), "it is this agent's still");
        running.stop_all(StopReason::OutOfTouch);
        assert_eq!([grace("outage"), grace("stop")], [Duration::from_secs(6); 2]);
        running.fence_all();
        assert_eq!(grace("stop"), FENCED_GRACE);
    }

    #[tokio::test]
    async fn what_is_left_for_the_next_attempt_is_saved_before_it_may_begin() {
        let running = Running::default();
        running.begin("t", "1");
        running.saved("t", "1").await;
        running.mark("t", "1", Mark::Checkpoint(vec![7]));
        let first = running.listed();
        running.mark("t", "1", Mark::Checkpoint(vec![8]));
        let waits = tokio::spawn({
            let running = running.clone();
            async move { running.saved("t", "1").await }
        });
        running.hurried().await;
        running.sent(&first);
        running.hurried().await;
        assert!(!waits.is_finished(), "a newer one is on no beat yet");
        running.sent(&running.listed());
        waits.await.unwrap();
    }

    #[test]
    fn a_sign_of_life_does_not_take_the_place_of_a_checkpoint_that_was_not_answered() {
        let running = Running::default();
        running.begin("t", "1");
        running.mark("t", "1", Mark::Checkpoint(vec![7]));
        let sent = running.listed();
        running.mark("t", "1", Mark::Alive);
        running.unsent(sent);
        assert_eq!(running.listed()[0].2, Mark::Checkpoint(vec![7]));
        running.mark("t", "1", Mark::Checkpoint(vec![8]));
        running.unsent(vec![("t".into(), "1".into(), Mark::Checkpoint(vec![7]))]);
        assert_eq!(running.listed()[0].2, Mark::Checkpoint(vec![8]), "the newer one stays");
    }

    #[test]
    fn a_checkpoint_goes_with_the_next_beat_that_is_answered() {
        let running = Running::default();
        running.begin("t", "1");
        running.mark("t", "1", Mark::Checkpoint(vec![7]));
        running.mark("t", "1", Mark::Alive);
        let sent = running.listed();
        assert_eq!(sent[0].2, Mark::Checkpoint(vec![7]));
        running.unsent(sent);
        assert_eq!(running.listed()[0].2, Mark::Checkpoint(vec![7]));
        assert_eq!(running.listed()[0].2, Mark::None);
    }
}
