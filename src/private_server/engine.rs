//! Which Redis is installed here, and whether it will do.

use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::ServerError;

/// A server binary that will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// Where it is.
    pub path: PathBuf,
    /// `Redis` or `Valkey`.
    pub name: &'static str,
    /// Its version.
    pub version: String,
}

const NAMES: [&str; 2] = ["valkey-server", "redis-server"];

const FOLDERS: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/opt/valkey/bin", "/opt/redis/bin"];

/// Finds a server: `$BACKSTOP_REDIS_SERVER` and then only that one; else `valkey-server`, then `redis-server`, in PATH,
/// in the usual folders, and where `tools/ensure-redis` puts one that it fetched.
///
/// # Errors
/// [`ServerError::NotFound`], with what was looked at.
pub fn find() -> Result<Engine, ServerError> {
    let named = std::env::var_os("BACKSTOP_REDIS_SERVER").filter(|path| !path.is_empty());
    let candidates = named.map_or_else(candidates, |path| vec![PathBuf::from(path)]);
    let mut tried = Vec::new();
    for path in candidates {
        match look(&path) {
            Ok(engine) => return Ok(engine),
            Err(why) => tried.push(format!("{} ({why})", path.display())),
        }
    }
    let tried = if tried.is_empty() { "PATH and the usual folders".to_owned() } else { tried.join(", ") };
    Err(ServerError::NotFound { tried })
}

fn candidates() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> =
        std::env::split_paths(&path).chain(FOLDERS.iter().map(PathBuf::from)).collect();
    choose(&folders, fetched())
}

/// The binaries that exist, best first: what the machine's owner installed comes before what was fetched for want of it.
fn choose(folders: &[PathBuf], fetched: Option<PathBuf>) -> Vec<PathBuf> {
    let installed = NAMES.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let mut found: Vec<PathBuf> = Vec::new();
    for binary in installed.chain(fetched.map(|folder| folder.join("valkey-server"))) {
        if binary.is_file() && !found.contains(&binary) {
            found.push(binary);
        }
    }
    found
}

/// Where `tools/ensure-redis` puts a server when it may not install a package.
fn fetched() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))?;
    Some(cache.join("backstop/engine"))
}

fn look(path: &Path) -> Result<Engine, String> {
    let text = version_text(path)?;
    let (name, floor) = if text.starts_with("Valkey server v=") || text.starts_with("Server v=") {
        ("Valkey", (7, 2))
    } else if text.starts_with("Redis server v=") {
        ("Redis", (7, 0))
    } else {
        // There are toys of the same name.
        return Err("its --version is not that of Redis or Valkey".to_owned());
    };
    let version = text.split("v=").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap_or_default();
    let mut numbers = version.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
    if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < floor {
        return Err(format!("{name} {version} is too old"));
    }
    Ok(Engine { path: path.to_owned(), name, version: version.to_owned() })
}

fn version_text(path: &Path) -> Result<String, String> {
    let tell = |error: std::io::Error| error.to_string();
    // A file and no pipe: reading a pipe to its end waits for whatever the program left behind that holds it open.
    let mut said = tempfile::tempfile().map_err(tell)?;
    let mut child = Command::new(path)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(said.try_clone().map_err(tell)?)
        .stderr(Stdio::null())
        .spawn()
        .map_err(tell)?;
    let began = Instant::now();
    // Something else of that name might never end.
    while matches!(child.try_wait(), Ok(None)) {
        if began.elapsed() > Duration::from_secs(2) {
            let _ = child.kill();
            let _ = child.wait();
            return Err("its --version does not end".to_owned());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut text = Vec::new();
    said.rewind().and_then(|()| said.take(1024).read_to_end(&mut text)).map_err(tell)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn script(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("redis-server");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        (folder, path)
    }

    #[test]
    fn only_a_real_and_recent_server_will_do() {
        let says = |text: &str| {
            let (_folder, path) = script(&format!("echo '{text}'"));
            look(&path).map(|engine| (engine.name, engine.version))
        };
        assert_eq!(says("Redis server v=7.0.15 sha=0"), Ok(("Redis", "7.0.15".to_owned())));
        assert_eq!(says("Valkey server v=9.1.2 sha=0"), Ok(("Valkey", "9.1.2".to_owned())));
        assert_eq!(says("Redis server v=6.2.14 sha=0"), Err("Redis 6.2.14 is too old".to_owned()));
        assert_eq!(says("toy redis 9.9"), Err("its --version is not that of Redis or Valkey".to_owned()));
    }

    #[test]
    fn one_that_never_answers_is_given_up_on() {
        let (_folder, path) = script("exec sleep 60");
        assert_eq!(look(&path), Err("its --version does not end".to_owned()));
    }

    #[test]
    fn one_that_leaves_something_behind_is_not_waited_for() {
        let (_folder, path) = script("sleep 20 &\necho 'Redis server v=7.0.15 sha=0'");
        let began = Instant::now();
        assert_eq!(look(&path).map(|engine| engine.name), Ok("Redis"));
        assert!(began.elapsed() < Duration::from_secs(10), "it waited for what the program left behind");
    }

    #[test]
    fn what_is_installed_comes_before_what_was_fetched() {
        let root = tempfile::tempdir().unwrap();
        let place = |folder: &str, name: &str| {
            let folder = root.path().join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(name), "").unwrap();
            folder
        };
        let redis = place("a", "redis-server");
        let valkey = place("b", "valkey-server");
        let fetched = place("fetched", "valkey-server");
        let best_first =
            [valkey.join("valkey-server"), redis.join("redis-server"), fetched.join("valkey-server")];
        assert_eq!(
            choose(&[redis.clone(), valkey, redis, root.path().join("none")], Some(fetched)),
            best_first
        );
    }
}
