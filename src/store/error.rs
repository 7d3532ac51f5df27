//! What can go wrong with a call, told by what the caller may conclude.

use crate::core::id::QueueName;

/// What a caller may conclude from a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// It didn't run, and may when tried again later: no connection, still loading, full, read-only.
    Transient,
    /// It didn't run, and won't until a person changes something.
    Permanent,
    /// Nobody knows whether it ran: the answer was lost, or came too late.
    Unknown,
}

impl Failure {
    /// The name that metrics use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Permanent => "permanent",
            Self::Unknown => "unknown",
        }
    }
}

/// A call that got no usable answer.
#[derive(Debug, thiserror::Error)]
#[error("could not {doing}: {advice}")]
pub struct StoreError {
    failure: Failure,
    doing: String,
    advice: String,
    code: Option<String>,
    #[source]
    source: Option<redis::RedisError>,
}

impl StoreError {
    pub(super) fn from_redis(doing: &str, source: redis::RedisError) -> Self {
        let (failure, advice) = read(&source);
        let code = source.code().map(str::to_owned);
        Self { failure, doing: doing.to_owned(), advice, code, source: Some(source) }
    }

    /// A reply of a shape or with a word that this program doesn't know.
    #[must_use]
    pub fn unknown_reply(doing: &str, reply: &str) -> Self {
        Self {
            failure: Failure::Permanent,
            doing: doing.to_owned(),
            advice: format!(
                "the answer {reply} is none that this version knows; are all programs of one version?"
            ),
            code: None,
            source: None,
        }
    }

    /// Whether the user may do that, but not with this key.
    #[must_use]
    pub fn is_refused_key(&self) -> bool {
        let detail = self.source.as_ref().and_then(|source| source.detail()).unwrap_or_default();
        self.code.as_deref() == Some("NOPERM") && detail.contains("key")
    }

    /// Something that this program doesn't do, and what to do instead.
    #[must_use]
    pub fn unsupported(doing: &str, advice: &str) -> Self {
        Self {
            failure: Failure::Permanent,
            doing: doing.to_owned(),
            advice: advice.to_owned(),
            code: None,
            source: None,
        }
    }

    /// What may be concluded.
    #[must_use]
    pub fn failure(&self) -> Failure {
        self.failure
    }

    /// Whether the server refuses because the queue was written by another version.
    #[must_use]
    pub fn is_format(&self) -> bool {
        self.code.as_deref() == Some("BACKSTOP_FORMAT")
    }

    /// Whether a key holds another type of value than the command is for.
    #[must_use]
    pub fn is_wrong_type(&self) -> bool {
        self.code.as_deref() == Some("WRONGTYPE")
    }

    /// Whether a key isn't a stream that such a group reads: it is of another type, isn't there, or has other groups.
    #[must_use]
    pub fn is_no_group(&self) -> bool {
        self.is_wrong_type() || self.code.as_deref() == Some("NOGROUP")
    }

    /// The same, naming the queue: of several, a person must know which.
    #[must_use]
    pub(crate) fn of_queue(mut self, queue: &QueueName) -> Self {
        self.doing = format!("{} on queue {queue}", self.doing);
        self
    }
}

const LACKS_RIGHT: &str = "the Redis user lacks a right: see the ACL files in deploy/";

fn read(error: &redis::RedisError) -> (Failure, String) {
    use redis::{ErrorKind, ServerErrorKind};
    let detail = error.detail().unwrap_or_default();
    let said = |text: &str| if detail.is_empty() { text.to_owned() } else { format!("{text} ({detail})") };
    let by_code = match error.code() {
        Some("OOM") => {
            Some((Failure::Transient, "Redis is full: raise maxmemory, or let tasks be completed"))
        }
        Some("WRONGPASS" | "NOAUTH") => {
            Some((Failure::Permanent, "wrong or missing password: check the Redis URL"))
        }
        Some("MISCONF") => Some((Failure::Transient, "Redis can't write to its disk and refuses changes")),
        Some("WRONGTYPE") => Some((Failure::Permanent, "a key of the queue holds another type of value")),
        Some("BACKSTOP_FORMAT") => {
            Some((Failure::Permanent, "another version wrote this queue: upgrade this program"))
        }
        Some(_) | None => None,
    };
    // A right that is missing inside a script comes back as the script's own error.
    let refused = ["The user executing the script can't", "ACL failure in script"];
    let by_code = by_code.or_else(|| {
        let lacks = refused.iter().any(|text| detail.contains(text));
        lacks.then_some((Failure::Permanent, LACKS_RIGHT))
    });
    if let Some((failure, text)) = by_code {
        return (failure, said(text));
    }
    match error.kind() {
        ErrorKind::AuthenticationFailed => {
            (Failure::Permanent, said("Redis refused the user or password: check the Redis URL"))
        }
        ErrorKind::InvalidClientConfig => {
            (Failure::Permanent, said("use redis://, rediss:// or redis+unix:// and a host, port or path"))
        }
        ErrorKind::Server(ServerErrorKind::BusyLoading) => {
            (Failure::Transient, "Redis is still loading its data".to_owned())
        }
        ErrorKind::Server(ServerErrorKind::ReadOnly) => {
            (Failure::Transient, "this Redis is a read-only replica: use the primary's address".to_owned())
        }
        ErrorKind::Server(ServerErrorKind::NoPerm) => (Failure::Permanent, said(LACKS_RIGHT)),
        ErrorKind::Server(
            ServerErrorKind::TryAgain | ServerErrorKind::ClusterDown | ServerErrorKind::MasterDown,
        ) => (Failure::Transient, said("the cluster is moving or down")),
        ErrorKind::Io if error.is_connection_refusal() => {
            (Failure::Transient, "Redis can't be reached: is it running at this address?".to_owned())
        }
        ErrorKind::Io => {
            (Failure::Unknown, said("the connection to Redis broke, or its answer took too long"))
        }
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => (
            Failure::Unknown,
            said("what answered doesn't speak Redis' protocol (does it want TLS, rediss://?)"),
        ),
        // What a server says that isn't about this call: too few replicas, too many clients, a script that still runs.
        ErrorKind::Extension => {
            (Failure::Transient, format!("{} {detail}", error.code().unwrap_or_default()))
        }
        _ => (Failure::Permanent, format!("{} {detail}", error.category())),
    }
}
