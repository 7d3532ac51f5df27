//! Which guards are open in a pass, and what they leave.

use std::collections::BTreeMap;
use std::time::Duration;

use super::foreign::Foreign;
use super::pass::{Pass, Progress, QueueState};
use super::report::OpenGuard;
use crate::core::guard::{Fleet, Moves};
use crate::core::layout::Life;
use crate::core::summary::Summary;
use crate::core::words::Guard;
use crate::native::scripts::observe::Page;

impl Pass<'_> {
    /// Which guards are open in this pass, and what they leave.
    pub(super) fn open_guards(
        &self,
        state: &mut QueueState,
        page: &Page,
        control: &BTreeMap<String, String>,
        foreign: Option<&Foreign>,
    ) -> Progress {
        let now_ms = page.facts.now_ms;
        let number = |field: &str| control.get(field).and_then(|value| value.parse::<i64>().ok());
        let overridden = |guard: Guard| {
            number(&format!("override:{}", guard.as_str())).is_some_and(|until| until > now_ms)
        };
        let mut guards = Vec::new();
        let mut blocked = None;
        let mut open = |guard: Guard, reason: String| guards.push(OpenGuard { guard, reason });
        if page.grace_until_ms > now_ms {
            let by =
                control.get("grace_by").and_then(|by| Guard::parse(by)).filter(|_| page.figures.known_server);
            let guard = by.unwrap_or(Guard::RedisChanged);
            if !overridden(guard) {
                let left = (page.grace_until_ms - now_ms) / 1000;
                open(guard, format!("every agent gets time to beat again; {left} s left"));
                blocked = Some(guard);
            }
        }
        if self.paused && !overridden(Guard::OwnPause) {
            open(
                Guard::OwnPause,
                "this process stood still, or waited for Redis; what it knew is old".to_owned(),
            );
            blocked = blocked.or(Some(Guard::OwnPause));
        }
        if foreign.is_some_and(|foreign| !foreign.proven) && !overridden(Guard::Unproven) {
            // A heartbeat's name that nobody writes makes everyone look dead.
            let reason = "no agent of this system was seen to live yet: is its layout right?".to_owned();
            open(Guard::Unproven, reason);
            blocked = blocked.or(Some(Guard::Unproven));
        }
        if let Some(version) = foreign.and_then(|foreign| foreign.strange_version.as_deref())
            && !overridden(Guard::UnknownVersion)
        {
            open(
                Guard::UnknownVersion,
                format!("the system says that it is {version:?}, which its layout doesn't know"),
            );
            blocked = blocked.or(Some(Guard::UnknownVersion));
        }
        let since_paced =
            number("paced_at").map(|at| Duration::from_millis(u64::try_from(now_ms - at).unwrap_or(0)));
        // A superseded session's process is gone and has a successor: that is no agent that fell silent.
        let superseded = page.facts.silent.iter().filter(|session| !session.current).count() as u64;
        let sessions = page.figures.sessions.saturating_sub(superseded);
        let silent = page.figures.silent.saturating_sub(superseded);
        let mut fleet = Fleet { sessions, suspect: page.figures.suspect, lost: silent };
        let tasks = foreign.is_some_and(|foreign| foreign.life == Life::Tasks);
        if tasks {
            // Agents that hold nothing can't be seen here. One may live, so what is lost is never all.
            fleet.sessions += 1;
        }
        let mut moves = state.mass_loss.assess(self.started.elapsed(), fleet, since_paced);
        if overridden(Guard::MassLoss) {
            moves = Moves::All;
        }
        let missing = silent + page.figures.suspect;
        match moves {
            Moves::All => {}
            Moves::Paced(_) if tasks => {
                let reason =
                    format!("{missing} of {sessions} running tasks fell silent; a page is moved at a time");
                open(Guard::MassLoss, reason);
            }
            Moves::Paced(_) => {
                let reason = format!("{missing} of {sessions} agents fell silent; one is moved at a time");
                open(Guard::MassLoss, reason);
            }
            Moves::None => {
                open(
                    Guard::MassLoss,
                    format!("all {sessions} agents fell silent; nothing moves until one beats"),
                );
            }
        }
        self.say_guards(state, &guards);
        Progress {
            summary: Summary::default(),
            guards,
            blocked,
            moves,
            returned: 0,
            lost_running: 0,
            oldest_abandoned_ms: None,
            paced: false,
            now_ms,
        }
    }

    pub(super) fn say_guards(&self, state: &mut QueueState, open: &[OpenGuard]) {
        let queue = state.queue.name();
        for one in open.iter().filter(|one| !state.open.contains(&one.guard)) {
            tracing::warn!(%queue, guard = one.guard.as_str(), reason = %one.reason, "guard opened: moves are held");
            self.observer.guard(queue, one.guard, true);
        }
        for guard in state.open.iter().filter(|guard| !open.iter().any(|one| one.guard == **guard)) {
            tracing::info!(%queue, guard = guard.as_str(), "guard closed");
            self.observer.guard(queue, *guard, false);
        }
        state.open = open.iter().map(|one| one.guard).collect();
    }
}
