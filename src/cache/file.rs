//! Reading and changing the content of files.
//!
//! A write never waits for the network: it marks the cache dirty, notes the change (durably,
//! if a power cut could otherwise mistake changed bytes for clean ones), writes the content
//! file and notes the extent. Reads of what is absent say what must be fetched.

use std::ops::Range;
use std::path::Path as FsPath;
use std::sync::Arc;

use super::Cache;
use super::content::{Content, ContentState, ReadOutcome};
use super::error::{CacheError, Result};
use super::names::Names;
use super::origin::Origin;
use super::rows::{Ino, Inode, Kind, Path, Remote, RowOp};
use super::watermark::ChangeToken;
use crate::os::crash_point::{Step, reached};

/// How often a change begins anew because the file got another content, or lost its name,
/// under it.
const MOST_TRIES: usize = 16;

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
        self.check_access(access)?;
        count_open(&mut self.names.write(), ino)
    }

    pub(super) fn check_access(&self, access: Access) -> Result<()> {
        match self.read_only_reason() {
            Some(reason) if access == Access::Write => Err(CacheError::ReadOnly(reason)),
            _ => Ok(()),
        }
    }

    /// Closes a file that was opened.
    pub fn release(&self, ino: Ino) {
        let mut names = self.names.write();
        let Ok(inode) = names.inode_mut(ino) else { return };
        inode.opens = inode.opens.saturating_sub(1);
        self.drop_if_unused(&mut names, ino);
    }

    /// Returns whether somebody has a file open.
    pub(super) fn is_open(&self, ino: Ino) -> bool {
        self.names.read().inode(ino).is_ok_and(|inode| inode.opens > 0)
    }

    /// Reads up to `len` bytes at `offset`, or says what must be fetched first.
    pub fn read(&self, ino: Ino, offset: u64, len: u64) -> Result<ReadOutcome> {
        let size = self.names.read().inode(ino)?.size;
        if offset >= size || len == 0 {
            return Ok(ReadOutcome::Data(Vec::new()));
        }
        self.content_of(ino)?.read(offset..offset.saturating_add(len).min(size))
    }

    /// Returns the content of a file, if there is one.
    pub(super) fn content_if_any(&self, ino: Ino) -> Option<Arc<Content>> {
        let id = self.names.read().inode(ino).ok()?.content.clone()?;
        self.contents.lock().get(&id).cloned()
    }

    /// Returns whether all of a file is here.
    pub(super) fn is_here(&self, ino: Ino) -> bool {
        self.content_if_any(ino).is_some_and(|content| content.lock().is_complete())
    }

    /// Returns the content of a file, made if there is none yet.
    pub fn content_of(&self, ino: Ino) -> Result<Arc<Content>> {
        if let Some(id) = &self.names.read().inode(ino)?.content {
            return self.content(id);
        }
        // Others look names up while the disk makes a file.
        for _ in 0..MOST_TRIES {
            let size = only_file(self.names.read().inode(ino)?)?.size;
            let content = self.new_content(size, size)?;
            let given = self.give_content(ino, &content, size);
            if !given
                .as_ref()
                .is_ok_and(|given| given.as_ref().is_some_and(|given| Arc::ptr_eq(given, &content)))
            {
                // Nothing names it.
                self.drop_content(&content.id);
            }
            if let Some(given) = given? {
                return Ok(given);
            }
        }
        Err(CacheError::Gone(ino))
    }

    /// Gives a file the content that was made for it, and returns what it then has; `None` if it
    /// has another size by now.
    fn give_content(&self, ino: Ino, content: &Arc<Content>, size: u64) -> Result<Option<Arc<Content>>> {
        let row = content.lock().row.clone();
        let mut names = self.names.write();
        let inode = names.inode(ino)?;
        if let Some(id) = &inode.content {
            return self.content(id).map(Some);
        }
        if inode.size != size {
            return Ok(None);
        }
        let mut with = inode.clone();
        with.content = Some(content.id.clone());
        let group =
            vec![RowOp::Content(content.id.clone(), Box::new(row)), RowOp::Inode(ino, Box::new(with))];
        self.commit(&mut names, group).map(|()| Some(Arc::clone(content)))
    }

    /// Writes bytes; they are visible to every reader of this mount at once.
    pub fn write(&self, ino: Ino, offset: u64, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.make_room(bytes.len() as u64)?;
        let range = offset..offset + bytes.len() as u64;
        self.change_content(ino, &range, |state, token, path| state.write(token, path, offset, bytes))
    }

    /// Changes a range of a file as soon as nobody else is at its content; the change says which
    /// bytes became present.
    pub(super) fn change_content(
        &self,
        ino: Ino,
        range: &Range<u64>,
        mut change: impl FnMut(&mut ContentState, &ChangeToken, &FsPath) -> Result<Option<Range<u64>>>,
    ) -> Result<()> {
        for _ in 0..MOST_TRIES {
            self.bring_back(ino)?;
            let token = self.token_for(ino)?;
            let content = self.content_of(ino)?;
            let mut state = content.lock();
            if !self.still_changes(ino, &content, &mut state, range)? {
                continue;
            }
            let before = state.len;
            let written = change(&mut state, &token, content.path());
            reached(Step::ContentWritten);
            let extent = written.as_ref().ok().and_then(Clone::clone);
            let noted = self.note_presence(&content, &mut state, extent);
            self.file_resized(ino, state.len);
            self.recount(&content, &state);
            if let Some(growth) = self.growth.get().filter(|to| before / to.step < state.len / to.step) {
                (growth.tell)(ino);
            }
            return written.and(noted);
        }
        Err(CacheError::Gone(ino))
    }

    /// Cuts or extends a file to `size` bytes. Nothing changes if it has that size already.
    pub fn truncate(&self, ino: Ino, size: u64) -> Result<()> {
        let old = {
            let names = self.names.read();
            only_file(names.inode(ino)?)?.size
        };
        if old == size {
            return Ok(());
        }
        for _ in 0..MOST_TRIES {
            self.bring_back(ino)?;
            let token = self.token_for(ino)?;
            let content = self.content_of(ino)?;
            let mut state = content.lock();
            let cut = size.min(state.len)..u64::MAX;
            if !self.still_changes(ino, &content, &mut state, &cut)? {
                continue;
            }
            let cut = state.truncate(&token, content.path(), size);
            reached(Step::ContentWritten);
            state.unnoted = true;
            let noted = self.note_presence(&content, &mut state, None);
            self.file_resized(ino, state.len);
            self.recount(&content, &state);
            return cut.and(noted);
        }
        Err(CacheError::Gone(ino))
    }

    /// Notes which bytes became present. Held: the content's lock, so that nobody builds upon
    /// presence that is not noted yet.
    pub(super) fn note_presence(
        &self,
        content: &Content,
        state: &mut ContentState,
        extent: Option<Range<u64>>,
    ) -> Result<()> {
        let id = content.id.clone();
        let op = match extent {
            _ if state.unnoted || state.arriving > 0 => RowOp::Content(id, Box::new(state.row.clone())),
            Some(extent) => RowOp::Extent(id, extent.start, extent.end),
            None => return Ok(()),
        };
        state.unnoted = true;
        self.catalog.note(&[op])?;
        state.unnoted = false;
        Ok(())
    }

    pub(super) fn token_for(&self, ino: Ino) -> Result<ChangeToken> {
        let uncounted = {
            let names = self.names.read();
            let inode = only_file(names.inode(ino)?)?;
            inode.local || inode.path.is_none()
        };
        self.begin_change_of(uncounted)
    }

    /// As [`Cache::note_changing`]; content that was dropped a moment ago is no failure.
    fn still_changes(
        &self,
        ino: Ino,
        content: &Arc<Content>,
        state: &mut ContentState,
        range: &Range<u64>,
    ) -> Result<bool> {
        match self.note_changing(ino, content, state, range) {
            Err(_) if content.is_dropped() => Ok(false),
            noted => noted,
        }
    }

    /// Notes that a file changes, before it does; returns whether this is (still) its content,
    /// and its name was not taken by others a moment ago. Held: the content's lock.
    pub(super) fn note_changing(
        &self,
        ino: Ino,
        content: &Arc<Content>,
        state: &mut ContentState,
        range: &Range<u64>,
    ) -> Result<bool> {
        let now = self.now_nanos();
        let first = first_change(&self.names.read(), ino)?;
        if let Some((path, base)) = first.clone() {
            let origin = self.origin(path, base, !state.is_complete());
            // The time of a watched file may tell of a store that was not looked at yet.
            if state.watched {
                content.stamp(state, &origin)?;
            } else {
                content.stamp_first(state, &origin)?;
            }
        }
        let durably = state.overwrites_durable(range.start);
        let mut names = self.names.write();
        let inode = names.inode(ino)?;
        if inode.content.as_ref() != Some(&content.id) || inode.taken_path.is_some() {
            return Ok(false);
        }
        let mut group = Vec::new();
        if first.is_some() {
            let mut changed = inode.clone();
            changed.stamp.content += 1;
            group.push(RowOp::Inode(ino, Box::new(changed)));
            state.is_all_unchanged(inode);
        }
        let spoiled = state.spoil_unchanged(range);
        state.row.overwriting |= durably;
        if durably || (first.is_some() && spoiled.is_some()) {
            group.push(RowOp::Content(content.id.clone(), Box::new(state.row.clone())));
        } else if let Some(spoiled) = spoiled {
            group.push(RowOp::Changed(content.id.clone(), spoiled.start, spoiled.end));
        }
        self.commit(&mut names, group)?;
        names.touch(ino, now, self.now());
        drop(names);
        state.changed = true;
        if durably {
            self.catalog.sync()?;
        }
        reached(Step::ChangingNoted);
        Ok(true)
    }

    /// Returns what a content file is to say of itself.
    pub(super) fn origin(&self, path: Path, base: Option<Remote>, partial: bool) -> Origin {
        Origin { path, base, partial, boot: self.boot.clone() }
    }

    fn file_resized(&self, ino: Ino, size: u64) {
        self.names.write().set_size(ino, size);
    }
}

/// Counts one more open of a file, if there is one to open.
pub(super) fn count_open(names: &mut Names, ino: Ino) -> Result<()> {
    let inode = names.inode_mut(ino)?;
    if inode.is_folder() {
        return Err(CacheError::IsAFolder(inode.path.as_deref().unwrap_or("").to_owned()));
    }
    if inode.path.is_none() && (inode.opens == 0 || inode.taken_path.is_some()) {
        // Its content went with its last name, or others took the name: who asks for the
        // name means what has it now.
        return Err(CacheError::Gone(ino));
    }
    inode.opens += 1;
    Ok(())
}

/// Returns whose content a file's is, and of which version, if this is its first change since
/// it was known to equal an object.
fn first_change(names: &Names, ino: Ino) -> Result<Option<(Path, Option<Remote>)>> {
    let inode: &Inode = names.inode(ino)?;
    let Some(path) = inode.path.as_ref().filter(|_| !inode.local) else { return Ok(None) };
    if inode.equal_object().is_none() && names.is_dirty(path) {
        return Ok(None);
    }
    let base = names.name(path).and_then(|name| name.base.clone());
    Ok(Some((Path::clone(path), base)))
}

/// Returns an inode that has content.
fn only_file(inode: &Inode) -> Result<&Inode> {
    match inode.kind {
        Kind::File => Ok(inode),
        Kind::Folder | Kind::Symlink(_) | Kind::Special(_) => {
            Err(CacheError::IsAFolder(inode.path.as_deref().unwrap_or("").to_owned()))
        }
    }
}
