//! Whether a Redis is fit to hold tasks.

use super::{Reply, Store, StoreError};

/// What answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// `Redis` or `Valkey`.
    pub name: &'static str,
    /// Its version.
    pub version: String,
    /// What makes it unsafe without being refused; sentences for a person.
    pub warnings: Vec<String>,
}

/// Why a Redis can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// It couldn't be asked.
    #[error("could not ask Redis what it is")]
    Ask(#[from] StoreError),
    /// It lacks what the scripts need.
    #[error("{name} {version} is too old: use Redis 7.0 or Valkey 7.2, or newer")]
    TooOld {
        /// What answered.
        name: &'static str,
        /// Its version.
        version: String,
    },
    /// It throws tasks away when it is full.
    #[error("Redis has maxmemory-policy {policy}: it would throw tasks away when it is full; set noeviction")]
    Evicts {
        /// The setting.
        policy: String,
    },
}

/// Asks a Redis what it is.
///
/// # Errors
/// [`Unfit`].
pub async fn inspect(store: &Store) -> Result<Engine, Unfit> {
    let server = info(store, "server").await?;
    let memory = info(store, "memory").await?;
    let valkey = field(&server, "valkey_version");
    let (name, version) = match valkey {
        Some(version) => ("Valkey", version),
        None => ("Redis", field(&server, "redis_version").unwrap_or("0")),
    };
    let floor = if valkey.is_some() { (7, 2) } else { (7, 0) };
    if number(version) < floor {
        return Err(Unfit::TooOld { name, version: version.to_owned() });
    }
    let policy = field(&memory, "maxmemory_policy").unwrap_or("noeviction");
    if policy.starts_with("allkeys") {
        return Err(Unfit::Evicts { policy: policy.to_owned() });
    }
    let mut warnings = Vec::new();
    if policy != "noeviction" {
        warnings.push(format!(
            "maxmemory-policy is {policy}: under pressure the memory of finished tasks goes first, and a repeated \
             enqueue may run again; set noeviction"
        ));
    }
    Ok(Engine { name, version: version.to_owned(), warnings })
}

async fn info(store: &Store, section: &str) -> Result<String, StoreError> {
    match store.command(&["INFO", section]).await? {
        Reply::Bytes(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        other @ (Reply::Nil | Reply::Int(_) | Reply::List(_)) => {
            Err(StoreError::unknown_reply("read what INFO answered", &format!("{other:?}")))
        }
    }
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn number(version: &str) -> (u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_versions_are_read_as_redis_writes_them() {
        let info = "# Server\r\nredis_version:7.0.15\r\nredis_git_sha1:0\r\n";
        assert_eq!(field(info, "redis_version"), Some("7.0.15"));
        assert_eq!(field(info, "version"), None);
        assert!(number("6.2.14") < (7, 0) && number("7.0.15") >= (7, 0) && number("nonsense") < (7, 0));
    }
}
