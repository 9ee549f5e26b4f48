//! How a mount stands, as `bayou status` shows it and `--json` prints it.
//!
//! The keys are stable: scripts read them. New ones may come, none goes or changes meaning.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Amount;

/// What a mount is doing, in one word; the gravest that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountState {
    /// Everything here is in the bucket.
    Clean,
    /// Something is not in the bucket yet.
    Dirty,
    /// Something is on its way.
    Uploading,
    /// Nothing is mounted any more; what is dirty is being brought to the bucket.
    Draining,
    /// The bucket was not reached the last time.
    Offline,
    /// The mount writes nothing to the bucket.
    ReadOnly,
}

impl MountState {
    /// Returns the state's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Dirty => "dirty",
            Self::Uploading => "uploading",
            Self::Draining => "draining",
            Self::Offline => "offline",
            Self::ReadOnly => "read-only",
        }
    }
}

/// How a mount stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountStatus {
    /// The bucket's address.
    pub source: String,
    /// The part of the bucket that is shown, if it is one with an index of its own.
    #[serde(default)]
    pub namespace: Option<String>,
    /// The only part of the tree that is shown, if it is not all of it.
    #[serde(default)]
    pub under: Option<String>,
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// The process behind it.
    pub pid: u32,
    /// What it is doing.
    pub state: MountState,
    /// Why nothing is written to the bucket, if so.
    #[serde(default)]
    pub read_only_reason: Option<String>,
    /// What is not in the bucket yet.
    pub dirty: Amount,
    /// What is on its way.
    pub uploading: Amount,
    /// Files whose version stands beside the bucket's.
    pub conflicts: Vec<String>,
    /// Keys in the bucket that cannot be files here.
    pub refused_keys: u64,
    /// Bytes of content on this machine.
    pub cached_bytes: u64,
    /// Most bytes that clean content may take.
    pub cache_limit_bytes: u64,
    /// Where the cache is.
    pub cache_dir: PathBuf,
    /// Files that the index names.
    pub index_entries: u64,
    /// When the bucket was last asked for changes, UTC, RFC 3339.
    pub last_pull: Option<String>,
    /// The last failure that nobody was told of otherwise.
    pub last_error: Option<String>,
    /// Since when the bucket is not reached, UTC, RFC 3339.
    pub offline_since: Option<String>,
    /// Requests sent to the bucket since the mount began.
    pub requests: u64,
    /// Bytes of files fetched from the bucket since the mount began.
    #[serde(default)]
    pub fetched_bytes: u64,
    /// How often a file's clean content was dropped to make room, since the mount began.
    #[serde(default)]
    pub evictions: u64,
    /// How many bytes that freed.
    #[serde(default)]
    pub evicted_bytes: u64,
    /// How many files were opened for the kernel to read them itself, since the mount began.
    #[serde(default)]
    pub passthrough_opens: u64,
    /// Why the kernel reads no files itself, if so.
    #[serde(default)]
    pub passthrough_off: Option<String>,
    /// How often the kernel asked since the mount began, by kind of request.
    #[serde(default)]
    pub kernel_requests: BTreeMap<String, u64>,
    /// The paths that were asked about.
    #[serde(default)]
    pub paths: Vec<PathStatus>,
}

/// How one file stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathStatus {
    /// The path, as it was asked about.
    pub path: PathBuf,
    /// Its state, in the words of the attribute `user.bayou.state`; `missing` if there is no
    /// such file.
    pub state: String,
    /// Its size in bytes.
    pub size: u64,
    /// How many of its bytes are on this machine.
    pub hydrated: u64,
}
