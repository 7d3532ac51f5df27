//! Asking about work that is done elsewhere: calls of hooks, in the background of the passes that want their answers.
//!
//! A pass asks and goes on; the next one finds the answer. A hook that hangs costs a place among the calls of that hook, and
//! holds the tasks that wait for it, nothing else.

pub mod command;
mod http;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::core::external::{External, Hook, Told};
use crate::core::id::QueueName;
use crate::core::observer::Observer;
use crate::core::words::{HookKind, HookWord};

/// The first wait after a call that told nothing, doubled each time.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest. Work that can't be cancelled is asked about as often.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// What nobody asked about for this long is forgotten: passes may be rare, and go round long lists bit by bit.
const FORGET_AFTER: Duration = Duration::from_secs(3600);

/// What is asked about: one piece of work elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    /// The queue.
    pub queue: QueueName,
    /// The task.
    pub id: String,
    /// Its type.
    pub task_type: String,
    /// The attempt that holds it; empty if nobody waits for it any more.
    pub token: String,
    /// Its handle.
    pub handle: String,
    /// What is asked.
    pub kind: HookKind,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Asking,
    Answered(HookWord),
    /// Nothing that could be understood, or that it goes on: asked again from then on.
    Again(Instant),
}

#[derive(Debug)]
struct Entry {
    state: State,
    /// Calls in a row that told nothing new.
    vain: u32,
    /// Whether one of them told nothing that can be understood.
    unclear: bool,
    wanted: Instant,
}

impl Entry {
    fn so_far(&self) -> Told {
        if self.unclear { Told::Unclear } else { Told::Nothing }
    }
}

type Entries = Arc<Mutex<HashMap<Question, Entry>>>;

/// Asks, and remembers what was answered until somebody wants to know.
pub struct Asker {
    entries: Entries,
    places: HashMap<Hook, Arc<Semaphore>>,
    observer: Arc<dyn Observer>,
}

impl Asker {
    /// One that has asked nothing yet.
    #[must_use]
    pub fn new(observer: Arc<dyn Observer>) -> Self {
        Self { entries: Entries::default(), places: HashMap::new(), observer }
    }

    /// What is known. What was answered is told once; if nothing was, it is asked, in turn with all others that wait for this
    /// hook. After [`HookWord::Active`] and [`HookWord::Cannot`] it is asked again later, after a wait.
    pub fn ask(&mut self, question: &Question, external: &External) -> Told {
        let Some(hook) = external.hook(question.kind) else { return Told::Nothing };
        let now = Instant::now();
        let mut entries = lock(&self.entries);
        if let Some(entry) = entries.get_mut(question) {
            entry.wanted = now;
            match entry.state {
                State::Asking => return entry.so_far(),
                State::Again(at) if at > now => return entry.so_far(),
                State::Again(_) => {}
                State::Answered(word @ (HookWord::Active | HookWord::Cannot)) => {
                    entry.state = State::Again(now + wait(entry.vain));
                    entry.vain = entry.vain.saturating_add(1);
                    return Told::Word(word);
                }
                State::Answered(word) => {
                    entries.remove(question);
                    return Told::Word(word);
                }
            }
        }
        let most = usize::try_from(external.concurrency).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let places = self.places.entry(hook.clone()).or_insert_with(|| Arc::new(Semaphore::new(most)));
        let places = Arc::clone(places);
        let fresh = || Entry { state: State::Asking, vain: 0, unclear: false, wanted: now };
        let entry = entries.entry(question.clone()).or_insert_with(fresh);
        entry.state = State::Asking;
        let so_far = entry.so_far();
        drop(entries);
        let call = Call {
            question: question.clone(),
            hook: hook.clone(),
            timeout: external.timeout,
            entries: Arc::clone(&self.entries),
            observer: Arc::clone(&self.observer),
        };
        tokio::spawn(async move {
            // In the order in which they were asked: none waits for ever behind those that are asked again.
            let _place = places.acquire_owned().await;
            call.make().await;
        });
        so_far
    }

    /// Takes an answer back that could not be carried out yet.
    pub fn keep(&mut self, question: Question, told: Told) {
        if let Told::Word(word) = told {
            let entry =
                Entry { state: State::Answered(word), vain: 0, unclear: false, wanted: Instant::now() };
            lock(&self.entries).insert(question, entry);
        }
    }

    /// Forgets what nobody asked about for long, and how many calls hooks may have: their settings may be other ones now.
    pub fn tidy(&mut self) {
        lock(&self.entries).retain(|_, entry| entry.wanted.elapsed() < FORGET_AFTER);
        self.places.retain(|_, places| Arc::strong_count(places) > 1);
    }
}

fn lock(entries: &Entries) -> MutexGuard<'_, HashMap<Question, Entry>> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait(vain: u32) -> Duration {
    FIRST_WAIT.saturating_mul(1 << vain.min(10)).min(LONGEST_WAIT)
}

struct Call {
    question: Question,
    hook: Hook,
    timeout: Duration,
    entries: Entries,
    observer: Arc<dyn Observer>,
}

impl Call {
    async fn make(self) {
        let question = &self.question;
        let answer = match &self.hook {
            Hook::Command(words) => command::ask(words, question, self.timeout).await,
            Hook::Http { method, url } => {
                let call = http::ask(*method, url, question);
                let late = || Err(format!("no answer within {:?}", self.timeout));
                tokio::time::timeout(self.timeout, call).await.unwrap_or_else(|_| late())
            }
        };
        let answer = answer.and_then(|said| understood(&said));
        let (kind, result) = (question.kind, answer.as_ref().map_or("unclear", |word| word.as_str()));
        self.observer.hook(&question.queue, kind, result);
        let mut entries = lock(&self.entries);
        let Some(entry) = entries.get_mut(question) else { return };
        match answer {
            Ok(word) => entry.state = State::Answered(word),
            Err(why) => {
                tracing::warn!(
                    queue = %question.queue, task = question.id, hook = kind.as_str(), external = question.handle, why,
                    "a hook could not tell how work elsewhere stands: its task is held, and it is asked again"
                );
                entry.unclear = true;
                entry.state = State::Again(Instant::now() + wait(entry.vain));
                entry.vain = entry.vain.saturating_add(1);
            }
        }
    }
}

/// The word that was meant by what a hook said: the first one, or the `state` of a JSON object.
fn understood(said: &[u8]) -> Result<HookWord, String> {
    let text = String::from_utf8_lossy(said);
    let state = serde_json::from_str::<serde_json::Value>(&text)
        .ok()
        .and_then(|json| json.get("state").and_then(|state| state.as_str().map(str::to_owned)));
    let word = state.unwrap_or_else(|| text.split_whitespace().next().unwrap_or_default().to_owned());
    HookWord::parse(&word).ok_or_else(|| {
        let word: String = word.chars().take(40).collect();
        let known: Vec<&str> = HookWord::ALL.iter().map(|word| word.as_str()).collect();
        format!("it said {word:?}, which is none of {}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_or_a_json_object_with_a_state_is_understood_and_nothing_else() {
        assert_eq!(understood(b"active\n"), Ok(HookWord::Active));
        assert_eq!(understood(b"  succeeded after 3 s"), Ok(HookWord::Succeeded));
        assert_eq!(understood(br#"{"state": "cannot", "why": "no"}"#), Ok(HookWord::Cannot));
        for garbage in
            [&b""[..], b"\xff\xfe", b"ACTIVE", b"{\"state\": 3}", b"<html>", b"{\"status\":\"active\"}"]
        {
            assert!(understood(garbage).is_err(), "{garbage:?}");
        }
        let long = understood(&[b'x'; 5000]).unwrap_err();
        assert!(long.len() < 200, "{long}");
    }

    #[test]
    fn waits_double_and_are_bounded() {
        assert_eq!(wait(0), FIRST_WAIT);
        assert_eq!(wait(3), FIRST_WAIT * 8);
        assert_eq!([wait(6), wait(u32::MAX)], [LONGEST_WAIT; 2]);
    }
}
