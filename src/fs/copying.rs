//! `copy_file_range`: bytes of one file become bytes of another, or of itself, without passing
//! through a program or the kernel's pages.

use super::error::Result;
use super::file_io::Written;
use super::front::Front;
use crate::cache::Ino;

/// How much is copied for one request of the kernel at most, in bytes: a program asks for the rest.
const MOST_BYTES: u64 = 16 << 20;
/// How much is copied at once, in bytes.
const STEP_BYTES: u64 = 1 << 20;

impl Front {
    /// Copies up to `len` bytes, fetching what is absent of them; returns how many.
    pub(super) async fn copy(&self, from: (Ino, u64), to: (Ino, u64), len: u64) -> Result<u32> {
        self.drop_privileges(to.0)?;
        let most = len.min(MOST_BYTES);
        let mut done = 0;
        while done < most {
            match self
                .copy_step((from.0, from.1 + done), (to.0, to.1 + done), STEP_BYTES.min(most - done))
                .await
            {
                Ok(0) => break,
                Ok(copied) => done += copied,
                Err(failed) if done == 0 => return Err(failed),
                // What was copied is told; who asks for the rest hears why it fails.
                Err(_) => break,
            }
        }
        Ok(done as u32)
    }

    async fn copy_step(&self, from: (Ino, u64), to: (Ino, u64), len: u64) -> Result<u64> {
        let bytes = self.hydrator.read(from.0, from.1, len).await?;
        if !bytes.is_empty() && self.write_if_room(to.0, to.1, &bytes)? == Written::NoRoom {
            self.write_after_push(to.0, to.1, &bytes).await?;
        }
        Ok(bytes.len() as u64)
    }
}
