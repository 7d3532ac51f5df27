//! The kinds of values that the file may hold, each with the sentence that says what would be right.

use std::net::SocketAddr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeValue, ValueDeserializer};
use tracing::Level;

use super::redis_url::{InvalidRedisUrl, RedisUrl};
use super::{LogFormat, QueueNames};
use crate::core::external::Method;
use crate::core::id::QueueName;
use crate::core::layout::{End, Envelope, Life, Means, Position, Unit};
use crate::core::pattern::Pattern;
use crate::core::policy::{LateResults, LimitAction, Mode, StopOnAgent};

/// Longer is a mistake in the unit; and sums of a few such durations still fit into every clock and every script.
/// The length of a year is humantime's, or "10years" would be refused.
const LONGEST: Duration = Duration::from_secs(10 * 31_557_600);

/// Something that can be read from one value of the file.
pub(super) trait Value: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// What would have been right, as a sentence.
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String>;
}

/// A wait: it may be zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Wait(pub(super) Duration);

/// A duration that makes no sense as zero. A millisecond at least: that is what Redis counts in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Period(pub(super) Duration);

/// A limit that may be off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Limit(pub(super) Option<Duration>);

/// What a wait is multiplied by: finite, at least 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Factor(pub(super) f64);

/// A part of a whole: more than 0, at most 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Share(pub(super) f64);

/// A number of things of which there must be one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct AtLeastOne(pub(super) u32);

/// A cron expression of six fields, the first being seconds. Its fields are checked by who understands them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CronFields(pub(super) String);

/// Any text, at most 512 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text(pub(super) String);

/// An address that is asked by HTTP, with holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address(pub(super) String);

/// Commands, each a name, a key and arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Commands(pub(super) Vec<Vec<String>>);

/// Several texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Texts(pub(super) Vec<String>);

fn plain<T: DeserializeOwned>(value: Spanned<DeValue<'_>>) -> Option<T> {
    T::deserialize(ValueDeserializer::from(value)).ok()
}

fn duration(value: Spanned<DeValue<'_>>) -> Option<Duration> {
    humantime_serde::deserialize(ValueDeserializer::from(value)).ok().filter(|duration| *duration <= LONGEST)
}

/// The meaning of the one of these words that was typed.
fn word<T: Clone>(value: Spanned<DeValue<'_>>, words: &[(&str, T)]) -> Result<T, String> {
    let typed = value.get_ref().as_str();
    let meant = words.iter().find(|(word, _)| typed == Some(word)).map(|(_, meaning)| meaning.clone());
    meant.ok_or_else(|| {
        let words: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        format!("expected one of {}", words.join(", "))
    })
}

impl Value for Wait {
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String> {
        duration(value).map(Self).ok_or_else(|| {
            "expected a duration from \"0s\" to \"10years\", such as \"90s\" or \"1h 30m\"".into()
        })
    }
}

impl Value for Period {
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String> {
        duration(value).filter(|duration| *duration >= Duration::from_millis(1)).map(Self).ok_or_else(|| {
            "expected a duration from \"1ms\" to \"10years\", such as \"90s\" or \"1h 30m\"".into()
        })
    }
}

impl Value for Limit {
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String> {
        match value.get_ref().as_str() {
            Some("off") => Ok(Self(None)),
            Some("learned") => {
                Err("learned limits are not available in this version; give a duration, or \"off\"".into())
            }
            _ => match Period::read(value) {
                Ok(Period(limit)) => Ok(Self(Some(limit))),
                Err(message) => Err(format!("{message}, or \"off\"")),
            },
        }
    }
}

impl Value for StopOnAgent {
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String> {
        if value.get_ref().as_str() == Some("never") {
            return Ok(Self::Never);
        }
        match Period::read(value) {
            Ok(Period(silence)) => Ok(Self::After(silence)),
            Err(message) => Err(format!("{message}, or \"never\"")),
        }
    }
}

impl Value for Factor {
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String> {
        plain::<f64>(value)
            .filter(|factor| factor.is_finite() && *factor >= 1.0)
            .map(Self)
            .ok_or_else(|| "expected a number of at least 1, such as 2.0".into())
    }
}

impl Value for Share {
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String> {
        plain::<f64>(value)
            .filter(|share| *share > 0.0 && *share <= 1.0)
            .map(Self)
            .ok_or_else(|| "expected a number above 0 and up to 1, such as 0.55".into())
    }
}

impl Value for AtLeastOne {
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String> {
        plain::<u32>(value)
            .filter(|number| *number >= 1)
            .map(Self)
            .ok_or_else(|| format!("expected a whole number from 1 to {}", u32::MAX))
    }
}

impl Value for u32 {
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String> {
        plain(value).ok_or_else(|| format!("expected a whole number from 0 to {}", Self::MAX))
    }
}

impl Value for bool {
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String> {
        plain(value).ok_or_else(|| "expected true or false".into())
    }
}

impl Value for Address {
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String> {
        let typed = value.get_ref().as_str().unwrap_or_default();
        let rest = typed.strip_prefix("http://").or_else(|| typed.strip_prefix("https://"));
        let named = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', '{']));
        let plain = typed.len() <= 512 && typed.chars().all(|c| c.is_ascii_graphic());
        if named && plain {
            return Ok(Self(typed.to_owned()));
        }
        Err("expected an address that begins with http:// or https:// and a host, such as \"http://jobs.example/v1/{handle}\"".into())
    }
}

impl Value for Method {
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String> {
        word(value, &[("GET", Self::Get), ("POST", Self::Post), ("DELETE", Self::Delete)])
    }
}

impl Value for CronFields {
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String> {
        let typed = value.get_ref().as_str().unwrap_or_default();
        let fields: Vec<&str> = typed.split_whitespace().collect();
        match fields.len() {
            // The scheduler counts seconds; who writes five fields means the full minute.
            5 => Ok(Self(format!("0 {}", fields.join(" ")))),
            6 => Ok(Self(fields.join(" "))),
            _ => Err("expected a cron expression of 5 fields, or of 6 with seconds first, such as \
                      \"*/5 * * * *\""
                .into()),
        }
    }
}

impl Value for SocketAddr {
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String> {
        parse_listen(value.get_ref().as_str().unwrap_or_default())
    }
}

/// Reads the address to listen at.
///
/// # Errors
/// What would have been right.
pub(super) fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "expected an address and a port, such as \"127.0.0.1:9464\" or \"[::1]:9464\"; a host's name won't do"
            .into()
    })
}

impl Value for RedisUrl {
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String> {
        let text = value.get_ref().as_str().unwrap_or_default();
        text.parse().map_err(|error: InvalidRedisUrl| error.to_string())
    }
}

impl Value for QueueNames {
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String> {
        let names: Vec<String> =
            plain(value).ok_or("expected a list of queues, such as [\"billing\", \"mail\"]")?;
        names.into_iter().map(|name| QueueName::new(name).map_err(|error| error.to_string())).collect()
    }
}

impl Value for Mode {
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String> {
        word(value, &[("enforce", Self::Enforce), ("observe", Self::Observe)])
    }
}

impl Value for LimitAction {
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String> {
        word(value, &[("alert", Self::Alert), ("revoke", Self::Revoke), ("reset", Self::Reset)])
    }
}

impl Value for LateResults {
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String> {
        word(value, &[("accept_if_unstarted", Self::AcceptIfUnstarted), ("refuse", Self::Refuse)])
    }
}

impl Value for LogFormat {
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String> {
        word(value, &[("auto", Self::Auto), ("human", Self::Human), ("json", Self::Json)])
    }
}

impl Value for Level {
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String> {
        let words = [
            ("error", Self::ERROR),
            ("warn", Self::WARN),
            ("info", Self::INFO),
            ("debug", Self::DEBUG),
            ("trace", Self::TRACE),
        ];
        word(value, &words)
    }
}

/// Names in Redis are short; what is longer is a mistake.
const LONGEST_TEXT: usize = 512;

impl Value for Text {
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String> {
        plain::<String>(value)
            .filter(|text| text.len() <= LONGEST_TEXT)
            .map(Self)
            .ok_or_else(|| format!("expected a text of up to {LONGEST_TEXT} bytes"))
    }
}

impl Value for Texts {
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String> {
        plain::<Vec<String>>(value)
            .filter(|texts| texts.iter().all(|text| !text.is_empty() && text.len() <= LONGEST_TEXT))
            .map(Self)
            .ok_or_else(|| "expected a list of texts, such as [\"default\", \"mail\"]".into())
    }
}

impl Value for Commands {
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String> {
        plain::<Vec<Vec<String>>>(value)
            .filter(|all| all.len() <= 16 && all.iter().all(|one| (2..=16).contains(&one.len())))
            .map(Self)
            .ok_or_else(|| {
                "expected a list of commands, such as [[\"SADD\", \"queues\", \"{queue}\"]]".into()
            })
    }
}

impl Value for Pattern {
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String> {
        let Text(text) = Text::read(value)?;
        Self::parse(&text).map_err(|error| error.to_string())
    }
}

impl Value for Means {
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String> {
        word(value, &[("last_seen", Self::LastSeen), ("expires", Self::Expires)])
    }
}

impl Value for Life {
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String> {
        word(value, &[("agent", Self::Agents), ("task", Self::Tasks)])
    }
}

impl Value for Envelope {
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String> {
        word(value, &[("none", Self::None), ("kombu", Self::Kombu)])
    }
}

impl Value for Unit {
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String> {
        word(value, &[("s", Self::Seconds), ("ms", Self::Millis)])
    }
}

impl Value for End {
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String> {
        word(value, &[("left", Self::Left), ("right", Self::Right)])
    }
}

impl Value for Position {
    fn read(value: Spanned<DeValue<'_>>) -> Result<Self, String> {
        word(value, &[("head", Self::Head), ("tail", Self::Tail)])
    }
}
