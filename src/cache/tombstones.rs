//! What a removed name leaves behind, and what a new name takes over from it.
//!
//! A file takes the place of a removed file: the removed version is what its push replaces. A
//! folder and a file do not take each other's place, because index and bucket keep them apart:
//! the tombstone of the one stays beside the other until its record or object is gone.

use super::names::Names;
use super::rows::{Ino, Inode, Name, Path, Remote, RowOp, Tombstone, Uploaded};

/// Returns the name for a new inode at `path`, and notes what becomes of the tombstone there.
pub(super) fn name_over(
    names: &Names,
    path: &Path,
    (ino, inode): (Ino, &Inode),
    group: &mut Vec<RowOp>,
) -> Name {
    let mut name = Name::new_here(ino);
    let Some(tombstone) = names.tombstone(path) else { return name };
    let mut left = tombstone.clone();
    if inode.is_folder() {
        name.record_left = std::mem::take(&mut left.folder);
    } else {
        take_over(&mut name, &mut left);
    }
    group.push(left.noted_at(path));
    name
}

/// The removed file's object is what the new file's push replaces.
fn take_over(name: &mut Name, left: &mut Tombstone) {
    name.base = left.remote.take();
    name.uploading = left.uploading.take();
    name.remote = left.indexed.take().filter(|_| !left.unindexed);
    let is_same = |(indexed, object): (&Remote, &Remote)| indexed.is_same_as(object);
    if !name.remote.as_ref().zip(name.base.as_ref()).is_some_and(is_same) {
        name.uploaded = name.base.clone().map(Uploaded::by_another);
    }
}

impl Tombstone {
    /// Returns whether the index had an entry of what was removed, or may have had.
    pub fn had_entry(&self) -> bool {
        self.remote.is_some() || self.indexed.is_some()
    }

    /// Forgets a version that was removed.
    pub(super) fn forget(&self, version: &mut Option<Remote>) {
        version.take_if(|version| self.means(version));
    }

    /// Returns what is left of it when the index has let go of what `removed` says: that is
    /// less if something else was removed under the same name meanwhile.
    pub(super) fn without_entry(&self, removed: &Tombstone) -> Tombstone {
        let is_gone = |indexed: &Remote| removed.had_entry() && removed.means(indexed);
        let indexed = self.indexed.clone().filter(|indexed| !is_gone(indexed));
        let unindexed = self.unindexed || (removed.had_entry() && indexed.is_none());
        Tombstone { folder: self.folder && !removed.folder, indexed, unindexed, ..self.clone() }
    }

    /// Returns what is left of it when the object that `removed` says is gone.
    pub(super) fn without_object(&self, removed: &Tombstone) -> Tombstone {
        let is_gone = |object: &Remote| removed.remote.as_ref().is_some_and(|gone| gone.is_same_as(object));
        Tombstone { remote: self.remote.clone().filter(|object| !is_gone(object)), ..self.clone() }
    }

    /// Returns the note that this is what the removed names at a path have left behind.
    pub(super) fn noted_at(self, path: &Path) -> RowOp {
        match self.folder || self.had_entry() || self.uploading.is_some() {
            true => RowOp::Tombstone(Path::clone(path), Box::new(self)),
            false => RowOp::NoTombstone(Path::clone(path)),
        }
    }
}

/// Notes what a removed name leaves behind; nothing if the bucket cannot have it.
pub(super) fn bury(
    names: &Names,
    path: &Path,
    moved_to: Option<&Path>,
    group: &mut Vec<RowOp>,
) -> super::Result<()> {
    let (name, inode) = names.at(path)?;
    let Some(mut tombstone) = tombstone_for(name, inode, moved_to) else { return Ok(()) };
    if let Some(older) = names.tombstone(path) {
        // One is a folder's and the other a file's, or they could not stand side by side.
        tombstone.folder |= older.folder;
        tombstone.unindexed = tombstone.remote.is_none() && older.unindexed;
        tombstone.remote = tombstone.remote.or_else(|| older.remote.clone());
        tombstone.indexed = tombstone.indexed.or_else(|| older.indexed.clone());
        tombstone.uploading = tombstone.uploading.or_else(|| older.uploading.clone());
        tombstone.moved_to = tombstone.moved_to.or_else(|| older.moved_to.clone());
    }
    group.push(RowOp::Tombstone(Path::clone(path), Box::new(tombstone)));
    Ok(())
}

fn tombstone_for(name: &Name, inode: &Inode, moved_to: Option<&Path>) -> Option<Tombstone> {
    if inode.local || (inode.is_folder() && !has_record(name, inode)) {
        return None;
    }
    let uploaded = name.uploaded.as_ref().map(|uploaded| uploaded.remote.clone());
    let remote = uploaded.or_else(|| name.base.clone());
    if !inode.is_folder() && remote.is_none() && name.uploading.is_none() {
        return None;
    }
    Some(Tombstone {
        remote,
        // What others put there since is not what was removed.
        indexed: name.remote.clone().filter(|_| !name.has_moved_on()),
        folder: inode.is_folder(),
        moved_to: moved_to.map(Path::clone),
        uploading: name.uploading.clone(),
        unindexed: false,
    })
}

/// Returns whether the index may have a folder's record under this name.
pub(super) fn has_record(name: &Name, inode: &Inode) -> bool {
    name.record_left || (inode.is_folder() && !inode.implied && name.pushed.is_some())
}

/// Notes that the index names a file (or records a folder, if there is no `remote`) although
/// its name means something else by now, or nothing.
pub(super) fn committed_too_late(names: &Names, path: &Path, remote: Option<Remote>) -> Option<RowOp> {
    let live = names.at(path).ok();
    let is_folder = live.is_some_and(|(_, inode)| inode.is_folder());
    let mut tombstone = names.tombstone(path).cloned();
    match (live, remote) {
        (Some((name, _)), None) if is_folder => {
            let noted = Name { record_left: true, pushed: None, ..name.clone() };
            return Some(RowOp::Name(Path::clone(path), Box::new(noted)));
        }
        (_, None) => tombstone.get_or_insert_default().folder = true,
        (Some((name, _)), Some(remote)) if !is_folder => {
            let uploaded = name.uploaded.clone().filter(|done| done.remote != remote);
            let noted = Name { remote: Some(remote), uploaded, ..name.clone() };
            return Some(RowOp::Name(Path::clone(path), Box::new(noted)));
        }
        (_, Some(remote)) => tombstone.as_mut()?.indexed = Some(remote),
    }
    Some(RowOp::Tombstone(Path::clone(path), Box::new(tombstone?)))
}
