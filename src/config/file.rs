//! What was typed: the file, key by key. A key that doesn't stand there is `None`; what that means is decided when
//! the settings are made of it.

use std::collections::BTreeMap;
use std::fs::File as Handle;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;

use tracing::Level;

use super::external::ExternalFile;
use super::foreign::ForeignFile;
use super::problem::Problem;
use super::redis_url::RedisUrl;
use super::section::{At, Section};
use super::value::{AtLeastOne, CronFields, Factor, Limit, Period, Share, Wait};
use super::{LogFormat, QueueNames};
use crate::core::id::{QueueName, TaskType};
use crate::core::policy::{LateResults, LimitAction, Mode, StopOnAgent};

/// The largest file that is read, in bytes: a configuration has a few hundred lines.
const LARGEST: u64 = 1 << 20;

/// A value that may have been typed.
type Typed<T> = Option<At<T>>;

#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) redis_url: Typed<RedisUrl>,
    pub(super) sweep: SweepFile,
    pub(super) listen: Typed<SocketAddr>,
    pub(super) guards: GuardsFile,
    pub(super) log: LogFile,
    pub(super) defaults: QueueFile,
    pub(super) queues: BTreeMap<QueueName, QueueFile>,
    pub(super) foreign: BTreeMap<QueueName, ForeignFile>,
}

#[derive(Debug, Default)]
pub(super) struct SweepFile {
    pub(super) every: Typed<Period>,
    pub(super) cron: Typed<CronFields>,
    pub(super) lease: Typed<Period>,
    pub(super) discover: Typed<bool>,
    pub(super) queues: Typed<QueueNames>,
}

#[derive(Debug, Default)]
pub(super) struct GuardsFile {
    pub(super) share: Typed<Share>,
    pub(super) min_sessions: Typed<AtLeastOne>,
    pub(super) window: Typed<Period>,
    pub(super) pace: Typed<Period>,
    pub(super) failover_grace: Typed<Period>,
}

#[derive(Debug, Default)]
pub(super) struct LogFile {
    pub(super) format: Typed<LogFormat>,
    pub(super) level: Typed<Level>,
}

/// A queue, or the defaults of all.
#[derive(Debug, Default)]
pub(super) struct QueueFile {
    pub(super) mode: Typed<Mode>,
    pub(super) keep_done: Typed<Period>,
    pub(super) session: SessionFile,
    pub(super) task: TaskFile,
    pub(super) types: BTreeMap<TaskType, TaskFile>,
}

#[derive(Debug, Default)]
pub(super) struct SessionFile {
    pub(super) heartbeat_interval: Typed<Period>,
    pub(super) heartbeat_timeout: Typed<Period>,
    pub(super) lost_after: Typed<Period>,
    pub(super) startup_grace: Typed<Period>,
    pub(super) adopt_within: Typed<Wait>,
    pub(super) reconnect_grace: Typed<Wait>,
    pub(super) stop_on_agent_after: Typed<StopOnAgent>,
}

#[derive(Debug, Default)]
pub(super) struct TaskFile {
    pub(super) start_to_close: Typed<Limit>,
    pub(super) start_to_close_action: Typed<LimitAction>,
    pub(super) task_heartbeat_timeout: Typed<Limit>,
    pub(super) revoke_grace: Typed<Wait>,
    pub(super) schedule_to_close: Typed<Limit>,
    pub(super) max_abandonments: Typed<u32>,
    pub(super) max_failures: Typed<u32>,
    pub(super) backoff_first: Typed<Wait>,
    pub(super) backoff_factor: Typed<Factor>,
    pub(super) backoff_max: Typed<Wait>,
    pub(super) release_delay: Typed<Wait>,
    pub(super) reset_delay: Typed<Wait>,
    pub(super) late_results: Typed<LateResults>,
    pub(super) external: ExternalFile,
}

impl File {
    pub(super) fn read(root: &mut Section<'_, '_>) -> Self {
        Self {
            redis_url: root.section("redis", |redis| redis.value("url")),
            sweep: root.section("sweep", SweepFile::read),
            listen: root.section("http", |http| http.value("listen")),
            guards: root.section("guards", GuardsFile::read),
            log: root
                .section("log", |log| LogFile { format: log.value("format"), level: log.value("level") }),
            defaults: root.section("defaults", |defaults| QueueFile::read(defaults, BTreeMap::new())),
            queues: root.named("queues", |queue| {
                let types = queue.named("types", TaskFile::read);
                QueueFile::read(queue, types)
            }),
            foreign: root.named("foreign", ForeignFile::read),
        }
    }
}

impl SweepFile {
    fn read(sweep: &mut Section<'_, '_>) -> Self {
        Self {
            every: sweep.value("every"),
            cron: sweep.value("cron"),
            lease: sweep.value("lease"),
            discover: sweep.value("discover"),
            queues: sweep.value("queues"),
        }
    }
}

impl GuardsFile {
    fn read(guards: &mut Section<'_, '_>) -> Self {
        let failover_grace = guards.value("failover_grace");
        guards.section("mass_loss", |mass_loss| Self {
            share: mass_loss.value("share"),
            min_sessions: mass_loss.value("min_sessions"),
            window: mass_loss.value("window"),
            pace: mass_loss.value("pace"),
            failover_grace,
        })
    }
}

impl QueueFile {
    fn read(queue: &mut Section<'_, '_>, types: BTreeMap<TaskType, TaskFile>) -> Self {
        Self {
            mode: queue.value("mode"),
            keep_done: queue.value("keep_done"),
            session: queue.section("session", SessionFile::read),
            task: queue.section("task", TaskFile::read),
            types,
        }
    }
}

impl SessionFile {
    fn read(session: &mut Section<'_, '_>) -> Self {
        Self {
            heartbeat_interval: session.value("heartbeat_interval"),
            heartbeat_timeout: session.value("heartbeat_timeout"),
            lost_after: session.value("lost_after"),
            startup_grace: session.value("startup_grace"),
            adopt_within: session.value("adopt_within"),
            reconnect_grace: session.value("reconnect_grace"),
            stop_on_agent_after: session.value("stop_on_agent_after"),
        }
    }
}

impl TaskFile {
    fn read(task: &mut Section<'_, '_>) -> Self {
        let (start_to_close, start_to_close_action) =
            task.section("start_to_close", |limit| (limit.value("limit"), limit.value("action")));
        let (backoff_first, backoff_factor, backoff_max) = task.section("backoff", |backoff| {
            (backoff.value("first"), backoff.value("factor"), backoff.value("max"))
        });
        Self {
            start_to_close,
            start_to_close_action,
            task_heartbeat_timeout: task.value("task_heartbeat_timeout"),
            revoke_grace: task.value("revoke_grace"),
            schedule_to_close: task.value("schedule_to_close"),
            max_abandonments: task.value("max_abandonments"),
            max_failures: task.value("max_failures"),
            backoff_first,
            backoff_factor,
            backoff_max,
            release_delay: task.value("release_delay"),
            reset_delay: task.value("reset_delay"),
            late_results: task.value("late_results"),
            external: task.section("external", ExternalFile::read),
        }
    }
}

/// The text of the file at `path`.
///
/// # Errors
/// The one reason why it can't be had.
pub(super) fn text(path: &Path) -> Result<String, Problem> {
    let refuse = |message: String| Problem::whole(path.display().to_string(), message);
    if path.is_dir() {
        return Err(refuse("is a directory; name the file in it".into()));
    }
    let mut bytes = Vec::new();
    Handle::open(path)
        // One byte more than is allowed tells "too large", also of a pipe or a device that has no size.
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
        .map_err(|error| refuse(format!("can't be read: {error}")))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > LARGEST) {
        return Err(refuse("is larger than 1 MiB; is it the right file?".into()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(valid).filter(|b| **b == b'\n').count() + 1;
        Problem { line: Some(line), ..refuse("is not UTF-8 text; is it the right file?".into()) }
    })
}
