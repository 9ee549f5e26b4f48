//! The bucket's version of a file takes its name, and ours is kept beside it or given up.
//!
//! What the index says of a key is noted apart from the version that our content derives from:
//! an object may be ahead of its entry.

use super::error::Result;
use super::names::Names;
use super::pull_state::{clean_name, inode_of};
use super::push_state::FileState;
use super::rows::{Ino, Inode, Name, Path, Remote, RowOp, Source, Stamp, Uploaded};
use super::{Cache, Seen};
use crate::model::entry::Entry;

impl Cache {
    /// Makes `base` the version that a dirty file's next push replaces.
    pub fn rebase(&self, path: &Path, base: Option<Remote>) -> Result<()> {
        let mut names = self.names.write();
        let Some(name) = names.name(path) else { return Ok(()) };
        let rebased = Name { base, ..name.clone() };
        self.commit(&mut names, vec![RowOp::Name(Path::clone(path), Box::new(rebased))])
    }

    /// Notes that the bucket has a file's bytes as they were at `stamp`, though we did not send
    /// them; returns whether the file still is that.
    pub fn note_equal(&self, path: &Path, ino: Ino, stamp: Stamp, theirs: Remote) -> Result<bool> {
        let mut names = self.names.write();
        let Ok((name, inode)) = names.at(path) else { return Ok(false) };
        if name.ino != ino || inode.stamp.content != stamp.content {
            return Ok(false);
        }
        let uploaded = Some(Uploaded { stamp, remote: theirs.clone() });
        let equal = Name { base: Some(theirs), uploaded, ..name.clone() };
        self.commit(&mut names, vec![RowOp::Name(Path::clone(path), Box::new(equal))])?;
        Ok(true)
    }

    /// Keeps our version of a file beside its name and gives the name to the bucket's version.
    pub fn keep_as_conflict(&self, path: &Path, theirs: &Entry) -> Result<Path> {
        let Some(remote) = Remote::of_entry(theirs) else { return Ok(Path::clone(path)) };
        let mut names = self.names.write();
        let aside = self.free_name_like(&names, path, "conflict");
        let (name, _) = names.at(path)?;
        let mut kept = Name::new_here(name.ino);
        kept.conflict_of = Some(Path::clone(path));
        let indexed = name.remote.clone();
        let inode = inode_of(path, theirs, &remote);
        let ino = names.fresh_ino();
        let back = self.name_of_theirs(ino, &inode, remote, indexed);
        let group = vec![
            RowOp::NoName(Path::clone(path)),
            RowOp::Name(Path::clone(&aside), Box::new(kept)),
            RowOp::Inode(ino, Box::new(inode)),
            RowOp::Name(Path::clone(path), Box::new(back)),
        ];
        self.commit(&mut names, group)?;
        self.tell_entry(&names, path);
        self.tell_entry(&names, &aside);
        Ok(aside)
    }

    /// Gives a name to the bucket's version and drops ours; returns whether ours still was what
    /// is `known` of it.
    pub fn take_theirs(&self, known: &FileState, theirs: &Entry) -> Result<bool> {
        let mut names = self.names.write();
        if !is_still(&names, known) {
            return Ok(false);
        }
        self.put_theirs(&mut names, &known.path, theirs).map(|()| true)
    }

    /// Gives the bucket's content to a file of which only attributes were changed here, if it still
    /// is what is `known` of it.
    pub fn take_their_content(&self, known: &FileState, theirs: &Entry) -> Result<()> {
        let path = &known.path;
        let mut names = self.names.write();
        if !is_still(&names, known) {
            return Ok(());
        }
        let ours = names.at(path)?.1.clone();
        self.put_theirs(&mut names, path, theirs)?;
        let (name, inode) = names.at(path)?;
        let ino = name.ino;
        let mut both = inode.clone();
        (both.mode, both.uid, both.gid, both.xattrs) = (ours.mode, ours.uid, ours.gid, ours.xattrs);
        if both == *inode {
            return Ok(());
        }
        both.stamp.meta += 1;
        self.commit(&mut names, vec![RowOp::Inode(ino, Box::new(both))])
    }

    /// Removes a name whose content is nowhere: neither here nor in the bucket; returns whether it
    /// still was what is `known` of it.
    pub fn drop_empty_name(&self, known: &FileState) -> Result<bool> {
        let (path, ino) = (&known.path, known.name.ino);
        let mut names = self.names.write();
        if !is_still(&names, known) {
            return Ok(false);
        }
        self.commit(&mut names, vec![RowOp::NoName(Path::clone(path))])?;
        self.tell_entry(&names, path);
        self.drop_if_unused(&mut names, ino);
        self.prune_folders(&mut names, path).map(|()| true)
    }

    fn put_theirs(&self, names: &mut Names, path: &Path, theirs: &Entry) -> Result<()> {
        let Some(remote) = Remote::of_entry(theirs) else { return Ok(()) };
        let indexed = names.at(path)?.0.remote.clone();
        self.replace_by_remote(names, path, theirs, remote.clone())?;
        let (name, inode) = names.at(path)?;
        let row = self.name_of_theirs(name.ino, inode, remote, indexed);
        self.commit(names, vec![RowOp::Name(Path::clone(path), Box::new(row))])
    }

    /// Takes a newer version of a clean file from the object itself, ahead of the index.
    ///
    /// The inode stays if nothing of the older version was read yet, and the kernel was not told
    /// that it is longer or shorter: a read that is under way may have looked at the size
    /// already. Else the name gets a new one, and `false` says that this inode's version is gone.
    pub fn adopt_object(&self, ino: Ino, remote: Remote) -> Result<bool> {
        let held = self.names.read().inode(ino)?.content.clone();
        let content = held.as_ref().map(|id| self.content(id)).transpose()?;
        // Held throughout: nothing of the older version is filled in meanwhile.
        let state = content.as_ref().map(|content| content.lock());
        let unread = state.as_ref().is_none_or(|state| state.row.present.is_empty());
        let mut names = self.names.write();
        let inode = names.inode(ino)?;
        if inode.content != held {
            return Ok(false);
        }
        let own = inode.path.clone();
        // Of a file with several names only the one whose object was replaced means another file;
        // who has the file open has it under any of them.
        let of_source = inode.source.as_ref().map(|source| Path::clone(&source.key));
        let of_source = of_source.filter(|key| names.name(key).is_some_and(|name| name.ino == ino));
        let Some(path) = of_source.or(own).filter(|path| !names.is_dirty(path)) else { return Ok(false) };
        let indexed = names.at(&path)?.0.remote.clone();
        let is_linked = !names.is_only_name(ino, &path);
        let is_told = inode.lookups > 0 && (inode.given || inode.size != remote.size);
        let is_lent = inode.lent > 0 || inode.watched;
        if !unread || is_told || is_linked || is_lent || inode.parted {
            let entry = Entry { size: Some(remote.size), ..Entry::default() };
            self.replace_by_remote(&mut names, &path, &entry, remote.clone())?;
            let (name, inode) = names.at(&path)?;
            let row = self.name_of_theirs(name.ino, inode, remote, indexed);
            self.commit(&mut names, vec![RowOp::Name(path, Box::new(row))])?;
            return Ok(is_linked);
        }
        let mut updated = inode.clone();
        let old = updated.content.take();
        updated.size = remote.size;
        updated.source =
            Some(Source { key: Path::clone(&path), remote: remote.clone(), at: updated.stamp.content });
        let row = self.name_of_theirs(ino, &updated, remote, indexed);
        let mut group = vec![RowOp::Inode(ino, Box::new(updated)), RowOp::Name(path, Box::new(row))];
        group.extend(old.clone().map(RowOp::NoContent));
        self.commit(&mut names, group)?;
        let places = Self::places_of(&names, ino);
        drop((names, state));
        old.iter().for_each(|id| self.drop_content(id));
        self.tell(Seen::Content { ino, names: places });
        Ok(true)
    }

    /// Returns the name of the bucket's version; if the index does not say it yet, the next
    /// commit brings it up.
    fn name_of_theirs(&self, ino: Ino, inode: &Inode, theirs: Remote, indexed: Option<Remote>) -> Name {
        let ahead = indexed.as_ref().is_none_or(|indexed| !indexed.is_same_as(&theirs));
        let may_write = self.read_only_reason().is_none();
        let uploaded = (ahead && may_write).then(|| Uploaded { stamp: inode.stamp, remote: theirs.clone() });
        Name { remote: indexed, uploaded, ..clean_name(ino, &theirs, inode.stamp) }
    }
}

/// Returns whether a name still has the file, and that the content, which somebody saw: it was
/// waited for the bucket since.
fn is_still(names: &Names, known: &FileState) -> bool {
    let now = names.at(&known.path);
    now.is_ok_and(|(name, inode)| {
        name.ino == known.name.ino && inode.stamp.content == known.inode.stamp.content
    })
}
