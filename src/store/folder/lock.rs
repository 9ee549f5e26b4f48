//! The lock of a key, under which its condition is checked and its file renamed.
//!
//! Held for the few system calls between the check and the rename, never while bytes are
//! written. A key has one of several locks, because a rename may wait for the journal of the
//! filesystem and others should wait at the same time. Folders have no lock: two writers that
//! make and remove one folder at once are told by the system, and try again. The kernel drops
//! a lock when its holder dies.

use std::os::fd::OwnedFd;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use rustix::thread::Timespec;

use super::Folder;
use super::failure::Request;
use crate::model::content_hash::ContentHash;
use crate::store::{ErrorKind, Result};

const LOCKS: &str = ".bayou-folder/locks";
const COUNT: usize = 64;

/// Longest wait for the other holders; they hold a lock for milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);
const NAP: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
const NAPS: u32 = 30_000;

/// What threads of one process wait at, without polling, before they ask for the file.
#[derive(Debug)]
pub(super) struct Gates([Mutex<()>; COUNT]);

impl Default for Gates {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::new(())))
    }
}

/// The right to replace or remove the object of a key, until it is dropped.
pub(super) struct KeyLock<'a> {
    _file: OwnedFd,
    _gate: MutexGuard<'a, ()>,
}

impl Folder {
    /// Takes the lock of the request's key; fails with `Unreachable` if others do not give it up.
    pub(super) fn lock(&self, request: &Request) -> Result<KeyLock<'_>> {
        let stuck = || request.error(ErrorKind::Unreachable).detail("another process holds the key's lock");
        let number = usize::from(ContentHash::of(request.key.as_str().as_bytes()).as_bytes()[0]) % COUNT;
        let gate = self.gates.0[number].try_lock_for(PATIENCE).ok_or_else(stuck)?;
        self.machinery(LOCKS, request)?;
        let file = self
            .open_beneath(&format!("{LOCKS}/{number}"), OFlags::RDWR | OFlags::CREATE)
            .map_err(request.failed("open the key's lock"))?;
        for _ in 0..NAPS {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(KeyLock { _file: file, _gate: gate }),
                Err(Errno::WOULDBLOCK | Errno::INTR) => drop(rustix::thread::nanosleep(&NAP)),
                Err(errno) => return Err(request.failed("take the key's lock")(errno)),
            }
        }
        Err(stuck())
    }
}
