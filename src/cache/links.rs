//! Which names point to an inode, and which inodes belong together.
//!
//! A file may have several names (hard links). Each is a row of its own, with an object and an
//! entry of its own, and all of them share one inode. Entries of one file carry the same link
//! group; those that also have the same bytes are shown as one inode.

use std::collections::{BTreeSet, HashMap};

use super::Cache;
use super::names::{self, Names};
use super::rows::{Ino, Inode, LinkGroup, Name, Path, Remote, RowOp, Source};

/// What is known of names beyond the one that most inodes have.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// The names of an inode after the one that the inode itself knows.
    more: HashMap<Ino, Vec<Path>>,
    /// The inodes of each link group.
    groups: HashMap<LinkGroup, Vec<Ino>>,
    /// How many folders are directly in each folder that has any.
    subfolders: HashMap<Path, u32>,
}

impl Links {
    /// Counts a folder that appeared.
    pub(super) fn add_folder(&mut self, folder: &str) {
        if !folder.is_empty() {
            *self.subfolders.entry(Path::from(names::split(folder).0)).or_default() += 1;
        }
    }

    /// Counts a folder that vanished.
    pub(super) fn remove_folder(&mut self, folder: &str) {
        let parent = names::split(folder).0;
        if let Some(count) = self.subfolders.get_mut(parent) {
            *count -= 1;
            if *count == 0 {
                self.subfolders.remove(parent);
            }
        }
    }

    /// Gives an inode a name; returns whether it is the first.
    pub(super) fn add_name(&mut self, ino: Ino, inode: &mut Inode, path: &Path) -> bool {
        match &inode.path {
            None => {
                inode.path = Some(Path::clone(path));
                return true;
            }
            Some(first) if first == path => {}
            Some(_) => {
                let more = self.more.entry(ino).or_default();
                if !more.contains(path) {
                    more.push(Path::clone(path));
                }
            }
        }
        false
    }

    /// Takes a name from an inode; returns whether it was the last.
    pub(super) fn remove_name(&mut self, ino: Ino, inode: &mut Inode, path: &str) -> bool {
        let Some(more) = self.more.get_mut(&ino) else {
            let was_it = inode.path.as_deref() == Some(path);
            inode.path.take_if(|_| was_it);
            return was_it;
        };
        if inode.path.as_deref() == Some(path) {
            inode.path = Some(more.remove(0));
        } else {
            more.retain(|other| **other != *path);
        }
        if more.is_empty() {
            self.more.remove(&ino);
        }
        false
    }

    /// Notes that an inode belongs to another group than before.
    pub(super) fn regroup(&mut self, ino: Ino, old: Option<&LinkGroup>, new: Option<&LinkGroup>) {
        if old == new {
            return;
        }
        if let Some(old) = old
            && let Some(inodes) = self.groups.get_mut(old)
        {
            inodes.retain(|other| *other != ino);
            if inodes.is_empty() {
                self.groups.remove(old);
            }
        }
        if let Some(new) = new {
            self.groups.entry(LinkGroup::clone(new)).or_default().push(ino);
        }
    }
}

impl Names {
    /// Returns all names of an inode, in order.
    pub fn names_of(&self, ino: Ino) -> Vec<Path> {
        let first = self.inode(ino).ok().and_then(|inode| inode.path.clone());
        let more = self.links.more.get(&ino).into_iter().flatten().cloned();
        let mut all: Vec<Path> = first.into_iter().chain(more).collect();
        all.sort_unstable();
        all
    }

    /// Returns how many names an inode has: none if it was unlinked and lives on while it is
    /// open. A folder has its own `.` and the `..` of each folder in it besides.
    pub(super) fn links(&self, ino: Ino) -> u32 {
        let Ok(inode) = self.inode(ino) else { return 0 };
        match &inode.path {
            None => 0,
            Some(path) if inode.is_folder() => 2 + self.links.subfolders.get(path).copied().unwrap_or(0),
            Some(_) => self.links.more.get(&ino).map_or(1, |more| 1 + more.len() as u32),
        }
    }

    /// Returns whether an inode has this name and no other.
    pub(super) fn is_only_name(&self, ino: Ino, path: &str) -> bool {
        self.links(ino) == 1 && self.name(path).is_some_and(|name| name.ino == ino)
    }

    /// Returns the inodes of a link group.
    pub(super) fn group(&self, group: &LinkGroup) -> impl Iterator<Item = Ino> {
        self.links.groups.get(group).into_iter().flatten().copied()
    }

    /// Returns the object of another name of this file that has exactly the file's bytes.
    fn object_of_other(&self, ino: Ino, inode: &Inode, not: &dyn Fn(&str) -> bool) -> Option<Source> {
        let at = inode.stamp.content;
        let of = |path: &Path| {
            Some(Source { key: Path::clone(path), remote: bytes_at(self.name(path)?, at)?, at })
        };
        self.names_of(ino).iter().filter(|path| !not(path)).find_map(of)
    }

    /// Completes a group of changes that takes names from files with several: the inode stays,
    /// and what is absent of it comes from the object of a name that it keeps.
    pub(super) fn keep_linked(&self, group: &mut Vec<RowOp>) {
        if self.links.more.is_empty() {
            return;
        }
        let mut lost: HashMap<Ino, BTreeSet<Path>> = HashMap::new();
        let mut gained: BTreeSet<Ino> = BTreeSet::new();
        for op in &*group {
            let (path, now) = match op {
                RowOp::NoName(path) => (path, None),
                RowOp::Name(path, row) => (path, Some(row.ino)),
                _ => continue,
            };
            gained.extend(now);
            if let Some(old) = self.name(path).map(|name| name.ino).filter(|old| Some(*old) != now) {
                lost.entry(old).or_default().insert(Path::clone(path));
            }
        }
        for (ino, lost) in lost.iter().filter(|(ino, _)| self.links.more.contains_key(ino)) {
            if lost.len() as u32 == self.links(*ino) && !gained.contains(ino) {
                continue;
            }
            group.retain(|op| !matches!(op, RowOp::NoInode(gone) if gone == ino));
            let image = group.iter().rev().find_map(|op| match op {
                RowOp::Inode(changed, row) if changed == ino => Some(&**row),
                _ => None,
            });
            let Some(inode) = image.or_else(|| self.inode(*ino).ok()) else { continue };
            let is_lost = |path: &str| lost.contains(path);
            if inode.equal_object().is_some_and(|source| is_lost(&source.key))
                && let Some(source) = self.object_of_other(*ino, inode, &is_lost)
            {
                group.push(RowOp::Inode(*ino, Box::new(Inode { source: Some(source), ..inode.clone() })));
            }
        }
    }
}

/// Returns the object that a name has, if it has the content of this stamp.
fn bytes_at(name: &Name, at: u64) -> Option<Remote> {
    match &name.uploaded {
        Some(uploaded) => {
            Some(uploaded).filter(|done| done.stamp.content == at).map(|done| done.remote.clone())
        }
        None => name.base.clone().filter(|_| name.pushed.is_some_and(|pushed| pushed.content == at)),
    }
}

impl Cache {
    /// Returns all names of an inode, in order.
    pub fn names_of(&self, ino: Ino) -> Vec<Path> {
        self.names.read().names_of(ino)
    }

    /// Returns the object of another name of the file at `path` that has exactly its bytes as
    /// they are now.
    pub fn linked_object(&self, path: &str) -> Option<Source> {
        let names = self.names.read();
        let (name, inode) = names.at(path).ok()?;
        names.object_of_other(name.ino, inode, &|other| other == path)
    }
}
