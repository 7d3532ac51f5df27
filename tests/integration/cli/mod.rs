//! The command line as a user has it: what it does, what it says, how it ends.

mod drain;
mod enqueue;
mod external;
mod fsck;
mod help;
mod people;
mod refusals;
mod rights;
mod selections;
mod strangers;

use std::process::{Command, Output, Stdio};

use crate::support::{Server, backstop};

/// A command on this server's address.
pub(crate) fn command(server: &Server, args: &[&str]) -> Command {
    let mut command = Command::new(backstop());
    command.args(args).env("BACKSTOP_REDIS_URL", server.url()).env("RUST_LOG", "error").stdin(Stdio::null());
    command
}

/// What it answered: exit code, standard output, standard error.
pub(crate) fn answer(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

pub(crate) fn run(server: &Server, args: &[&str]) -> (i32, String, String) {
    answer(&command(server, args).output().unwrap())
}

/// Runs it with this standard input.
pub(crate) fn feed(server: &Server, args: &[&str], input: &[u8]) -> (i32, String, String) {
    use std::io::Write;
    let mut child = command(server, args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // On a thread of its own: a command that refuses doesn't read to the end.
    let feeding = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    feeding.join().unwrap();
    answer(&output)
}

/// Runs it, expects it to succeed, and reads what it answered as JSON.
pub(crate) fn json(server: &Server, args: &[&str]) -> serde_json::Value {
    let (code, out, err) = run(server, args);
    assert_eq!((code, err.as_str()), (0, ""), "{args:?}: {out}");
    serde_json::from_str(&out).unwrap()
}
