//! People: what they type, what they read, and the exit code.
//!
//! One file per command. [`output`] alone writes to the terminal; [`exit_code`] alone decides
//! exit codes. A command ends in a [`Failure`] that says what went wrong and the way out, or
//! it succeeded.

mod arguments;
mod completions;
mod config;
mod daemon;
mod index;
mod invocation;
mod lock;
mod logging;
mod man;
mod mount;
mod output;
mod status;
mod sync;
mod umount;
mod units;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{ArgMatches, Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::control::{Failure, FailureKind};
use crate::os::clock::SystemClock;
use crate::session::failures;
use config::ConfigFile;
use invocation::Invocation;

const EXIT_CODES: &str = "Exit codes: 0 done, 1 wrong usage, 2 the system refused, 3 not mounted, \
5 data remains that is not in the bucket, 6 conflicts, 7 the bucket is not reachable, 8 not permitted, \
32 the mount failed.";

/// A bucket as a directory: nothing is downloaded until it is read, nothing written is lost.
#[derive(Debug, Parser)]
#[command(name = "bayou", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Debug, Subcommand)]
enum Sub {
    Mount(Box<mount::MountArgs>),
    Umount(umount::UmountArgs),
    Status(status::StatusArgs),
    Sync(Box<sync::SyncArgs>),
    Lock(lock::LockArgs),
    Index(index::IndexArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

/// What a command line means.
struct Parsed {
    command: Sub,
    words: Vec<OsString>,
    /// The settings of the command and where each came from.
    settings: Vec<String>,
}

/// How parsing can end without a command.
enum NoCommand {
    /// Clap has something to say: help, the version or an error.
    Clap(clap::Error),
    /// The command line or the configuration makes no sense.
    Bad(Failure),
    /// There is nothing to do.
    Nothing,
}

/// Runs the program and returns its exit code.
pub fn main() -> ExitCode {
    match parse(std::env::args_os().collect()) {
        Ok(parsed) => end(run(parsed)),
        Err(NoCommand::Bad(failure)) => end(Err(failure)),
        Err(NoCommand::Nothing) => ExitCode::SUCCESS,
        Err(NoCommand::Clap(error)) => {
            output::clap(&error);
            if error.use_stderr() { exit_code(FailureKind::Usage) } else { ExitCode::SUCCESS }
        }
    }
}

fn end(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::failure(&failure);
            exit_code(failure.kind)
        }
    }
}

/// Decides the exit code of each kind of failure.
fn exit_code(kind: FailureKind) -> ExitCode {
    ExitCode::from(match kind {
        FailureKind::Usage => 1,
        FailureKind::System | FailureKind::Panicked => 2,
        FailureKind::NotMounted => 3,
        FailureKind::Unsynced => 5,
        FailureKind::Conflicts => 6,
        FailureKind::Unreachable => 7,
        FailureKind::NotPermitted => 8,
        FailureKind::MountFailed => 32,
    })
}

fn run(parsed: Parsed) -> Result<(), Failure> {
    let clock = SystemClock::shared();
    match parsed.command {
        Sub::Mount(args) => mount::run(&args, &parsed.words, &parsed.settings, clock),
        Sub::Umount(args) => umount::run(&args, clock),
        Sub::Status(args) => status::run(&args),
        Sub::Sync(args) => sync::run(&args, clock),
        Sub::Lock(args) => lock::run(&args, clock),
        Sub::Index(args) => index::run(&args, clock),
        Sub::Completions(args) => completions::run(&args),
        Sub::Man(_) => man::run(),
    }
}

/// Returns what runs everything that waits for the network.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Runtime::new().map_err(|error| system("The runtime cannot be started", &error))
}

/// Says what this machine cannot do, and why.
fn system(message: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(FailureKind::System, message).caused_by(error)
}

/// Returns the command line's grammar, without what a configuration file says.
fn command() -> Command {
    Cli::command()
}

fn parse(words: Vec<OsString>) -> Result<Parsed, NoCommand> {
    let bad = |message: String| NoCommand::Bad(Failure::new(FailureKind::Usage, message));
    let words = match invocation::read(words, &command()) {
        Ok(Invocation::Words(words)) => words,
        Ok(Invocation::Fake) => return Err(NoCommand::Nothing),
        Err(error) => return Err(bad(error.to_string())),
    };
    let file = read_config(&words)?;
    let command = file.apply(command());
    let matches = command.clone().try_get_matches_from(&words).map_err(NoCommand::Clap)?;
    let settings = settings(&file, &command, &matches);
    let cli = Cli::from_arg_matches(&matches).map_err(NoCommand::Clap)?;
    Ok(Parsed { command: cli.command, words, settings })
}

/// Reads the configuration file. One that is wrong must not keep anybody from leaving a mount
/// or looking at it, so it only matters to the commands that it is for.
fn read_config(words: &[OsString]) -> Result<ConfigFile, NoCommand> {
    let failure = match ConfigFile::read_first(&config::places(), &command()) {
        Ok(file) => match file.apply(command()).try_get_matches_from(words) {
            Err(error) if is_blamed(&error, &file, words) => blamed(&error, &file),
            Ok(_) | Err(_) => return Ok(file),
        },
        Err(error) => failures::chain(FailureKind::Usage, &error),
    };
    if words.get(1).is_some_and(|word| ["mount", "sync", "lock", "index"].iter().any(|one| word == one)) {
        return Err(NoCommand::Bad(failure));
    }
    output::failure(&failure);
    Ok(ConfigFile::default())
}

/// Returns whether the words alone are right, so that it was the configuration file.
fn is_blamed(error: &clap::Error, file: &ConfigFile, words: &[OsString]) -> bool {
    !file.is_empty() && error.use_stderr() && command().try_get_matches_from(words).is_ok()
}

fn blamed(error: &clap::Error, file: &ConfigFile) -> Failure {
    let message = format!("Configuration file {} has a value that cannot be used", file.path().display());
    let said = error.to_string();
    let cause = said.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    Failure { causes: vec![cause], ..Failure::new(FailureKind::Usage, message) }
}

fn settings(file: &ConfigFile, command: &Command, matches: &ArgMatches) -> Vec<String> {
    let Some((name, matches)) = matches.subcommand() else { return Vec::new() };
    command.find_subcommand(name).map(|command| file.explain(command, matches)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_consistent() {
        command().debug_assert();
    }

    /// Returns every command with its words, those of commands included.
    fn all_below(words: &str, command: &Command) -> Vec<(String, Command)> {
        let below = |sub: &Command| {
            let words = format!("{words} {}", sub.get_name());
            [vec![(words.clone(), sub.clone())], all_below(&words, sub)].concat()
        };
        command.get_subcommands().flat_map(below).collect()
    }

    #[test]
    fn each_help_ends_with_an_example_that_is_itself_understood() {
        for (words, sub) in all_below("bayou", &command()) {
            let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            let example = help.lines().last().unwrap_or_default().trim().to_owned();
            assert!(example.starts_with(&words), "{words}: {example:?}");
            let words = example.split(" > ").next().unwrap_or_default().split_whitespace();
            assert!(command().try_get_matches_from(words).is_ok(), "{example:?}");
        }
    }

    #[test]
    fn a_heading_of_the_help_has_only_what_belongs_below_it() {
        use clap::Args;
        let ids = |command: Command| -> Vec<String> {
            command.get_arguments().map(|arg| arg.get_id().to_string()).collect()
        };
        let mut belong = ids(arguments::BucketArgs::augment_args(Command::new("bucket")));
        belong.extend(ids(arguments::CacheArgs::augment_args(Command::new("cache"))));
        belong.push("under".to_owned());
        for (words, sub) in all_below("bayou", &command()) {
            for arg in sub.get_arguments() {
                let is_below = matches!(arg.get_help_heading(), Some("Bucket" | "Cache"));
                assert!(!is_below || belong.contains(&arg.get_id().to_string()), "{words}: {}", arg.get_id());
            }
        }
    }

    #[test]
    fn every_exit_code_is_in_the_help() {
        let help = command().render_long_help().to_string();
        for code in ["0 done", "1 wrong", "2 the", "3 not", "5 data", "6 conf", "7 the", "8 not", "32 the"] {
            assert!(help.replace('\n', " ").contains(code), "{code}");
        }
    }
}
