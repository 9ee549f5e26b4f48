//! Content: `open`, `create`, `read`, `write`, `flush`, `release`, `fsync`.
//!
//! A write never waits for the network, and a read waits only for bytes that are absent. The
//! handle numbers that the kernel is given say only what a file was opened for: all else hangs
//! on the inode, because a mapping may write long after the handle's close.

use std::ffi::OsStr;
use std::sync::Arc;

use fuser::{BackingId, FileAttr, FileHandle, FopenFlags, OpenAccMode, OpenFlags, WriteFlags};

use super::change_tree::NodeKind;
use super::error::Result;
use super::front::{Caller, Front};
use super::name;
use super::passthrough::{Loan, Register};
use crate::cache::attributes::SetAttr;
use crate::cache::content::ReadOutcome;
use crate::cache::file::Access;
use crate::cache::{self, CacheError, Ino};
use crate::sync::describe;
use crate::sync::guarded::Round;

/// An open file, as the kernel is told of it.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) handle: FileHandle,
    pub(super) flags: FopenFlags,
    /// The content file, if it is lent.
    pub(super) backing: Option<Arc<BackingId>>,
}

/// What a read asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) offset: u64,
    pub(super) len: u32,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// All of it is in the cache.
    All,
    /// The cache holds only what may not be dropped yet.
    NoRoom,
}

/// How often a write to a full cache waits for what is dirty to be pushed.
const MOST_PUSHES: usize = 8;

/// The handle of a file that is open for reading only.
const READS: FileHandle = FileHandle(1);
/// The handle of a file that is open for writing.
const WRITES: FileHandle = FileHandle(2);
/// The handle of a file that is lent for reading only.
const LENT_READS: FileHandle = FileHandle(3);
/// The handle of a file that is lent for writing.
const LENT_WRITES: FileHandle = FileHandle(4);

/// Returns whether a handle may have been written through.
pub(super) fn is_for_writing(handle: FileHandle) -> bool {
    handle == WRITES || handle == LENT_WRITES
}

impl Front {
    /// Opens a file, and empties it if asked to.
    pub(super) fn open(
        &self,
        ino: Ino,
        flags: OpenFlags,
        caller: Caller,
        register: Register<'_>,
    ) -> Result<Opened> {
        let access = access_of(flags);
        let mut opened = match self.borrow(ino, access, register)? {
            Loan::Lent(id) => lent(access, id),
            Loan::None => unlent(access),
            Loan::Failed => unkept(access),
        };
        if self.is_closed_untold(flags) {
            opened.flags |= FopenFlags::FOPEN_NOFLUSH;
        }
        if flags.0 & libc::O_TRUNC != 0 {
            let empty = SetAttr { size: Some(0), ..SetAttr::default() };
            if let Err(failed) = self.set_attr(ino, empty, caller) {
                self.release(ino, opened.handle)?;
                return Err(failed);
            }
        }
        Ok(opened)
    }

    /// Returns whether the kernel need not report each close: nothing waits for it, and as nothing
    /// can be mapped for writing the kernel has nothing to hand over.
    fn is_closed_untold(&self, flags: OpenFlags) -> bool {
        flags.acc_mode() == OpenAccMode::O_WRONLY && !self.close_waits(WRITES)
    }

    /// Makes a file and opens it.
    pub(super) fn create(
        &self,
        parent: Ino,
        name: &OsStr,
        (mode, flags): (u32, OpenFlags),
        caller: Caller,
        register: Register<'_>,
    ) -> Result<(FileAttr, Opened)> {
        let name = name::new(name)?;
        let node = self.new_node(parent, mode, caller, NodeKind::File)?;
        let attr = match self.cache.create(parent, name, node) {
            // Somebody else's file appeared that the kernel has not heard of yet.
            Err(CacheError::Exists(_)) if flags.0 & libc::O_EXCL == 0 => self.cache.lookup(parent, name)?,
            made => made?,
        };
        let opened = self.open(attr.ino, flags, caller, register)?;
        Ok((self.get_attr(attr.ino)?, opened))
    }

    /// Closes a file.
    pub(super) fn release(&self, ino: Ino, handle: FileHandle) -> Result<()> {
        if handle == LENT_READS || handle == LENT_WRITES {
            self.passthrough.give_back(ino, &self.cache);
        } else {
            self.cache.release(ino);
        }
        Ok(())
    }

    /// Returns whether the kernel must keep no pages of what is read through a handle: mapped stores
    /// go to the content file beside them. A read that fills pages, which names no owner as a
    /// program's own does, is refused: nothing is read ahead then, and `sendfile` and `splice` of who
    /// writes fail, which a program takes for "read it". Pages from before are dropped at the first
    /// opening for writing.
    pub(super) fn may_not_be_kept(&self, ino: Ino, handle: FileHandle) -> bool {
        handle == LENT_WRITES || handle == LENT_READS && self.cache.is_watched(ino)
    }

    /// Reads what is there, or says that something must be fetched.
    pub(super) fn read(&self, ino: Ino, span: Span) -> Result<ReadOutcome> {
        match self.cache.read(ino, span.offset, u64::from(span.len)) {
            // Whether the bucket has it is found out where waiting is allowed.
            Err(failed) if failed.is_lack_of_room() => Ok(ReadOutcome::Missing(Vec::new())),
            read => Ok(read?),
        }
    }

    /// Writes, and takes privileges from the file if the kernel asks for that.
    pub(super) fn write(&self, ino: Ino, offset: u64, bytes: &[u8], flags: WriteFlags) -> Result<Written> {
        if flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID) {
            self.drop_privileges(ino)?;
        }
        self.write_if_room(ino, offset, bytes)
    }

    /// Writes if the cache has the room.
    pub(super) fn write_if_room(&self, ino: Ino, offset: u64, bytes: &[u8]) -> Result<Written> {
        match self.cache.write(ino, offset, bytes) {
            Ok(()) => Ok(Written::All),
            Err(CacheError::Full { .. }) => Ok(Written::NoRoom),
            Err(failed) => Err(failed.into()),
        }
    }

    /// Writes when what is dirty has been pushed: it can be dropped from the cache then.
    pub(super) async fn write_after_push(&self, ino: Ino, offset: u64, bytes: &[u8]) -> Result<()> {
        self.after_push(|| self.cache.write(ino, offset, bytes)).await
    }

    /// Does what the cache has no room for when what is dirty has been pushed.
    pub(super) async fn after_push(&self, mut attempt: impl FnMut() -> cache::Result<()>) -> Result<()> {
        for _ in 1..MOST_PUSHES {
            if let Err(failed) = self.sync.guarded(Round::Flush, self.sync.push_pending()).await {
                tracing::warn!(
                    error = describe(&failed),
                    "The cache is full, and what it holds cannot be pushed"
                );
                break;
            }
            match attempt() {
                // Another writer was faster.
                Err(CacheError::Full { .. }) => {}
                done => return Ok(done?),
            }
        }
        Ok(attempt()?)
    }

    /// Reads, fetching first what is absent.
    pub(super) async fn read_fetched(&self, ino: Ino, span: Span) -> Result<Vec<u8>> {
        Ok(self.hydrator.read(ino, span.offset, u64::from(span.len)).await?)
    }
}

fn access_of(flags: OpenFlags) -> Access {
    match flags.acc_mode() {
        OpenAccMode::O_RDONLY => Access::Read,
        OpenAccMode::O_WRONLY | OpenAccMode::O_RDWR => Access::Write,
    }
}

/// The kernel keeps its pages over opens (we say when they are wrong) and does not report each
/// close of a file that cannot have been changed.
fn unlent(access: Access) -> Opened {
    let (handle, flags) = match access {
        Access::Read => (READS, FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH),
        Access::Write => (WRITES, FopenFlags::FOPEN_KEEP_CACHE),
    };
    Opened { handle, flags, backing: None }
}

/// The content file may change without the kernel's pages: it keeps none.
fn unkept(access: Access) -> Opened {
    Opened { flags: FopenFlags::FOPEN_DIRECT_IO, ..unlent(access) }
}

/// The kernel reads the content file itself. Each write comes to us, and so does each read of who
/// writes; only what is mapped does not.
fn lent(access: Access, id: Arc<BackingId>) -> Opened {
    let (handle, flags) = match access {
        Access::Read => (LENT_READS, FopenFlags::FOPEN_NOFLUSH),
        Access::Write => (LENT_WRITES, FopenFlags::FOPEN_DIRECT_IO),
    };
    Opened { handle, flags, backing: Some(id) }
}
