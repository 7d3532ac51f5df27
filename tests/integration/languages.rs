//! Agents in every language: one suite for all of them, and what each checks of itself.
//!
//! The interpreters and what the clients need are those of `tools/ensure-peers`; the clients themselves are installed from the tree as
//! a user installs them.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::clients::tool;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn engine() -> String {
    std::env::var("BACKSTOP_REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned())
}

/// Runs it, and shows all that it said if it isn't content.
fn run(command: &mut Command) {
    let output = command.env("BACKSTOP_REDIS_SERVER", engine()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&said));
}

/// All cases of the suite, with this driver.
fn conforms(driver: &mut Command) {
    let mut suite = Command::new("python3");
    suite.arg(root().join("clients/conformance/run.py")).args([
        "--jobs",
        "2",
        "--redis-server",
        &engine(),
        "--",
    ]);
    suite.arg(driver.get_program()).args(driver.get_args());
    for (name, value) in driver.get_envs() {
        suite.env(name, value.unwrap_or_default());
    }
    run(&mut suite);
}

/// The Python client, built and installed by pip.
struct Python {
    interpreter: String,
    folder: tempfile::TempDir,
}

impl Python {
    fn install() -> Self {
        let installed =
            Self { interpreter: tool("ensure-peers", &["python"]), folder: tempfile::tempdir().unwrap() };
        // As `pip install ./clients/python`, but for what it needs, which is there.
        let quiet =
            ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore"];
        let offline = ["--no-deps", "--no-build-isolation", "--no-index", "--target"];
        let mut pip = Command::new(&installed.interpreter);
        run(pip.args(quiet).args(offline).arg(installed.folder.path()).arg(root().join("clients/python")));
        installed
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.interpreter);
        command.args(args).env("PYTHONPATH", self.folder.path()).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}

/// The Node client in a tree of its own, beside the scripts and what it needs.
struct Node {
    interpreter: String,
    folder: tempfile::TempDir,
}

impl Node {
    fn install() -> Self {
        let interpreter = tool("ensure-peers", &["node"]);
        let folder = tempfile::tempdir().unwrap();
        let clients = folder.path().join("clients");
        std::fs::create_dir(&clients).unwrap();
        run(Command::new("cp").arg("-r").arg(root().join("clients/node")).arg(&clients));
        symlink(root().join("src"), folder.path().join("src")).unwrap();
        std::fs::copy(root().join("LICENSE"), folder.path().join("LICENSE")).unwrap();
        let modules = PathBuf::from(&interpreter).with_file_name("node_modules");
        // There, if somebody tried it in the tree.
        let _ = std::fs::remove_dir_all(clients.join("node/node_modules"));
        symlink(modules, clients.join("node/node_modules")).unwrap();
        Self { interpreter, folder }
    }

    fn client(&self) -> PathBuf {
        self.folder.path().join("clients/node")
    }
}

#[test]
fn the_rust_agent_passes_the_suite() {
    let driver = std::env::current_exe().unwrap();
    // Beside `deps`, where the tests are.
    let driver = driver.parent().and_then(Path::parent).unwrap().join("examples/conformance_driver");
    conforms(&mut Command::new(driver));
}

#[test]
fn the_python_agents_pass_the_suite() {
    let python = Python::install();
    let driver = root().join("clients/python/conformance_driver.py");
    for kind in [&[][..], &["--asyncio"]] {
        conforms(python.command(&[driver.to_str().unwrap()]).args(kind));
    }
}

#[test]
fn the_node_agent_passes_the_suite() {
    let node = Node::install();
    conforms(Command::new(&node.interpreter).arg(node.client().join("conformance-driver.js")));
}

/// The packages carry the repository's scripts byte for byte; types are sound; payloads, twins, kills, cuts and signals.
#[test]
fn the_python_client_is_sound() {
    let python = Python::install();
    let mut check = python.command(&["-m", "mypy", "--cache-dir=/dev/null"]);
    run(check.current_dir(root().join("clients/python")));
    let mut check = python.command(&["-m", "pytest", "-q", "-p", "no:cacheprovider"]);
    run(check.current_dir(root().join("clients/python")));
}

#[test]
fn the_node_client_is_sound() {
    let node = Node::install();
    run(Command::new("npm").args(["test", "--silent"]).current_dir(node.client()));
}
