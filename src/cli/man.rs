//! `bayou man`: the manual page, made of the same words as the help.

use clap::{Args, Command};
use clap_mangen::Man;

use super::output;
use crate::control::{Failure, FailureKind};

/// Print the manual page, all commands in one
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  bayou man > /usr/local/share/man/man1/bayou.1")]
pub(super) struct ManArgs {}

pub(super) fn run() -> Result<(), Failure> {
    let mut page = Vec::new();
    let failed = |error: std::io::Error| {
        Failure::new(FailureKind::System, "The manual page cannot be made").caused_by(&error)
    };
    render(&mut page).map_err(failed)?;
    output::raw(&page);
    Ok(())
}

fn render(page: &mut Vec<u8>) -> std::io::Result<()> {
    let command = super::command();
    let man = Man::new(command.clone());
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    render_below("bayou", &command, page)?;
    man.render_extra_section(page)
}

fn render_below(path: &str, command: &Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    for sub in command.get_subcommands() {
        let name = format!("{path} {}", sub.get_name());
        let man = Man::new(sub.clone().display_name(name.clone()).bin_name(name.clone()));
        man.render_name_section(page)?;
        man.render_synopsis_section(page)?;
        man.render_options_section(page)?;
        man.render_extra_section(page)?;
        render_below(&name, sub, page)?;
    }
    Ok(())
}
