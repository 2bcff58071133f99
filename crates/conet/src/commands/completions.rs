//! `conet completions`

use clap::Args;
use clap_complete::Shell;

use crate::cli;
use crate::failure::{Exit, Outcome};

/// Arguments of `conet completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Prints the completions of a shell.
pub(crate) fn run(args: &CompletionsArgs) -> Outcome {
    clap_complete::generate(
        args.shell,
        &mut cli::description(),
        "conet",
        &mut std::io::stdout(),
    );
    Ok(Exit::Done)
}
