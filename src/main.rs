//! The `backstop` program.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if args.get(1).is_some_and(|word| word == backstop::private_server::WITH_PARENT) {
        let program = args.get(4).map(|program| program.to_string_lossy().into_owned()).unwrap_or_default();
        let error = backstop::private_server::with_parent(args.get(2..).unwrap_or_default());
        // Whether or not anybody reads it, the exit code says the same.
        let _ = writeln!(std::io::stderr(), "could not start {program:?}: {error}");
        return ExitCode::from(127);
    }
    if args.get(1).is_some_and(|word| word == backstop::work::REAPER) {
        let reaped = backstop::work::reap(std::io::stdin().lock());
        return if reaped.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    ExitCode::from(backstop::cli::main(args))
}
