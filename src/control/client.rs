//! The asking side, in a command.
//!
//! Blocking, because a command asks one thing and waits. A mount that is alive says
//! something several times a second, so silence means that it hangs and is reported.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::place::{Found, MountRecord};
use super::{Answer, Failure, FailureKind, Progress, Request, Response};

/// How long a mount may be silent before it is thought to hang.
const SILENCE: Duration = Duration::from_secs(20);

/// A connection to a running mount.
#[derive(Debug)]
pub struct Client {
    record: MountRecord,
    stream: BufReader<UnixStream>,
    process: Option<OwnedFd>,
}

/// Whether to go on waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Wait for the answer.
    Wait,
    /// Wait no longer; the mount goes on with it.
    GiveUp,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The mount said that it failed.
    #[error("{0}")]
    Failed(Failure),
    /// The process ended instead of answering.
    #[error("The mount ended before it answered; its log says why")]
    Gone,
    /// The process says nothing.
    #[error("The mount on {} does not answer{}", mountpoint.display(), way_out(*pid, *stopped))]
    Silent {
        /// Where it is.
        mountpoint: PathBuf,
        /// The process.
        pid: u32,
        /// Somebody stopped the process.
        stopped: bool,
    },
    /// Whoever asked lost patience.
    #[error("Waited long enough for the mount")]
    GivenUp,
    /// The answer makes no sense.
    #[error("The mount answers in words that this program does not know; are both of one version?")]
    Unknown(#[source] serde_json::Error),
    /// The answer is one to another question.
    #[error("The mount gave an answer that does not fit: {0:?}")]
    Unfit(Box<Answer>),
    /// The connection broke.
    #[error("The connection to the mount failed")]
    Io(#[source] io::Error),
}

fn way_out(pid: u32, stopped: bool) -> String {
    match stopped {
        true => format!(": its process {pid} is stopped; `kill -CONT {pid}` has it go on"),
        false => format!(" (process {pid}); if it stays so, end it with `kill {pid}`"),
    }
}

/// Returns whether somebody stopped a process.
fn is_stopped(pid: u32) -> bool {
    // The name of the program stands in parentheses and may hold any character.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Failed(failure) => failure,
            AskError::Gone
            | AskError::Silent { .. }
            | AskError::Unknown(_)
            | AskError::Unfit(_)
            | AskError::Io(_) => {
                let failure = Self::new(FailureKind::System, error.to_string());
                match std::error::Error::source(&error) {
                    Some(source) => failure.caused_by(source),
                    None => failure,
                }
            }
            AskError::GivenUp => Self::new(FailureKind::Unsynced, error.to_string()),
        }
    }
}

impl Client {
    /// Returns a client of a mount that was found.
    pub fn new(found: Found) -> Result<Self, AskError> {
        let Some(stream) = found.stream else { return Err(silent(&found.record)) };
        let limit = Some(SILENCE);
        stream
            .set_read_timeout(limit)
            .and_then(|()| stream.set_write_timeout(limit))
            .map_err(AskError::Io)?;
        let pid = i32::try_from(found.record.pid).ok().and_then(Pid::from_raw);
        let process = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        Ok(Self { record: found.record, stream: BufReader::new(stream), process })
    }

    /// Sets how long the mount may be silent before it is thought to hang.
    pub fn set_silence(&self, limit: Duration) -> Result<(), AskError> {
        self.stream.get_ref().set_read_timeout(Some(limit)).map_err(AskError::Io)
    }

    /// Returns what the mount is.
    pub fn record(&self) -> &MountRecord {
        &self.record
    }

    /// Asks and waits for the answer; `watch` hears how far it is.
    pub fn ask(
        &mut self,
        request: &Request,
        mut watch: impl FnMut(&Progress) -> Patience,
    ) -> Result<Answer, AskError> {
        let mut line = serde_json::to_vec(request).map_err(AskError::Unknown)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).map_err(|error| self.broken(error))?;
        loop {
            match self.next_response()? {
                Response::Progress(progress) => {
                    if watch(&progress) == Patience::GiveUp {
                        return Err(AskError::GivenUp);
                    }
                }
                Response::Done { answer } => return Ok(answer),
                Response::Failed(failure) => return Err(AskError::Failed(failure)),
            }
        }
    }

    fn next_response(&mut self) -> Result<Response, AskError> {
        let mut line = Vec::new();
        let length = self.stream.read_until(b'\n', &mut line).map_err(|error| self.broken(error))?;
        if length == 0 {
            return Err(AskError::Gone);
        }
        serde_json::from_slice(&line).map_err(AskError::Unknown)
    }

    fn broken(&self, error: io::Error) -> AskError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => silent(&self.record),
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => AskError::Gone,
            _ => AskError::Io(error),
        }
    }

    /// Waits until the mount's process has ended; returns whether it has.
    pub fn wait_for_end(&self, limit: Duration) -> bool {
        let Some(process) = &self.process else { return true };
        let limit = Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: 0 };
        loop {
            let mut watched = [PollFd::new(process, PollFlags::IN)];
            match poll(&mut watched, Some(&limit)) {
                Err(rustix::io::Errno::INTR) => {}
                outcome => return outcome.is_ok_and(|ready| ready > 0),
            }
        }
    }
}

fn silent(record: &MountRecord) -> AskError {
    AskError::Silent {
        mountpoint: record.mountpoint.clone(),
        pid: record.pid,
        stopped: is_stopped(record.pid),
    }
}
