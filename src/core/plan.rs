//! From one page of facts to what is to be done: every task in exactly one place of the plan.

use std::collections::BTreeMap;
use std::time::Duration;

use super::decision::{decide_lost, decide_overdue};
use super::facts::{PageFacts, SessionFacts, TaskFacts};
use super::guard::Moves;
use super::liveness::{SilenceLimits, silence};
use super::policy::QueuePolicy;
use super::words::{Action, Cause, Liveness};

/// Verdicts of one kind on tasks of one session: what one call carries out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Why.
    pub cause: Cause,
    /// What.
    pub action: Action,
    /// The abandonments of each of these tasks.
    pub abandonments: u32,
    /// What the agent of a revoked task is given to stop.
    pub revoke_grace: Duration,
    /// The wait after a reset.
    pub reset_delay: Duration,
    /// Id and token of each.
    pub pairs: Vec<(String, String)>,
}

/// A verdict on a task that is being worked on elsewhere: somebody is asked before it is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    /// The task.
    pub id: String,
    /// Its type.
    pub task_type: String,
    /// What holds it.
    pub token: String,
    /// Where it is being worked on.
    pub handle: String,
    /// Why.
    pub cause: Cause,
    /// What.
    pub action: Action,
    /// How often an agent lost it.
    pub abandonments: u32,
    /// The wait after a reset.
    pub reset_delay: Duration,
}

/// What is to be done with one session's tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionPlan {
    /// The session.
    pub session: String,
    /// The heartbeat on which the verdicts rest; `None`: they rest on the tasks' own limits.
    pub seen_beat_ms: Option<i64>,
    /// How long it has been silent.
    pub silence: Duration,
    /// How long after it was lost it was found.
    pub late_by: Duration,
    /// Whether its identity must be declared lost.
    pub declare: bool,
    /// Whether it may be forgotten once its tasks on this page are gone: all of them are here.
    pub forget: bool,
    /// Whether a guard or a grace keeps its tasks where they are.
    pub held: bool,
    /// The verdicts.
    pub batches: Vec<Batch>,
    /// The verdicts about which somebody is asked first.
    pub elsewhere: Vec<Elsewhere>,
    /// Tasks that go on as they are.
    pub left: usize,
    /// Entries whose record is gone.
    pub no_record: Vec<String>,
}

impl SessionPlan {
    /// How many verdicts there are.
    #[must_use]
    pub fn verdicts(&self) -> usize {
        self.batches.iter().map(|batch| batch.pairs.len()).sum::<usize>() + self.elsewhere.len()
    }
}

/// What is to be done with a page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Sessions that are lost, in the order of the page.
    pub lost: Vec<SessionPlan>,
    /// Silent sessions that aren't lost yet, or whose identity may still come back.
    pub waiting: usize,
    /// Sessions that live and have tasks past a limit.
    pub overdue: Vec<SessionPlan>,
    /// Waiting tasks to expire.
    pub expire: Vec<String>,
}

impl Plan {
    /// Judges a page. `moves` says how many lost sessions' tasks may still move in this pass.
    #[must_use]
    pub fn new(page: &PageFacts, policy: &QueuePolicy, limits: &SilenceLimits, moves: Moves) -> Self {
        let mut plan =
            Self { expire: page.expired.iter().map(|(id, _)| id.clone()).collect(), ..Self::default() };
        let mut may_move = match moves {
            Moves::All => usize::MAX,
            Moves::Paced(n) => n,
            Moves::None => 0,
        };
        for session in &page.silent {
            if limits.judge(session, page.now_ms) != Liveness::Lost {
                plan.waiting += 1;
                continue;
            }
            let reconnecting = !limits.may_move(session, page.now_ms);
            let mut one = judge(session, policy, limits, page.now_ms, |task, policy| {
                Some((Cause::AgentLost, decide_lost(task, policy, page.now_ms)))
            });
            one.seen_beat_ms = Some(session.beat_ms.unwrap_or(0));
            one.declare = session.current && session.state == "active";
            one.forget = session.tasks.len() as u64 == session.running;
            // A session without tasks costs nobody anything, so it doesn't use up the pace.
            one.held = reconnecting || (may_move == 0 && one.verdicts() > 0);
            // What somebody is asked about first may stay for long, and must not use up the pace of the others.
            if !one.held && !one.batches.is_empty() {
                may_move = may_move.saturating_sub(1);
            }
            plan.lost.push(one);
        }
        for session in &page.overdue {
            plan.overdue.push(judge(session, policy, limits, page.now_ms, |task, policy| {
                decide_overdue(task, policy, page.now_ms)
            }));
        }
        plan
    }
}

/// What tasks must share to be carried out by one call.
type Kind = (Cause, Action, u32, Duration, Duration);

fn judge(
    session: &SessionFacts,
    policy: &QueuePolicy,
    limits: &SilenceLimits,
    now_ms: i64,
    decide: impl Fn(&TaskFacts, &super::policy::TaskPolicy) -> Option<(Cause, Action)>,
) -> SessionPlan {
    let mut batches: BTreeMap<Kind, Vec<(String, String)>> = BTreeMap::new();
    let mut plan = SessionPlan {
        session: session.session.clone(),
        seen_beat_ms: None,
        silence: silence(session, now_ms),
        late_by: limits.late_by(session, now_ms),
        declare: false,
        forget: false,
        held: false,
        batches: Vec::new(),
        elsewhere: Vec::new(),
        left: 0,
        no_record: Vec::new(),
    };
    for task in &session.tasks {
        if task.token.is_empty() {
            plan.no_record.push(task.id.clone());
            continue;
        }
        let policy = policy.of(&task.task_type);
        match decide(task, policy) {
            None => plan.left += 1,
            Some((cause, action)) => {
                if let Some(handle) = &task.external
                    && policy.external.asks(cause, action)
                {
                    plan.elsewhere.push(Elsewhere {
                        id: task.id.clone(),
                        task_type: task.task_type.clone(),
                        token: task.token.clone(),
                        handle: handle.clone(),
                        cause,
                        action,
                        abandonments: task.abandonments,
                        reset_delay: policy.reset_delay,
                    });
                    continue;
                }
                let kind = (cause, action, task.abandonments, policy.revoke_grace, policy.reset_delay);
                batches.entry(kind).or_default().push((task.id.clone(), task.token.clone()));
            }
        }
    }
    plan.batches = batches
        .into_iter()
        .map(|((cause, action, abandonments, revoke_grace, reset_delay), pairs)| Batch {
            cause,
            action,
            abandonments,
            revoke_grace,
            reset_delay,
            pairs,
        })
        .collect();
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_795_000_000_000;

    fn task() -> impl Strategy<Value = TaskFacts> {
        (
            0_u32..6,
            any::<bool>(),
            proptest::option::of(-5000..5000_i64),
            proptest::option::of(-5000..5000_i64),
            any::<bool>(),
            any::<bool>(),
        )
            .prop_map(|(abandonments, cancelled, deadline, limit, gone, elsewhere)| TaskFacts {
                external: elsewhere.then(|| "job".to_owned()),
                token: if gone { String::new() } else { "1-1-00000000000000aa".into() },
                task_type: "default".into(),
                abandonments,
                cancelled,
                deadline_ms: deadline.map(|d| NOW + d),
                limit_ms: limit.map(|d| NOW + d),
                ..TaskFacts::default()
            })
    }

    fn page() -> impl Strategy<Value = PageFacts> {
        let session = || (proptest::collection::vec(task(), 0..6), 0_i64..120_000, any::<bool>(), 0_u64..3);
        (proptest::collection::vec(session(), 0..6), proptest::collection::vec(session(), 0..4)).prop_map(
            |(silent, overdue)| {
                let mut n = 0;
                let mut number = |list: Vec<(Vec<TaskFacts>, i64, bool, u64)>| -> Vec<SessionFacts> {
                    list.into_iter()
                        .map(|(mut tasks, silent, current, beats)| {
                            for task in &mut tasks {
                                n += 1;
                                task.id = format!("t{n}");
                            }
                            SessionFacts {
                                session: format!("w.{n}-00000000"),
                                beat_ms: Some(NOW - silent),
                                running: tasks.len() as u64,
                                current,
                                beats,
                                state: "active".into(),
                                tasks,
                            }
                        })
                        .collect()
                };
                PageFacts {
                    now_ms: NOW,
                    silent: number(silent),
                    overdue: number(overdue),
                    expired: Vec::new(),
                }
            },
        )
    }

    fn seen(plan: &Plan) -> Vec<&str> {
        let mut ids = Vec::new();
        for session in plan.lost.iter().chain(&plan.overdue) {
            ids.extend(session.batches.iter().flat_map(|b| b.pairs.iter().map(|(id, _)| id.as_str())));
            ids.extend(session.no_record.iter().map(String::as_str));
            ids.extend(session.elsewhere.iter().map(|task| task.id.as_str()));
        }
        ids
    }

    proptest! {
        #[test]
        fn every_task_is_in_exactly_one_place_and_a_second_plan_is_the_same(page in page(), paced in 0_usize..3) {
            let mut policy = QueuePolicy::default();
            policy.task.external.left_to_daemon = true;
            let limits = SilenceLimits::new(&policy.session, 10);
            let plan = Plan::new(&page, &policy, &limits, Moves::Paced(paced));
            let mut ids = seen(&plan);
            let in_place = ids.len();
            ids.sort_unstable();
            ids.dedup();
            prop_assert_eq!(ids.len(), in_place, "no task twice");
            let lost = |s: &&SessionFacts| limits.judge(s, NOW) == Liveness::Lost;
            let judged: usize = page.silent.iter().filter(lost).map(|s| s.tasks.len()).sum::<usize>()
                + page.overdue.iter().map(|s| s.tasks.len()).sum::<usize>();
            prop_assert_eq!(in_place + plan.overdue.iter().map(|s| s.left).sum::<usize>(), judged);
            prop_assert_eq!(plan.waiting + plan.lost.len(), page.silent.len());
            let moving = plan.lost.iter().filter(|s| !s.held && !s.batches.is_empty()).count();
            prop_assert!(moving <= paced);
            prop_assert_eq!(&plan, &Plan::new(&page, &policy, &limits, Moves::Paced(paced)));
        }
    }

    #[test]
    fn a_session_that_is_cut_by_the_page_is_not_forgotten_yet() {
        let policy = QueuePolicy::default();
        let limits = SilenceLimits::new(&policy.session, 10);
        let session = SessionFacts {
            beat_ms: Some(0),
            running: 2,
            tasks: vec![TaskFacts::default()],
            ..Default::default()
        };
        let page = PageFacts { now_ms: NOW, silent: vec![session], ..PageFacts::default() };
        let plan = Plan::new(&page, &policy, &limits, Moves::All);
        assert!(!plan.lost[0].forget);
    }
}
