//! When the sweeper must doubt itself. Guards hold moves; they show what they hold, and close by themselves.

use std::collections::VecDeque;
use std::time::Duration;

/// When a loss is a mass loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MassLossLimits {
    /// The share of the sessions that must be lost, above 0 and at most 1.
    pub share: f64,
    /// The smallest fleet that is judged by its share.
    pub min_sessions: u64,
    /// For how long a session that is gone still counts.
    pub window: Duration,
    /// One session's tasks may move in this time while the guard is open.
    pub pace: Duration,
}

impl Default for MassLossLimits {
    fn default() -> Self {
        Self { share: 0.55, min_sessions: 3, window: Duration::from_secs(60), pace: Duration::from_secs(10) }
    }
}

/// The sessions of a queue, by what their silence makes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fleet {
    /// All of them.
    pub sessions: u64,
    /// Those that are suspect.
    pub suspect: u64,
    /// Those that are lost.
    pub lost: u64,
}

/// How many lost sessions may be moved in this pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moves {
    /// All of them.
    All,
    /// At most this many.
    Paced(usize),
    /// None.
    None,
}

/// Guard 1. Most agents silent at once is rather a network or a Redis that was away than the death of all of them: their
/// tasks move one agent at a time. All of them silent: nothing moves, which costs nothing, since nobody could run it.
#[derive(Debug, Clone)]
pub struct MassLoss {
    limits: MassLossLimits,
    gone: VecDeque<(Duration, u64)>,
}

impl MassLoss {
    /// A guard that has seen nothing yet.
    #[must_use]
    pub fn new(limits: MassLossLimits) -> Self {
        Self { limits, gone: VecDeque::new() }
    }

    /// Takes new limits over; what it has seen stays seen.
    pub fn reconfigure(&mut self, limits: MassLossLimits) {
        self.limits = limits;
    }

    /// How many may move now. `now` is our monotonic clock; `since_paced` is how long ago any replica last moved a
    /// session under this guard. Suspects count as missing: a fleet that is cut off as one becomes lost one by one, each
    /// in its own rhythm, and the first must not move while the others are on their way.
    pub fn assess(&mut self, now: Duration, fleet: Fleet, since_paced: Option<Duration>) -> Moves {
        let Fleet { sessions, suspect, lost } = fleet;
        self.gone.retain(|(at, _)| now.saturating_sub(*at) < self.limits.window);
        let gone: u64 = self.gone.iter().map(|(_, n)| n).sum();
        let (total, missing) = (sessions + gone, lost + suspect + gone);
        if lost == 0 || total < self.limits.min_sessions || share(missing, total) < self.limits.share {
            Moves::All
        } else if lost + suspect >= sessions {
            Moves::None
        } else {
            Moves::Paced(usize::from(since_paced.is_none_or(|ago| ago >= self.limits.pace)))
        }
    }

    /// Remembers that lost sessions were forgotten, so that a fleet which dies slowly is still seen to die.
    pub fn forgot(&mut self, now: Duration, sessions: u64) {
        if sessions > 0 {
            self.gone.push_back((now, sessions));
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "a share of a fleet needs no 53 bits")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// What a page may take, generously.
const PAGE: Duration = Duration::from_millis(50);

/// Guard 3. A process that stood still has old news: its heartbeats may all have been written meanwhile.
#[derive(Debug, Clone, Default)]
pub struct OwnPause {
    last: Option<Duration>,
    /// When a turn came late, and hasn't been answered by a time of quiet yet.
    late_at: Option<Duration>,
}

impl OwnPause {
    /// The loop turned at `now`. A turn that comes later than expected by more than two times `expected` is late.
    pub fn turned(&mut self, now: Duration, expected: Duration) {
        self.look(now, expected * 3);
    }

    /// A pass of so many pages ended at `now`. Pages take their time, which is no pause; what is beyond that is one.
    pub fn ended(&mut self, now: Duration, expected: Duration, pages: u64) {
        let pages = u32::try_from(pages).unwrap_or(u32::MAX);
        self.look(now, expected * 3 + PAGE.saturating_mul(pages));
    }

    fn look(&mut self, now: Duration, allowed: Duration) {
        if self.last.is_some_and(|last| now.saturating_sub(last) > allowed) {
            self.late_at = Some(now);
        }
        self.last = Some(now);
    }

    /// How long ago a turn was late, if one was: until a `heartbeat_timeout` has passed, nothing is done about its agents.
    #[must_use]
    pub fn late_for(&self, now: Duration) -> Option<Duration> {
        self.late_at.map(|at| now.saturating_sub(at))
    }
}

/// Guard 2, its second half. The server's clock against our monotonic one: where they disagree by more than two seconds
/// between two passes, heartbeats and limits were not written by one clock.
#[derive(Debug, Clone, Default)]
pub struct ClockWatch {
    last: Option<(Duration, i64)>,
}

impl ClockWatch {
    /// By how many ms the server's clock moved against ours since the last look; `None` at the first.
    pub fn moved(&mut self, now: Duration, server_ms: i64) -> Option<i64> {
        let before = self.last.replace((now, server_ms));
        let (then, server_then) = before?;
        let ours = i64::try_from(now.saturating_sub(then).as_millis()).unwrap_or(i64::MAX);
        Some(server_ms.saturating_sub(server_then).saturating_sub(ours))
    }

    /// Whether that is more than clocks drift, or answers are late.
    #[must_use]
    pub fn is_jump(moved_ms: i64) -> bool {
        moved_ms.abs() > 2000
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const fn fleet(sessions: u64, suspect: u64, lost: u64) -> Fleet {
        Fleet { sessions, suspect, lost }
    }

    #[test]
    fn few_losses_pass_many_are_paced_and_a_whole_fleet_is_held() {
        let mut guard = MassLoss::new(MassLossLimits::default());
        assert_eq!(guard.assess(s(0), fleet(100, 0, 54), None), Moves::All);
        assert_eq!(guard.assess(s(0), fleet(100, 0, 55), None), Moves::Paced(1));
        assert_eq!(guard.assess(s(0), fleet(100, 0, 55), Some(s(9))), Moves::Paced(0));
        assert_eq!(guard.assess(s(0), fleet(100, 0, 55), Some(s(10))), Moves::Paced(1));
        assert_eq!(guard.assess(s(0), fleet(100, 0, 100), None), Moves::None);
        assert_eq!(guard.assess(s(0), fleet(2, 0, 2), None), Moves::All, "two agents are no fleet");
    }

    #[test]
    fn the_first_of_a_fleet_that_is_cut_off_waits_for_the_others() {
        let mut guard = MassLoss::new(MassLossLimits::default());
        assert_eq!(guard.assess(s(0), fleet(10, 9, 1), None), Moves::None, "nobody beats");
        assert_eq!(guard.assess(s(0), fleet(10, 7, 1), None), Moves::Paced(1));
        assert_eq!(guard.assess(s(0), fleet(10, 3, 1), None), Moves::All);
        assert_eq!(guard.assess(s(0), fleet(10, 10, 0), None), Moves::All, "there is nothing to hold yet");
    }

    #[test]
    fn those_that_are_gone_still_count_within_the_window() {
        let mut guard = MassLoss::new(MassLossLimits::default());
        guard.forgot(s(0), 5);
        assert_eq!(guard.assess(s(59), fleet(5, 0, 1), None), Moves::Paced(1), "6 of 10 within a minute");
        assert_eq!(guard.assess(s(60), fleet(5, 0, 1), None), Moves::All);
    }

    fn quiet(guard: &OwnPause, at: u64, timeout: u64) -> bool {
        guard.late_for(s(at)).is_some_and(|ago| ago < s(timeout))
    }

    #[test]
    fn a_late_turn_keeps_quiet_for_a_while() {
        let mut guard = OwnPause::default();
        guard.turned(s(0), s(2));
        guard.turned(s(6), s(2));
        assert!(!quiet(&guard, 6, 15));
        guard.turned(s(13), s(2));
        assert!(quiet(&guard, 13, 15), "7 s after the last where 2 s were expected");
        guard.turned(s(15), s(2));
        assert!(quiet(&guard, 27, 15));
        assert!(!quiet(&guard, 28, 15));
        assert!(!quiet(&guard, 29, 15));
        guard.ended(s(60), s(2), 2000);
        assert!(!quiet(&guard, 60, 15), "a long pass is no pause");
        guard.ended(s(67), s(2), 1);
        assert!(quiet(&guard, 67, 15), "a pass that stood still is one");
    }

    #[test]
    fn a_clock_that_jumps_either_way_is_seen_and_a_drifting_one_is_not() {
        let mut watch = ClockWatch::default();
        assert_eq!(watch.moved(s(0), 1_000_000), None);
        assert_eq!(watch.moved(s(2), 1_003_900).map(ClockWatch::is_jump), Some(false));
        assert_eq!(watch.moved(s(4), 1_096_000), Some(90_100));
        assert_eq!(watch.moved(s(6), 1_008_000).map(ClockWatch::is_jump), Some(true));
    }

    proptest! {
        #[test]
        fn the_guard_closes_once_enough_of_the_fleet_beats(
            sessions in 3_u64..1000, moved in proptest::collection::vec(1_u64..50, 0..10),
        ) {
            let mut guard = MassLoss::new(MassLossLimits::default());
            for (at, n) in moved.into_iter().enumerate() {
                guard.forgot(s(at as u64), n);
            }
            let lost = sessions / 2;
            prop_assert_eq!(guard.assess(s(1000), fleet(sessions, 0, lost), None), Moves::All);
        }
    }
}
