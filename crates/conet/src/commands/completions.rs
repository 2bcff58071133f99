//! `conet completions`

use clap::Args;
use clap_complete::Shell;

use crate::cli;
use crate::failure::{Exit, Outcome};
use crate::screen::print;

/// Arguments of `conet completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Prints the completions of a shell.
pub(crate) fn run(args: &CompletionsArgs) -> Outcome {
    // Into memory first: the generator panics where its output can't be written.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli::description(), "conet", &mut script);
    print(String::from_utf8(script)?.trim_end())?;
    Ok(Exit::Done)
}
