//! `fallocate` and `lseek` for data and holes.

use std::ops::Range;

use super::error::{FsError, Result};
use super::file_io::Written;
use super::front::Front;
use crate::cache::holes::{Fallocate, Seek};
use crate::cache::{CacheError, Ino};

impl Front {
    /// Makes room for a range of a file, or zeros of it; a full cache is pushed first.
    pub(super) async fn fallocate_after_push(&self, ino: Ino, span: (u64, u64), mode: i32) -> Result<()> {
        let (range, what) = asked(span, mode)?;
        self.after_push(|| self.cache.fallocate(ino, range.clone(), what)).await
    }

    /// Makes room for a range of a file, or zeros of it, if the cache has the room.
    pub(super) fn fallocate(&self, ino: Ino, span: (u64, u64), mode: i32) -> Result<Written> {
        let (range, what) = asked(span, mode)?;
        self.drop_privileges(ino)?;
        match self.cache.fallocate(ino, range, what) {
            Ok(()) => Ok(Written::All),
            Err(CacheError::Full { .. }) => Ok(Written::NoRoom),
            Err(failed) => Err(failed.into()),
        }
    }

    /// Returns where data, or a hole, begins at or behind an offset.
    pub(super) fn seek(&self, ino: Ino, offset: i64, whence: i32) -> Result<i64> {
        let what = match whence {
            libc::SEEK_DATA => Seek::Data,
            libc::SEEK_HOLE => Seek::Hole,
            _ => return Err(FsError::Invalid("This kind of lseek")),
        };
        let offset = u64::try_from(offset).map_err(|_| FsError::BehindEnd)?;
        let found = self.cache.seek(ino, offset, what)?.ok_or(FsError::BehindEnd)?;
        i64::try_from(found).map_err(|_| FsError::BehindEnd)
    }
}

/// Returns what a call asks for: the range, and what is to become of it.
fn asked((offset, len): (u64, u64), mode: i32) -> Result<(Range<u64>, Fallocate)> {
    let end = offset.checked_add(len).ok_or(FsError::TooLarge)?;
    if end > i64::MAX as u64 {
        return Err(FsError::TooLarge);
    }
    const PUNCH: i32 = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    const ZERO: i32 = libc::FALLOC_FL_ZERO_RANGE;
    const ZERO_WITHIN: i32 = libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE;
    let what = match mode {
        0 => Fallocate::Allocate,
        libc::FALLOC_FL_KEEP_SIZE => Fallocate::Reserve,
        PUNCH | ZERO_WITHIN => Fallocate::Zero,
        ZERO => Fallocate::ZeroAndGrow,
        _ => return Err(FsError::Unsupported("This kind of fallocate")),
    };
    Ok((offset..end, what))
}
