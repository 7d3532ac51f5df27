//! The `backstop` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    if args.first().is_some_and(|word| word == backstop::private_server::WITH_PARENT) {
        let _ = backstop::private_server::with_parent(args.get(1..).unwrap_or_default());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
