//! A file that was changed here while the bucket moved on.
//!
//! By default the bucket's version keeps the name and ours is kept beside it. What only looks
//! like a conflict is told apart first: an object that is gone, an orphan of a bayou that died,
//! and equal bytes.

use super::error::{Result, SyncError};
use super::{OnConflict, SyncService};
use crate::cache::rows::{Path, Remote};
use crate::model::entry::Entry;
use crate::model::key::ObjectKey;
use crate::model::timestamp::{Stamp, Timestamp};
use crate::store::{Nonce, ObjectMeta};

/// What became of a conflict.
pub(super) enum Resolution {
    /// The push may be tried again on the new base.
    Again,
    /// Our version has this name now and is to be pushed there.
    Beside(Path),
    /// Our version was given up, as was asked for.
    Theirs,
}

impl SyncService {
    /// Resolves a conflict on a key. Held: the key.
    pub(super) async fn resolve_conflict(&self, path: &Path) -> Result<Resolution> {
        let noted = |failed| SyncError::cache(format!("Resolving the conflict on {path}"))(failed);
        let what = format!("Asking what {path} is now");
        let meta =
            self.store.head(&ObjectKey::new(Path::clone(path))).await.map_err(SyncError::store(what))?;
        let Some(meta) = meta else {
            // Edited here and removed there: ours keeps the name.
            return self.cache.rebase(path, None).map_err(noted).map(|()| Resolution::Again);
        };
        // Whoever wrote it may have published it meanwhile.
        self.refresh_index().await?;
        let indexed = self.indexed(path).await;
        let theirs = Remote {
            size: meta.size,
            modified: Timestamp::from(meta.modified).to_string(),
            sha256: indexed
                .as_ref()
                .filter(|entry| entry.version.as_ref() == Some(&meta.version))
                .and_then(|e| e.sha256)
                .map(|h| h.to_string()),
            version: Some(meta.version.clone()),
        };
        let Some(state) = self.cache.file_state(path).filter(|state| state.dirty) else {
            return Ok(Resolution::Again);
        };
        let orphan = indexed.is_none() && meta.user.contains_key(Nonce::META) && state.name.base.is_none();
        if orphan
            || self.options.on_conflict == OnConflict::Ours
            || self.is_same_version(&state.name.base, &meta)
        {
            return self.cache.rebase(path, Some(theirs)).map_err(noted).map(|()| Resolution::Again);
        }
        let entry = their_entry(indexed, &theirs);
        match self.options.on_conflict {
            OnConflict::Fail => Err(SyncError::Conflict { path: path.to_string() }),
            OnConflict::Theirs => {
                tracing::warn!(%path, "Changed here and in the bucket: ours is dropped (--on-conflict=theirs)");
                self.cache.take_theirs(path, &entry).map_err(noted).map(|()| Resolution::Theirs)
            }
            OnConflict::Copy | OnConflict::Ours => {
                if let Some(state) = self.cache.file_state(path).filter(|state| state.inode.is_file()) {
                    self.complete_or_accept_holes(state.name.ino, path).await?;
                }
                let aside = self.cache.keep_as_conflict(path, &entry).map_err(noted)?;
                tracing::warn!(%path, kept = %aside, "Changed here and in the bucket: ours is kept beside it");
                Ok(Resolution::Beside(aside))
            }
        }
    }

    fn is_same_version(&self, base: &Option<Remote>, meta: &ObjectMeta) -> bool {
        base.as_ref().and_then(|base| base.version.as_ref()) == Some(&meta.version)
    }

    async fn refresh_index(&self) -> Result<()> {
        let mut held = self.index.lock().await;
        self.pull_index(&mut held).await.map(drop)
    }

    async fn indexed(&self, path: &Path) -> Option<Entry> {
        self.index.lock().await.as_ref().and_then(|index| index.index().get(path))
    }
}

fn their_entry(indexed: Option<Entry>, theirs: &Remote) -> Entry {
    let current = indexed.filter(|entry| match &entry.version {
        Some(version) => Some(version) == theirs.version.as_ref(),
        None => entry.size == Some(theirs.size),
    });
    Entry {
        size: Some(theirs.size),
        last_modified: Some(Stamp::read(&theirs.modified)),
        version: theirs.version.clone(),
        ..current.unwrap_or_default()
    }
}
