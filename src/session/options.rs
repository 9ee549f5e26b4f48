//! What people can ask of a mount or a sync, already parsed.
//!
//! The command line, the environment and the configuration file all end here; nothing below
//! this floor reads any of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::fs::front::FsyncMode;
use crate::model::namespace::Namespace;
use crate::store::access::Access;
use crate::sync::OnConflict;
use crate::sync::scope::KeyPrefix;

/// What it takes to open a bucket and this machine's cache of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionOptions {
    /// The bucket as people write it: `s3://bucket/prefix`, `file:///dir`.
    pub source: String,
    /// The part of the bucket with an index of its own that is used; `None`: the whole.
    pub namespace: Option<Namespace>,
    /// The only part of the tree that is held; `None`: all of it.
    pub under: Option<KeyPrefix>,
    /// The folder that holds the caches, each bucket in a folder of its own; `None`: the
    /// state folder of the user.
    pub cache_dir: Option<PathBuf>,
    /// Most bytes that clean content may take; `None`: decided by the free space.
    pub cache_size: Option<u64>,
    /// What stays free on the cache's disk.
    pub cache_min_free: MinFree,
    /// What happens to a file that was changed here and elsewhere.
    pub on_conflict: OnConflict,
    /// Nothing is written to the bucket.
    pub read_only: bool,
    /// How to reach the bucket. Its timeout is also that of an upload without progress.
    pub access: Access,
}

#[cfg(test)]
impl SessionOptions {
    /// Returns the options of somebody who only names the bucket.
    pub(super) fn plain(source: &str) -> Self {
        Self {
            source: source.to_owned(),
            namespace: None,
            under: None,
            cache_dir: None,
            cache_size: None,
            cache_min_free: MinFree::Percent(5),
            on_conflict: OnConflict::Copy,
            read_only: false,
            access: Access::default(),
        }
    }
}

/// What it takes to mount a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountOptions {
    /// The bucket and its cache.
    pub session: SessionOptions,
    /// Where the bucket appears; absolute.
    pub mountpoint: PathBuf,
    /// How long a changed file rests before it is flushed; zero: close waits for it.
    pub write_back: Duration,
    /// How often the bucket is asked for changes by others; zero: never.
    pub refresh: Duration,
    /// Where bytes must be when fsync returns.
    pub fsync: FsyncMode,
    /// Other users may use the mount.
    pub allow_other: bool,
    /// The owner of files that have none of their own; `None`: who mounts.
    pub uid: Option<u32>,
    /// The group of files that have none of their own; `None`: that of who mounts.
    pub gid: Option<u32>,
}

/// What stays free on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinFree {
    /// Hundredths of its size.
    Percent(u8),
    /// A number of bytes.
    Bytes(u64),
}

/// What a session tells whoever started it, in this order: some `Working`, one `Ready`, some
/// `Status`, one `Stopping`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The mount is not ready yet, and this is what it does. Shows that it is alive.
    Working(String),
    /// The mount answers.
    Ready,
    /// One line about how it stands, for service managers.
    Status(String),
    /// The mount is being left; this is what is still to do.
    Stopping(String),
}

/// Hears the events of a session.
pub type Listener = Arc<dyn Fn(Event) + Send + Sync>;
