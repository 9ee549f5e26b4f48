//! Files that may be changed unseen.
//!
//! A program that has a lent content file open for writing may map it: what it stores then
//! changes the content file without a request, also after the close. The mapping keeps the
//! kernel from forgetting the inode, so until then the file is watched, and never counts as
//! settled. Its content file bears a mark for a time, which any store that the disk's filesystem
//! hears of replaces; it hears of the first one to each page that is clean. So whoever takes the
//! bytes looks at the time first, then has all pages written down, and then reads.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::content::{Content, ContentState};
use super::error::{CacheError, Result};
use super::names::Names;
use super::origin::{changed_at, is_mark};
use super::rows::{Ino, RowOp};
use super::watermark::ChangeToken;
use super::{Cache, Seen};
use crate::os::crash_point::{Step, reached};

/// The files that are watched.
#[derive(Default)]
pub(super) struct Watches {
    files: Mutex<HashMap<Ino, Watch>>,
    /// How many there are, for those who only want to know whether there are any.
    count: AtomicUsize,
}

struct Watch {
    content: Arc<Content>,
    /// A change may be under way all the time: nothing is settled.
    _token: ChangeToken,
}

impl Watches {
    fn none(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    fn all(&self) -> Vec<(Ino, Arc<Content>)> {
        if self.none() {
            return Vec::new();
        }
        self.files.lock().iter().map(|(ino, watch)| (*ino, Arc::clone(&watch.content))).collect()
    }

    fn add(&self, ino: Ino, watch: Watch) {
        let mut files = self.files.lock();
        files.insert(ino, watch);
        self.count.store(files.len(), Ordering::Release);
    }

    fn remove(&self, ino: Ino) -> Option<Watch> {
        let mut files = self.files.lock();
        let watch = files.remove(&ino);
        self.count.store(files.len(), Ordering::Release);
        watch
    }
}

impl Cache {
    /// Watches a file from now on, which is noted before its content file may be changed; after
    /// a crash the content file tells whether it was.
    pub fn watch(&self, ino: Ino) -> Result<()> {
        let token = self.token_for(ino)?;
        let content = self.content_of(ino)?;
        let mut state = content.lock();
        if state.watched {
            return Ok(());
        }
        let origin = {
            let names = self.names.read();
            let inode = names.inode(ino)?;
            let clean = inode.path.as_ref().filter(|_| inode.equal_object().is_some());
            let base = |path: &str| names.name(path).and_then(|name| name.base.clone());
            clean.map(|path| self.origin(Arc::clone(path), base(path), false))
        };
        // The content file of one that is changed already says so.
        if let Some(origin) = origin {
            content.stamp_first(&mut state, &origin)?;
        }
        state.sent.clear();
        let (durably, known) = (state.overwrites_durable(0), state.row.unchanged.is_some());
        if durably || known {
            state.row.overwriting |= durably;
            // Whatever is stored unseen is not told from the rest.
            state.row.unchanged = None;
            self.catalog.note(&[RowOp::Content(content.id.clone(), Box::new(state.row.clone()))])?;
        }
        if durably {
            self.catalog.sync()?;
        }
        self.names.write().inode_mut(ino)?.watched = true;
        state.watched = true;
        reached(Step::WatchNoted);
        drop(state);
        self.watches.add(ino, Watch { content, _token: token });
        Ok(())
    }

    /// Returns whether a file is watched.
    pub fn is_watched(&self, ino: Ino) -> bool {
        !self.watches.none() && self.watches.files.lock().contains_key(&ino)
    }

    /// Takes notice of what watched files were changed to unseen.
    pub fn look_at_watched(&self) {
        for (ino, content) in self.watches.all() {
            let looked = self.look(ino, &content, &mut content.lock());
            if let Err(failed) = looked {
                tracing::warn!(ino, error = %failed, "Whether a mapped file was changed is not known yet");
            }
        }
    }

    /// Takes notice of what a file was changed to unseen, if it is watched.
    pub fn look_at(&self, ino: Ino) -> Result<()> {
        if self.watches.none() {
            return Ok(());
        }
        let content = self.watches.files.lock().get(&ino).map(|watch| Arc::clone(&watch.content));
        content.map_or(Ok(()), |content| self.look(ino, &content, &mut content.lock()))
    }

    /// As [`Cache::look_at`]. Held: the content's lock.
    pub(super) fn look(&self, ino: Ino, content: &Arc<Content>, state: &mut ContentState) -> Result<()> {
        if !state.watched || content.is_dropped() {
            return Ok(());
        }
        let meta = state.file(content.path())?.metadata();
        let written = changed_at(&meta.map_err(CacheError::io("Looking at", content.path()))?);
        if is_mark(written) {
            return Ok(());
        }
        self.bring_back(ino)?;
        let times = self.names.read().inode(ino).map(|inode| (inode.mtime, inode.ctime))?;
        // Where it was changed is not known: all of it may have been.
        if !self.note_changing(ino, content, state, &(0..u64::MAX))? {
            return Ok(());
        }
        let stamp = {
            let mut names = self.names.write();
            let inode = names.inode_mut(ino)?;
            // A time that was set after the last store stays.
            (inode.mtime, inode.ctime) = if written > times.1 { (written, written) } else { times };
            let stamp = inode.stamp.content;
            self.tell_attributes(&names, ino);
            stamp
        };
        // What is stored meanwhile is part of this change: who takes it has yet to begin.
        content.mark_seen(state, stamp)?;
        self.recount(content, state);
        Ok(())
    }

    /// Has every later change of a watched file seen: it counts from the stamp that is read next.
    /// Held: the content's lock.
    pub(super) fn seal(&self, ino: Ino, content: &Arc<Content>, state: &mut ContentState) -> Result<()> {
        if !state.watched {
            return Ok(());
        }
        self.look(ino, content, state)?;
        let file = state.file(content.path())?;
        file.sync_data().map_err(CacheError::io("Writing down", content.path()))
    }

    /// Asks the kernel to forget the watched files that nobody has open: what is mapped it keeps.
    pub fn let_go_of_watched(&self) {
        for (ino, _) in self.watches.all() {
            let names = self.names.read();
            if names.inode(ino).is_ok_and(|inode| inode.lent == 0) {
                self.tell_unused(&names, ino);
            }
        }
    }

    pub(super) fn tell_unused(&self, names: &Names, ino: Ino) {
        self.tell(Seen::Unused { names: Self::places_of(names, ino) });
    }

    /// Ends the watch of a file that the kernel has forgotten: nothing can change it unseen.
    pub(super) fn end_watch(&self, ino: Ino) {
        let watched = self.watches.files.lock().get(&ino).map(|watch| Arc::clone(&watch.content));
        let Some(content) = watched else { return };
        let mut state = content.lock();
        let ended = self.look(ino, &content, &mut state).and_then(|()| {
            let mut names = self.names.write();
            let inode = names.inode_mut(ino)?;
            if inode.lookups > 0 || inode.lent > 0 {
                return Ok(());
            }
            inode.watched = false;
            state.watched = false;
            let is_clean = inode.equal_object().is_some() && !content.is_dropped();
            drop(names);
            self.watches.remove(ino);
            if is_clean { content.unstamp() } else { Ok(()) }
        });
        if let Err(failed) = ended {
            tracing::warn!(ino, error = %failed, "A mapped file is watched on");
        }
    }

    /// Ends all watches: the kernel's session is over. Each content file goes on to say whose it
    /// is, in case somebody has it mapped still.
    pub fn end_watches(&self) {
        self.look_at_watched();
        for (ino, content) in self.watches.all() {
            let mut state = content.lock();
            state.watched = false;
            self.names.write().inode_mut(ino).into_iter().for_each(|inode| inode.watched = false);
            drop(state);
            self.watches.remove(ino);
        }
    }
}
