//! What a large upload reads from: the live content, or a private copy of it.
//!
//! The live content may change between two parts; the upload then notices by the stamp and
//! begins again. A copy is made under the content's lock, so it is one moment's bytes.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::Cache;
use super::content::ReadOutcome;
use super::error::{CacheError, Result};
use super::ranges::RangeSet;
use super::rows::{ContentRow, Ino, Stamp};
use crate::model::content_hash::ContentHash;

/// How many bytes of a file are hashed at once.
const HASHED_AT_ONCE: u64 = 1 << 20;

/// How the names of private copies begin.
pub(super) const FROZEN: &str = "frozen-";

/// Bytes that an upload reads, and the stamp at which they were taken.
#[derive(Debug)]
pub struct UploadSource {
    /// How often the file had been changed.
    pub stamp: Stamp,
    /// Its length in bytes.
    pub len: u64,
    file: Arc<File>,
    path: std::path::PathBuf,
}

impl UploadSource {
    /// Reads a range; fails if it is not all there any more.
    pub fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        self.file.read_exact_at(&mut bytes, range.start).map_err(CacheError::io("Reading", &self.path))?;
        Ok(bytes.into())
    }

    /// Returns the hash of all of it.
    pub async fn hash(&self) -> Result<ContentHash> {
        let (mut hash, mut at) = (Sha256::new(), 0);
        while at < self.len {
            let end = self.len.min(at + HASHED_AT_ONCE);
            hash.update(self.read(at..end)?);
            at = end;
            tokio::task::yield_now().await;
        }
        Ok(ContentHash::from_bytes(hash.finalize().into()))
    }
}

impl Cache {
    /// Returns a file's bytes at one moment, with the stamp of that moment.
    ///
    /// Fails with [`CacheError::NotFound`] if some of them must be fetched first.
    pub fn snapshot(&self, ino: Ino) -> Result<(Stamp, Bytes)> {
        let content = self.content_of(ino)?;
        let state = content.lock();
        let stamp = self.names.read().inode(ino)?.stamp;
        let whole = 0..state.len;
        if !state.missing(whole.clone()).is_empty() {
            return Err(CacheError::NotFound(format!("bytes of content {}", content.id.0)));
        }
        let bytes = content.read_locked(state, whole)?;
        Ok((stamp, bytes.into()))
    }

    /// Returns a range of a file's bytes as they are now.
    pub fn read_present(&self, ino: Ino, range: Range<u64>) -> Result<Bytes> {
        match self.content_of(ino)?.read(range)? {
            ReadOutcome::Data(bytes) => Ok(bytes.into()),
            ReadOutcome::Missing(_) => Err(CacheError::NotFound(format!("bytes of inode {ino}"))),
        }
    }

    /// Returns whether all bytes of a file are here.
    pub fn is_complete(&self, ino: Ino) -> Result<bool> {
        let inode = self.names.read().inode(ino)?.clone();
        if inode.is_file() && inode.content.is_none() {
            return Ok(inode.size == 0);
        }
        Ok(self.content_of(ino)?.lock().is_complete())
    }

    /// Returns the live content of a file that is complete.
    pub fn thaw(&self, ino: Ino) -> Result<UploadSource> {
        let content = self.content_of(ino)?;
        let mut state = content.lock();
        let file = state.file(content.path())?;
        let stamp = self.names.read().inode(ino)?.stamp;
        Ok(UploadSource { stamp, len: state.len, file, path: content.path().to_owned() })
    }

    /// Returns a private copy of a file's content at this moment; it is gone when dropped.
    pub fn freeze(&self, ino: Ino) -> Result<UploadSource> {
        let content = self.content_of(ino)?;
        let path = self.folder().join("state").join(format!("{FROZEN}{}", content.id.0));
        let failed = |source| CacheError::Io { step: "Copying", path: path.clone(), source };
        let mut state = content.lock();
        state.file(content.path())?;
        std::fs::copy(content.path(), &path).map_err(failed)?;
        let stamp = self.names.read().inode(ino)?.stamp;
        let len = state.len;
        drop(state);
        let file = Arc::new(File::open(&path).map_err(failed)?);
        std::fs::remove_file(&path).map_err(failed)?;
        Ok(UploadSource { stamp, len, file, path })
    }

    /// Gives up on bytes that can never be fetched any more: they are zeros from now on.
    pub fn accept_holes(&self, ino: Ino) -> Result<()> {
        let content = self.content_of(ino)?;
        let mut state = content.lock();
        state.row = ContentRow {
            fill_limit: 0,
            present: RangeSet::default(),
            durable_present: RangeSet::default(),
            ..state.row.clone()
        };
        state.unnoted = true;
        let noted = self.note_presence(&content, &mut state, None);
        self.recount(&content, &state);
        noted
    }
}
