//! `copy_file_range`: bytes of one file become bytes of another, or of itself, without passing
//! through a program or the kernel's pages.
//!
//! The kernel holds the target while it waits for this, and nobody can interrupt it. So only what is
//! here is copied, and not much at once; for the rest the kernel reads and writes as a program would.

use super::error::{FsError, Result};
use super::file_io::{Span, Written};
use super::front::Front;
use crate::cache::Ino;
use crate::cache::content::ReadOutcome;

/// How much is copied for one request of the kernel at most, in bytes: a program asks for the rest.
const MOST_BYTES: u64 = 4 << 20;
/// How much is copied at once, in bytes.
const STEP_BYTES: u64 = 1 << 20;

impl Front {
    /// Copies up to `len` bytes; returns how many. Fails with `Unsupported` if none of them is here,
    /// or there is no room for them.
    pub(super) fn copy(&self, from: (Ino, u64), to: (Ino, u64), len: u64) -> Result<u32> {
        let most = len.min(MOST_BYTES);
        let mut done = 0;
        while done < most {
            let step = STEP_BYTES.min(most - done);
            match self.copy_step((from.0, from.1 + done), (to.0, to.1 + done), step as u32) {
                Ok(0) => break,
                Ok(copied) => done += copied,
                Err(failed) if done == 0 => return Err(failed),
                // What was copied is told; who asks for the rest hears why it fails.
                Err(_) => break,
            }
        }
        Ok(done as u32)
    }

    fn copy_step(&self, from: (Ino, u64), to: (Ino, u64), len: u32) -> Result<u64> {
        const WAITS: FsError = FsError::Unsupported("Copying what must be waited for");
        let ReadOutcome::Data(bytes) = self.read(from.0, Span { offset: from.1, len })? else {
            return Err(WAITS);
        };
        if bytes.is_empty() {
            return Ok(0);
        }
        self.drop_privileges(to.0)?;
        match self.write_if_room(to.0, to.1, &bytes)? {
            Written::All => Ok(bytes.len() as u64),
            Written::NoRoom => Err(WAITS),
        }
    }
}
