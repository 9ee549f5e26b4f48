//! Content files: sparse, named by content id, with the ranges that are present.
//!
//! A content file is as long as the file that it holds. Below `fill_limit` a byte is real only
//! if it is present; from there on every byte is real. A fill writes only bytes that are
//! absent at that moment, so it can never overwrite what was written meanwhile.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};

use super::error::{CacheError, Result};
use super::rows::{ContentId, ContentRow, Path, Remote};
use super::watermark::ChangeToken;
use crate::os::crash_point::{Step, reached};

/// The extended attribute that says whose content a file is while it is dirty.
const ORIGIN: &str = "user.bayou.origin";

/// One content file. Lock order: a content's state before the tree of names.
#[derive(Debug)]
pub struct Content {
    /// Its name.
    pub id: ContentId,
    path: PathBuf,
    state: Mutex<ContentState>,
    /// When it was last used, by the cache's own count of uses.
    pub(super) used: AtomicU64,
}

/// What is known of a content file while it is locked.
#[derive(Debug)]
pub struct ContentState {
    file: Option<Arc<File>>,
    /// What the catalog keeps of it.
    pub row: ContentRow,
    /// Length in bytes: always that of the file it holds.
    pub len: u64,
    /// The length that a durable point under way covers.
    pub(super) point: Option<u64>,
    /// Whether bytes below that length changed since it began.
    pub(super) point_spoiled: bool,
}

/// Whose content a file is, kept with the file itself in case the catalog is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The path of the dirty file.
    pub path: Path,
    /// The version it derives from; `None` if it is new.
    pub base: Option<Remote>,
}

/// What a read found.
#[derive(Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// The bytes, cut at the end of the file.
    Data(Vec<u8>),
    /// These ranges must be fetched first.
    Missing(Vec<Range<u64>>),
}

impl Content {
    pub(super) fn at(folder: &FsPath, id: ContentId, row: ContentRow, len: u64) -> Self {
        let path = path_of(folder, &id);
        let state = ContentState { file: None, row, len, point: None, point_spoiled: false };
        Self { id, path, state: Mutex::new(state), used: AtomicU64::new(0) }
    }

    /// Locks the content: nobody reads the state, writes or fills while it is held.
    pub fn lock(&self) -> MutexGuard<'_, ContentState> {
        self.state.lock()
    }

    /// Returns where the content file is.
    pub fn path(&self) -> &FsPath {
        &self.path
    }

    /// Makes the file, `len` bytes of nothing.
    pub(super) fn create(&self) -> Result<()> {
        let mut state = self.lock();
        let folder = self.path.parent().unwrap_or(FsPath::new("."));
        let made = open_new(&self.path).or_else(|failed| {
            if failed.kind() != io::ErrorKind::NotFound {
                return Err(failed);
            }
            std::fs::create_dir_all(folder)?;
            open_new(&self.path)
        });
        let file = made.map_err(CacheError::io("Creating", &self.path))?;
        if state.len > 0 {
            file.set_len(state.len).map_err(CacheError::io("Sizing", &self.path))?;
        }
        state.file = Some(Arc::new(file));
        Ok(())
    }

    /// Writes down whose content this is, with the file itself.
    pub(super) fn stamp(&self, origin: &Origin) -> Result<()> {
        let file = self.lock().file(&self.path)?;
        self.stamp_file(&file, origin)
    }

    /// As [`Content::stamp`], for who holds the lock.
    pub(super) fn stamp_file(&self, file: &File, origin: &Origin) -> Result<()> {
        let text = serde_json::to_vec(origin).unwrap_or_default();
        match rustix::fs::fsetxattr(file, ORIGIN, &text, rustix::fs::XattrFlags::empty()) {
            Ok(()) => {
                reached(Step::ContentStamped);
                Ok(())
            }
            // Without attributes only the second copy of this knowledge is lost.
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            Err(failed) => Err(CacheError::io("Marking", &self.path)(failed.into())),
        }
    }

    /// Removes the note of whose content this is: the bucket has it.
    pub(super) fn unstamp(&self) -> Result<()> {
        let file = self.lock().file(&self.path)?;
        match rustix::fs::fremovexattr(&*file, ORIGIN) {
            Ok(()) | Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => Ok(()),
            Err(failed) => Err(CacheError::io("Unmarking", &self.path)(failed.into())),
        }
    }

    /// Reads a range, if all of it is present.
    pub fn read(&self, range: Range<u64>) -> Result<ReadOutcome> {
        let (file, range) = {
            let mut state = self.lock();
            let range = range.start.min(state.len)..range.end.min(state.len);
            let gaps = state.missing(range.clone());
            if !gaps.is_empty() {
                return Ok(ReadOutcome::Missing(gaps));
            }
            (state.file(&self.path)?, range)
        };
        self.read_file(&file, range).map(ReadOutcome::Data)
    }

    /// Reads a range that is present while nothing can change it.
    pub(super) fn read_locked(
        &self,
        mut state: MutexGuard<'_, ContentState>,
        range: Range<u64>,
    ) -> Result<Vec<u8>> {
        let file = state.file(&self.path)?;
        self.read_file(&file, range)
    }

    fn read_file(&self, file: &File, range: Range<u64>) -> Result<Vec<u8>> {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        let got = read_full(file, &mut bytes, range.start).map_err(CacheError::io("Reading", &self.path))?;
        bytes.truncate(got);
        Ok(bytes)
    }

    /// Returns whether all of it was fetched and none of it is surely on the disk yet.
    pub(super) fn is_only_in_memory(&self) -> bool {
        let state = self.lock();
        state.row.fill_limit == state.len && state.is_complete() && state.row.durable_len.is_none()
    }

    /// Writes fetched bytes where they are still absent; returns the bytes newly present.
    pub fn fill(&self, offset: u64, bytes: &[u8]) -> Result<u64> {
        let mut state = self.lock();
        let file = state.file(&self.path)?;
        let end = (offset + bytes.len() as u64).min(state.row.fill_limit);
        let gaps = if offset < end { state.row.present.missing(offset..end) } else { Vec::new() };
        let mut filled = 0;
        for gap in gaps {
            let part = &bytes[(gap.start - offset) as usize..(gap.end - offset) as usize];
            file.write_all_at(part, gap.start).map_err(CacheError::io("Filling", &self.path))?;
            filled += gap.end - gap.start;
            state.row.present.insert(gap);
        }
        reached(Step::HydrateWritten);
        Ok(filled)
    }

    /// Returns an open handle to the content file.
    pub fn file(&self) -> Result<Arc<File>> {
        self.lock().file(&self.path)
    }

    pub(super) fn mark_used(&self, count: u64) {
        self.used.store(count, Ordering::Relaxed);
    }

    pub(super) fn is_open(&self) -> bool {
        self.lock().file.is_some()
    }

    /// Closes the file handle; the next use opens it again.
    pub(super) fn close(&self) {
        self.lock().file = None;
    }
}

impl ContentState {
    /// Returns the open file.
    pub fn file(&mut self, path: &FsPath) -> Result<Arc<File>> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let file =
            OpenOptions::new().read(true).write(true).open(path).map_err(CacheError::io("Opening", path))?;
        let file = Arc::new(file);
        self.file = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Returns which parts of a range must be fetched before they can be read.
    pub fn missing(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let end = range.end.min(self.row.fill_limit);
        if range.start >= end { Vec::new() } else { self.row.present.missing(range.start..end) }
    }

    /// Returns whether nothing needs to be fetched.
    pub fn is_complete(&self) -> bool {
        self.row.present.covers(0..self.row.fill_limit)
    }

    /// Returns how many bytes of the file are on the local disk.
    pub fn local_bytes(&self) -> u64 {
        self.row.present.bytes() + self.len.saturating_sub(self.row.fill_limit)
    }

    /// Returns whether bytes that a durable point covered would change.
    pub(super) fn overwrites_durable(&self, offset: u64) -> bool {
        !self.row.overwriting && self.row.durable_len.is_some_and(|durable| offset < durable)
    }

    /// Writes bytes; returns the part that became present below the fill limit, if any did.
    pub(super) fn write(
        &mut self,
        _token: &ChangeToken,
        path: &FsPath,
        offset: u64,
        bytes: &[u8],
    ) -> Result<Option<Range<u64>>> {
        let file = self.file(path)?;
        let end = offset + bytes.len() as u64;
        self.point_spoiled |= self.point.is_some_and(|point| offset < point);
        if let Err(failed) = file.write_all_at(bytes, offset) {
            // A part of it may be there: the length says how much.
            self.len = file.metadata().map_or(self.len, |meta| meta.len());
            return Err(CacheError::io("Writing", path)(failed));
        }
        self.len = self.len.max(end);
        let noted = offset..end.min(self.row.fill_limit);
        if noted.start >= noted.end || self.row.present.covers(noted.clone()) {
            return Ok(None);
        }
        self.row.present.insert(noted.clone());
        Ok(Some(noted))
    }

    /// Cuts or extends the file.
    pub(super) fn truncate(&mut self, _token: &ChangeToken, path: &FsPath, len: u64) -> Result<()> {
        let file = self.file(path)?;
        self.point_spoiled |= self.point.is_some_and(|point| len < point);
        file.set_len(len).map_err(CacheError::io("Truncating", path))?;
        self.row.fill_limit = self.row.fill_limit.min(len);
        self.row.present.cut_from(self.row.fill_limit);
        self.len = len;
        Ok(())
    }
}

/// Returns where the content with this id is.
pub(super) fn path_of(folder: &FsPath, id: &ContentId) -> PathBuf {
    let shelf = id.0.get(..2).unwrap_or("xx");
    folder.join(shelf).join(&*id.0)
}

/// Returns whose content a file is, if that is written down with it.
pub(super) fn origin_of(path: &FsPath) -> Option<Origin> {
    let mut text = vec![0; 16 << 10];
    let length = rustix::fs::getxattr(path, ORIGIN, &mut text).ok()?;
    serde_json::from_slice(&text[..length]).ok()
}

fn open_new(path: &FsPath) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

pub(super) fn read_full(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < bytes.len() {
        match file.read_at(&mut bytes[got..], offset + got as u64)? {
            0 => break,
            n => got += n,
        }
    }
    Ok(got)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(folder: &FsPath, len: u64) -> Content {
        let row = ContentRow { fill_limit: len, ..ContentRow::default() };
        let content = Content::at(folder, ContentId("abc".into()), row, len);
        content.create().unwrap();
        content
    }

    fn missing(start: u64, end: u64) -> ReadOutcome {
        ReadOutcome::Missing(std::iter::once(start..end).collect())
    }

    fn token() -> ChangeToken {
        ChangeToken::uncounted()
    }

    #[test]
    fn absent_bytes_are_missing_until_they_are_filled() {
        let folder = tempfile::tempdir().unwrap();
        let content = content(folder.path(), 10);
        assert_eq!(content.read(2..20).unwrap(), missing(2, 10));
        assert_eq!(content.fill(0, b"0123456789").unwrap(), 10);
        assert_eq!(content.read(2..20).unwrap(), ReadOutcome::Data(b"23456789".to_vec()));
    }

    #[test]
    fn a_fill_never_overwrites_what_was_written_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let content = content(folder.path(), 10);
        let path = content.path().to_owned();
        content.lock().write(&token(), &path, 3, b"abc").unwrap();
        assert_eq!(content.fill(0, b"0123456789").unwrap(), 7);
        assert_eq!(content.read(0..10).unwrap(), ReadOutcome::Data(b"012abc6789".to_vec()));
    }

    #[test]
    fn what_was_cut_off_is_zeros_when_the_file_grows_again() {
        let folder = tempfile::tempdir().unwrap();
        let content = content(folder.path(), 10);
        let path = content.path().to_owned();
        content.lock().truncate(&token(), &path, 4).unwrap();
        content.lock().truncate(&token(), &path, 8).unwrap();
        assert_eq!(content.read(0..8).unwrap(), missing(0, 4));
        content.fill(0, b"0123456789").unwrap();
        assert_eq!(content.read(0..8).unwrap(), ReadOutcome::Data(b"0123\0\0\0\0".to_vec()));
    }

    #[test]
    fn a_file_says_whose_content_it_is_until_it_is_clean() {
        let folder = tempfile::tempdir().unwrap();
        let content = content(folder.path(), 0);
        let origin = Origin { path: "a/b".into(), base: None };
        content.stamp(&origin).unwrap();
        assert_eq!(origin_of(content.path()), Some(origin));
        content.unstamp().unwrap();
        assert_eq!(origin_of(content.path()), None);
    }
}
