//! Names and tokens, each a type of its own that was validated once, where it entered.
//!
//! Names become parts of Redis keys, of metric labels and of lines that people read, so what they may hold is small:
//! no braces (they would move a key to another slot of a cluster), no white space, no control characters.

use std::fmt;
use std::str::FromStr;

/// Why a name was refused. The text is a sentence for the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?} is not a valid name: {rule}")]
pub struct InvalidName {
    what: &'static str,
    value: String,
    rule: &'static str,
}

fn refuse(what: &'static str, value: &str, rule: &'static str) -> InvalidName {
    // A hostile name must not flood a terminal or a log.
    InvalidName { what, value: value.chars().take(80).collect(), rule }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $extra:literal, $rule:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Validates `value`.
            ///
            /// # Errors
            /// [`InvalidName`], which says what is allowed.
            pub fn new(value: impl Into<String>) -> Result<Self, InvalidName> {
                let value = value.into();
                let allowed = |b: u8| b.is_ascii_alphanumeric() || $extra.contains(&b);
                let fits = (1..=$max).contains(&value.len()) && value.bytes().all(allowed);
                if fits && !value.starts_with('_') { Ok(Self(value)) } else { Err(refuse($what, &value, $rule)) }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(value: &str) -> Result<Self, InvalidName> {
                Self::new(value)
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                self.0.as_bytes()
            }
        }
    };
}

name!(
    /// The name of a queue.
    QueueName, "queue", 64, b"_.-",
    "1 to 64 of the letters a-z A-Z, digits, '_', '.', '-', and no '_' at the start"
);
name!(
    /// The type of a task: what policies, limits and statistics are kept by.
    TaskType, "task type", 64, b"_.-",
    "1 to 64 of the letters a-z A-Z, digits, '_', '.', '-', and no '_' at the start"
);
name!(
    /// The stable name under which at most one live process acts at any time: `worker-3`.
    Identity, "identity", 40, b"_-",
    "1 to 40 of the letters a-z A-Z, digits, '_', '-', and no '_' at the start"
);
name!(
    /// The name of a task within its queue.
    TaskId, "task id", 64, b"_.:@/-",
    "1 to 64 bytes of a-z A-Z, digits, '_', '.', ':', '@', '/', '-', and no '_' at the start"
);

impl TaskType {
    /// The type of a task for which none was given.
    #[must_use]
    pub fn default_type() -> Self {
        Self("default".into())
    }
}

/// One process' life under an identity: `<identity>.<incarnation>-<8 hex digits of its nonce>`.
///
/// The incarnation comes from one counter of the queue; the nonce tells two sessions apart that a failover gave the
/// same number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session(String);

impl Session {
    /// Parses a session as Redis holds it.
    ///
    /// # Errors
    /// [`InvalidName`] if the text isn't of the form above.
    pub fn new(value: impl Into<String>) -> Result<Self, InvalidName> {
        let value = value.into();
        let sound = value.split_once('.').is_some_and(|(identity, life)| {
            Identity::new(identity).is_ok()
                && life.split_once('-').is_some_and(|(number, nonce)| {
                    !number.is_empty()
                        && number.bytes().all(|b| b.is_ascii_digit())
                        && nonce.len() == 8
                        && nonce.bytes().all(|b| b.is_ascii_hexdigit())
                })
        });
        if sound {
            Ok(Self(value))
        } else {
            Err(refuse("session", &value, "<identity>.<incarnation>-<8 hex digits>"))
        }
    }

    /// The session as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The identity under which this session acts.
    #[must_use]
    pub fn identity(&self) -> &str {
        self.0.split_once('.').map_or(self.0.as_str(), |(identity, _)| identity)
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the holder of a task shows to complete it: `<attempt>-<seq>-<nonce>`, compared for equality only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(String);

impl Token {
    /// Parses a token as Redis or an agent holds it.
    ///
    /// # Errors
    /// [`InvalidName`] if the text isn't of the form above.
    pub fn new(value: impl Into<String>) -> Result<Self, InvalidName> {
        let value = value.into();
        let mut parts = value.split('-');
        let digits =
            |p: Option<&str>| p.is_some_and(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
        let sound = digits(parts.next())
            && digits(parts.next())
            && parts.next().is_some_and(|p| Nonce::new(p).is_ok())
            && parts.next().is_none();
        if sound { Ok(Self(value)) } else { Err(refuse("attempt token", &value, "<attempt>-<seq>-<nonce>")) }
    }

    /// The token as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number of the attempt, from 1.
    #[must_use]
    pub fn attempt(&self) -> u64 {
        self.0.split('-').next().and_then(|n| n.parse().ok()).unwrap_or(0)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// 64 random bits as 16 hex digits, made by the client: a script's own random numbers repeat after each restart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(String);

impl Nonce {
    /// Parses 16 lower-case hex digits.
    ///
    /// # Errors
    /// [`InvalidName`] for anything else.
    pub fn new(value: impl Into<String>) -> Result<Self, InvalidName> {
        let value = value.into();
        if value.len() == 16 && value.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(value))
        } else {
            Err(refuse("nonce", &value, "16 lower-case hex digits"))
        }
    }

    /// The nonce that these 64 bits make.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        Self(format!("{bits:016x}"))
    }

    /// The nonce as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_what_the_rule_says_and_nothing_else() {
        for good in ["a", "billing.eu-1", "A_b", &"x".repeat(64)] {
            assert_eq!(QueueName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "_ours", "a b", "a{b}", "a\n", "é", "a:b", &"x".repeat(65)] {
            let error = QueueName::new(bad).unwrap_err().to_string();
            assert!(error.contains("queue") && error.contains("1 to 64"), "{error}");
        }
        assert!(TaskId::new("2024/inv:7@eu").is_ok());
        assert!(Identity::new("worker.3").is_err(), "a dot ends the identity in a session's name");
        assert!(Identity::new("x".repeat(41)).is_err());
    }

    #[test]
    fn a_session_knows_its_identity() {
        let session = Session::new("worker-3.17-9f3a2c1b").unwrap();
        assert_eq!(session.identity(), "worker-3");
        for bad in ["worker-3", "worker-3.17", "worker-3.x-9f3a2c1b", "worker-3.17-9f3a", "a b.1-9f3a2c1b"] {
            assert!(Session::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_knows_its_attempt() {
        assert_eq!(Token::new("12-7-00000000000000ff").unwrap().attempt(), 12);
        for bad in ["", "1-2", "1-2-xyz", "1-2-00000000000000ff-3", "-2-00000000000000ff"] {
            assert!(Token::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_long_hostile_name_is_cut_in_the_message() {
        let error = TaskId::new("\u{1b}[2J".repeat(1000)).unwrap_err().to_string();
        assert!(error.len() < 800 && !error.contains('\u{1b}'), "{error}");
    }
}
