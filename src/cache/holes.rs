//! Room and holes: `fallocate`, and where a file has data.
//!
//! Bytes that are absent count as data: whether they are zeros is not known before they are
//! fetched. A hole that is punched is real, and no longer comes from the bucket.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path as FsPath;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::Errno;

use super::Cache;
use super::content::{Content, ContentState};
use super::error::{CacheError, Result};
use super::rows::Ino;
use super::watermark::ChangeToken;

/// How many zeros are written at once where the local disk knows no holes.
const ZEROS: usize = 64 << 10;

/// What is to become of a range of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallocate {
    /// There is room for it; what is beyond the end becomes zeros.
    Allocate,
    /// There is room for it, and the size stays.
    Reserve,
    /// It is zeros from now on, and the size stays.
    Zero,
    /// It is zeros from now on, also what is beyond the end.
    ZeroAndGrow,
}

/// What is looked for in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// Bytes that may be other than zero.
    Data,
    /// A part without data, or the end.
    Hole,
}

impl Cache {
    /// Makes room for a range, or zeros of it.
    pub fn fallocate(&self, ino: Ino, range: Range<u64>, what: Fallocate) -> Result<()> {
        let size = self.attr(ino)?.size;
        if what == Fallocate::Allocate || what == Fallocate::Reserve {
            self.reserve(ino, &range)?;
        }
        let within = range.start.min(size)..range.end.min(size);
        if matches!(what, Fallocate::Zero | Fallocate::ZeroAndGrow) && !within.is_empty() {
            self.change_content(ino, &within, |state, token, path| state.zero(token, path, within.clone()))?;
        }
        let grows = matches!(what, Fallocate::Allocate | Fallocate::ZeroAndGrow) && range.end > size;
        if grows { self.truncate(ino, range.end) } else { Ok(()) }
    }

    /// Takes room on the local disk for a range; nothing that a reader sees changes.
    fn reserve(&self, ino: Ino, range: &Range<u64>) -> Result<()> {
        let _token = self.begin_change_of(true)?;
        let new = {
            let content = self.content_of(ino)?;
            let state = content.lock();
            let absent = state.missing(range.clone()).iter().map(|gap| gap.end - gap.start).sum::<u64>();
            absent + range.end.saturating_sub(range.start.max(state.len))
        };
        self.make_room(new)?;
        let (content, file) = self.open_content(ino)?;
        let _unchanging = content.lock();
        let failed = |source| CacheError::io("Reserving room for", content.path())(source);
        let changed = file.metadata().and_then(|meta| meta.modified()).map_err(failed)?;
        match rustix::fs::fallocate(&*file, FallocateFlags::KEEP_SIZE, range.start, range.end - range.start) {
            // Without it the room is found when it is written to, as for any other write.
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(refused) => return Err(failed(refused.into())),
        }
        file.set_modified(changed).map_err(failed)
    }

    /// Returns a file's content, with its content file open: dropping it does not take that away.
    fn open_content(&self, ino: Ino) -> Result<(Arc<Content>, Arc<File>)> {
        loop {
            let content = self.content_of(ino)?;
            match content.file() {
                Err(_) if content.is_dropped() => {}
                file => return file.map(|file| (content, file)),
            }
        }
    }

    /// Returns where data, or a hole, begins at or behind an offset; `None` if there is none.
    pub fn seek(&self, ino: Ino, offset: u64, what: Seek) -> Result<Option<u64>> {
        let (size, has_content) = {
            let names = self.names.read();
            let inode = names.inode(ino)?;
            (inode.size, inode.content.is_some())
        };
        if offset >= size {
            return Ok(None);
        }
        if !has_content {
            return Ok(Some(if what == Seek::Data { offset } else { size }));
        }
        let (content, file) = self.open_content(ino)?;
        let state = content.lock();
        let gaps = state.missing(offset..state.len);
        let found = match what {
            Seek::Data => data_from(&file, offset, &gaps),
            Seek::Hole => hole_from(&file, offset, &gaps, state.len).map(Some),
        };
        found.map_err(CacheError::io("Looking for holes in", content.path()))
    }
}

impl ContentState {
    /// Makes zeros of a range below the end; returns the part that became present below the
    /// fill limit, if any did.
    fn zero(&mut self, _token: &ChangeToken, path: &FsPath, range: Range<u64>) -> Result<Option<Range<u64>>> {
        let file = self.file(path)?;
        let range = range.start..range.end.min(self.len);
        self.spoil_point(range.start);
        let flags = FallocateFlags::KEEP_SIZE | FallocateFlags::PUNCH_HOLE;
        match rustix::fs::fallocate(&*file, flags, range.start, range.end - range.start) {
            Err(Errno::OPNOTSUPP) => write_zeros(&file, range.clone()),
            punched => punched.map_err(Into::into),
        }
        .map_err(CacheError::io("Punching a hole into", path))?;
        Ok(self.became_present(range, true))
    }
}

fn write_zeros(file: &File, range: Range<u64>) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let zeros = [0; ZEROS];
    let mut at = range.start;
    while at < range.end {
        let some = (range.end - at).min(ZEROS as u64);
        file.write_all_at(&zeros[..some as usize], at)?;
        at += some;
    }
    Ok(())
}

/// Returns where data begins: in the file, or at the first byte that is absent.
fn data_from(file: &File, offset: u64, gaps: &[Range<u64>]) -> io::Result<Option<u64>> {
    let absent = gaps.first().map(|gap| gap.start);
    let present = match rustix::fs::seek(file, SeekFrom::Data(offset)) {
        Ok(at) => Some(at),
        Err(Errno::NXIO) => None,
        Err(failed) => return Err(failed.into()),
    };
    Ok(absent.into_iter().chain(present).min())
}

/// Returns where a hole begins, of what is present; at the latest the end.
fn hole_from(file: &File, offset: u64, gaps: &[Range<u64>], end: u64) -> io::Result<u64> {
    let mut at = offset;
    for gap in gaps {
        if at < gap.start {
            let hole = rustix::fs::seek(file, SeekFrom::Hole(at))?;
            if hole < gap.start {
                return Ok(hole);
            }
        }
        at = gap.end;
    }
    if at >= end { Ok(end) } else { Ok(rustix::fs::seek(file, SeekFrom::Hole(at))?) }
}
