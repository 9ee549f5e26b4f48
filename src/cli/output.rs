//! The one room that speaks to people: standard output, standard error, progress.
//!
//! What was asked for goes to standard output, everything else to standard error. A reader
//! that has gone away (`bayou status | head -1`) is no failure.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::units;
use crate::control::{Failure, Progress};
use crate::os::clock::SharedClock;

/// How often a line of progress is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// Writes one line to standard output.
pub(super) fn line(text: impl Display) {
    // Nobody is left to be told that nobody listens.
    writeln!(std::io::stdout(), "{text}").ok();
}

/// Writes bytes to standard output as they are.
pub(super) fn raw(bytes: &[u8]) {
    std::io::stdout().write_all(bytes).ok();
}

/// Writes a value as JSON to standard output.
pub(super) fn json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => line(text),
        Err(error) => note(format_args!("The answer cannot be written as JSON: {error}")),
    }
}

/// Writes one line to standard error.
pub(super) fn note(text: impl Display) {
    writeln!(std::io::stderr(), "bayou: {text}").ok();
}

/// Writes a failure to standard error, and below it what caused it.
pub(super) fn failure(failure: &Failure) {
    note(&failure.message);
    let mut said = failure.message.clone();
    for cause in &failure.causes {
        if !said.contains(cause.as_str()) {
            writeln!(std::io::stderr(), "  because: {cause}").ok();
            said.push_str(cause);
        }
    }
}

/// Writes what clap has to say, in its own form, to where it belongs.
pub(super) fn clap(error: &clap::Error) {
    error.print().ok();
}

/// Shows how far something is: a bar on a terminal, else a line now and then.
pub(super) struct Meter {
    clock: SharedClock,
    bar: Option<ProgressBar>,
    last: (Instant, String),
}

impl Meter {
    /// Returns a meter that shows nothing yet.
    pub(super) fn new(clock: SharedClock) -> Self {
        let bar = std::io::stderr().is_terminal().then(new_bar);
        let last = (clock.instant(), String::new());
        Self { clock, bar, last }
    }

    /// Shows how far it is.
    pub(super) fn show(&mut self, progress: &Progress) {
        let text = describe(progress);
        match &self.bar {
            Some(bar) => {
                bar.set_length(progress.total.bytes);
                bar.set_position(progress.done.bytes);
                bar.set_message(text);
            }
            None => self.show_line(text),
        }
    }

    fn show_line(&mut self, text: String) {
        let now = self.clock.instant();
        let (shown, last) = &self.last;
        if *last != text && now.duration_since(*shown) >= LINE_EVERY {
            writeln!(std::io::stderr(), "{text}").ok();
            self.last = (now, text);
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn new_bar() -> ProgressBar {
    let bar = ProgressBar::no_length();
    let template = "{spinner} {msg} {wide_bar} {binary_bytes_per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

fn describe(progress: &Progress) -> String {
    if progress.total.files == 0 {
        return progress.step.clone();
    }
    format!(
        "{}: {} of {}, {} of {}",
        progress.step,
        progress.done.files,
        units::count(progress.total.files, "file"),
        units::bytes(progress.done.bytes),
        units::bytes(progress.total.bytes),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Amount;

    #[test]
    fn progress_reads_as_a_sentence() {
        let done = Amount { files: 1, bytes: 1024 };
        let total = Amount { files: 3, bytes: 4 << 20 };
        let progress = Progress { step: "uploading".to_owned(), done, total };
        assert_eq!(describe(&progress), "uploading: 1 of 3 files, 1.0 KiB of 4.0 MiB");
        let idle = Progress { step: "committing".to_owned(), ..Progress::default() };
        assert_eq!(describe(&idle), "committing");
    }
}
