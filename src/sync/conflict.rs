//! A file that was changed here while the bucket moved on.
//!
//! By default the bucket's version keeps the name and ours is kept beside it. What only looks
//! like a conflict is told apart first: an object that is gone, new attributes only, an orphan
//! of a bayou that died, and equal bytes.

use std::time::Duration;

use super::error::{Result, SyncError};
use super::{OnConflict, SyncService};
use crate::cache::push_state::FileState;
use crate::cache::rows::{Kind, Path, Remote};
use crate::model::content_hash::ContentHash;
use crate::model::entry::Entry;
use crate::model::key::ObjectKey;
use crate::model::timestamp::{Stamp, Timestamp};
use crate::store::{Nonce, ObjectMeta};

/// How long an object of ours that the index does not name is taken for somebody's.
const ORPHAN_AGE: Duration = Duration::from_secs(24 * 3600);

/// What became of a conflict.
pub(super) enum Resolution {
    /// The push may be tried again on the new base.
    Again,
    /// Our version has this name now and is to be pushed there.
    Beside(Path),
    /// Our version was given up: it was asked for, or there was nothing of it.
    Theirs,
}

/// What this machine has of a file's bytes after all that can be fetched was fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ours {
    /// All of them.
    Whole,
    /// What was written here; the rest is gone and zeros now.
    WithHoles,
    /// Nothing was written here, and what the file was is gone.
    Nothing,
}

impl SyncService {
    /// Resolves a conflict on a key. Held: the key.
    pub(super) async fn resolve_conflict(&self, path: &Path) -> Result<Resolution> {
        let what = format!("Asking what {path} is now");
        let meta =
            self.store.head(&ObjectKey::new(Path::clone(path))).await.map_err(SyncError::store(what))?;
        if meta.is_some() {
            // Whoever wrote it may have published it meanwhile.
            self.refresh_index().await?;
        }
        let is_there = meta.is_some();
        let outcome = match (self.cache.file_state(path).filter(|state| state.dirty), meta) {
            (None, _) => Ok(Resolution::Again),
            (Some(state), Some(meta)) => self.resolve_with(&state, &meta).await,
            (Some(state), None) => self.outlive_removal(&state).await,
        };
        if is_there && self.cache.file_state(path).is_none() {
            // Removed here since: what is there may be of an upload of ours that came late.
            self.note_left(path);
            return Ok(Resolution::Again);
        }
        outcome
    }

    /// Edited here and removed there: ours keeps the name.
    async fn outlive_removal(&self, state: &FileState) -> Result<Resolution> {
        let path = &state.path;
        if self.keep_bytes(state).await? == Ours::Nothing {
            if !self.cache.drop_empty_name(state).map_err(noted(path))? {
                return Ok(Resolution::Again);
            }
            tracing::error!(%path, "Its content was removed from the bucket before it was read: the name is removed");
            if let Some(indexed) = state.name.remote.clone() {
                self.cache.note_missing(path, indexed);
            }
            // The index names it still: what it says is shown until that is settled.
            return self.take_over_anew().await.map(|()| Resolution::Theirs);
        }
        self.cache.rebase(path, None).map_err(noted(path)).map(|()| Resolution::Again)
    }

    async fn resolve_with(&self, state: &FileState, meta: &ObjectMeta) -> Result<Resolution> {
        let path = &state.path;
        let indexed = self.indexed(path).await?;
        let entry = their_entry(indexed.as_ref(), meta);
        let is_base = state.name.base.as_ref().and_then(|base| base.version.as_ref()) == Some(&meta.version);
        if is_untouched(state) {
            if !is_base {
                self.cache.take_their_content(state, &entry).map_err(noted(path))?;
            }
            return Ok(Resolution::Again);
        }
        let ours = self.keep_bytes(state).await?;
        if ours == Ours::Nothing {
            tracing::error!(%path, "What it was renamed from was replaced before it was read: the rename is taken back");
            return self.take_theirs(state, &entry);
        }
        let is_orphan = indexed.is_none() && state.name.base.is_none() && self.is_orphan(meta);
        if is_base || is_orphan || self.options.on_conflict == OnConflict::Ours {
            let theirs = Remote::of_entry(&entry);
            return self.cache.rebase(path, theirs).map_err(noted(path)).map(|()| Resolution::Again);
        }
        if ours == Ours::Whole && self.is_equal(state, &entry).await? {
            return Ok(Resolution::Again);
        }
        self.follow_policy(state, &entry)
    }

    /// Gives the name to the bucket's version, unless it means something newer by now.
    fn take_theirs(&self, state: &FileState, theirs: &Entry) -> Result<Resolution> {
        let taken = self.cache.take_theirs(state, theirs).map_err(noted(&state.path))?;
        Ok(if taken { Resolution::Theirs } else { Resolution::Again })
    }

    fn follow_policy(&self, state: &FileState, theirs: &Entry) -> Result<Resolution> {
        let path = &state.path;
        match self.options.on_conflict {
            OnConflict::Fail => Err(SyncError::Conflict { path: path.to_string() }),
            OnConflict::Theirs => {
                tracing::warn!(%path, "Changed here and in the bucket: ours is dropped (--on-conflict=theirs)");
                self.take_theirs(state, theirs)
            }
            OnConflict::Copy | OnConflict::Ours => {
                let aside = self.cache.keep_as_conflict(path, theirs).map_err(noted(path))?;
                tracing::warn!(%path, kept = %aside, "Changed here and in the bucket: ours is kept beside it");
                Ok(Resolution::Beside(aside))
            }
        }
    }

    /// Fetches what a file does not have yet; what can never be fetched any more is zeros.
    async fn keep_bytes(&self, state: &FileState) -> Result<Ours> {
        let path = &state.path;
        if !state.inode.is_file() {
            return Ok(Ours::Whole);
        }
        let what = || format!("Completing {path}");
        let Err(failed) = self.hydrator.hydrate(state.name.ino).await else { return Ok(Ours::Whole) };
        let failed = SyncError::cache(what())(failed);
        if !failed.is_base_gone() {
            return Err(failed);
        }
        if state.inode.equal_object().is_some() {
            return Ok(Ours::Nothing);
        }
        tracing::error!(%path, "The version that this file was changed from is gone: the ranges that were never read are zeros now");
        self.cache.accept_holes(state.name.ino).map_err(SyncError::cache(what()))?;
        Ok(Ours::WithHoles)
    }

    /// An object of a bayou that died before it named it in the index. One that is younger may
    /// be about to be named, or to be named again by its writer after another dropped its entry.
    fn is_orphan(&self, meta: &ObjectMeta) -> bool {
        let age = self.clock.now().duration_since(meta.modified).unwrap_or(Duration::ZERO);
        meta.user.contains_key(Nonce::META) && age >= ORPHAN_AGE
    }

    /// Returns whether both sides have the same bytes, and notes that the bucket has ours.
    async fn is_equal(&self, state: &FileState, theirs: &Entry) -> Result<bool> {
        let same_kind = match &state.inode.kind {
            Kind::Symlink(_) => theirs.symlink.is_some(),
            Kind::Special(special) => theirs.special == Some(*special),
            Kind::File | Kind::Folder => theirs.symlink.is_none() && theirs.special.is_none(),
        };
        let Some(remote) =
            Remote::of_entry(theirs).filter(|remote| same_kind && remote.size == state.inode.size)
        else {
            return Ok(false);
        };
        let Some(hash) = self.their_hash(&state.path, theirs).await? else { return Ok(false) };
        let (stamp, ours) = match self.our_hash(state).await {
            // What ours was made of is not in the bucket any more.
            Err(failed) if failed.is_base_gone() => return Ok(false),
            hashed => hashed?,
        };
        if ours != hash {
            return Ok(false);
        }
        let remote = Remote { sha256: Some(hash.to_string()), ..remote };
        self.cache.note_equal(&state.path, state.name.ino, stamp, remote).map_err(noted(&state.path))
    }

    /// Returns the hash of an object: the index's, or that of its bytes if they are not many.
    async fn their_hash(&self, path: &Path, theirs: &Entry) -> Result<Option<ContentHash>> {
        if theirs.sha256.is_some() || theirs.size.is_none_or(|size| size > self.options.part_bytes) {
            return Ok(theirs.sha256);
        }
        match self.store.get(&ObjectKey::new(Path::clone(path)), None, theirs.version.as_ref()).await {
            Ok(fetched) => Ok(Some(ContentHash::of(&fetched.body))),
            Err(moved) if moved.is_not_found() || moved.is_condition_failed() => Ok(None),
            Err(failed) => Err(SyncError::store(format!("Comparing {path}"))(failed)),
        }
    }

    pub(super) async fn our_hash(
        &self,
        state: &FileState,
    ) -> Result<(crate::cache::rows::Stamp, ContentHash)> {
        if let Kind::Symlink(target) = &state.inode.kind {
            return Ok((state.inode.stamp, ContentHash::of(target.as_bytes())));
        }
        if let Kind::Special(_) = state.inode.kind {
            return Ok((state.inode.stamp, ContentHash::of(b"")));
        }
        let what = || format!("Comparing {}", state.path);
        let source = self.cache.thaw(state.name.ino).map_err(SyncError::cache(what()))?;
        let hash = self.hydrator.hash_source(&source).await.map_err(SyncError::cache(what()))?;
        Ok((source.stamp, hash))
    }

    async fn refresh_index(&self) -> Result<()> {
        let mut held = self.index.lock().await;
        self.pull_index(&mut held).await.map(drop)
    }

    pub(super) async fn indexed(&self, path: &Path) -> Result<Option<Entry>> {
        let mut held = self.index.lock().await;
        let Some(index) = &mut *held else { return Ok(None) };
        index.load_for(&*self.store, std::iter::once(&**path)).await?;
        Ok(index.get(path))
    }
}

fn noted(path: &Path) -> impl FnOnce(crate::cache::CacheError) -> SyncError {
    SyncError::cache(format!("Resolving the conflict on {path}"))
}

/// Returns whether the bytes are still those of the object under this very name.
fn is_untouched(state: &FileState) -> bool {
    state.inode.equal_object().is_some_and(|object| *object.key == *state.path)
}

/// Returns what is known of the object that has the key now.
fn their_entry(indexed: Option<&Entry>, meta: &ObjectMeta) -> Entry {
    let current = indexed.filter(|entry| match &entry.version {
        Some(version) => *version == meta.version,
        None => entry.size == Some(meta.size),
    });
    let modified = Stamp::from(Timestamp::from(meta.modified));
    let mut theirs = current.cloned().unwrap_or_default();
    if theirs.version.is_none() {
        // Equal in size only: the hash may be another content's.
        theirs.sha256 = None;
    }
    theirs.size = Some(meta.size);
    theirs.last_modified.get_or_insert(modified);
    theirs.version = Some(meta.version.clone());
    theirs
}
