//! Finding, making, removing and renaming names.
//!
//! Each change marks the cache dirty, notes all of its rows as one group and only then shows
//! in the tree. A removed name leaves a tombstone where the bucket may have its object; a new
//! name over a tombstone takes the removed version as its base.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::error::{CacheError, Result};
use super::names::{self, Names};
use super::rows::{Ino, Inode, Kind, Path, RowOp, Stamp};
use super::tombstones::{bury, name_over};
use super::{Cache, listing::EntryKind};
use crate::model::internal_name::{NameClass, classify};
use crate::model::key::{MAX_NAME_BYTES, Refusal};
use crate::model::special::Special;
use crate::os::crash_point::{Step, reached};

/// What stat(2) tells of an inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attr {
    /// The inode.
    pub ino: Ino,
    /// File, folder or link.
    pub kind: EntryKind,
    /// Size in bytes.
    pub size: u64,
    /// When the content changed, nanoseconds since 1970.
    pub mtime: i64,
    /// When anything changed, nanoseconds since 1970.
    pub ctime: i64,
    /// When it was last read, as far as that is known, nanoseconds since 1970.
    pub atime: i64,
    /// Permission bits.
    pub mode: u32,
    /// Owner, where it is not the mount's.
    pub uid: Option<u32>,
    /// Group, where it is not the mount's.
    pub gid: Option<u32>,
    /// How many names it has: none if it was unlinked and lives on while it is open. A folder
    /// has one for each folder in it, and its own `.`.
    pub links: u32,
}

/// What a new inode is made with.
#[derive(Debug, Clone, Copy)]
pub struct NewNode {
    /// Permission bits.
    pub mode: u32,
    /// Owner, where it is not the mount's.
    pub uid: Option<u32>,
    /// Group, where it is not the mount's.
    pub gid: Option<u32>,
}

impl Attr {
    pub(super) fn of(names: &Names, ino: Ino) -> Result<Self> {
        let inode = names.inode(ino)?;
        Ok(Self {
            ino,
            kind: EntryKind::from(&inode.kind),
            size: match &inode.kind {
                Kind::Symlink(target) => target.len() as u64,
                Kind::File | Kind::Folder | Kind::Special(_) => inode.size,
            },
            mtime: inode.mtime,
            ctime: inode.ctime,
            atime: inode.atime.unwrap_or(inode.mtime),
            mode: inode.mode,
            uid: inode.uid,
            gid: inode.gid,
            links: names.links(ino),
        })
    }
}

impl Cache {
    /// Finds a name in a folder; the caller owes a [`Cache::forget`].
    pub fn lookup(&self, parent: Ino, name: &str) -> Result<Attr> {
        let mut names = self.names.write();
        let path = names.child_path(parent, name)?;
        let ino = names.at(&path)?.0.ino;
        names.inode_mut(ino)?.lookups += 1;
        Attr::of(&names, ino)
    }

    /// Counts a lookup that another call answered (a listing with attributes).
    pub fn remember(&self, ino: Ino) -> Result<Attr> {
        let mut names = self.names.write();
        names.inode_mut(ino)?.lookups += 1;
        Attr::of(&names, ino)
    }

    /// Takes back `count` lookups of an inode.
    pub fn forget(&self, ino: Ino, count: u64) {
        let mut names = self.names.write();
        let Ok(inode) = names.inode_mut(ino) else { return };
        inode.lookups = inode.lookups.saturating_sub(count);
        if inode.watched && inode.lookups == 0 {
            drop(names);
            self.end_watch(ino);
            names = self.names.write();
        }
        self.drop_if_unused(&mut names, ino);
    }

    /// Returns an inode's attributes.
    pub fn attr(&self, ino: Ino) -> Result<Attr> {
        Attr::of(&self.names.read(), ino)
    }

    /// Returns the path of an inode; `None` if it has no name any more.
    pub fn path_of(&self, ino: Ino) -> Option<Path> {
        self.names.read().inode(ino).ok().and_then(|inode| inode.path.clone())
    }

    /// Returns a symbolic link's target.
    pub fn read_link(&self, ino: Ino) -> Result<String> {
        match &self.names.read().inode(ino)?.kind {
            Kind::Symlink(target) => Ok(target.clone()),
            _ => Err(CacheError::NotFound("symbolic link".to_owned())),
        }
    }

    /// Makes an empty file; the caller owes a [`Cache::forget`].
    pub fn create(&self, parent: Ino, name: &str, node: NewNode) -> Result<Attr> {
        self.make(parent, name, node, Kind::File)
    }

    /// Makes a folder; the caller owes a [`Cache::forget`].
    pub fn make_folder(&self, parent: Ino, name: &str, node: NewNode) -> Result<Attr> {
        self.make(parent, name, node, Kind::Folder)
    }

    /// Makes a symbolic link; the caller owes a [`Cache::forget`].
    pub fn make_symlink(&self, parent: Ino, name: &str, node: NewNode, target: &str) -> Result<Attr> {
        self.make(parent, name, node, Kind::Symlink(target.to_owned()))
    }

    /// Makes a pipe, a socket or a device; the caller owes a [`Cache::forget`].
    pub fn make_special(&self, parent: Ino, name: &str, node: NewNode, special: Special) -> Result<Attr> {
        self.make(parent, name, node, Kind::Special(special))
    }

    fn make(&self, parent: Ino, name: &str, node: NewNode, kind: Kind) -> Result<Attr> {
        let (path, local) = self.admit_new(parent, name)?;
        let _token = self.begin_change_of(local)?;
        let now = self.now_nanos();
        let mut inode = Inode::new(kind, node, now);
        inode.local = local;
        let tombstone = self.names.read().tombstone(&path).cloned();
        let mut group = Vec::new();
        if inode.is_file() {
            let content = self.new_content(0, 0)?;
            let base = tombstone.as_ref().and_then(|t| t.remote.clone());
            if !local {
                content.stamp_first(&mut content.lock(), &self.origin(Path::clone(&path), base, false))?;
            }
            group.push(RowOp::Content(content.id.clone(), Box::default()));
            inode.content = Some(content.id.clone());
        }
        let content = inode.content.clone();
        let added = self.add((parent, name), &path, inode, group);
        if added.is_err() {
            content.iter().for_each(|id| self.drop_content(id));
        }
        added
    }

    fn add(
        &self,
        (parent, part): (Ino, &str),
        path: &Path,
        inode: Inode,
        mut group: Vec<RowOp>,
    ) -> Result<Attr> {
        let mut names = self.names.write();
        if names.name(path).is_some() {
            return Err(CacheError::Exists(path.to_string()));
        }
        if names.child_path(parent, part)? != *path {
            // The folder was renamed since the path was made.
            return Err(CacheError::NotFound(path.to_string()));
        }
        let ino = names.fresh_ino();
        let name = name_over(&names, path, (ino, &inode), &mut group);
        group.push(RowOp::Inode(ino, Box::new(inode)));
        group.push(RowOp::Name(Path::clone(path), Box::new(name)));
        self.commit(&mut names, group)?;
        reached(Step::CreateNoted);
        self.folder_changed(&mut names, parent);
        names.inode_mut(ino)?.lookups += 1;
        Attr::of(&names, ino)
    }

    /// Gives a file another name; the caller owes a [`Cache::forget`].
    pub fn link(&self, ino: Ino, parent: Ino, name: &str) -> Result<Attr> {
        let (path, local) = self.admit_new(parent, name)?;
        let is_local = {
            let names = self.names.read();
            let inode = names.inode(ino)?;
            let own = inode.path.as_ref().ok_or(CacheError::Gone(ino))?;
            names.check_within(own)?;
            if inode.is_folder() {
                return Err(CacheError::IsAFolder(own.to_string()));
            }
            inode.local
        };
        if is_local != local {
            return Err(CacheError::AcrossLocal(path.to_string()));
        }
        let _token = self.begin_change_of(local)?;
        let now = self.now_nanos();
        let mut names = self.names.write();
        if names.name(&path).is_some() {
            return Err(CacheError::Exists(path.to_string()));
        }
        if names.child_path(parent, name)? != path || names.inode(ino)?.path.is_none() {
            // The folder was renamed, or the file removed, since the path was made.
            return Err(CacheError::NotFound(path.to_string()));
        }
        let mut inode = names.inode(ino)?.clone();
        inode.link.get_or_insert_with(|| uuid::Uuid::new_v4().simple().to_string().into());
        inode.stamp.meta += 1;
        inode.ctime = now;
        let mut group = Vec::new();
        let second = name_over(&names, &path, (ino, &inode), &mut group);
        group.push(RowOp::Inode(ino, Box::new(inode)));
        group.push(RowOp::Name(Path::clone(&path), Box::new(second)));
        self.commit(&mut names, group)?;
        reached(Step::LinkNoted);
        self.folder_changed(&mut names, parent);
        names.inode_mut(ino)?.lookups += 1;
        Attr::of(&names, ino)
    }

    /// Removes a file or symbolic link. Open handles keep its content.
    pub fn unlink(&self, parent: Ino, name: &str) -> Result<()> {
        let (path, local) = self.admit_old(parent, name)?;
        if self.names.read().at(&path)?.1.is_folder() {
            return Err(CacheError::IsAFolder(path.to_string()));
        }
        let _token = self.begin_change_of(local)?;
        self.remove(parent, &path)
    }

    /// Removes an empty folder.
    pub fn remove_folder(&self, parent: Ino, name: &str) -> Result<()> {
        let (path, local) = self.admit_old(parent, name)?;
        {
            let names = self.names.read();
            if !names.at(&path)?.1.is_folder() {
                return Err(CacheError::NotAFolder(path.to_string()));
            }
            if !names.is_empty_folder(&path) {
                return Err(CacheError::NotEmpty(path.to_string()));
            }
        }
        let _token = self.begin_change_of(local)?;
        self.remove(parent, &path)
    }

    fn remove(&self, parent: Ino, path: &Path) -> Result<()> {
        let mut names = self.names.write();
        let (name, inode) = names.at(path)?;
        if inode.is_folder() && !names.is_empty_folder(path) {
            return Err(CacheError::NotEmpty(path.to_string()));
        }
        let (ino, moved_on) = (name.ino, name.has_moved_on());
        let mut group = vec![RowOp::NoName(Path::clone(path)), RowOp::NoInode(ino)];
        bury(&names, path, None, &mut group)?;
        if !inode.local {
            group.extend(self.keep_emptied_folder(&names, path));
        }
        self.commit(&mut names, group)?;
        reached(Step::UnlinkNoted);
        self.show_again(moved_on)?;
        self.folder_changed(&mut names, parent);
        let now = self.now_nanos();
        names.inode_mut(ino).into_iter().for_each(|inode| inode.ctime = now);
        self.drop_if_unused(&mut names, ino);
        Ok(())
    }

    /// A folder that was only implied by its names stays when its last name is removed here.
    pub(super) fn keep_emptied_folder(&self, names: &Names, removed: &str) -> Option<RowOp> {
        let (parent, _) = names::split(removed);
        let (name, inode) = names.at(parent).ok()?;
        let last = names.children(parent).take(2).count() < 2;
        if !last || parent.is_empty() || inode.local {
            return None;
        }
        let mut kept = inode.clone();
        kept.implied = false;
        kept.stamp.meta += 1;
        Some(RowOp::Inode(name.ino, Box::new(kept)))
    }

    pub(super) fn folder_changed(&self, names: &mut Names, folder: Ino) {
        let now = self.now_nanos();
        if let Ok(inode) = names.inode_mut(folder) {
            inode.mtime = now;
            inode.ctime = now;
        }
    }

    /// Lets go of an unlinked inode's content when nobody has it open, and of the inode itself
    /// when the kernel has forgotten it.
    pub(super) fn drop_if_unused(&self, names: &mut Names, ino: Ino) {
        let Ok(inode) = names.inode_mut(ino) else { return };
        let may_be_brought_back = inode.watched && inode.taken_path.is_some();
        let may_be_open = inode.lookups > 0 && self.opens_untold.load(Ordering::Acquire);
        if inode.path.is_some() || inode.opens > 0 || may_be_open || may_be_brought_back {
            return;
        }
        let content = inode.content.take();
        let forgotten = inode.lookups == 0;
        if forgotten {
            names.apply(RowOp::NoInode(ino), self.now());
        }
        if let Some(id) = content {
            // In this order: a content file that the catalog does not know may be dirty.
            self.drop_content(&id);
            if let Err(failed) = self.catalog.note(&[RowOp::NoContent(id)]) {
                tracing::warn!(error = %failed, "Removed content could not be noted");
            }
        }
    }

    pub(super) fn admit_new(&self, parent: Ino, name: &str) -> Result<(Path, bool)> {
        let names = self.names.read();
        let path = names.child_path(parent, name)?;
        if name.len() > MAX_NAME_BYTES {
            return Err(CacheError::BadName { name: name.to_owned(), reason: Refusal::PartTooLong });
        }
        names.check_new(&path)?;
        if names.name(&path).is_some() {
            return Err(CacheError::Exists(path.to_string()));
        }
        let below_local = names.inode(parent)?.local;
        match classify(&path) {
            NameClass::Reserved => Err(CacheError::Reserved(path.to_string())),
            NameClass::MachineLocal => Ok((path, true)),
            NameClass::Ordinary => Ok((path, below_local)),
        }
    }

    fn admit_old(&self, parent: Ino, name: &str) -> Result<(Path, bool)> {
        let names = self.names.read();
        let path = names.child_path(parent, name)?;
        let local = names.at(&path)?.1.local;
        names.check_within(&path)?;
        Ok((path, local))
    }
}

impl Inode {
    /// Returns the folder that all others are in.
    pub(super) fn root() -> Self {
        let node = NewNode { mode: 0o755, uid: None, gid: None };
        Self { stamp: Stamp::default(), implied: true, ..Self::new(Kind::Folder, node, 0) }
    }

    /// Returns a new inode, changed once.
    pub(super) fn new(kind: Kind, node: NewNode, now: i64) -> Self {
        Self {
            size: match &kind {
                Kind::Symlink(target) => target.len() as u64,
                Kind::File | Kind::Folder | Kind::Special(_) => 0,
            },
            kind,
            mode: node.mode & 0o7777,
            uid: node.uid,
            gid: node.gid,
            mtime: now,
            ctime: now,
            atime: None,
            xattrs: BTreeMap::new(),
            stamp: Stamp { content: 1, meta: 1 },
            link: None,
            content: None,
            source: None,
            local: false,
            implied: false,
            path: None,
            opens: 0,
            lent: 0,
            watched: false,
            lookups: 0,
            parted: false,
            given: false,
            taken_path: None,
        }
    }
}
