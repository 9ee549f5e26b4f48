//! The words that a command and a running mount exchange.
//!
//! A mount listens on a unix socket. Each line is one JSON value: a [`Request`], answered by
//! any number of [`Response::Progress`] lines and then one [`Response::Done`] or
//! [`Response::Failed`]. A connection may ask again after that. The words are plain data:
//! what they do is up to the handler that the session gives to [`server::serve`].

pub mod client;
pub mod place;
pub mod server;
pub mod status;

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use status::{MountState, MountStatus, PathStatus};

use crate::sync::capabilities::SyncCapabilities;
use crate::sync::scope::SyncContext;

/// What a command asks of a running mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// Is anybody there?
    Ping,
    /// How does the mount stand, and these paths (absolute, or relative to the mount)?
    Status {
        /// The paths that are asked about.
        #[serde(default)]
        paths: Vec<PathBuf>,
    },
    /// Bring the bucket and the mount together, once.
    Sync {
        /// Which way.
        direction: Direction,
        /// What it is about; an older mount does not know this and syncs everything.
        #[serde(default, skip_serializing_if = "SyncContext::is_everything")]
        context: SyncContext,
    },
    /// What can the mount's sync do?
    Capabilities,
    /// Bring everything that is dirty to the bucket.
    Flush,
    /// Take the mount down and end the process. With `keep`, what is not in the bucket stays
    /// in the cache instead of being waited for.
    Detach {
        /// Do not wait for what is dirty.
        keep: bool,
    },
    /// A new mount of the same cache asks a process that only drains to end.
    HandOver,
}

/// Which way a sync goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Pull, then push.
    Both,
    /// Take what the bucket has: no lock, no write.
    Pull,
    /// Give what is dirty here.
    Push,
}

/// What a running mount says to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "kebab-case")]
pub enum Response {
    /// How far it is.
    Progress(Progress),
    /// It is done.
    Done {
        /// What came of it.
        answer: Answer,
    },
    /// It failed.
    Failed(Failure),
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// To a ping.
    Pong,
    /// How the mount stands.
    Status(Box<MountStatus>),
    /// What a sync did.
    Synced(SyncSummary),
    /// What the sync can do.
    Capabilities(SyncCapabilities),
    /// What a flush did.
    Flushed(FlushSummary),
    /// The mount is down and the process is about to end.
    Detached {
        /// What is dirty and stays in the cache.
        kept: Amount,
    },
    /// The process is about to end and gives up the cache.
    HandedOver,
}

/// A number of files and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// How far a flush or sync is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What it is at: `pulling`, `uploading`, `committing`.
    pub step: String,
    /// What is done.
    pub done: Amount,
    /// What there is to do, the done included.
    pub total: Amount,
}

/// What a flush brought to the bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlushSummary {
    /// The bucket's address.
    pub source: String,
    /// What was uploaded.
    pub flushed: Amount,
    /// Files that were removed from the bucket.
    pub deleted: u64,
    /// What is dirty all the same: changed meanwhile, or in conflict.
    pub remaining: Amount,
    /// Files whose version stands beside the bucket's.
    pub conflicts: Vec<String>,
}

/// What one sync did, counted where it happened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncSummary {
    /// The bucket's address.
    pub source: String,
    /// The models and paths that it was about, with nothing else looked at; none: everything.
    #[serde(default)]
    pub scope: Vec<String>,
    /// Entries that the pull brought, changed or removed here; `None` if there was no pull.
    pub pulled: Option<u64>,
    /// What the push uploaded; `None` if there was no push.
    pub pushed: Option<Amount>,
    /// Files that the push removed from the bucket.
    pub deleted: u64,
    /// Keys in the bucket that cannot be files here.
    pub refused: u64,
    /// What of that is dirty after it.
    pub remaining: Amount,
    /// Files whose version stands beside the bucket's.
    pub conflicts: Vec<String>,
    /// Both sides are proven equal.
    pub in_sync: bool,
}

/// What kind of failure it is, as far as exit codes tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// What was asked for makes no sense.
    Usage,
    /// This machine cannot do it: a folder, a disk, a program.
    System,
    /// Nothing is mounted there.
    NotMounted,
    /// Data stays behind that is not in the bucket.
    Unsynced,
    /// Files were changed on both sides.
    Conflicts,
    /// The bucket's server was not reached, or failed.
    Unreachable,
    /// The credentials, or their lack, do not allow it.
    NotPermitted,
    /// The mount could not be made.
    MountFailed,
    /// The program made a mistake: it panicked. Nothing is lost, and the mount goes on.
    Panicked,
}

/// A failure as people are told of it: one sentence with the way out, and what caused it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind it is.
    pub kind: FailureKind,
    /// One sentence, with the way out.
    pub message: String,
    /// What caused it, the nearest cause first.
    #[serde(default)]
    pub causes: Vec<String>,
}

impl Failure {
    /// Returns a failure without a cause.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), causes: Vec::new() }
    }

    /// Adds an error and everything that caused it.
    pub fn caused_by(mut self, error: &(dyn std::error::Error + 'static)) -> Self {
        let chain = std::iter::successors(Some(error), |error| error.source());
        self.causes.extend(chain.map(ToString::to_string));
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_on_the_wire_are_stable() {
        let table = [
            (serde_json::to_string(&Request::Ping).unwrap(), r#"{"request":"ping"}"#),
            (
                serde_json::to_string(&Request::Sync {
                    direction: Direction::Push,
                    context: SyncContext::default(),
                })
                .unwrap(),
                r#"{"request":"sync","direction":"push"}"#,
            ),
            (
                serde_json::to_string(&Request::Sync {
                    direction: Direction::Both,
                    context: SyncContext { models: vec!["t/a".parse().unwrap()], prefixes: Vec::new() },
                })
                .unwrap(),
                r#"{"request":"sync","direction":"both","context":{"models":["t/a"],"prefixes":[]}}"#,
            ),
            (serde_json::to_string(&Request::Capabilities).unwrap(), r#"{"request":"capabilities"}"#),
            (
                serde_json::to_string(&Answer::Capabilities(SyncCapabilities::OURS)).unwrap(),
                r#"{"answer":"capabilities","scopedSync":true,"lazyHydration":true,"namespacedSync":true,"twoPhaseSync":true}"#,
            ),
            (
                serde_json::to_string(&Request::Detach { keep: true }).unwrap(),
                r#"{"request":"detach","keep":true}"#,
            ),
            (
                serde_json::to_string(&Response::Done { answer: Answer::Pong }).unwrap(),
                r#"{"response":"done","answer":{"answer":"pong"}}"#,
            ),
            (
                serde_json::to_string(&Response::Failed(Failure::new(FailureKind::NotMounted, "X"))).unwrap(),
                r#"{"response":"failed","kind":"not-mounted","message":"X","causes":[]}"#,
            ),
        ];
        for (said, expected) in table {
            assert_eq!(said, expected);
        }
    }

    #[test]
    fn a_failure_names_every_cause_in_order() {
        let inner = std::io::Error::other("inner");
        let outer = std::io::Error::other(Failure::new(FailureKind::System, "Outer").caused_by(&inner));
        let failure = Failure::new(FailureKind::System, "It failed").caused_by(&outer);
        assert_eq!(failure.causes.first().map(String::as_str), Some("Outer"));
        assert_eq!(Failure::new(FailureKind::System, "It failed").caused_by(&inner).causes, ["inner"]);
    }
}
