//! The address of a Redis, which may hold a password.

use std::fmt;
use std::str::FromStr;

/// What a Redis address looks like; completes "expected …".
const SHAPE: &str = "a Redis address such as \"redis://127.0.0.1:6379\" or \"redis+unix:///run/redis.sock\" \
                     (special characters of a password as %XX)";

/// Where Redis is. Shown and debugged without its password; [`RedisUrl::expose`] has it all.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl(String);

/// A text that is no Redis address. It doesn't repeat the text, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {SHAPE}")]
pub struct InvalidRedisUrl;

impl RedisUrl {
    /// The address with its password, for whoever connects.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for RedisUrl {
    type Err = InvalidRedisUrl;

    fn from_str(text: &str) -> Result<Self, InvalidRedisUrl> {
        let plain = text.chars().all(|c| !c.is_whitespace() && !c.is_control());
        let sound = text.split_once("://").is_some_and(|(scheme, rest)| match scheme {
            "redis" | "rediss" | "valkey" | "valkeys" => names_a_server(rest),
            "unix" | "redis+unix" | "valkey+unix" => rest.len() > 1 && rest.starts_with('/'),
            _ => false,
        });
        if plain && sound { Ok(Self(text.to_owned())) } else { Err(InvalidRedisUrl) }
    }
}

impl Default for RedisUrl {
    fn default() -> Self {
        Self("redis://127.0.0.1:6379".to_owned())
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(&self.0))
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", redacted(&self.0))
    }
}

/// Whether `rest` is `[user:password@]host[:port][/database][?options]`.
fn names_a_server(rest: &str) -> bool {
    let (address, options) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = address.split_once('/').unwrap_or((address, ""));
    let server = authority.rsplit_once('@').map_or(authority, |(_, server)| server);
    let (host, port) = match server.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
        Some((host, "")) => (host, None),
        // An address in brackets is followed by nothing or by a port: `None` for the host refuses the rest.
        Some((host, after)) => (if after.starts_with(':') { host } else { "" }, after.strip_prefix(':')),
        None => server.split_once(':').map_or((server, None), |(host, port)| (host, Some(port))),
    };
    !host.is_empty()
        && !options.contains('@')
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
        && (database.is_empty() || database.bytes().all(|b| b.is_ascii_digit()))
}

/// `text` without what may be a password in it. Also for texts that are no sound address: those are what messages
/// quote, and half an address can hold a whole password.
pub(super) fn redacted(text: &str) -> String {
    let (scheme, rest) = match text.find("://") {
        Some(at) => text.split_at(at + 3),
        // Without a scheme what stands before the '@' may begin with the quotation mark of the file.
        None => text.split_at(text.len() - text.trim_start_matches(['"', '\'']).len()),
    };
    if rest.contains("://") {
        // More than one address, where one belongs: not worth telling apart which part of which is secret.
        return format!("{scheme}***");
    }
    if let Some((user, server)) = rest.rsplit_once('@')
        && !user.is_empty()
    {
        return format!("{scheme}***@{}", without_pass(server));
    }
    match rest.split_once(':') {
        // `redis://:secret` and `redis://user:secret`: the '@' was forgotten, or what stands here isn't a port.
        Some((host, after)) if scheme.ends_with("://") && !host.starts_with('[') && !host.contains('/') => {
            let port = after.split(['/', '?', '"', '\'']).next().unwrap_or_default();
            if !host.is_empty() && port.parse::<u16>().is_ok() {
                format!("{scheme}{}", without_pass(rest))
            } else {
                format!("{scheme}{host}:***")
            }
        }
        Some(_) | None => format!("{scheme}{}", without_pass(rest)),
    }
}

/// `text` without the `pass=…` by which the address of a Unix socket gives the password.
fn without_pass(text: &str) -> String {
    match text.split_once("pass=") {
        Some((before, after)) => match after.split_once('&') {
            Some((_, more)) => format!("{before}pass=***&{more}"),
            None => format!("{before}pass=***"),
        },
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_the_client_can_open_and_refuses_the_rest() {
        for good in [
            "redis://127.0.0.1:6379",
            "redis://localhost",
            "rediss://:secret@cache.example:6380/2",
            "redis://[::1]:6379/0",
            "redis://[::1]",
            "redis://user:p%40ss@h?protocol=resp3",
            "redis+unix:///run/redis.sock?db=1&pass=secret",
            "unix:///run/redis.sock",
        ] {
            assert_eq!(
                good.parse::<RedisUrl>().map(|url| url.expose().to_owned()),
                Ok(good.to_owned()),
                "{good}"
            );
        }
        for bad in [
            "",
            "localhost:6379",
            "http://localhost:6379",
            "redis://",
            "redis://:6379",
            "redis://host:0",
            "redis://host:65536",
            "redis://host:port",
            "redis://host/first",
            "redis://:pa/ss@host",
            "redis://:pa?ss@host",
            "redis://[::1]6379",
            "redis://ho st",
            "unix://run/redis.sock",
            "unix:///",
        ] {
            let error = bad.parse::<RedisUrl>().unwrap_err().to_string();
            assert!(error.starts_with("expected a Redis address"), "{bad}: {error}");
        }
    }

    #[test]
    fn no_password_is_ever_shown() {
        for (text, shown) in [
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
            ("redis://[::1]:6379", "redis://[::1]:6379"),
            ("redis://user:secret@host:1/2", "redis://***@host:1/2"),
            ("redis://:sec@ret@host", "redis://***@host"),
            ("redis://:sec/ret@host", "redis://***@host"),
            ("user:secret@host", "***@host"),
            ("\"user:secret@host\"", "\"***@host\""),
            ("\"@daily\"", "\"@daily\""),
            ("[\"redis://:s@a\", \"redis://:secret\"]", "[\"redis://***"),
            ("redis://:secret", "redis://:***"),
            ("redis://:1234", "redis://:***"),
            ("redis://user:secret", "redis://user:***"),
            ("unix:///run/r.sock?pass=secret&db=1", "unix:///run/r.sock?pass=***&db=1"),
            ("unix:///run/r.sock?db=1&pass=secret", "unix:///run/r.sock?db=1&pass=***"),
        ] {
            assert_eq!(redacted(text), shown);
            assert!(!format!("{} {:?}", RedisUrl(text.into()), RedisUrl(text.into())).contains("secret"));
        }
    }
}
