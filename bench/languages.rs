//! What agents in Python and Node do in a second: their own measurements, with the interpreters of the tests.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn interpreter(of: &str) -> String {
    let output = Command::new(root().join("tools/ensure-peers")).arg(of).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub fn run() {
    let python = interpreter("python");
    for _ in 0..3 {
        let mut bench = Command::new(&python);
        bench
            .arg(root().join("clients/python/bench.py"))
            .env("PYTHONPATH", root().join("clients/python/src"));
        say("python", bench.env("PYTHONDONTWRITEBYTECODE", "1"));
    }
    let node = interpreter("node");
    let folder = tempfile::tempdir().unwrap();
    let clients = folder.path().join("clients");
    std::fs::create_dir(&clients).unwrap();
    assert!(
        Command::new("cp")
            .arg("-r")
            .arg(root().join("clients/node"))
            .arg(&clients)
            .status()
            .unwrap()
            .success()
    );
    symlink(root().join("src"), folder.path().join("src")).unwrap();
    let _ = std::fs::remove_dir_all(clients.join("node/node_modules"));
    symlink(PathBuf::from(&node).with_file_name("node_modules"), clients.join("node/node_modules")).unwrap();
    for _ in 0..3 {
        say("node", Command::new(&node).arg(clients.join("node/bench.js")));
    }
}

fn say(what: &str, command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        println!("RESULT languages: {what}: {line}");
    }
}
