//! From silence to "lost".

use std::time::Duration;

use super::facts::SessionFacts;
use super::policy::SessionPolicy;
use super::words::Liveness;

/// The silence limits in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SilenceLimits {
    /// Silence after which a session is suspect.
    pub suspect: Duration,
    /// Silence after which it is lost.
    pub lost: Duration,
    startup_grace: Duration,
    reconnect_grace: Duration,
}

/// How a session is to live, as it was told: for the policy and the size of the fleet of that moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rhythm {
    /// When to beat next.
    pub next: Duration,
    /// How long without an answer the work goes on; `None`: whatever happens.
    pub stop_after: Option<Duration>,
    /// How long without a beat others may get the work.
    pub lost_after: Duration,
}

impl Rhythm {
    /// What is left to a run that is told to stop for want of answers, before others may begin it. A fifth is kept for
    /// what a machine that swaps or a clock that drifts takes.
    #[must_use]
    pub fn time_to_stop(&self) -> Duration {
        let stop = self.stop_after.unwrap_or(self.lost_after);
        self.lost_after.saturating_sub(stop) * 4 / 5
    }
}

impl SilenceLimits {
    /// The limits for a fleet of this size. Large fleets are asked to beat less often (1500 beats a second cost Redis
    /// some 2 % of a core), so no limit lies below three of the intervals that were answered.
    #[must_use]
    pub fn new(policy: &SessionPolicy, sessions: u64) -> Self {
        let answered =
            policy.heartbeat_interval.max(Duration::from_millis(sessions.saturating_mul(1000) / 1500));
        let suspect = policy.heartbeat_timeout.max(answered * 3);
        Self {
            suspect,
            lost: suspect + policy.lost_after,
            startup_grace: policy.startup_grace,
            reconnect_grace: policy.reconnect_grace,
        }
    }

    /// What a session's silence makes it. A heartbeat from the future counts as now.
    #[must_use]
    pub fn judge(&self, session: &SessionFacts, now_ms: i64) -> Liveness {
        let silence = silence(session, now_ms);
        // One that registered and never beat may still be starting.
        let lost =
            if session.current && session.beats == 0 { self.lost.max(self.startup_grace) } else { self.lost };
        if silence >= lost {
            Liveness::Lost
        } else if silence >= self.suspect {
            Liveness::Suspect
        } else {
            Liveness::Alive
        }
    }

    /// Whether a lost session's tasks may go to others: not while its identity is given time to come back.
    #[must_use]
    pub fn may_move(&self, session: &SessionFacts, now_ms: i64) -> bool {
        self.judge(session, now_ms) == Liveness::Lost
            && (!session.current || silence(session, now_ms) >= self.lost + self.reconnect_grace)
    }

    /// How long after the session was lost it is now: the lateness of the finding.
    #[must_use]
    pub fn late_by(&self, session: &SessionFacts, now_ms: i64) -> Duration {
        silence(session, now_ms).saturating_sub(self.lost)
    }
}

/// How long a session has been silent. One without a heartbeat was put into the index by hand: it has been silent for
/// ever.
#[must_use]
pub fn silence(session: &SessionFacts, now_ms: i64) -> Duration {
    let beat = session.beat_ms.unwrap_or(0);
    Duration::from_millis(u64::try_from(now_ms.saturating_sub(beat)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn session(beat_ms: i64, current: bool, beats: u64) -> SessionFacts {
        SessionFacts { beat_ms: Some(beat_ms), current, beats, ..SessionFacts::default() }
    }

    fn limits() -> SilenceLimits {
        SilenceLimits::new(&SessionPolicy::default(), 10)
    }

    #[test]
    fn silence_makes_suspect_and_then_lost_at_the_limit_itself() {
        let now = 1_000_000;
        for (silent_s, expected) in [
            (0, Liveness::Alive),
            (14, Liveness::Alive),
            (15, Liveness::Suspect),
            (29, Liveness::Suspect),
            (30, Liveness::Lost),
        ] {
            assert_eq!(
                limits().judge(&session(now - silent_s * 1000, true, 3), now),
                expected,
                "{silent_s} s"
            );
        }
    }

    #[test]
    fn one_that_never_beat_gets_its_time_to_start_unless_it_was_superseded() {
        let now = 1_000_000;
        assert_eq!(limits().judge(&session(now - 59_000, true, 0), now), Liveness::Suspect);
        assert_eq!(limits().judge(&session(now - 60_000, true, 0), now), Liveness::Lost);
        assert_eq!(limits().judge(&session(now - 30_000, false, 0), now), Liveness::Lost);
    }

    #[test]
    fn a_lost_identity_may_come_back_within_its_grace() {
        let policy = SessionPolicy { reconnect_grace: Duration::from_secs(20), ..SessionPolicy::default() };
        let limits = SilenceLimits::new(&policy, 10);
        let now = 1_000_000;
        assert!(!limits.may_move(&session(now - 49_000, true, 3), now));
        assert!(limits.may_move(&session(now - 50_000, true, 3), now));
        assert!(
            limits.may_move(&session(now - 30_000, false, 3), now),
            "a superseded one has nobody to come back"
        );
    }

    proptest! {
        #[test]
        fn a_session_that_beats_within_the_time_out_is_never_lost(
            fleet in 0_u64..1_000_000, silent_ms in 0_i64..10_000_000, beats in 0_u64..3, current: bool,
        ) {
            let limits = SilenceLimits::new(&SessionPolicy::default(), fleet);
            let now = 1_795_000_000_000;
            let judged = limits.judge(&session(now - silent_ms, current, beats), now);
            // Three of the intervals that this fleet was answered, at least.
            let answered = (fleet * 1000 / 1500).max(5000);
            if u64::try_from(silent_ms).unwrap() < 3 * answered + 15_000 {
                prop_assert_ne!(judged, Liveness::Lost);
            }
            prop_assert_eq!(limits.judge(&session(now + silent_ms + 1, current, beats), now), Liveness::Alive);
        }
    }
}
