//! What the kernel is told without having asked: "forget this inode", "forget this name".
//!
//! fuser can say the same but not hear the answer, and the answer counts: an inode that the
//! kernel does not know may be in the reply to a lookup that is still on its way.

use std::io;
use std::os::fd::OwnedFd;

use crate::cache::Ino;

/// `FUSE_NOTIFY_INVAL_INODE` of the kernel's `fuse.h`.
const INVAL_INODE: i32 = 2;
/// `FUSE_NOTIFY_INVAL_ENTRY`.
const INVAL_ENTRY: i32 = 3;
/// Bytes of the header: length, code, and the number of no request.
const HEADER_BYTES: usize = 16;

/// The FUSE device of a mount, to tell the kernel something on.
#[derive(Debug)]
pub struct KernelLine(OwnedFd);

/// Whether the kernel had what it was told to forget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// It had, and has forgotten it.
    Forgotten,
    /// It knew nothing of it.
    Unknown,
}

/// What the kernel is to forget of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Attributes only; this never waits.
    Attributes,
    /// Pages as well; this waits for reads of the inode that are under way.
    All,
}

impl KernelLine {
    /// Returns the line over a copy of the device.
    pub fn over(device: OwnedFd) -> Self {
        Self(device)
    }

    /// Makes the kernel forget attributes, or all that it keeps of an inode.
    pub(super) fn forget_inode(&self, ino: Ino, part: Part) -> io::Result<Told> {
        // From this offset to the end; a negative one means no pages.
        let offset: i64 = match part {
            Part::Attributes => -1,
            Part::All => 0,
        };
        let to_the_end: i64 = 0;
        let body = [ino.to_ne_bytes(), offset.to_ne_bytes(), to_the_end.to_ne_bytes()].concat();
        self.tell(INVAL_INODE, &body)
    }

    /// Makes the kernel forget what a name means; waits for lookups in the folder that are
    /// under way.
    pub(super) fn forget_name(&self, folder: Ino, name: &str) -> io::Result<Told> {
        let len = u32::try_from(name.len()).map_err(io::Error::other)?;
        let no_flags = 0u32;
        let mut body = folder.to_ne_bytes().to_vec();
        body.extend([len.to_ne_bytes(), no_flags.to_ne_bytes()].concat());
        body.extend(name.as_bytes());
        body.push(0);
        self.tell(INVAL_ENTRY, &body)
    }

    fn tell(&self, code: i32, body: &[u8]) -> io::Result<Told> {
        let len = u32::try_from(HEADER_BYTES + body.len()).map_err(io::Error::other)?;
        let mut message = len.to_ne_bytes().to_vec();
        message.extend(code.to_ne_bytes());
        message.extend(0u64.to_ne_bytes());
        message.extend(body);
        match rustix::io::write(&self.0, &message) {
            Ok(_) => Ok(Told::Forgotten),
            Err(rustix::io::Errno::NOENT) => Ok(Told::Unknown),
            Err(refused) => Err(refused.into()),
        }
    }
}
