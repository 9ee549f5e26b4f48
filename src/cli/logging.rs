//! Where log lines go: standard error in the foreground, a file behind a daemon.
//!
//! Only our own lines are ever shown below the level of a warning: what libraries say there
//! may contain signed requests, which no log may hold.

use std::fs::{File, OpenOptions};
use std::io::IsTerminal;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;

use tracing::Level;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::control::{Failure, FailureKind};
use crate::os::durable_file;

/// The variable that chooses what is logged, in the words of `EnvFilter`.
const VARIABLE: &str = "BAYOU_LOG";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogFormat {
    /// For people.
    Text,
    /// For machines, one JSON value a line.
    Json,
}

/// Begins to log, to this file or to standard error.
pub(super) fn begin(verbose: u8, format: LogFormat, file: Option<File>) -> Result<(), Failure> {
    let with_colours = file.is_none() && std::io::stderr().is_terminal();
    let writer = match file {
        Some(file) => BoxMakeWriter::new(Mutex::new(file)),
        None => BoxMakeWriter::new(std::io::stderr),
    };
    let layer = fmt::layer().with_writer(writer).with_ansi(with_colours);
    let layer = match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().boxed(),
    };
    let shown = layer
        .with_filter(chosen(verbose)?)
        .with_filter(filter_fn(|meta| may_show(meta.target(), *meta.level())));
    let failed = |error| Failure::new(FailureKind::System, "Logging cannot begin").caused_by(&error);
    tracing_subscriber::registry().with(shown).try_init().map_err(failed)
}

/// Opens a log file at its end; nobody else may read it.
pub(super) fn open(path: &Path) -> Result<File, Failure> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    durable_file::make_folder(folder)
        .and_then(|()| OpenOptions::new().append(true).create(true).mode(0o600).open(path))
        .map_err(|error| {
            let message = format!(
                "Log file {} cannot be written; name another with --log-file or --cache-dir",
                path.display()
            );
            Failure::new(FailureKind::System, message).caused_by(&error)
        })
}

fn chosen(verbose: u8) -> Result<EnvFilter, Failure> {
    let usual = match verbose {
        0 => "warn,bayou=info",
        1 => "warn,bayou=debug",
        _ => "warn,bayou=trace",
    };
    let text = std::env::var(VARIABLE).unwrap_or_else(|_| usual.to_owned());
    EnvFilter::try_new(&text).map_err(|error| {
        let message = format!("{VARIABLE} is {text:?}, which is no log filter; write it like bayou=debug");
        Failure::new(FailureKind::Usage, message).caused_by(&error)
    })
}

fn may_show(target: &str, level: Level) -> bool {
    level <= Level::WARN || target == "bayou" || target.starts_with("bayou::")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_never_shown_below_a_warning() {
        assert!(may_show("bayou::fs", Level::TRACE));
        assert!(may_show("aws_sdk_s3", Level::WARN));
        assert!(may_show("hyper", Level::ERROR));
        for library in ["aws_sigv4::http_request", "hyper::client", "bayous"] {
            assert!(!may_show(library, Level::INFO));
            assert!(!may_show(library, Level::TRACE));
        }
    }

    #[test]
    fn a_log_file_is_private_and_grows() {
        use std::io::Write;
        use std::os::unix::fs::PermissionsExt;
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("state/bayou.log");
        for word in ["one ", "two"] {
            open(&path).unwrap().write_all(word.as_bytes()).unwrap();
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"one two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
