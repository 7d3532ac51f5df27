//! What was seen, before anyone judges it. Times are milliseconds of the server's clock.

/// What stands about one running task.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskFacts {
    /// Its name.
    pub id: String,
    /// What holds it; empty: the record is gone.
    pub token: String,
    /// Its type.
    pub task_type: String,
    /// How often an agent lost it.
    pub abandonments: u32,
    /// When it was taken. This and what follows is read for tasks only whose own time has come: no other task is
    /// cancelled or past a limit.
    pub taken_at_ms: Option<i64>,
    /// When nobody wants its result any more.
    pub deadline_ms: Option<i64>,
    /// Whether a person cancelled it.
    pub cancelled: bool,
    /// When it will have run too long.
    pub limit_ms: Option<i64>,
    /// When its agent was told to stop.
    pub revoked_at_ms: Option<i64>,
    /// By when it must show life itself.
    pub alive_until_ms: Option<i64>,
    /// Where else it is being worked on; read only where hooks are configured.
    pub external: Option<String>,
}

/// What stands about one session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionFacts {
    /// Its name.
    pub session: String,
    /// Its last heartbeat; `None`: it has none.
    pub beat_ms: Option<i64>,
    /// How many tasks it runs.
    pub running: u64,
    /// Whether it is its identity's current one.
    pub current: bool,
    /// How often it beat; 0: it only registered.
    pub beats: u64,
    /// What its identity's state says: `active`, `left`, `lost`, or nothing.
    pub state: String,
    /// Its tasks, cut where the page is full.
    pub tasks: Vec<TaskFacts>,
}

/// One page of what must be judged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PageFacts {
    /// The server's clock.
    pub now_ms: i64,
    /// Silent sessions with their tasks.
    pub silent: Vec<SessionFacts>,
    /// Sessions one of whose tasks has passed a limit, with those tasks.
    pub overdue: Vec<SessionFacts>,
    /// Waiting tasks past their deadline, with it.
    pub expired: Vec<(String, i64)>,
}
