//! `completions` and `man`: for the shell and its reader.

use std::io::Write;

use clap_complete::Shell;

use super::{CliError, DONE, tree};

/// Print completions for a shell
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Print the manual page, in roff: of the program, or of a command
#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// The command, such as work, or dead redrive
    command: Vec<String>,
}

pub(super) fn completions(args: &CompletionsArgs) -> Result<u8, CliError> {
    // Written to memory first: the generator takes a reader that went away for a bug.
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut tree(), "backstop", &mut text);
    print(&text)
}

pub(super) fn man(args: &ManArgs) -> Result<u8, CliError> {
    let mut command = tree();
    command.build();
    for name in &args.command {
        let found = command.find_subcommand(name).cloned();
        command = found.ok_or_else(|| {
            CliError::Usage(format!("there is no command {:?}: see backstop --help", args.command.join(" ")))
        })?;
    }
    let mut text = Vec::new();
    clap_mangen::Man::new(command).render(&mut text).map_err(CliError::failed)?;
    print(&text)
}

fn print(text: &[u8]) -> Result<u8, CliError> {
    std::io::stdout().write_all(text).map_err(CliError::output)?;
    Ok(DONE)
}
