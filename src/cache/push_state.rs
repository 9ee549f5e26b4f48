//! How far each change has been pushed, and what a push may take.
//!
//! A push reads a file's state, freezes a snapshot of its bytes at a stamp, notes the upload
//! durably before it begins, notes its outcome, and notes the commit. A file is clean only if
//! nothing changed it since the stamp of the snapshot.

use super::Cache;
use super::error::Result;
use super::names::Names;
use super::rows::{Ino, Inode, Name, Path, Remote, RowOp, Source, Stamp, Tombstone, Uploaded, Uploading};
use super::shared_sync::Unsynced;
use super::tombstones::committed_too_late;
use crate::model::entry::Attributes;
use crate::model::identity::Identity;
use crate::os::crash_point::{Step, reached};
use crate::store::Nonce;

/// One name as a push sees it.
#[derive(Debug, Clone)]
pub struct FileState {
    /// Its path.
    pub path: Path,
    /// Its row.
    pub name: Name,
    /// Its inode.
    pub inode: Inode,
    /// Whether it holds what bucket or index do not have.
    pub dirty: bool,
}

impl FileState {
    /// Returns how the file stands, in one word.
    pub fn word(&self) -> &'static str {
        if self.inode.local {
            "local"
        } else if self.name.uploading.is_some() {
            "uploading"
        } else if self.dirty {
            "dirty"
        } else if self.name.conflict_of.is_some() {
            "conflict"
        } else {
            "clean"
        }
    }
}

/// A count of names and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Number of names.
    pub names: u64,
    /// Sum of their sizes, in bytes.
    pub bytes: u64,
}

impl Cache {
    /// Returns all unpushed names.
    pub fn all_pending(&self) -> Vec<Path> {
        self.look_at_watched();
        self.names.read().pending().keys().cloned().collect()
    }

    /// Returns whether there is nothing to push.
    pub fn nothing_pending(&self) -> bool {
        self.look_at_watched();
        self.names.read().pending().is_empty() && self.unused_temporaries().is_empty()
    }

    /// Counts the unpushed names.
    pub fn pending_tally(&self) -> Tally {
        self.pending_tally_of(|_| true)
    }

    /// Counts the unpushed names that are asked for.
    pub fn pending_tally_of(&self, is_asked: impl Fn(&str) -> bool) -> Tally {
        self.look_at_watched();
        let names = self.names.read();
        let mut tally = Tally::default();
        for path in names.pending().keys().filter(|path| is_asked(path)) {
            tally.names += 1;
            tally.bytes +=
                names.at(path).map_or(0, |(_, inode)| if inode.is_folder() { 0 } else { inode.size });
        }
        tally
    }

    /// Returns the number of files and the sum of their sizes.
    pub fn totals(&self) -> Tally {
        let (bytes, names) = self.names.read().totals();
        Tally { names, bytes }
    }

    /// Returns the number of files that the index names, as far as it was read.
    pub fn indexed(&self) -> u64 {
        let names = self.names.read();
        let is_removed = |row: &Tombstone| row.indexed.is_some() && !row.folder;
        let removed = names.tombstones().filter(|(path, row)| is_removed(row) && names.name(path).is_none());
        let named = names.all().filter(|(_, name)| name.remote.is_some());
        (removed.count() + named.count()) as u64
    }

    /// Returns the names of conflict copies, with the names they were made beside.
    pub fn conflicts(&self) -> Vec<(Path, Path)> {
        let names = self.names.read();
        let of = |(path, name): (&Path, &Name)| Some((Path::clone(path), name.conflict_of.clone()?));
        names.all().filter_map(of).collect()
    }

    /// Returns a name as a push sees it; `None` if there is none.
    pub fn file_state(&self, path: &str) -> Option<FileState> {
        let names = self.names.read();
        let (name, inode) = names.at(path).ok()?;
        let path = names.names.get_key_value(path).map(|(path, _)| Path::clone(path))?;
        Some(FileState { name: name.clone(), inode: inode.clone(), dirty: names.is_dirty(&path), path })
    }

    /// Returns the tombstone of a path.
    pub fn tombstone(&self, path: &str) -> Option<Tombstone> {
        self.names.read().tombstone(path).cloned()
    }

    /// Returns the paths of all tombstones.
    pub fn tombstones(&self) -> Vec<(Path, Tombstone)> {
        self.names.read().tombstones().map(|(path, row)| (Path::clone(path), row.clone())).collect()
    }

    /// Returns whether a folder has no names in it.
    pub fn is_empty_folder(&self, path: &str) -> bool {
        self.names.read().is_empty_folder(path)
    }

    /// Returns the unpushed names directly in a folder, and the folder's own.
    pub fn pending_in_folder(&self, folder: &str) -> Vec<Path> {
        self.look_at_watched();
        let names = self.names.read();
        let here =
            |path: &&Path| ***path == *folder || (super::names::split(path).0 == folder && !path.is_empty());
        names.pending().keys().filter(here).cloned().collect()
    }

    /// Returns what this machine knows of every key that the index names or should name.
    pub fn known_identities(&self) -> Vec<(Path, Identity)> {
        let names = self.names.read();
        let known = |(path, name): (&Path, &Name)| {
            let inode = names.inode(name.ino).ok()?;
            if inode.is_folder() || inode.local {
                return None;
            }
            let base = name.base.as_ref().filter(|_| !names.is_dirty(path));
            Some((Path::clone(path), base.map(Remote::identity).unwrap_or_default()))
        };
        names.all().filter_map(known).collect()
    }

    /// Returns what the index said of the keys among `wanted` when it was taken over.
    pub fn indexed_identities(&self, wanted: impl Fn(&str) -> bool) -> Vec<(Path, Identity)> {
        let names = self.names.read();
        let indexed = |(path, name): (&Path, &Name)| {
            let remote = name.remote.as_ref().filter(|_| wanted(path))?;
            Some((Path::clone(path), remote.identity()))
        };
        names.all().filter_map(indexed).collect()
    }

    /// Returns files whose absent bytes, or unpushed copy, still come from `key`'s object,
    /// under another name or under none.
    pub fn dependents_of(&self, key: &str) -> Vec<Ino> {
        let names = self.names.read();
        let needs = |ino: &Ino| {
            let Ok(inode) = names.inode(*ino) else { return false };
            let is_own = names.name(key).is_some_and(|name| name.ino == *ino);
            let elsewhere = !is_own && (inode.path.is_some() || inode.opens > 0);
            inode.is_file() && elsewhere && inode.source.as_ref().is_some_and(|source| *source.key == *key)
        };
        names.inode_numbers().filter(needs).collect()
    }

    /// Returns how many bytes of a file are on the local disk.
    pub fn present_bytes(&self, ino: Ino) -> Result<u64> {
        let id = self.names.read().inode(ino)?.content.clone();
        id.map_or(Ok(0), |id| Ok(self.content(&id)?.lock().local_bytes()))
    }

    /// Returns how often an inode was changed.
    pub fn stamp_of(&self, ino: Ino) -> Result<Stamp> {
        self.look_at(ino)?;
        Ok(self.names.read().inode(ino)?.stamp)
    }

    /// Notes that an upload is about to begin, unless the name means another inode by now. It may
    /// begin when [`Cache::sync_upload`] has returned.
    ///
    /// From then on the bucket may get more than the last durable point covers. A power cut
    /// must then not bring that shorter file back, so the point no longer counts.
    pub fn note_uploading(&self, path: &Path, ino: Ino, uploading: Uploading) -> Result<Option<Unsynced>> {
        let content = self.content_if_any(ino);
        let mut state = content.as_ref().map(|content| content.lock());
        let outgrown = state.as_mut().is_some_and(|state| state.outgrow_durable_point());
        {
            let mut names = self.names.write();
            let Some(name) = names.name(path).filter(|name| name.ino == ino) else { return Ok(None) };
            let mut noted = name.clone();
            noted.uploading = Some(uploading);
            let mut group = vec![RowOp::Name(Path::clone(path), Box::new(noted))];
            if let (Some(content), Some(state)) = (&content, state.as_deref().filter(|_| outgrown)) {
                group.push(RowOp::Content(content.id.clone(), Box::new(state.row.clone())));
            }
            self.commit(&mut names, group)?;
        }
        Ok(Some(self.catalog.noted()))
    }

    /// Returns when an upload that was noted would be known after a power cut.
    pub fn sync_upload(&self, noted: Unsynced) -> Result<()> {
        self.catalog.sync_noted(noted)?;
        reached(Step::UploadingNoted);
        Ok(())
    }

    /// Notes what an upload of `ino` put into the bucket, whatever the name means by now.
    pub fn note_uploaded(&self, path: &Path, ino: Ino, nonce: &Nonce, uploaded: Uploaded) -> Result<()> {
        let content = self.content_if_any(ino);
        let mut state = content.as_ref().map(|content| content.lock());
        let mut names = self.names.write();
        let mine = |uploading: &Option<Uploading>| uploading.as_ref().is_some_and(|u| u.nonce == *nonce);
        if let Some(name) = names.name(path).filter(|name| mine(&name.uploading)) {
            let mut noted = name.clone();
            let same_file = noted.uploading.take().is_some_and(|uploading| uploading.ino == ino);
            noted.base = Some(uploaded.remote.clone());
            let mut group = Vec::new();
            noted.uploaded = Some(if same_file && noted.ino == ino {
                let held = content.as_deref().zip(state.as_deref_mut());
                group = Self::follow_upload(&names, (path, ino), &uploaded.remote, held);
                uploaded
            } else {
                Uploaded::by_another(uploaded.remote)
            });
            group.push(RowOp::Name(Path::clone(path), Box::new(noted)));
            self.commit(&mut names, group)?;
        } else if let Some(tombstone) = names.tombstone(path).filter(|t| mine(&t.uploading)) {
            let mut noted = tombstone.clone();
            noted.uploading = None;
            noted.remote = Some(uploaded.remote);
            self.commit(&mut names, vec![RowOp::Tombstone(Path::clone(path), Box::new(noted))])?;
            self.show_again(true)?;
        }
        reached(Step::UploadedNoted);
        Ok(())
    }

    /// Notes that an upload put nothing into the bucket.
    pub fn note_upload_failed(&self, path: &Path, nonce: &Nonce) -> Result<()> {
        let mut names = self.names.write();
        let mine = |uploading: &Option<Uploading>| uploading.as_ref().is_some_and(|u| u.nonce == *nonce);
        if let Some(name) = names.name(path).filter(|name| mine(&name.uploading)) {
            let mut noted = name.clone();
            noted.uploading = None;
            return self.commit(&mut names, vec![RowOp::Name(Path::clone(path), Box::new(noted))]);
        }
        if let Some(tombstone) = names.tombstone(path).filter(|t| mine(&t.uploading)) {
            let mut noted = tombstone.clone();
            noted.uploading = None;
            self.commit(&mut names, vec![RowOp::Tombstone(Path::clone(path), Box::new(noted))])?;
            return self.show_again(true);
        }
        Ok(())
    }

    /// Notes that what was uploaded is not in the bucket any more: somebody replaced it.
    pub fn note_superseded(&self, path: &Path) -> Result<()> {
        let mut names = self.names.write();
        let Ok((name, inode)) = names.at(path) else { return Ok(()) };
        // Nothing of ours is in it: it only waited for its entry. It is what the index says of it,
        // or lingers if that is nothing.
        let is_theirs = name.pushed == Some(inode.stamp);
        let mut noted = name.clone();
        noted.uploaded = None;
        if is_theirs && noted.remote.is_none() {
            noted.remote.clone_from(&noted.base);
        }
        self.commit(&mut names, vec![RowOp::Name(Path::clone(path), Box::new(noted))])?;
        drop(names);
        self.show_again(is_theirs)
    }

    /// Notes that the index names a file's snapshot, in the place of `before`. The file is clean
    /// if it is still that. If a pull took over something newer meanwhile, the next one does again.
    pub fn note_committed(
        &self,
        path: &Path,
        ino: Ino,
        stamp: Stamp,
        remote: Option<Remote>,
        before: Option<&Remote>,
    ) -> Result<()> {
        // Held throughout: nobody changes the content while its mark is taken away.
        let content = self.content_if_any(ino);
        let mut state = content.as_ref().map(|content| content.lock());
        if let (Some(content), Some(state)) = (&content, state.as_deref_mut()) {
            self.look(ino, content, state)?;
        }
        let mut names = self.names.write();
        let still = names.name(path).is_some_and(|name| name.ino == ino);
        if !still {
            let late = committed_too_late(&names, path, remote);
            return self.commit(&mut names, late.into_iter().collect());
        }
        let (name, inode) = names.at(path)?;
        let is_as = |said: Option<&Remote>| match (&name.remote, said) {
            (Some(now), Some(said)) => now.is_same_as(said),
            (now, said) => now.is_none() && said.is_none(),
        };
        let overtaken = !is_as(before) && !is_as(remote.as_ref());
        let mut noted = name.clone();
        noted.remote.clone_from(&remote);
        noted.base.clone_from(&remote);
        noted.pushed = Some(stamp);
        noted.uploaded = None;
        noted.moved_from = None;
        noted.record_left = false;
        let mut pushed = inode.clone();
        let whole = pushed.stamp.content == stamp.content;
        let mut group = Vec::new();
        let pushed_base = remote.clone();
        if let Some(remote) = remote
            && (whole || pushed.source.as_ref().is_some_and(|source| *source.key != **path))
        {
            let object = Source { key: Path::clone(path), remote, at: stamp.content };
            if let (Some(content), Some(state), Some(old)) = (&content, &mut state, &pushed.source)
                && state.unchanged_from(old, &object)
            {
                group.push(RowOp::Content(content.id.clone(), Box::new(state.row.clone())));
            }
            pushed.source = Some(object);
        }
        if let (Some(content), Some(state)) = (&content, state.as_deref_mut().filter(|_| whole)) {
            if state.watched {
                // It says so whatever the catalog does: it may be changed again unseen.
                content.stamp(state, &self.origin(Path::clone(path), pushed_base, false))?;
            } else {
                content.unstamp()?;
                reached(Step::ContentUnmarked);
            }
        }
        group.push(RowOp::Inode(ino, Box::new(pushed)));
        group.push(RowOp::Name(Path::clone(path), Box::new(noted)));
        self.commit(&mut names, group)?;
        drop(names);
        self.show_again(overtaken)
    }

    /// Notes that the index has let go of what was removed. What was removed under the same
    /// name since is not that.
    pub fn note_unindexed(&self, path: &Path, removed: &Tombstone) -> Result<()> {
        let mut names = self.names.write();
        self.forget_version(&mut names, path, |name| removed.forget(&mut name.remote))?;
        let Some(tombstone) = names.tombstone(path) else { return Ok(()) };
        let left = tombstone.without_entry(removed);
        self.commit(&mut names, vec![left.noted_at(path)])
    }

    /// Notes that a removed name's object is gone from the bucket.
    pub fn note_deleted(&self, path: &Path, removed: &Tombstone) -> Result<()> {
        let mut names = self.names.write();
        self.forget_version(&mut names, path, |name| {
            removed.forget(&mut name.remote);
            removed.forget(&mut name.base);
            name.uploaded.take_if(|uploaded| removed.means(&uploaded.remote));
        })?;
        let Some(tombstone) = names.tombstone(path) else { return Ok(()) };
        let left = tombstone.without_object(removed);
        self.commit(&mut names, vec![left.noted_at(path)])
    }

    /// Notes of a name that was made anew while its old object was being removed what is gone.
    fn forget_version(&self, names: &mut Names, path: &Path, forget: impl Fn(&mut Name)) -> Result<()> {
        let replaces = |name: &&Name| {
            name.pushed.is_none() && name.uploaded.as_ref().is_none_or(|done| done.stamp == Stamp::NEVER)
        };
        let Some(name) = names.name(path).filter(replaces) else { return Ok(()) };
        let mut fresh = name.clone();
        forget(&mut fresh);
        self.commit(names, vec![RowOp::Name(Path::clone(path), Box::new(fresh))])
    }
}

impl Inode {
    /// Returns the attributes that the index keeps beside swamp's own.
    pub fn attributes(&self) -> Attributes {
        Attributes {
            mode: Some(self.mode),
            mtime_ns: Some(self.mtime),
            uid: self.uid,
            gid: self.gid,
            xattrs: self.xattrs.clone(),
        }
    }
}
