//! What is wrong with a configuration: all of it at once, each problem with its place, so that one round of
//! corrections is enough.

use std::fmt;

use serde::Serialize;

/// More than this and the list no longer helps: the file is probably not meant for us.
const MOST_SHOWN: usize = 20;

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, or the flag and environment variable, that holds it.
    pub origin: String,
    /// The line in the file, from 1; `None` if it concerns no line of its own.
    pub line: Option<usize>,
    /// The whole key, such as `defaults.session.lost_after`; `None` if it concerns none.
    pub key: Option<String>,
    /// The value as typed, shortened, without passwords; `None` where the key is what is wrong.
    pub value: Option<String>,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Problem {
    /// A problem of the whole of `origin`.
    pub(super) fn whole(origin: impl Into<String>, message: impl Into<String>) -> Self {
        Self { origin: origin.into(), line: None, key: None, value: None, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        if let Some(key) = &self.key {
            f.write_str(key)?;
            if let Some(value) = &self.value {
                write!(f, " = {value}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.message)
    }
}

/// A configuration that was refused, with every problem that was found in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        // In the order of the file, whatever the order in which they were found; the sort is stable.
        problems.sort_by_key(|problem| problem.line);
        Self { problems }
    }

    /// The problems, by line; at least one.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

/// One problem a line; of very many only the first.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.problems.iter().take(MOST_SHOWN).enumerate() {
            let separator = if position == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        match self.problems.len().saturating_sub(MOST_SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n… and {more} more"),
        }
    }
}
