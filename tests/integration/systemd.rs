//! The unit files in `deploy/`: the service manager finds nothing wrong with them, and little that they may do.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::backstop;

const UNITS: [&str; 2] = ["backstop.service", "backstop-agent@.service"];

/// The units with the program under test in place of installed ones, which are not here: nothing else is changed.
fn copies(folder: &Path) -> Vec<PathBuf> {
    let program = backstop().to_str().unwrap().to_owned();
    let copy = |name: &str| {
        let text =
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)).unwrap();
        assert!(text.contains("ExecStart=/usr/local/bin/backstop "), "{name} starts the program");
        let path = folder.join(name);
        let text = text.replace("/usr/local/bin/backstop", &program);
        std::fs::write(&path, text.replace("/usr/local/bin/handle-task", &program)).unwrap();
        path
    };
    UNITS.map(copy).to_vec()
}

/// What `systemd-analyze` says, and whether it is content; `None`: named as not run, on a machine that can't have it.
#[allow(clippy::print_stderr, reason = "what isn't run must be seen")]
fn analyze(args: &[&str], unit: &Path) -> Option<(bool, String)> {
    if std::env::var_os("BACKSTOP_TEST_WITHOUT_DEBIAN").is_some_and(|value| value == "1") {
        eprintln!("NOT RUN: systemd-analyze {} (needs the Debian package systemd)", args.join(" "));
        return None;
    }
    let output = Command::new("systemd-analyze")
        .args(args)
        .arg(unit)
        .output()
        .expect("systemd-analyze can't be started: install the Debian package systemd");
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let folder = tempfile::tempdir().unwrap();
    for unit in copies(folder.path()) {
        if let Some((content, said)) = analyze(&["verify", "--man=no"], &unit) {
            assert!(content && said.is_empty(), "{}: {said}", unit.display());
        }
    }
}

#[test]
fn the_units_may_do_little_by_systemd_s_own_measure() {
    let folder = tempfile::tempdir().unwrap();
    for unit in copies(folder.path()) {
        // In tenths: 0 is a unit that may do nothing, 100 one that may do all.
        if let Some((content, said)) = analyze(&["security", "--offline=true", "--threshold=15"], &unit) {
            assert!(content && said.contains("Overall exposure level"), "{}: {said}", unit.display());
        }
    }
}
