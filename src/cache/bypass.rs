//! Reading around a cache that cannot keep more.
//!
//! A cache that is full of what may not be dropped, or whose disk fails, makes a read slower
//! and never makes it fail: what is absent goes from the bucket straight to the reader.

use std::ops::Range;

use bytes::Bytes;

use super::Cache;
use super::content::{Content, read_full};
use super::error::{CacheError, Result};
use super::hydrate::{Hydrator, Piece};
use super::rows::{Ino, Source};

/// How often a read begins anew because the file changed under it.
const MOST_TRIES: usize = 16;

impl CacheError {
    /// Returns whether this machine could not keep what it was given.
    pub fn is_lack_of_room(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Io { .. })
    }
}

impl Hydrator {
    /// Reads a range and keeps nothing of what was absent.
    pub(super) async fn read_around(&self, ino: Ino, range: Range<u64>) -> Result<Vec<u8>> {
        self.cache().note_given(ino)?;
        match self.read_past_gaps(ino, range.clone()).await {
            Err(sick) if sick.is_lack_of_room() => self.read_from_bucket(ino, range, sick).await,
            read => read,
        }
    }

    /// Reads a range of a file that nobody changed, when nothing of it can be read here: `sick`
    /// says why, and is the answer if only this machine has the bytes.
    async fn read_from_bucket(&self, ino: Ino, range: Range<u64>, sick: CacheError) -> Result<Vec<u8>> {
        for _ in 0..MOST_TRIES {
            let Some(source) = self.cache().unchanged_source(ino)? else { break };
            let range = range.start..range.end.min(source.remote.size);
            if range.is_empty() {
                return Ok(Vec::new());
            }
            let piece = self.fetch_piece(ino, range).await?;
            if let Piece::Bytes(body) = piece
                && self.cache().unchanged_source(ino)?.as_ref() == Some(&source)
            {
                return Ok(body.to_vec());
            }
        }
        Err(sick)
    }

    /// Reads a range: what is here, and what is absent past the cache.
    async fn read_past_gaps(&self, ino: Ino, range: Range<u64>) -> Result<Vec<u8>> {
        for _ in 0..MOST_TRIES {
            let content = self.cache().content_of(ino)?;
            let gaps = {
                let state = content.lock();
                state.missing(range.start..range.end.min(state.len))
            };
            let mut pieces = Vec::new();
            for gap in gaps {
                match self.fetch_piece(ino, gap.clone()).await? {
                    Piece::Bytes(body) => pieces.push((gap.start, body)),
                    Piece::FileMoved => break,
                }
            }
            if let Some(bytes) = content.read_with(range.clone(), &pieces)? {
                return Ok(bytes);
            }
        }
        Err(CacheError::Gone(ino))
    }
}

impl Cache {
    /// Notes that readers get bytes that are not kept.
    fn note_given(&self, ino: Ino) -> Result<()> {
        self.names.write().inode_mut(ino)?.given = true;
        Ok(())
    }

    /// Returns the object that has exactly a file's bytes, if there is one.
    fn unchanged_source(&self, ino: Ino) -> Result<Option<Source>> {
        Ok(self.names.read().inode(ino)?.equal_object().cloned())
    }
}

impl Content {
    /// Reads a range, taking what is absent from `pieces`; `None` if they do not have all of it.
    fn read_with(&self, range: Range<u64>, pieces: &[(u64, Bytes)]) -> Result<Option<Vec<u8>>> {
        let mut state = self.lock();
        let range = range.start.min(state.len)..range.end.min(state.len);
        let mut bytes = vec![0; (range.end - range.start) as usize];
        let file = state.file(self.path())?;
        read_full(&file, &mut bytes, range.start).map_err(CacheError::io("Reading", self.path()))?;
        for gap in state.missing(range.clone()) {
            let Some(part) = part_of(pieces, &gap) else { return Ok(None) };
            let at = (gap.start - range.start) as usize;
            bytes[at..at + part.len()].copy_from_slice(part);
        }
        Ok(Some(bytes))
    }
}

fn part_of<'a>(pieces: &'a [(u64, Bytes)], gap: &Range<u64>) -> Option<&'a [u8]> {
    pieces.iter().find_map(|(start, body)| {
        let from = usize::try_from(gap.start.checked_sub(*start)?).ok()?;
        body.get(from..from + (gap.end - gap.start) as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_taken_from_the_piece_that_has_all_of_it() {
        let pieces = [(10, Bytes::from_static(b"abcd")), (20, Bytes::from_static(b"efgh"))];
        assert_eq!(part_of(&pieces, &(11..13)), Some(&b"bc"[..]));
        assert_eq!(part_of(&pieces, &(20..24)), Some(&b"efgh"[..]));
        assert_eq!(part_of(&pieces, &(12..16)), None);
        assert_eq!(part_of(&pieces, &(5..7)), None);
    }
}
