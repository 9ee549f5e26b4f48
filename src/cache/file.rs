//! Reading and changing the content of files.
//!
//! A write never waits for the network: it marks the cache dirty, notes the change (durably,
//! if a power cut could otherwise mistake changed bytes for clean ones), writes the content
//! file and notes the extent. Reads of what is absent say what must be fetched.

use std::sync::Arc;

use super::Cache;
use super::content::{Content, ContentState, Origin, ReadOutcome};
use super::error::{CacheError, Result};
use super::names::Names;
use super::rows::{Ino, Inode, Path, RowOp};
use super::watermark::ChangeToken;
use crate::os::crash_point::{Step, reached};

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Writing, or both.
    Write,
}

impl Cache {
    /// Opens a file; the caller owes a [`Cache::release`].
    pub fn open_file(&self, ino: Ino, access: Access) -> Result<()> {
        if access == Access::Write
            && let Some(reason) = self.read_only_reason()
        {
            return Err(CacheError::ReadOnly(reason));
        }
        let mut names = self.names.write();
        let inode = names.inode_mut(ino)?;
        if inode.is_folder() {
            return Err(CacheError::IsAFolder(inode.path.as_deref().unwrap_or("").to_owned()));
        }
        inode.opens += 1;
        Ok(())
    }

    /// Closes a file that was opened.
    pub fn release(&self, ino: Ino) {
        let mut names = self.names.write();
        let Ok(inode) = names.inode_mut(ino) else { return };
        inode.opens = inode.opens.saturating_sub(1);
        self.drop_if_unused(&mut names, ino);
    }

    /// Reads up to `len` bytes at `offset`, or says what must be fetched first.
    pub fn read(&self, ino: Ino, offset: u64, len: u64) -> Result<ReadOutcome> {
        let size = self.names.read().inode(ino)?.size;
        if offset >= size || len == 0 {
            return Ok(ReadOutcome::Data(Vec::new()));
        }
        self.content_of(ino)?.read(offset..offset.saturating_add(len).min(size))
    }

    /// Returns the content of a file, made if there is none yet.
    pub fn content_of(&self, ino: Ino) -> Result<Arc<Content>> {
        if let Some(id) = &self.names.read().inode(ino)?.content {
            return self.content(id);
        }
        let mut names = self.names.write();
        let inode = names.inode(ino)?;
        if let Some(id) = &inode.content {
            return self.content(id);
        }
        let content = self.new_content(inode.size, inode.size)?;
        let row = content.lock().row.clone();
        let mut with = inode.clone();
        with.content = Some(content.id.clone());
        let group =
            vec![RowOp::Content(content.id.clone(), Box::new(row)), RowOp::Inode(ino, Box::new(with))];
        self.commit(&mut names, group)?;
        Ok(content)
    }

    /// Writes bytes; they are visible to every reader of this mount at once.
    pub fn write(&self, ino: Ino, offset: u64, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.make_room(bytes.len() as u64)?;
        let token = self.token_for(ino)?;
        let content = self.content_of(ino)?;
        let mut state = content.lock();
        let before = state.local_bytes();
        self.note_changing(ino, &content, &mut state, offset)?;
        let written = state.write(&token, content.path(), offset, bytes);
        reached(Step::ContentWritten);
        let noted = written.as_ref().ok().and_then(Clone::clone);
        if let Some(extent) = noted {
            self.catalog.note(&[RowOp::Extent(content.id.clone(), extent.start, extent.end)])?;
        }
        self.file_resized(ino, state.len);
        self.count_bytes(before, state.local_bytes());
        written.map(drop)
    }

    /// Cuts or extends a file to `size` bytes. Nothing changes if it has that size already.
    pub fn truncate(&self, ino: Ino, size: u64) -> Result<()> {
        let old = self.names.read().inode(ino)?.size;
        if old == size {
            return Ok(());
        }
        let token = self.token_for(ino)?;
        let content = self.content_of(ino)?;
        let mut state = content.lock();
        let before = state.local_bytes();
        self.note_changing(ino, &content, &mut state, size.min(old))?;
        state.truncate(&token, content.path(), size)?;
        reached(Step::ContentWritten);
        let row = state.row.clone();
        self.catalog.note(&[RowOp::Content(content.id.clone(), Box::new(row))])?;
        self.file_resized(ino, size);
        self.count_bytes(before, state.local_bytes());
        Ok(())
    }

    fn token_for(&self, ino: Ino) -> Result<ChangeToken> {
        let uncounted = {
            let names = self.names.read();
            let inode = names.inode(ino)?;
            inode.local || inode.path.is_none()
        };
        self.begin_change_of(uncounted)
    }

    /// Notes that a file changes, before it does. Held: the content's lock.
    fn note_changing(
        &self,
        ino: Ino,
        content: &Arc<Content>,
        state: &mut ContentState,
        offset: u64,
    ) -> Result<()> {
        let now = self.now_nanos();
        let first = {
            let names = self.names.read();
            first_change(&names, ino)?
        };
        if let Some(origin) = first {
            stamp_locked(content, state, &origin)?;
        }
        let durably = state.overwrites_durable(offset);
        let mut names = self.names.write();
        let inode = names.inode(ino)?;
        let clean = inode.path.as_ref().is_some_and(|path| !names.is_dirty(path));
        let mut group = Vec::new();
        if clean && !inode.local {
            let mut changed = inode.clone();
            changed.stamp.content += 1;
            group.push(RowOp::Inode(ino, Box::new(changed)));
        }
        if durably {
            state.row.overwriting = true;
            group.push(RowOp::Content(content.id.clone(), Box::new(state.row.clone())));
        }
        self.commit(&mut names, group)?;
        names.touch(ino, now, self.now());
        drop(names);
        if durably {
            self.catalog.sync()?;
        }
        reached(Step::ChangingNoted);
        Ok(())
    }

    fn file_resized(&self, ino: Ino, size: u64) {
        self.names.write().set_size(ino, size);
    }

    pub(super) fn count_bytes(&self, before: u64, after: u64) {
        use std::sync::atomic::Ordering::Relaxed;
        if after >= before {
            self.local_bytes.fetch_add(after - before, Relaxed);
        } else {
            self.local_bytes.fetch_sub(before - after, Relaxed);
        }
    }
}

/// Returns what a clean file's content must say of itself before its first change.
fn first_change(names: &Names, ino: Ino) -> Result<Option<Origin>> {
    let inode: &Inode = names.inode(ino)?;
    let Some(path) = inode.path.as_ref().filter(|path| !inode.local && !names.is_dirty(path)) else {
        return Ok(None);
    };
    let base = names.name(path).and_then(|name| name.base.clone());
    Ok(Some(Origin { path: Path::clone(path), base }))
}

fn stamp_locked(content: &Content, state: &mut ContentState, origin: &Origin) -> Result<()> {
    let file = state.file(content.path())?;
    content.stamp_file(&file, origin)
}
