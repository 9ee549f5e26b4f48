//! Content files: sparse, named by content id, with the ranges that are present.
//!
//! A content file is as long as the file that it holds. Below `fill_limit` a byte is real only
//! if it is present; from there on every byte is real. A fill writes only bytes that are
//! absent at that moment, so it can never overwrite what was written meanwhile.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::counted::Counted;
use super::error::{CacheError, Result};
use super::ranges::RangeSet;
use super::rows::{ContentId, ContentRow};
use crate::os::crash_point::{Step, reached};
use crate::os::durable_file;

/// The unit in which stat(2) counts what a file takes.
const BLOCK_BYTES: u64 = 512;

/// One content file. Lock order: a content's state before the tree of names.
#[derive(Debug)]
pub struct Content {
    /// Its name.
    pub id: ContentId,
    path: PathBuf,
    state: Mutex<ContentState>,
    /// When it was last used, by the cache's own count of uses.
    pub(super) used: AtomicU64,
    /// How much of the cache's size it is.
    pub(super) counted: Counted,
    /// Held while it is written to the disk: two durable points of one file follow each other.
    pub(super) writing_down: Mutex<()>,
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
    /// Whether presence that the catalog does not know must go with the next note.
    pub(super) unnoted: bool,
    /// Whether the file may be changed unseen.
    pub(super) watched: bool,
    /// Whether it was changed since the last durable point began.
    pub(super) changed: bool,
    /// How many answers bring bytes whose presence is noted when they end.
    pub(super) arriving: usize,
    /// Whether parts of the file may be holes that take no room on the disk.
    pub(super) sparse: bool,
    /// The room that it took when it was found.
    room: Option<u64>,
    /// What an upload that began early has read, and what did not change since.
    pub(super) sent: RangeSet,
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
        let state = ContentState {
            file: None,
            row,
            len,
            point: None,
            point_spoiled: false,
            unnoted: false,
            watched: false,
            changed: false,
            arriving: 0,
            sparse: len > 0,
            room: None,
            sent: RangeSet::default(),
        };
        Self {
            id,
            path,
            state: Mutex::new(state),
            used: AtomicU64::new(0),
            counted: Counted::nothing(),
            writing_down: Mutex::new(()),
        }
    }

    /// Locks the content: nobody reads the state, writes or fills while it is held.
    pub fn lock(&self) -> MutexGuard<'_, ContentState> {
        self.state.lock()
    }

    /// Returns what is known of it.
    #[cfg(test)]
    pub(super) fn into_state(self) -> ContentState {
        self.state.into_inner()
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
            durable_file::make_folder(folder)?;
            open_new(&self.path)
        });
        let file = made.map_err(CacheError::io("Creating", &self.path))?;
        if state.len > 0 {
            file.set_len(state.len).map_err(CacheError::io("Sizing", &self.path))?;
        }
        state.file = Some(Arc::new(file));
        Ok(())
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
        read_full(file, &mut bytes, range.start).map_err(CacheError::io("Reading", &self.path))?;
        Ok(bytes)
    }

    /// Returns whether all of it is here, but not all of it surely on the disk yet.
    pub(super) fn is_only_in_memory(&self) -> bool {
        let state = self.lock();
        state.is_complete() && (state.row.durable_len != Some(state.len) || state.row.overwriting)
    }

    /// Writes fetched bytes where they are still absent; returns the bytes newly present.
    pub fn fill(&self, offset: u64, bytes: &[u8]) -> Result<u64> {
        self.lock().fill(&self.path, offset, bytes)
    }

    /// Returns an open handle to the content file.
    pub fn file(&self) -> Result<Arc<File>> {
        self.lock().file(&self.path)
    }

    /// Returns whether it is nobody's content any more: its file is removed.
    pub(super) fn is_dropped(&self) -> bool {
        self.counted.bytes().is_none()
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
        let known = self.row.present.bytes() + self.len.saturating_sub(self.row.fill_limit);
        if !self.sparse {
            return known;
        }
        // Holes beyond the fill limit are real bytes that take no room.
        let meta = self.file.as_ref().and_then(|file| file.metadata().ok());
        meta.as_ref().map(room).or(self.room).map_or(known, |room| known.min(room))
    }

    /// Takes over what the file was found to be.
    pub(super) fn take_over(&mut self, meta: &Metadata) {
        self.room = Some(room(meta));
        if self.row.fill_limit > self.len {
            // It was cut, and that was not noted any more: what follows is zeros.
            self.row.fill_limit = self.len;
            self.row.present.cut_from(self.len);
            self.row.durable_present.cut_from(self.len);
            self.unnoted = true;
        }
    }

    /// Writes fetched bytes where they are still absent; returns the bytes newly present. The
    /// file's time stays that of its last change, which is what a crash is recovered by.
    pub(super) fn fill(&mut self, path: &FsPath, offset: u64, bytes: &[u8]) -> Result<u64> {
        let file = self.file(path)?;
        let end = (offset + bytes.len() as u64).min(self.row.fill_limit);
        let gaps = if offset < end { self.row.present.missing(offset..end) } else { Vec::new() };
        if gaps.is_empty() {
            return Ok(0);
        }
        let changed = file.metadata().and_then(|meta| meta.modified());
        let mut filled = 0;
        for gap in gaps {
            let part = &bytes[(gap.start - offset) as usize..(gap.end - offset) as usize];
            file.write_all_at(part, gap.start).map_err(CacheError::io("Filling", path))?;
            filled += gap.end - gap.start;
            self.row.present.insert(gap);
        }
        changed.and_then(|time| file.set_modified(time)).map_err(CacheError::io("Filling", path))?;
        reached(Step::HydrateWritten);
        Ok(filled)
    }
}

fn room(meta: &Metadata) -> u64 {
    meta.blocks() * BLOCK_BYTES
}

/// Returns where the content with this id is.
pub(super) fn path_of(folder: &FsPath, id: &ContentId) -> PathBuf {
    let shelf = id.0.get(..2).unwrap_or("xx");
    folder.join(shelf).join(&*id.0)
}

/// Makes the folders in which the content files are, so that no file waits for the disk because
/// it is the first of its folder. One that cannot be made is made with its first file.
pub(super) fn make_shelves(folder: &FsPath) -> Result<()> {
    let mut make = DirBuilder::new();
    make.mode(0o700);
    for shelf in 0..=u8::MAX {
        make.create(folder.join(format!("{shelf:02x}"))).ok();
    }
    durable_file::sync_folder(folder).map_err(CacheError::io("Making", folder))
}

fn open_new(path: &FsPath) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Fills `bytes` from a content file. One that ends before was cut by somebody else, or just now:
/// what is there is not what the file holds.
pub(super) fn read_full(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    file.read_exact_at(bytes, offset)
}

#[cfg(test)]
mod tests {
    use super::super::watermark::ChangeToken;
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
    fn a_fill_is_no_change_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let content = content(folder.path(), 10);
        let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        content.file().unwrap().set_modified(long_ago).unwrap();
        content.fill(0, b"0123456789").unwrap();
        assert_eq!(std::fs::metadata(content.path()).unwrap().modified().unwrap(), long_ago);
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
}
