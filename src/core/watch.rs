//! Guard 6: the heartbeats of agents whose clock isn't ours.
//!
//! Another machine's clock is never compared with any of ours. What is timed is how long *we* have seen no change, from the
//! first time that we looked; so a sweeper that has just begun knows of nobody that is silent.

use std::collections::HashMap;
use std::time::Duration;

use super::words::Liveness;

/// What stands where an agent shows life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sign {
    /// It shows life now: its key is there, its lease has not run out.
    Alive,
    /// Nothing stands there.
    Gone,
    /// A figure that it changes while it lives.
    Figure(String),
}

#[derive(Debug, Clone)]
struct Seen {
    sign: Sign,
    since: Duration,
    /// When it was looked at last.
    looked: Duration,
}

/// How long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long a figure may stay as it is. A key that is gone has had its own time already.
    pub suspect: Duration,
    /// How much longer.
    pub lost: Duration,
}

/// What was seen of each agent, and since when. Agents once seen are remembered: where an agent's sign and its place in
/// the list of agents share a fate, both vanish.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    seen: HashMap<Vec<u8>, Seen>,
}

impl Watch {
    /// What is seen of an agent now; whether that is a sign of life. A figure is one only once it has changed. Times are
    /// our monotonic clock's.
    pub fn see(&mut self, agent: &[u8], sign: Sign, now: Duration) -> bool {
        let alive = sign == Sign::Alive;
        match self.seen.get_mut(agent) {
            Some(seen) if seen.sign == sign && !alive => {
                seen.looked = now;
                false
            }
            Some(seen) => {
                let changed = matches!((&seen.sign, &sign), (Sign::Figure(_), Sign::Figure(_)));
                *seen = Seen { sign, since: now, looked: now };
                alive || changed
            }
            None => {
                self.seen.insert(agent.to_vec(), Seen { sign, since: now, looked: now });
                alive
            }
        }
    }

    /// Forgets what it knows of silence: after a time in which nobody could be heard.
    pub fn restart(&mut self, now: Duration) {
        self.seen.values_mut().for_each(|seen| seen.since = now);
    }

    /// Forgets an agent that holds nothing and shows nothing.
    pub fn forget(&mut self, agent: &[u8]) {
        self.seen.remove(agent);
    }

    /// How many are watched.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "nobody asks")]
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// The agents, in order of name.
    #[must_use]
    pub fn agents(&self) -> Vec<Vec<u8>> {
        let mut names: Vec<_> = self.seen.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// What was last seen of it.
    #[must_use]
    pub fn sign(&self, agent: &[u8]) -> Option<&Sign> {
        self.seen.get(agent).map(|seen| &seen.sign)
    }

    /// For how long it has been seen to be silent: between two looks, not from the last one to now.
    #[must_use]
    pub fn silence(&self, agent: &[u8]) -> Duration {
        self.seen.get(agent).map_or(Duration::ZERO, |seen| match seen.sign {
            Sign::Alive => Duration::ZERO,
            Sign::Gone | Sign::Figure(_) => seen.looked.saturating_sub(seen.since),
        })
    }

    /// What its silence makes it, and how long after it was lost that is found.
    #[must_use]
    pub fn judge(&self, agent: &[u8], patience: Patience) -> (Liveness, Duration) {
        let silence = self.silence(agent);
        let suspect = match self.sign(agent) {
            Some(Sign::Figure(_)) => patience.suspect,
            // One look is never enough.
            Some(Sign::Gone) => Duration::ZERO,
            Some(Sign::Alive) | None => return (Liveness::Alive, Duration::ZERO),
        };
        let lost = suspect + patience.lost;
        if silence >= lost && silence > Duration::ZERO {
            (Liveness::Lost, silence - lost)
        } else if silence >= suspect {
            (Liveness::Suspect, Duration::ZERO)
        } else {
            (Liveness::Alive, Duration::ZERO)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { suspect: Duration::from_secs(60), lost: Duration::from_secs(15) };

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_figure_that_stays_as_it_is_makes_its_agent_suspect_and_then_lost() {
        let mut watch = Watch::default();
        let figure = |n: i64| Sign::Figure(n.to_string());
        // The figure itself may be of any clock, even one that is hours behind or ahead.
        for (at, sign, expected) in [
            (100, figure(-7), Liveness::Alive),
            (159, figure(-7), Liveness::Alive),
            (160, figure(-7), Liveness::Suspect),
            (174, figure(-7), Liveness::Suspect),
            (175, figure(-7), Liveness::Lost),
            (180, figure(-6), Liveness::Alive),
            (239, figure(-6), Liveness::Alive),
        ] {
            watch.see(b"a", sign, s(at));
            assert_eq!(watch.judge(b"a", PATIENCE).0, expected, "at {at} s");
        }
    }

    #[test]
    fn a_key_that_is_gone_has_had_its_time_and_still_one_look_is_not_enough() {
        let mut watch = Watch::default();
        let hasty = Patience { lost: Duration::ZERO, ..PATIENCE };
        watch.see(b"a", Sign::Gone, s(100));
        assert_eq!(watch.judge(b"a", hasty).0, Liveness::Suspect);
        watch.see(b"a", Sign::Gone, s(102));
        assert_eq!(watch.judge(b"a", hasty).0, Liveness::Lost);
        assert_eq!(watch.judge(b"a", PATIENCE), (Liveness::Suspect, Duration::ZERO));
        watch.see(b"a", Sign::Gone, s(120));
        assert_eq!(watch.judge(b"a", PATIENCE), (Liveness::Lost, s(5)));
        watch.see(b"a", Sign::Alive, s(121));
        assert_eq!(watch.judge(b"a", PATIENCE).0, Liveness::Alive);
    }

    #[test]
    fn time_in_which_nobody_looked_is_no_silence_and_a_restart_begins_anew() {
        let mut watch = Watch::default();
        watch.see(b"a", Sign::Gone, s(0));
        assert_eq!(watch.silence(b"a"), Duration::ZERO, "however late it is by now");
        watch.see(b"a", Sign::Gone, s(100));
        watch.restart(s(100));
        assert_eq!(watch.judge(b"a", PATIENCE).0, Liveness::Suspect);
        assert_eq!(watch.agents(), [b"a".to_vec()]);
        watch.forget(b"a");
        assert_eq!(watch.judge(b"a", PATIENCE).0, Liveness::Alive, "nobody knows it");
    }
}
