//! Listings of folders in a stable order.
//!
//! A reader may come back for the rest of a listing at any time, while names come and go. The
//! order is that of inode numbers, and the cookie is the number itself: whatever was removed,
//! what follows still follows. A listing is kept until a name of its folder changes.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;

use super::error::{CacheError, Result};
use super::names::{self, Names};
use super::rows::{Ino, Kind, Path, RowOp};
use super::{Cache, ROOT};
use crate::model::special::Special;

/// How many folders' listings are kept.
const KEPT: usize = 64;

/// One name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// Its inode; also the cookie from which a later call goes on behind it.
    pub ino: Ino,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
}

/// What a name in a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink,
    /// A pipe, a socket or a device.
    Special(Special),
}

impl From<&Kind> for EntryKind {
    fn from(kind: &Kind) -> Self {
        match kind {
            Kind::File => Self::File,
            Kind::Folder => Self::Folder,
            Kind::Symlink(_) => Self::Symlink,
            Kind::Special(special) => Self::Special(*special),
        }
    }
}

/// The listings that are kept.
#[derive(Debug)]
pub(super) struct Listings {
    kept: Mutex<LruCache<Path, Arc<Vec<DirEntry>>>>,
}

impl Listings {
    pub(super) fn new() -> Self {
        let kept = NonZeroUsize::new(KEPT).unwrap_or(NonZeroUsize::MIN);
        Self { kept: Mutex::new(LruCache::new(kept)) }
    }

    /// Forgets the listing that a change makes wrong.
    pub(super) fn forget_for(&self, op: &RowOp, names: &Names) {
        let (RowOp::Name(path, _) | RowOp::NoName(path)) = op else { return };
        if let RowOp::Name(_, row) = op
            && names.name(path).is_some_and(|old| old.ino == row.ino)
        {
            return;
        }
        let mut kept = self.kept.lock();
        kept.pop(names::split(path).0);
        kept.pop(&**path);
    }
}

impl Cache {
    /// Returns the names of a folder whose cookie is above `after`, at most `most`.
    pub fn read_folder(&self, folder: Ino, after: u64, most: usize) -> Result<Vec<DirEntry>> {
        let listing = self.listing(folder)?;
        let from = listing.partition_point(|entry| entry.ino <= after);
        Ok(listing[from..].iter().take(most).cloned().collect())
    }

    /// Returns the file that a folder lists before another name.
    pub(super) fn listed_before(&self, folder: Ino, ino: Ino) -> Option<Ino> {
        let listing = self.listing(folder).ok()?;
        let before = listing[..listing.partition_point(|entry| entry.ino < ino)].iter().rev();
        before
            .map(|entry| (entry.ino, entry.kind))
            .find(|(_, kind)| *kind == EntryKind::File)
            .map(|(ino, _)| ino)
    }

    /// Returns the folder that a path is in.
    pub(super) fn folder_of(&self, path: &str) -> Option<Ino> {
        self.names.read().name(names::split(path).0).map(|folder| folder.ino)
    }

    /// Returns the folder that a folder is in; the root is in itself.
    pub fn parent_of(&self, folder: Ino) -> Ino {
        let names = self.names.read();
        let path = names.inode(folder).ok().and_then(|inode| inode.path.clone());
        let parent = path.and_then(|path| names.name(names::split(&path).0).map(|name| name.ino));
        parent.unwrap_or(ROOT)
    }

    fn listing(&self, folder: Ino) -> Result<Arc<Vec<DirEntry>>> {
        let names = self.names.read();
        let inode = names.inode(folder)?;
        let Some(path) = inode.path.clone() else { return Ok(Arc::new(Vec::new())) };
        if !inode.is_folder() {
            return Err(CacheError::NotAFolder(path.to_string()));
        }
        if let Some(kept) = self.listings.kept.lock().get(&path) {
            return Ok(Arc::clone(kept));
        }
        let mut entries: Vec<DirEntry> = names
            .children(&path)
            .filter_map(|(child, name)| {
                let kind = EntryKind::from(&names.inode(name.ino).ok()?.kind);
                Some(DirEntry { ino: name.ino, name: names::split(child).1.to_owned(), kind })
            })
            .collect();
        entries.sort_unstable_by_key(|entry| entry.ino);
        let listing = Arc::new(entries);
        // Still under the tree's lock: nobody can have changed the folder since.
        self.listings.kept.lock().put(path, Arc::clone(&listing));
        Ok(listing)
    }
}
