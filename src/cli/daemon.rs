//! A mount that stays behind when the command has returned.
//!
//! The command starts the program anew, in a session of its own, with a pipe as its standard
//! output, and waits until the pipe says `ready` or what went wrong. Nothing is forked with
//! threads running. A mount that gives no sign of life for half a minute is ended.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use crate::control::{Failure, FailureKind};

/// The flag that tells the program that it is the one that stays behind.
pub(super) const FLAG: &str = "daemon-child";
/// How long the mount may take from one sign of life to the next.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the mount says to the command that waits for it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
enum Word {
    /// It is alive and at this.
    Working { step: String },
    /// It answers.
    Ready,
    /// It gives up.
    Failed { failure: Failure },
}

/// Starts the mount of these words behind us and returns when it answers. `watch` hears what
/// it is at until then.
pub(super) fn start(words: &[OsString], watch: impl FnMut(&str)) -> Result<(), Failure> {
    let cannot_start = |error: std::io::Error| {
        Failure::new(FailureKind::System, "The mount cannot be started").caused_by(&error)
    };
    let mut child = Command::new("/proc/self/exe")
        .arg0("bayou")
        .args(child_words(words))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(cannot_start)?;
    let pipe = child.stdout.take().expect("standard output was asked to be a pipe");
    match wait_for_word(pipe, PATIENCE, watch) {
        Ok(Some(Word::Ready)) => Ok(()),
        Ok(Some(Word::Failed { failure })) => {
            child.wait().map_err(cannot_start)?;
            Err(failure)
        }
        Ok(Some(Word::Working { step })) => Err(end_silent(&mut child, &step)),
        Ok(None) => Err(ended_early(&mut child)),
        Err(error) => Err(cannot_start(error)),
    }
}

/// Returns the words behind the program's name.
fn child_words(words: &[OsString]) -> Vec<OsString> {
    let (command, rest) = words.split_at(words.len().min(2));
    let flag = OsString::from(format!("--{FLAG}"));
    command.iter().skip(1).cloned().chain([flag]).chain(rest.iter().cloned()).collect()
}

/// Returns the word that decides; the last one if it falls silent, none if the pipe closes.
fn wait_for_word(
    mut pipe: ChildStdout,
    patience: Duration,
    mut watch: impl FnMut(&str),
) -> std::io::Result<Option<Word>> {
    let mut heard = Vec::new();
    let mut last = Word::Working { step: "starting".to_owned() };
    while is_readable(&pipe, patience)? {
        let mut chunk = [0; 4096];
        let length = pipe.read(&mut chunk)?;
        if length == 0 {
            return Ok(None);
        }
        heard.extend_from_slice(&chunk[..length]);
        while let Some(end) = heard.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = heard.drain(..=end).collect();
            match serde_json::from_slice(&line)? {
                Word::Working { step } => {
                    watch(&step);
                    last = Word::Working { step };
                }
                decided => return Ok(Some(decided)),
            }
        }
    }
    Ok(Some(last))
}

fn is_readable(pipe: &ChildStdout, patience: Duration) -> std::io::Result<bool> {
    let limit =
        Timespec { tv_sec: patience.as_secs().cast_signed(), tv_nsec: patience.subsec_nanos().into() };
    loop {
        match poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&limit)) {
            Err(rustix::io::Errno::INTR) => {}
            outcome => return Ok(outcome? > 0),
        }
    }
}

fn end_silent(child: &mut Child, step: &str) -> Failure {
    // It may have ended by itself this moment.
    child.kill().ok();
    child.wait().ok();
    let message = format!(
        "The mount gave no sign of life for {} s while {step} and was ended; try again with -f -v to see more",
        PATIENCE.as_secs()
    );
    Failure::new(FailureKind::MountFailed, message)
}

fn ended_early(child: &mut Child) -> Failure {
    let how = match child.wait() {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!(" with code {code}"),
            (None, Some(signal)) => format!(" by signal {signal}"),
            (None, None) => String::new(),
        },
        Err(_) => String::new(),
    };
    let message = format!("The mount ended{how} before it was ready; try again with -f -v to see more");
    Failure::new(FailureKind::MountFailed, message)
}

/// The end of the pipe in the process that stays behind.
#[derive(Debug)]
pub(super) struct Herald {
    is_ready: bool,
}

impl Herald {
    /// Leaves the session and the working directory of the command that started us.
    pub(super) fn leave_session() -> Result<Self, Failure> {
        let cannot = |error: rustix::io::Errno| {
            Failure::new(FailureKind::System, "The mount cannot leave the terminal").caused_by(&error)
        };
        rustix::process::setsid().map_err(cannot)?;
        rustix::process::chdir("/").map_err(cannot)?;
        Ok(Self { is_ready: false })
    }

    /// Sends standard error, where a panic would speak, to the log.
    pub(super) fn send_errors_to(log: &File) -> Result<(), Failure> {
        rustix::stdio::dup2_stderr(log).map_err(|error| {
            Failure::new(FailureKind::System, "The mount cannot leave the terminal").caused_by(&error)
        })
    }

    /// Says what it is at.
    pub(super) fn working(&mut self, step: &str) {
        self.say(&Word::Working { step: step.to_owned() });
    }

    /// Says that the mount answers, and closes the pipe.
    pub(super) fn ready(&mut self) {
        self.say(&Word::Ready);
        self.is_ready = true;
        close_pipe();
    }

    /// Says what went wrong, unless the mount was ready already.
    pub(super) fn failed(&mut self, failure: &Failure) {
        self.say(&Word::Failed { failure: failure.clone() });
    }

    /// Ends the mount: whoever wanted it has gone.
    fn give_up() {
        tracing::warn!("The command that started the mount has gone, so it ends");
        let myself = rustix::process::getpid();
        if let Err(error) = rustix::process::kill_process(myself, rustix::process::Signal::TERM) {
            tracing::error!(%error, "The mount could not be ended");
        }
    }

    fn say(&mut self, word: &Word) {
        if self.is_ready {
            return;
        }
        let mut pipe = std::io::stdout();
        let said = serde_json::to_writer(&mut pipe, word).map_err(std::io::Error::from);
        if said.and_then(|()| pipe.write_all(b"\n")).and_then(|()| pipe.flush()).is_err() {
            Self::give_up();
        }
    }
}

fn close_pipe() {
    let closed = File::options().write(true).open("/dev/null");
    let outcome = closed.and_then(|null| Ok(rustix::stdio::dup2_stdout(null)?));
    if let Err(error) = outcome {
        tracing::warn!(%error, "Standard output stays open");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the decision on what a program prints, and the steps that were heard.
    fn decision(script: &str, patience: Duration) -> (Option<Word>, Vec<String>) {
        let mut child = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut steps = Vec::new();
        let word = wait_for_word(child.stdout.take().unwrap(), patience, |step| steps.push(step.to_owned()));
        child.kill().unwrap();
        child.wait().unwrap();
        (word.unwrap(), steps)
    }

    #[test]
    fn the_word_that_decides_may_come_after_others_and_in_pieces() {
        let script = r#"echo '{"say":"working","step":"listing"}'; printf '{"say":'; printf '"ready"}\n'"#;
        assert_eq!(decision(script, PATIENCE), (Some(Word::Ready), vec!["listing".to_owned()]));
    }

    #[test]
    fn a_failure_is_heard_with_its_kind() {
        let failure = Failure::new(FailureKind::NotPermitted, "No");
        let said = serde_json::to_string(&Word::Failed { failure: failure.clone() }).unwrap();
        assert_eq!(decision(&format!("echo '{said}'"), PATIENCE).0, Some(Word::Failed { failure }));
    }

    #[test]
    fn an_end_without_a_word_is_told_apart_from_silence() {
        assert_eq!(decision("exit 3", PATIENCE).0, None);
        let silent = decision(
            "echo '{\"say\":\"working\",\"step\":\"listing\"}'; exec sleep 60",
            Duration::from_millis(200),
        );
        assert_eq!(silent.0, Some(Word::Working { step: "listing".to_owned() }));
    }

    #[test]
    fn the_one_that_stays_behind_is_told_so_before_its_words() {
        let words: Vec<OsString> = ["bayou", "mount", "--", "s3://b", "/m"].map(OsString::from).into();
        assert_eq!(child_words(&words), ["mount", "--daemon-child", "--", "s3://b", "/m"]);
    }
}
