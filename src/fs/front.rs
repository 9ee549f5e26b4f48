//! The answers to the kernel's requests, without fuser's reply types.
//!
//! Each family of requests has a file of its own; here is what they share. Only reads of
//! absent bytes and flushes wait for the network, and they are `async`; all else is answered
//! from memory or the local disk.

use std::sync::Arc;

use super::passthrough::Passthrough;
use super::requests::Requests;
use crate::cache::Cache;
use crate::cache::hydrate::Hydrator;
use crate::os::clock::SharedClock;
use crate::sync::SyncService;

/// Who owns what has no owner of its own, and how durable a flush is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrontOptions {
    /// Owner of files that were never given another.
    pub uid: u32,
    /// Group of files that were never given another.
    pub gid: u32,
    /// What `close` waits for.
    pub close: CloseMode,
    /// What `fsync` waits for.
    pub fsync: FsyncMode,
}

/// What `close` of a changed file waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseMode {
    /// Nothing; the file is flushed in the background.
    Returns,
    /// The file is in the bucket (`--write-back=0`).
    Flushes,
}

/// What `fsync` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FsyncMode {
    /// Object and index are in the bucket.
    Remote,
    /// The change is on the local disk (`--fsync=local`).
    Local,
}

/// Answers the kernel's requests from the cache.
pub struct Front {
    pub(super) cache: Arc<Cache>,
    pub(super) hydrator: Arc<Hydrator>,
    pub(super) sync: Arc<SyncService>,
    pub(super) clock: SharedClock,
    pub(super) options: FrontOptions,
    pub(super) passthrough: Arc<Passthrough>,
    pub(super) opens: Opens,
    requests: Arc<Requests>,
}

/// Whether we are told when files are opened and closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opens {
    /// We are.
    Told,
    /// We are not: nothing is written, so that an open is nothing to us.
    Untold,
}

/// Who makes a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Caller {
    /// Returns whether the caller may do what others may not.
    pub(super) fn is_root(self) -> bool {
        self.uid == 0
    }
}

impl Front {
    /// Returns answers from the cache that `sync` keeps in step.
    pub fn new(sync: Arc<SyncService>, hydrator: Arc<Hydrator>, options: FrontOptions) -> Self {
        let cache = Arc::clone(sync.cache());
        let clock = Arc::clone(cache.clock());
        let passthrough = Arc::new(Passthrough::over(cache.folder()));
        let (opens, requests) = (Opens::Told, Arc::default());
        Self { cache, hydrator, sync, clock, options, passthrough, opens, requests }
    }

    /// Returns answers for a mount on which nothing is ever written: files are opened without a
    /// request, and live until the kernel has forgotten them. None is lent then.
    pub fn for_reading_only(self) -> Self {
        self.cache.keep_until_forgotten();
        self.passthrough.turn_off("files of a read-only mount are opened without asking");
        Self { opens: Opens::Untold, ..self }
    }

    /// Returns how often the kernel asked.
    pub fn requests(&self) -> Arc<Requests> {
        Arc::clone(&self.requests)
    }

    /// Returns what is lent to the kernel.
    pub fn passthrough(&self) -> Arc<Passthrough> {
        Arc::clone(&self.passthrough)
    }
}
