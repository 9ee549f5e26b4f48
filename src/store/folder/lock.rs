//! The lock under which conditions are checked and files renamed.
//!
//! Held for the few system calls between the check and the rename, never while bytes are
//! written. The kernel drops it when its holder dies.

use std::time::Duration;

use parking_lot::MutexGuard;
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use rustix::thread::Timespec;

use super::Folder;
use super::failure::Request;
use super::place::MACHINERY;
use crate::store::{ErrorKind, Result};

/// Longest wait for the other holders; they hold it for well below a millisecond each.
const PATIENCE: Duration = Duration::from_secs(30);
const NAP: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
const NAPS: u32 = 30_000;

/// The right to change names in the folder, until it is dropped.
pub(super) struct WriteLock<'a> {
    _gate: MutexGuard<'a, ()>,
    _file: OwnedFd,
}

impl Folder {
    /// Takes the lock; fails with `Unreachable` if others do not give it up.
    pub(super) fn lock(&self, request: &Request) -> Result<WriteLock<'_>> {
        let stuck =
            || request.error(ErrorKind::Unreachable).detail("another process holds the bucket's lock");
        let gate = self.gate.try_lock_for(PATIENCE).ok_or_else(stuck)?;
        self.machinery(MACHINERY, request)?;
        let path = format!("{MACHINERY}/lock");
        let file = self
            .open_beneath(&path, OFlags::RDWR | OFlags::CREATE)
            .map_err(request.failed("open the bucket's lock"))?;
        for _ in 0..NAPS {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(WriteLock { _gate: gate, _file: file }),
                Err(Errno::WOULDBLOCK | Errno::INTR) => drop(rustix::thread::nanosleep(&NAP)),
                Err(errno) => return Err(request.failed("take the bucket's lock")(errno)),
            }
        }
        Err(stuck())
    }
}
