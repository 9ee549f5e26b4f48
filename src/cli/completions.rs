//! `bayou completions`: what a shell needs to complete our command lines.

use clap::Args;
use clap_complete::Shell;

use super::output;
use crate::control::Failure;

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  bayou completions bash > /etc/bash_completion.d/bayou")]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "bayou", &mut script);
    output::raw(&script);
    Ok(())
}
