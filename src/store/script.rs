//! Lua scripts, put together from files: the shebang line, the shared parts that a script includes, its own text.

use redis::Script as Hashed;

/// A script, ready to be run by its hash.
#[derive(Debug)]
pub struct Script {
    name: &'static str,
    source: String,
    sha: String,
}

impl Script {
    /// Puts a script together. Its text may hold one line `--! include a b`, which stands for the shared parts `a` and
    /// `b`, in this order.
    #[must_use]
    pub fn assemble(name: &'static str, text: &str, parts: &[(&str, &str)]) -> Self {
        let mut source = String::with_capacity(text.len() * 3);
        for line in text.lines() {
            let Some(wanted) = line.strip_prefix("--! include ") else {
                source.push_str(line);
                source.push('\n');
                continue;
            };
            for want in wanted.split_whitespace() {
                // An unknown part leaves a line that Lua refuses to compile; the tests run every script.
                let found = parts.iter().find(|(part, _)| *part == want);
                source.push_str(found.map_or("unknown part", |(_, text)| text));
                source.push('\n');
            }
        }
        let sha = Hashed::new(&source).get_hash().to_owned();
        Self { name, source, sha }
    }

    /// The name by which metrics and messages speak of it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The whole text.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What Redis knows it by.
    #[must_use]
    pub fn sha(&self) -> &str {
        &self.sha
    }
}

/// The arguments of a call, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Args(Vec<Vec<u8>>);

impl Args {
    /// Adds text or bytes.
    pub fn push(&mut self, arg: impl AsRef<[u8]>) -> &mut Self {
        self.0.push(arg.as_ref().to_vec());
        self
    }

    /// Adds a number.
    pub fn int(&mut self, number: impl Into<i64>) -> &mut Self {
        self.0.push(number.into().to_string().into_bytes());
        self
    }

    /// The arguments, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }
}
