//! What a large upload reads from: the live content, or a private copy of it.
//!
//! The live content may change between two parts; the upload then notices by the stamp and
//! begins again. A copy is made under the content's lock, so it is one moment's bytes. What is
//! absent from either comes from the bucket, and is not kept.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path as FsPath;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::Cache;
use super::content::{Content, ContentState, ReadOutcome};
use super::error::{CacheError, Result};
use super::hydrate::{Hydrator, Piece};
use super::ranges::RangeSet;
use super::rows::{ContentRow, Ino, Stamp};
use super::send_buffers::{SendBuffer, SendBuffers};
use super::unchanged::SameAs;
use crate::model::content_hash::ContentHash;

/// How many bytes of a file are hashed, or copied, at once.
const AT_ONCE: u64 = 1 << 20;

/// How the names of private copies begin.
pub(super) const FROZEN: &str = "frozen-";

/// Bytes that an upload reads, and the stamp at which they were taken.
#[derive(Debug)]
pub struct UploadSource {
    /// How often the file had been changed.
    pub stamp: Stamp,
    /// Its length in bytes.
    pub len: u64,
    /// Which of its bytes the bucket has already.
    pub same: Option<SameAs>,
    /// Which of them were read for an upload that began early.
    pub sent: RangeSet,
    ino: Ino,
    /// What is absent from the file.
    gaps: Vec<Range<u64>>,
    file: Arc<File>,
    path: std::path::PathBuf,
    buffers: SendBuffers,
}

impl UploadSource {
    /// Returns whose bytes they are.
    pub fn ino(&self) -> Ino {
        self.ino
    }

    /// Reads a range of the file, zeros where it is absent; fails if it is not all there any more.
    fn read(&self, range: &Range<u64>) -> Result<SendBuffer> {
        let mut bytes = self.buffers.take((range.end - range.start) as usize);
        let read = self.file.read_exact_at(bytes.as_mut(), range.start);
        read.map_err(CacheError::io("Reading", &self.path))?;
        Ok(bytes)
    }

    /// Returns how many bytes of a range are absent.
    pub fn absent_bytes(&self, range: &Range<u64>) -> u64 {
        self.absent(range).map(|gap| gap.end - gap.start).sum()
    }

    /// Returns which parts of a range are absent.
    fn absent(&self, range: &Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let cut = |gap: &Range<u64>| gap.start.max(range.start)..gap.end.min(range.end);
        self.gaps.iter().map(cut).filter(|gap| gap.start < gap.end)
    }
}

impl Hydrator {
    /// Reads a range of what is uploaded; what is absent is fetched, and not kept.
    pub async fn read_source(&self, source: &UploadSource, range: Range<u64>) -> Result<Bytes> {
        let mut bytes = source.read(&range)?;
        for gap in source.absent(&range) {
            let Piece::Bytes(body) = self.fetch_piece(source.ino, gap.clone()).await? else {
                return Err(CacheError::NotFound(format!("bytes of inode {}", source.ino)));
            };
            let at = (gap.start - range.start) as usize;
            bytes.as_mut()[at..at + body.len()].copy_from_slice(&body);
        }
        Ok(bytes.freeze())
    }

    /// Returns the hash of all that is uploaded.
    pub async fn hash_source(&self, source: &UploadSource) -> Result<ContentHash> {
        let (mut hash, mut at) = (Sha256::new(), 0);
        while at < source.len {
            let end = source.len.min(at + AT_ONCE);
            hash.update(self.read_source(source, at..end).await?);
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
        let mut state = content.lock();
        self.seal(ino, &content, &mut state)?;
        let stamp = self.stamp_with(ino, &content)?;
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

    /// Reads a range of a file for an upload that began early. What changes from now on was not
    /// read.
    pub fn read_to_send(&self, ino: Ino, range: Range<u64>) -> Result<Bytes> {
        let content = self.content_of(ino)?;
        let file = {
            let mut state = content.lock();
            if state.len < range.end || !state.missing(range.clone()).is_empty() {
                return Err(CacheError::NotFound(format!("bytes of inode {ino}")));
            }
            // What may change unseen is sent again.
            if !state.watched {
                state.sent.insert(range.clone());
            }
            state.file(content.path())?
        };
        let mut bytes = self.send_buffers.take((range.end - range.start) as usize);
        let read = file.read_exact_at(bytes.as_mut(), range.start);
        read.map_err(CacheError::io("Reading", content.path()))?;
        Ok(bytes.freeze())
    }

    /// Forgets what was read for an upload that began early.
    pub fn forget_sent(&self, ino: Ino) -> Result<()> {
        self.content_of(ino)?.lock().sent.clear();
        Ok(())
    }

    /// Returns whether all bytes of a file are here.
    pub fn is_complete(&self, ino: Ino) -> Result<bool> {
        let inode = self.names.read().inode(ino)?.clone();
        if inode.is_file() && inode.content.is_none() {
            return Ok(inode.size == 0);
        }
        Ok(self.content_of(ino)?.lock().is_complete())
    }

    /// Returns the live content of a file.
    pub fn thaw(&self, ino: Ino) -> Result<UploadSource> {
        let content = self.content_of(ino)?;
        let mut state = content.lock();
        self.seal(ino, &content, &mut state)?;
        let file = state.file(content.path())?;
        let stamp = self.stamp_with(ino, &content)?;
        let (gaps, same) = (state.missing(0..state.len), self.same_as(ino, &state));
        let (len, sent, path) = (state.len, state.sent.clone(), content.path().to_owned());
        let buffers = self.send_buffers.clone();
        Ok(UploadSource { stamp, len, same, sent, ino, gaps, file, path, buffers })
    }

    /// Returns a private copy of a file's content at this moment; it is gone when dropped.
    pub fn freeze(&self, ino: Ino) -> Result<UploadSource> {
        let content = self.content_of(ino)?;
        let path = self.folder().join("state").join(format!("{FROZEN}{}", content.id.0));
        let failed = |source| CacheError::Io { step: "Copying", path: path.clone(), source };
        let mut state = content.lock();
        self.seal(ino, &content, &mut state)?;
        let live = state.file(content.path())?;
        let file = Arc::new(copy_present(&state, &live, &path).map_err(failed)?);
        let stamp = self.stamp_with(ino, &content)?;
        let (len, gaps, same) = (state.len, state.missing(0..state.len), self.same_as(ino, &state));
        drop(state);
        std::fs::remove_file(&path).map_err(failed)?;
        let sent = RangeSet::default();
        let buffers = self.send_buffers.clone();
        Ok(UploadSource { stamp, len, same, sent, ino, gaps, file, path, buffers })
    }

    /// Returns how many bytes of a file are absent.
    pub fn absent_bytes(&self, ino: Ino) -> Result<u64> {
        let content = self.content_of(ino)?;
        let state = content.lock();
        Ok(state.missing(0..state.len).iter().map(|gap| gap.end - gap.start).sum())
    }

    /// Returns how often a file was changed, if this is its content still. Held: the content.
    fn stamp_with(&self, ino: Ino, content: &Content) -> Result<Stamp> {
        let names = self.names.read();
        let inode = names.inode(ino)?;
        let is_its = inode.content.as_ref() == Some(&content.id);
        is_its.then_some(inode.stamp).ok_or_else(|| CacheError::NotFound(format!("content {}", content.id.0)))
    }

    /// Gives up on bytes that can never be fetched any more: they are zeros from now on.
    pub fn accept_holes(&self, ino: Ino) -> Result<()> {
        let content = self.content_of(ino)?;
        let mut state = content.lock();
        state.row = ContentRow {
            fill_limit: 0,
            present: RangeSet::default(),
            durable_present: RangeSet::default(),
            unchanged: None,
            ..state.row.clone()
        };
        state.unnoted = true;
        let noted = self.note_presence(&content, &mut state, None);
        self.recount(&content, &state);
        noted
    }
}

/// Copies what is present of a content file; the rest takes no room.
fn copy_present(state: &ContentState, live: &File, to: &FsPath) -> io::Result<File> {
    let copy = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(to)?;
    copy.set_len(state.len)?;
    let mut at = 0;
    let end = state.len..state.len;
    for gap in state.missing(0..state.len).into_iter().chain(std::iter::once(end)) {
        while at < gap.start {
            let mut bytes = vec![0; AT_ONCE.min(gap.start - at) as usize];
            live.read_exact_at(&mut bytes, at)?;
            copy.write_all_at(&bytes, at)?;
            at += bytes.len() as u64;
        }
        at = gap.end;
    }
    Ok(copy)
}
