//! The tree of names in memory: paths, inodes and tombstones, and which of them are unpushed.
//!
//! Every change that must be found again is a [`RowOp`]: it is noted in the catalog first and
//! applied here after. Pure memory: no disk, no network. A path has no leading slash; the root
//! is the empty path. Names sort by path, so all that lies below a folder is one run.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::time::Instant;

use super::error::{CacheError, Result};
use super::links::Links;
use super::moves::Moving;
use super::rows::{ContentId, Ino, Inode, Name, Nanos, Path, ROOT, RowOp, Rows, Stamp, Tombstone};
use crate::model::key::{MAX_KEY_BYTES, Refusal, check_path};

/// Inode numbers below this are never given to files.
const FIRST_INO: Ino = 16;

/// When a name became dirty and when it was last changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// Since when it is dirty.
    pub first: Instant,
    /// When it was last changed.
    pub last: Instant,
}

impl Pending {
    fn since(now: Instant) -> Self {
        Self { first: now, last: now }
    }
}

/// The tree of names.
#[derive(Debug)]
pub struct Names {
    pub(super) names: BTreeMap<Path, Name>,
    inodes: HashMap<Ino, Inode>,
    tombstones: BTreeMap<Path, Tombstone>,
    pending: BTreeMap<Path, Pending>,
    next_ino: Ino,
    bytes: u64,
    files: u64,
    pub(super) links: Links,
    pub(super) moving: Moving,
    /// Removed names whose objects are about to be deleted, unless somebody has had one since.
    pub(super) leaving: HashSet<Path>,
    /// Longest path that still fits into a key, in bytes.
    pub(super) longest_path: usize,
    /// The part of the tree that is held; `None`: all of it.
    pub(super) within: Option<Path>,
}

impl Names {
    /// Builds the tree from the catalog's rows; what does not belong to it is left out and
    /// returned as the rows to remove: inodes without a name and names without an inode.
    pub fn load(rows: Rows, now: Instant) -> (Self, Vec<RowOp>) {
        let known = rows.inodes.keys().chain(rows.names.values().map(|name| &name.ino)).max();
        let next_ino = known.map_or(FIRST_INO, |&last| FIRST_INO.max(last + 1));
        let mut leftover = Vec::new();
        let mut tree = Self {
            names: BTreeMap::new(),
            inodes: rows.inodes.into_iter().collect(),
            pending: rows.tombstones.keys().map(|path| (Path::clone(path), Pending::since(now))).collect(),
            moving: Moving::of_tombstones(&rows.tombstones),
            tombstones: rows.tombstones,
            next_ino,
            bytes: 0,
            files: 0,
            links: Links::default(),
            leaving: HashSet::new(),
            longest_path: MAX_KEY_BYTES,
            within: None,
        };
        for (ino, inode) in &tree.inodes {
            tree.links.regroup(*ino, None, inode.link.as_ref());
        }
        tree.inodes.entry(ROOT).or_insert_with(Inode::root);
        tree.names.insert(Path::from(""), Name { pushed: Some(Stamp::default()), ..Name::new_here(ROOT) });
        for (path, name) in rows.names {
            if tree.inodes.contains_key(&name.ino) {
                tree.put_name(path, name, now);
            } else {
                leftover.push(RowOp::NoName(path));
            }
        }
        if let Some(root) = tree.inodes.get_mut(&ROOT) {
            root.path = Some(Path::from(""));
        }
        let orphans = tree.inodes.extract_if(|_, inode| inode.path.is_none());
        for (ino, inode) in orphans.collect::<Vec<_>>() {
            tree.links.regroup(ino, inode.link.as_ref(), None);
            leftover.push(RowOp::NoInode(ino));
        }
        (tree, leftover)
    }

    /// Checks that a new path is safe, fits into a key and is of the part that is held.
    pub fn check_new(&self, path: &str) -> Result<()> {
        self.check_within(path)?;
        let refused = match check_path(path) {
            Ok(()) if path.len() > self.longest_path => Err(Refusal::TooLong),
            judged => judged,
        };
        refused.map_err(|reason| CacheError::BadName { name: path.to_owned(), reason })
    }

    /// Returns an inode number that was never used.
    pub fn fresh_ino(&mut self) -> Ino {
        self.next_ino += 1;
        self.next_ino - 1
    }

    /// Applies a change that the catalog has noted.
    pub fn apply(&mut self, op: RowOp, now: Instant) {
        match op {
            RowOp::Inode(ino, row) => self.put_inode(ino, *row, now),
            RowOp::NoInode(ino) => {
                let gone = self.inodes.remove(&ino);
                self.links.regroup(ino, gone.and_then(|inode| inode.link).as_ref(), None);
            }
            RowOp::Name(path, row) => self.put_name(path, *row, now),
            RowOp::NoName(path) => self.remove_name(&path),
            RowOp::Tombstone(path, row) => {
                self.moving.note_tombstone(&path, Some(&row));
                self.tombstones.insert(Path::clone(&path), *row);
                self.pending.entry(path).or_insert(Pending::since(now));
            }
            RowOp::NoTombstone(path) => {
                self.moving.note_tombstone(&path, None);
                self.tombstones.remove(&path);
                self.refresh_pending(&path, now);
            }
            RowOp::Content(..) | RowOp::Extent(..) | RowOp::Changed(..) => {}
            RowOp::NoContent(..) | RowOp::Setting(..) => {}
        }
    }

    fn put_inode(&mut self, ino: Ino, mut row: Inode, now: Instant) {
        // A row may be a copy of another inode's: what is kept in memory only is this one's.
        (row.path, row.opens, row.lookups, row.taken_path) = (None, 0, 0, None);
        (row.parted, row.given, row.lent, row.watched) = (false, false, 0, false);
        if let Some(old) = self.inodes.get(&ino) {
            row.path.clone_from(&old.path);
            row.opens = old.opens;
            row.lookups = old.lookups;
            row.taken_path.clone_from(&old.taken_path);
            (row.parted, row.given) = (old.parted, old.given);
            (row.lent, row.watched) = (old.lent, old.watched);
            if old.path.is_some() {
                self.bytes = self.bytes - counted(old) + counted(&row);
            }
        }
        let group = row.link.clone();
        let old = self.inodes.insert(ino, row);
        self.links.regroup(ino, old.and_then(|old| old.link).as_ref(), group.as_ref());
        for path in self.names_of(ino) {
            self.refresh_pending(&path, now);
        }
    }

    fn put_name(&mut self, path: Path, row: Name, now: Instant) {
        self.leaving.remove(&path);
        if self.names.get(&path).is_some_and(|old| old.ino != row.ino) {
            self.remove_name(&path);
        }
        if !self.names.contains_key(&path) && self.inodes.get(&row.ino).is_some_and(Inode::is_folder) {
            self.links.add_folder(&path);
        }
        if let Some(inode) = self.inodes.get_mut(&row.ino)
            && self.links.add_name(row.ino, inode, &path)
        {
            self.bytes += counted(inode);
            self.files += u64::from(!inode.is_folder());
        }
        self.moving.note_name(&path, Some(&row));
        self.names.insert(Path::clone(&path), row);
        self.refresh_pending(&path, now);
    }

    fn remove_name(&mut self, path: &str) {
        let Some(name) = self.names.remove(path) else { return };
        self.moving.note_name(path, None);
        if self.inodes.get(&name.ino).is_some_and(Inode::is_folder) {
            self.links.remove_folder(path);
        }
        if let Some(inode) = self.inodes.get_mut(&name.ino)
            && self.links.remove_name(name.ino, inode, path)
        {
            self.bytes -= counted(inode);
            self.files -= u64::from(!inode.is_folder());
        }
        if !self.tombstones.contains_key(path) {
            self.pending.remove(path);
        }
    }

    fn refresh_pending(&mut self, path: &Path, now: Instant) {
        if self.is_dirty(path) || self.tombstones.contains_key(path) {
            self.pending.entry(Path::clone(path)).or_insert(Pending::since(now));
        } else {
            self.pending.remove(path);
        }
    }

    /// Returns whether a name holds what bucket or index do not have. What is set on the root stays here.
    pub fn is_dirty(&self, path: &str) -> bool {
        if path.is_empty() {
            return false;
        }
        let Some(name) = self.names.get(path) else { return false };
        let Some(inode) = self.inodes.get(&name.ino) else { return false };
        !inode.local && (name.pushed != Some(inode.stamp) || name.uploaded.is_some())
    }

    /// Notes in memory that a dirty file was changed again.
    pub fn touch(&mut self, ino: Ino, mtime: Nanos, now: Instant) {
        let Some(inode) = self.inodes.get_mut(&ino) else { return };
        inode.stamp.content += 1;
        inode.mtime = mtime;
        inode.ctime = mtime;
        for path in self.names_of(ino) {
            self.pending.get_mut(&path).into_iter().for_each(|pending| pending.last = now);
        }
    }

    /// Sets a file's size in memory (the content file's length is what is found again).
    pub fn set_size(&mut self, ino: Ino, size: u64) {
        let Some(inode) = self.inodes.get_mut(&ino) else { return };
        if inode.path.is_some() {
            self.bytes = self.bytes - inode.size + size;
        }
        inode.size = size;
    }

    /// Returns an inode; fails if there is none.
    pub fn inode(&self, ino: Ino) -> Result<&Inode> {
        self.inodes.get(&ino).ok_or(CacheError::Gone(ino))
    }

    /// Returns the content that inodes have.
    pub fn content_ids(&self) -> HashSet<ContentId> {
        self.inodes.values().filter_map(|inode| inode.content.clone()).collect()
    }

    /// Returns the numbers of all inodes.
    pub fn inode_numbers(&self) -> impl Iterator<Item = Ino> {
        self.inodes.keys().copied()
    }

    /// Returns an inode to change what is kept in memory only.
    pub fn inode_mut(&mut self, ino: Ino) -> Result<&mut Inode> {
        self.inodes.get_mut(&ino).ok_or(CacheError::Gone(ino))
    }

    /// Returns a name.
    pub fn name(&self, path: &str) -> Option<&Name> {
        self.names.get(path)
    }

    /// Returns a name with its inode; fails if there is none.
    pub fn at(&self, path: &str) -> Result<(&Name, &Inode)> {
        let name = self.names.get(path).ok_or_else(|| CacheError::NotFound(path.to_owned()))?;
        Ok((name, self.inode(name.ino)?))
    }

    /// Returns the path of a name in a folder; fails if the parent is not a live folder.
    pub fn child_path(&self, parent: Ino, name: &str) -> Result<Path> {
        let folder = self.inode(parent)?;
        let Some(path) = &folder.path else { return Err(CacheError::Gone(parent)) };
        if !folder.is_folder() {
            return Err(CacheError::NotAFolder(path.to_string()));
        }
        Ok(join(path, name))
    }

    /// Returns the tombstone of a path.
    pub fn tombstone(&self, path: &str) -> Option<&Tombstone> {
        self.tombstones.get(path)
    }

    /// Returns all tombstones, by path.
    pub fn tombstones(&self) -> impl Iterator<Item = (&Path, &Tombstone)> {
        self.tombstones.iter()
    }

    /// Returns the tombstones from a path on, by path.
    pub(super) fn tombstones_from(&self, path: &str) -> impl Iterator<Item = (&Path, &Tombstone)> {
        self.tombstones.range::<str, _>((Bound::Included(path), Bound::Unbounded))
    }

    /// Returns all names, by path, the root included.
    pub fn all(&self) -> impl Iterator<Item = (&Path, &Name)> {
        self.names.iter()
    }

    /// Returns the names that are unpushed, by path: dirty ones and tombstones.
    pub fn pending(&self) -> &BTreeMap<Path, Pending> {
        &self.pending
    }

    /// Returns the sum of the sizes of all files, in bytes, and their number.
    pub fn totals(&self) -> (u64, u64) {
        (self.bytes, self.files)
    }
}

fn counted(inode: &Inode) -> u64 {
    if inode.is_folder() { 0 } else { inode.size }
}

/// Returns the path of `name` in the folder `parent`.
pub fn join(parent: &str, name: &str) -> Path {
    if parent.is_empty() { Path::from(name) } else { Path::from(format!("{parent}/{name}")) }
}

/// Returns the folder of a path, and the name in it.
pub fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

#[cfg(test)]
mod tests {
    use super::super::rows::Kind;
    use super::*;
    use crate::os::clock::{Clock, SystemClock};

    fn tree(paths: &[&str]) -> Names {
        let now = SystemClock.instant();
        let (mut names, _) = Names::load(Rows::default(), now);
        for path in paths {
            let ino = names.fresh_ino();
            let kind = if path.ends_with('/') { Kind::Folder } else { Kind::File };
            let inode = Inode { kind, size: 10, implied: false, ..Inode::root() };
            names.apply(RowOp::Inode(ino, Box::new(inode)), now);
            names.apply(RowOp::Name(path.trim_end_matches('/').into(), Box::new(Name::new_here(ino))), now);
        }
        names
    }

    fn listed(names: &Names, folder: &str) -> Vec<String> {
        names.children(folder).map(|(path, _)| path.to_string()).collect()
    }

    #[test]
    fn a_folder_lists_its_own_names_only() {
        let names = tree(&["a/", "a/b/", "a/b/c", "a/b-d", "a/b/", "a/b0", "a-x", "a0", "b"]);
        assert_eq!(listed(&names, ""), ["a", "a-x", "a0", "b"]);
        assert_eq!(listed(&names, "a"), ["a/b", "a/b-d", "a/b0"]);
        assert_eq!(listed(&names, "a/b"), ["a/b/c"]);
        assert!(names.is_empty_folder("b"));
    }

    #[test]
    fn below_is_everything_in_a_folder_and_nothing_beside_it() {
        let names = tree(&["a/", "a/b/", "a/b/c", "a-x", "a0"]);
        let below: Vec<_> = names.below("a").map(|(path, _)| path.to_string()).collect();
        assert_eq!(below, ["a/b", "a/b/c"]);
        assert_eq!(names.below("").count(), 5);
    }

    #[test]
    fn totals_follow_every_change() {
        let now = SystemClock.instant();
        let mut names = tree(&["a/", "a/x", "y"]);
        assert_eq!(names.totals(), (20, 2));
        names.apply(RowOp::NoName("y".into()), now);
        assert_eq!(names.totals(), (10, 1));
        let ino = names.name("a/x").unwrap().ino;
        names.set_size(ino, 7);
        assert_eq!(names.totals(), (7, 1));
        let name = names.name("a/x").unwrap().clone();
        names.apply(RowOp::NoName("a/x".into()), now);
        names.apply(RowOp::Name("z".into(), Box::new(name)), now);
        assert_eq!(names.totals(), (7, 1));
        assert_eq!(names.inode(ino).unwrap().path.as_deref(), Some("z"));
    }

    #[test]
    fn a_removal_that_was_not_pushed_is_pending_when_the_tree_is_loaded_again() {
        let mut rows = Rows::default();
        rows.apply(RowOp::Tombstone("gone".into(), Box::default()));
        let (mut names, _) = Names::load(rows, SystemClock.instant());
        assert!(names.pending().contains_key("gone"));
        names.apply(RowOp::NoTombstone("gone".into()), SystemClock.instant());
        assert!(names.pending().is_empty());
    }

    #[test]
    fn a_name_is_pending_until_it_was_pushed_at_its_stamp() {
        let now = SystemClock.instant();
        let mut names = tree(&["f"]);
        assert!(names.pending().contains_key("f"));
        let mut name = names.name("f").unwrap().clone();
        name.pushed = Some(Stamp::default());
        names.apply(RowOp::Name("f".into(), Box::new(name)), now);
        assert!(names.pending().is_empty());
    }
}
