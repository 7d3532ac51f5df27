//! What may happen to a queue, in any order. Numbers choose among what there is when the operation's turn comes, so
//! that any part of a failing history is a history too, and shrinks.

use std::time::Duration;

use backstop::core::external::Hook;
use backstop::core::policy::{AgeLimit, LateResults, LimitAction, QueuePolicy};
use proptest::prelude::*;

/// One thing that happens.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Enqueue {
        id: u8,
        kind: u8,
        delayed: bool,
        deadline: Option<u8>,
        payload: u16,
    },
    Register {
        identity: u8,
        names_lost: bool,
    },
    Take {
        session: usize,
        most: u32,
        answered: bool,
    },
    Beat {
        session: usize,
        lists: u8,
        mark: u8,
        late: bool,
    },
    Complete {
        pair: usize,
    },
    Fail {
        pair: usize,
        is_final: bool,
    },
    Release {
        pair: usize,
        by: usize,
    },
    Adopt {
        session: usize,
        pair: usize,
        answered: bool,
    },
    Leave {
        session: usize,
    },
    /// An agent records where else a task of its is worked on.
    External {
        pair: usize,
        handle: u8,
    },
    /// The sweeper carries out what a hook said of a task of a page.
    Settle {
        page: usize,
        entry: usize,
        nth: usize,
        word: u8,
    },
    /// What nobody waits for has ended.
    Dismiss {
        nth: usize,
    },
    Observe,
    Sweep {
        page: usize,
        entry: usize,
        twice: bool,
    },
    Declare {
        page: usize,
        entry: usize,
    },
    Forget {
        page: usize,
        entry: usize,
    },
    Expire {
        page: usize,
    },
    Cancel {
        id: u8,
    },
    Extend {
        id: u8,
    },
    Reset {
        id: u8,
    },
    Redrive {
        nth: usize,
        deadline: bool,
    },
    Discard {
        nth: usize,
    },
    Publish {
        variant: u8,
    },
    /// A copy of any command that was sent before.
    Again {
        nth: usize,
    },
    Elapse {
        choice: u8,
    },
    Kill,
}

/// How far the clock may jump: short of a limit, past it, past a silence, past the memory of what is done.
pub(crate) const JUMPS: [Duration; 5] = [
    Duration::from_secs(5),
    Duration::from_secs(16),
    Duration::from_secs(31),
    Duration::from_secs(61),
    Duration::from_secs(130),
];

/// Histories of up to `most` operations.
pub(crate) fn histories(most: usize, kills: bool) -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(kills), 1..=most)
}

fn op(kills: bool) -> impl Strategy<Value = Op> {
    let n = 0..1000usize;
    let id = 0..6u8;
    let b = any::<bool>();
    prop_oneof![
        8 => (id.clone(), 0..3u8, prop::bool::weighted(0.2), prop::option::weighted(0.4, 0..2u8), 0..200u16).prop_map(
            |(id, kind, delayed, deadline, payload)| Op::Enqueue { id, kind, delayed, deadline, payload }
        ),
        5 => (0..4u8, b).prop_map(|(identity, names_lost)| Op::Register { identity, names_lost }),
        10 => (n.clone(), 1..4u32, prop::bool::weighted(0.8))
            .prop_map(|(session, most, answered)| Op::Take { session, most, answered }),
        6 => (n.clone(), any::<u8>(), 0..3u8, prop::bool::weighted(0.1))
            .prop_map(|(session, lists, mark, late)| Op::Beat { session, lists, mark, late }),
        5 => n.clone().prop_map(|pair| Op::Complete { pair }),
        3 => (n.clone(), b).prop_map(|(pair, is_final)| Op::Fail { pair, is_final }),
        3 => (n.clone(), n.clone()).prop_map(|(pair, by)| Op::Release { pair, by }),
        4 => (n.clone(), n.clone(), prop::bool::weighted(0.8))
            .prop_map(|(session, pair, answered)| Op::Adopt { session, pair, answered }),
        1 => n.clone().prop_map(|session| Op::Leave { session }),
        5 => (n.clone(), 0..3u8).prop_map(|(pair, handle)| Op::External { pair, handle }),
        6 => (n.clone(), n.clone(), n.clone(), 0..3u8)
            .prop_map(|(page, entry, nth, word)| Op::Settle { page, entry, nth, word }),
        1 => n.clone().prop_map(|nth| Op::Dismiss { nth }),
        8 => Just(Op::Observe),
        8 => (n.clone(), n.clone(), b).prop_map(|(page, entry, twice)| Op::Sweep { page, entry, twice }),
        2 => (n.clone(), n.clone()).prop_map(|(page, entry)| Op::Declare { page, entry }),
        2 => (n.clone(), n.clone()).prop_map(|(page, entry)| Op::Forget { page, entry }),
        2 => n.clone().prop_map(|page| Op::Expire { page }),
        2 => id.clone().prop_map(|id| Op::Cancel { id }),
        2 => id.clone().prop_map(|id| Op::Extend { id }),
        1 => id.clone().prop_map(|id| Op::Reset { id }),
        2 => (n.clone(), b).prop_map(|(nth, deadline)| Op::Redrive { nth, deadline }),
        1 => n.clone().prop_map(|nth| Op::Discard { nth }),
        2 => any::<u8>().prop_map(|variant| Op::Publish { variant }),
        8 => n.clone().prop_map(|nth| Op::Again { nth }),
        6 => (0..5u8).prop_map(|choice| Op::Elapse { choice }),
        2 => Just(if kills { Op::Kill } else { Op::Observe }),
    ]
}

/// One of the policies that a history may publish; each bit of `variant` decides something.
pub(crate) fn policy(variant: u8) -> QueuePolicy {
    let bit = |n: u8| variant >> n & 1 == 1;
    let mut policy = QueuePolicy::default();
    policy.session.adopt_within = Duration::from_secs(10);
    policy.task.start_to_close = AgeLimit {
        limit: bit(0).then_some(Duration::from_secs(40)),
        action: match variant >> 1 & 3 {
            0 => LimitAction::Alert,
            1 => LimitAction::Reset,
            _ => LimitAction::Revoke,
        },
    };
    policy.task.task_heartbeat_timeout = bit(3).then_some(Duration::from_secs(if bit(7) { 4 } else { 20 }));
    policy.task.revoke_grace = Duration::from_secs(10);
    policy.task.max_abandonments = if bit(4) { 1 } else { 3 };
    policy.task.max_failures = if bit(5) { 0 } else { 2 };
    if bit(2) {
        policy.task.external.cancel = Some(Hook::Command(vec!["cancel".into()]));
        policy.task.external.lost_after = Duration::from_secs(70);
    }
    if bit(6) {
        policy.task.late_results = LateResults::Refuse;
    }
    // One type always has limits of its own.
    let mut strict = policy.task.clone();
    strict.start_to_close.limit = Some(Duration::from_secs(15));
    policy.types.insert("k1".parse().unwrap(), strict);
    policy
}
