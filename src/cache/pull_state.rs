//! Taking over what the index says: new, changed and vanished names.
//!
//! Rows that are dirty here keep their content and their base; only what the index says of
//! them is noted, and the next push finds the conflict. A changed file gets a new inode, so
//! that an open file never mixes two versions. Nothing here marks the cache dirty.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use super::Cache;
use super::error::Result;
use super::names::Names;
use super::rows::{Ino, Inode, Kind, Name, Path, Remote, RowOp, Source, Stamp, Tombstone};
use super::tree::NewNode;
use crate::model::entry::{Attributes, Entry};
use crate::model::identity::Identity;
use crate::model::key::DataKey;
use crate::model::{content_hash::ContentHash, timestamp::Timestamp};

/// How many rows are changed under one hold of the tree's lock.
const ROWS_A_HOLD: usize = 512;

/// What became of a pull.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pulled {
    /// Names that are new here.
    pub added: u64,
    /// Names whose content changed.
    pub changed: u64,
    /// Names that the index does not have any more; whether they are deleted is not known yet.
    pub vanished: Vec<Path>,
    /// Keys and folders that are not shown because a name of the other kind is in the way.
    pub shadowed: u64,
}

impl Remote {
    /// Returns what identifies an entry's bytes; `None` if its size is not known.
    pub fn of_entry(entry: &Entry) -> Option<Self> {
        Some(Self {
            size: entry.size?,
            modified: entry.last_modified.as_ref().map_or(String::new(), |stamp| stamp.as_str().to_owned()),
            sha256: entry.sha256.map(|hash| hash.to_string()),
            version: entry.version.clone(),
        })
    }

    /// Returns it as the comparison wants it.
    pub fn identity(&self) -> Identity {
        Identity {
            size: Some(self.size),
            sha256: self.sha256.as_deref().and_then(ContentHash::from_hex),
            last_modified: Timestamp::parse(&self.modified),
            version: self.version.clone(),
        }
    }
}

impl Cache {
    /// Takes over the files of an index, or of those of its parts that `covers` says, and all
    /// of its folders.
    pub fn apply_index(
        &self,
        files: &[(DataKey, Entry)],
        folders: &[(String, Attributes)],
        covers: &dyn Fn(&str) -> bool,
    ) -> Result<Pulled> {
        let mut pulled = Pulled::default();
        for some in folders.chunks(ROWS_A_HOLD) {
            let mut names = self.names.write();
            for (path, attributes) in some {
                if names.is_within(path) {
                    self.apply_folder(&mut names, path, attributes, &mut pulled)?;
                }
            }
        }
        let listed: HashSet<&str> = folders.iter().map(|(path, _)| path.as_str()).collect();
        self.forget_folders_not_in(&listed)?;
        self.take_over_groups(files)?;
        let named: HashSet<&str> = files.iter().map(|(key, _)| key.as_str()).collect();
        let known = |path: &str| !covers(path) || named.contains(path);
        for some in files.chunks(ROWS_A_HOLD) {
            let mut names = self.names.write();
            for (key, entry) in some {
                let is_here = names.is_within(key.as_str());
                if is_here && !self.is_removed_here(&mut names, key, entry)? {
                    self.apply_entry(&mut names, key, entry, (&known, &mut pulled))?;
                }
            }
        }
        pulled.vanished = self.names_not_in(known);
        Ok(pulled)
    }

    /// Notes that all of the index is about to be taken over.
    pub fn begin_showing_all(&self) {
        self.show_again.store(false, Ordering::Release);
    }

    /// Has the next pull take the index over again, if a name went under which others put
    /// something since, or may have.
    pub(super) fn show_again(&self, moved_on: bool) -> Result<()> {
        if moved_on {
            // Before it is noted: a pull that is under way may have passed the name already.
            self.show_again.store(true, Ordering::Release);
            self.note_applied(None)?;
        }
        Ok(())
    }

    fn names_not_in(&self, known: impl Fn(&str) -> bool) -> Vec<Path> {
        let names = self.names.read();
        let is_file = |name: &Name| names.inode(name.ino).is_ok_and(|inode| !inode.is_folder());
        let gone = |(path, name): &(&Path, &Name)| {
            name.remote.is_some() && !known(path) && is_file(name) && names.is_within(path)
        };
        names.all().filter(gone).map(|(path, _)| Path::clone(path)).collect()
    }

    /// Returns whether an entry is what was removed here and only waits to be removed there.
    fn is_removed_here(&self, names: &mut Names, key: &DataKey, entry: &Entry) -> Result<bool> {
        let path = key.shared();
        let Some(remote) = Remote::of_entry(entry) else { return Ok(true) };
        let Some(tombstone) = names.tombstone(&path).filter(|_| names.name(&path).is_none()) else {
            return Ok(false);
        };
        if tombstone.means(&remote) || (!tombstone.had_entry() && tombstone.uploading.is_some()) {
            return Ok(true);
        }
        tracing::info!(%path, "Removed here and changed elsewhere: it comes back");
        let left = Tombstone { folder: tombstone.folder, ..Tombstone::default() };
        self.commit(names, vec![left.noted_at(&path)])?;
        Ok(false)
    }

    fn apply_entry(
        &self,
        names: &mut Names,
        key: &DataKey,
        entry: &Entry,
        (known, pulled): (&dyn Fn(&str) -> bool, &mut Pulled),
    ) -> Result<()> {
        let Some(remote) = Remote::of_entry(entry) else { return Ok(()) };
        let path = key.shared();
        if names.name(&path).is_none() {
            self.make_way(names, &path, known)?;
        }
        let Ok((name, inode)) = names.at(&path) else {
            return self.add_remote(names, &path, (entry, remote), pulled);
        };
        if inode.is_folder() {
            pulled.shadowed += 1;
            tracing::debug!(%path, "A key is both a file and a folder: the folder is shown");
            return Ok(());
        }
        let same = |known: &Option<Remote>| known.as_ref().is_some_and(|known| known.is_same_as(&remote));
        let is_clean = !names.is_dirty(&path) && name.uploading.is_none();
        // What was taken ahead of the index, and may not be named here, stays what it is.
        let is_settled = is_clean && self.read_only_reason().is_none();
        if (is_clean && same(&name.base)) || (!is_settled && same(&name.remote)) {
            self.apply_same(names, &path, entry, remote)?;
            return self.follow_link(names, &path, entry);
        }
        if is_published(name, inode, &remote) {
            let conflict_of = name.conflict_of.clone();
            let published = Name { conflict_of, ..clean_name(name.ino, &remote, inode.stamp) };
            self.commit(names, vec![RowOp::Name(Path::clone(&path), Box::new(published))])?;
            return self.apply_same(names, &path, entry, remote);
        }
        if names.is_dirty(&path) || name.uploading.is_some() {
            let mut noted = name.clone();
            noted.remote = Some(remote);
            return self.commit(names, vec![RowOp::Name(path, Box::new(noted))]);
        }
        pulled.changed += 1;
        self.replace_by_remote(names, &path, entry, remote)
    }

    /// The same bytes: only attributes, or what is known of the version, may be new.
    fn apply_same(&self, names: &mut Names, path: &Path, entry: &Entry, remote: Remote) -> Result<()> {
        let (name, inode) = names.at(path)?;
        let (ino, dirty) = (name.ino, names.is_dirty(path));
        let mut group = Vec::new();
        if name.remote.as_ref() != Some(&remote) {
            let mut noted = name.clone();
            if let Some(base) = noted.base.as_mut().filter(|base| !dirty && base.is_same_as(&remote)) {
                let version = remote.version.clone().or_else(|| base.version.clone());
                *base = Remote { version, ..remote.clone() };
            }
            noted.remote = Some(remote);
            group.push(RowOp::Name(Path::clone(path), Box::new(noted)));
        }
        let mut updated = inode.clone();
        if !dirty {
            set_attributes(&mut updated, entry);
        }
        let changed = updated != *inode;
        if changed {
            updated.ctime = self.now_nanos();
            group.push(RowOp::Inode(ino, Box::new(updated)));
        }
        self.commit(names, group)?;
        if changed {
            self.tell_attributes(names, ino);
        }
        Ok(())
    }

    pub(super) fn add_remote(
        &self,
        names: &mut Names,
        path: &Path,
        (entry, remote): (&Entry, Remote),
        pulled: &mut Pulled,
    ) -> Result<()> {
        let mut group = Vec::new();
        let inode = inode_of(path, entry, &remote);
        let linked = names.file_of_group(path, entry, &remote);
        if !self.imply_folders(names, path, inode.mtime, &mut group) {
            pulled.shadowed += 1;
            return Ok(());
        }
        pulled.added += 1;
        if let Some(ino) = linked {
            return self.join(names, path, (ino, &remote), group);
        }
        let ino = names.fresh_ino();
        let name = clean_name(ino, &remote, inode.stamp);
        group.push(RowOp::Inode(ino, Box::new(inode)));
        group.push(RowOp::Name(Path::clone(path), Box::new(name)));
        self.make_known(names, group)
    }

    /// Puts a new inode in the place of a clean file whose object was replaced.
    pub(super) fn replace_by_remote(
        &self,
        names: &mut Names,
        path: &Path,
        entry: &Entry,
        remote: Remote,
    ) -> Result<()> {
        let old = names.at(path)?.0.ino;
        // Callers go on with a clean name.
        let is_clean = |ino: &Ino| names.names_of(*ino).iter().all(|other| !names.is_dirty(other));
        if let Some(ino) = names.file_of_group(path, entry, &remote).filter(is_clean) {
            self.join(names, path, (ino, &remote), vec![RowOp::NoInode(old)])?;
        } else {
            let inode = inode_of(path, entry, &remote);
            let ino = names.fresh_ino();
            let name = clean_name(ino, &remote, inode.stamp);
            let group = vec![
                RowOp::Inode(ino, Box::new(inode)),
                RowOp::Name(Path::clone(path), Box::new(name)),
                RowOp::NoInode(old),
            ];
            self.commit(names, group)?;
        }
        self.tell_attributes(names, old);
        Self::remember_taken(names, old, path);
        self.tell_entry(names, path);
        self.drop_if_unused(names, old);
        Ok(())
    }

    /// Removes a name whose object is gone from the bucket, if it is still what was `known` of
    /// it. A file that is dirty here stays.
    pub fn apply_vanished(&self, path: &Path, known: &Option<Remote>) -> Result<()> {
        let mut names = self.names.write();
        let is_known =
            |(name, inode): (&Name, &Inode)| !inode.is_folder() && known.is_some() && name.remote == *known;
        if !names.at(path).is_ok_and(is_known) {
            return Ok(());
        }
        let Ok((name, inode)) = names.at(path) else { return Ok(()) };
        // What only waits to be named by the index is nothing of ours.
        if names.is_dirty(path) && name.pushed != Some(inode.stamp) {
            let mut ours = name.clone();
            ours.remote = None;
            // What we put there since is not what was gone.
            if name.uploaded.is_none() && name.uploading.is_none() {
                ours.base = None;
            }
            return self.commit(&mut names, vec![RowOp::Name(Path::clone(path), Box::new(ours))]);
        }
        let ino = name.ino;
        self.commit(&mut names, vec![RowOp::NoName(Path::clone(path)), RowOp::NoInode(ino)])?;
        Self::remember_taken(&mut names, ino, path);
        self.tell_entry(&names, path);
        self.tell_attributes(&names, ino);
        self.drop_if_unused(&mut names, ino);
        self.prune_folders(&mut names, path)
    }
}

/// Returns whether all that the index did not say yet of a name is what it says now.
fn is_published(name: &Name, inode: &Inode, remote: &Remote) -> bool {
    let uploaded = name.uploaded.as_ref().filter(|_| name.pushed == Some(inode.stamp));
    uploaded.is_some_and(|uploaded| uploaded.stamp == inode.stamp && uploaded.remote.is_same_as(remote))
}

pub(super) fn clean_name(ino: Ino, remote: &Remote, stamp: Stamp) -> Name {
    let (remote, base) = (Some(remote.clone()), Some(remote.clone()));
    Name { remote, base, pushed: Some(stamp), ..Name::new_here(ino) }
}

/// Returns the inode that shows an entry.
pub(super) fn inode_of(path: &Path, entry: &Entry, remote: &Remote) -> Inode {
    let kind = kind_of(entry);
    let node = NewNode { mode: kind.default_mode(), uid: None, gid: None };
    let stamp = Stamp::default();
    let source = Source { key: Path::clone(path), remote: remote.clone(), at: stamp.content };
    let modified = Timestamp::parse(&remote.modified).map_or(0, |time| time.as_unix_ms() * 1_000_000);
    let mut inode =
        Inode { size: remote.size, stamp, source: Some(source), ..Inode::new(kind, node, modified) };
    set_attributes(&mut inode, entry);
    inode.link.clone_from(&entry.link);
    inode
}

/// Returns what an entry is. A special file has no bytes; where there are some, somebody wrote
/// an ordinary file over it.
pub(super) fn kind_of(entry: &Entry) -> Kind {
    let special = entry.special.filter(|_| entry.size == Some(0));
    match (&entry.symlink, special) {
        (Some(target), _) => Kind::Symlink(target.clone()),
        (None, Some(special)) => Kind::Special(special),
        (None, None) => Kind::File,
    }
}

fn set_attributes(inode: &mut Inode, entry: &Entry) {
    let stamp_time =
        |stamp: &crate::model::timestamp::Stamp| stamp.time().map(|t| t.as_unix_ms() * 1_000_000);
    let known = entry.local_mtime.as_ref().and_then(stamp_time);
    let known = known.or_else(|| entry.last_modified.as_ref().and_then(stamp_time));
    inode.mtime = known.unwrap_or(inode.mtime);
    inode.mode = inode.kind.default_mode();
    set_common(inode, &entry.attributes);
}

pub(super) fn set_common(inode: &mut Inode, attributes: &Attributes) {
    inode.mode = attributes.mode.unwrap_or(inode.mode) & 0o7777;
    inode.mtime = attributes.mtime_ns.unwrap_or(inode.mtime);
    inode.uid = attributes.uid;
    inode.gid = attributes.gid;
    inode.xattrs.clone_from(&attributes.xattrs);
}
