//! Changing a content file: writing, cutting, extending.
//!
//! Who changes one has marked the cache dirty, and holds the content's lock. What is said of the
//! file is true of it whatever part of the change fails.

use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path as FsPath;

use super::content::ContentState;
use super::error::{CacheError, Result};
use super::watermark::ChangeToken;

impl ContentState {
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
        self.spoil_point(offset);
        if let Err(failed) = file.write_all_at(bytes, offset) {
            // A part of it may be there: what nobody was told of does not make the file longer.
            let grown = file.metadata().map_or(self.len, |meta| meta.len());
            if grown > self.len && file.set_len(self.len).is_err() {
                self.len = grown;
            }
            return Err(CacheError::io("Writing", path)(failed));
        }
        let is_sparse = offset > self.len;
        self.len = self.len.max(end);
        Ok(self.became_present(offset..end, is_sparse))
    }

    /// Notes that a range was changed here; returns the part that became present below the fill
    /// limit, if any did.
    pub(super) fn became_present(&mut self, range: Range<u64>, is_sparse: bool) -> Option<Range<u64>> {
        self.sparse |= is_sparse;
        let noted = range.start..range.end.min(self.row.fill_limit);
        if noted.start >= noted.end || self.row.present.covers(noted.clone()) {
            return None;
        }
        self.row.present.insert(noted.clone());
        Some(noted)
    }

    /// Cuts or extends the file.
    pub(super) fn truncate(&mut self, _token: &ChangeToken, path: &FsPath, len: u64) -> Result<()> {
        let file = self.file(path)?;
        self.spoil_point(len);
        file.set_len(len).map_err(CacheError::io("Truncating", path))?;
        self.row.fill_limit = self.row.fill_limit.min(len);
        self.row.present.cut_from(self.row.fill_limit);
        self.row.durable_present.cut_from(self.row.fill_limit);
        self.sparse |= len > self.len;
        self.len = len;
        Ok(())
    }
}
