//! Removing what was removed here: first from the index, then the objects.
//!
//! A name that was renamed goes only when its new name is pushed. Every DELETE means one
//! version: an object that was changed meanwhile stays and comes back.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt, stream};

use super::SyncService;
use super::commit::Change;
use super::error::{Result, SyncError};
use super::key_locks::KeyGuard;
use super::push::{Busy, Keys};
use super::upload::Ready;
use crate::cache::rows::{Path, Tombstone};
use crate::model::key::ObjectKey;
use crate::os::crash_point::{Step, reached};
use crate::store::{Condition, ErrorKind, StoreError};

/// How many objects are deleted at once.
const PARALLEL_DELETES: usize = 16;

/// A name that is to go.
pub(super) struct Removal {
    pub path: Path,
    pub tombstone: Tombstone,
    guard: KeyGuard,
}

impl Removal {
    /// Returns the right to work on the key, for as long as it is kept.
    pub(super) fn guard(&self) -> KeyGuard {
        self.guard.clone()
    }

    /// Returns what the index is to change.
    ///
    /// Also if it has let go of the name already: whoever committed it may have put it back.
    pub(super) fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.tombstone.folder {
            changes.push(Change::RemoveFolder(Path::clone(&self.path)));
        }
        if self.tombstone.had_entry() {
            changes.push(Change::Remove(Path::clone(&self.path), Box::new(self.tombstone.clone())));
        }
        changes
    }
}

impl SyncService {
    /// Returns the tombstones among `wanted` (all, if `None`) that may be pushed now, given
    /// that the names in `ready` are committed with them. A name that another push works on is
    /// waited for if nothing else is held.
    pub(super) async fn removals(
        &self,
        wanted: Option<&HashSet<Path>>,
        ready: &[Ready],
        (busy, keys): (Busy, &Keys),
    ) -> Result<Vec<Removal>> {
        let held: HashMap<&Path, &KeyGuard> = ready.iter().map(|ready| (&ready.path, &ready.guard)).collect();
        let mut removals = Vec::new();
        for (path, tombstone) in self.cache.tombstones() {
            let follows = tombstone.moved_to.as_ref().is_some_and(|to| held.contains_key(to));
            let asked = wanted.is_none_or(|wanted| wanted.contains(&path)) || follows;
            if !asked || !(follows || self.may_go(&tombstone)) {
                continue;
            }
            let holds_none = ready.is_empty() && removals.is_empty() && keys.is_empty();
            let busy = if holds_none { busy } else { Busy::Skip };
            let guard = match held.get(&path) {
                // Something of another kind has the name now.
                Some(&guard) => Some(guard.clone()),
                None => self.take_key(&path, busy, keys).await,
            };
            let Some(guard) = guard else { continue };
            self.resolve_uploading(&path).await?;
            if let Some(tombstone) = self.cache.tombstone(&path) {
                removals.push(Removal { path, tombstone, guard });
            }
        }
        Ok(removals)
    }

    /// A renamed name may go when its new name is in the index, or gone itself.
    fn may_go(&self, tombstone: &Tombstone) -> bool {
        tombstone
            .moved_to
            .as_ref()
            .is_none_or(|to| self.cache.file_state(to).is_none_or(|state| !state.dirty))
    }

    /// Deletes the objects of names that the index has let go of; returns how many names went.
    pub(super) async fn delete_objects(&self, removals: Vec<Removal>) -> Result<u64> {
        let count = removals.len() as u64;
        let mut deletions = stream::iter(removals)
            .map(|removal| self.delete_object(removal))
            .buffer_unordered(PARALLEL_DELETES);
        let mut failed = None;
        while let Some(outcome) = deletions.next().await {
            failed = failed.or(outcome.err());
        }
        failed.map_or(Ok(count), Err)
    }

    /// Lets go of removals of names that mean something newer by now: that is shown again.
    pub(super) async fn leave_made_anew(&self, removals: Vec<Removal>) -> Result<()> {
        if removals.is_empty() {
            return Ok(());
        }
        for Removal { path, tombstone, .. } in &removals {
            tracing::info!(%path, "Removed here and made anew elsewhere: it stays");
            let unindexed = self.cache.note_unindexed(path, tombstone);
            let noted = unindexed.and_then(|()| self.cache.note_deleted(path, tombstone));
            noted.map_err(SyncError::cache(format!("Noting that {path} stays")))?;
        }
        self.take_over_anew().await
    }

    async fn delete_object(&self, removal: Removal) -> Result<()> {
        let path = &removal.path;
        let noted = |failed| SyncError::cache(format!("Noting the removal of {path}"))(failed);
        self.cache.note_unindexed(path, &removal.tombstone).map_err(noted)?;
        reached(Step::CommitNoted);
        if removal.tombstone.remote.is_none() {
            return Ok(());
        }
        // Whoever has the name again may need the object, and replaces it: it is not deleted. Who
        // takes the name from here on has what it needs of it.
        self.cache.begin_leaving(path, &removal.tombstone);
        self.keep_what_was(path).await?;
        if !self.cache.has_left(path, &removal.tombstone) {
            tracing::debug!(%path, "Removed and made anew here: its object is replaced");
            return Ok(());
        }
        let key = ObjectKey::new(Path::clone(path));
        match self.delete_condition(&removal, &key).await? {
            Some(condition) => match self.store.delete(&key, &condition).await {
                Err(moved) if moved.is_condition_failed() => self.delete_copy(&key, &removal).await?,
                outcome => outcome.map_err(SyncError::store(format!("Deleting {path}")))?,
            },
            None => self.note_left(path),
        }
        reached(Step::ObjectDeleted);
        self.cache.note_deleted(path, &removal.tombstone).map_err(noted)
    }

    /// Deletes an object that is another version of the same bytes: the entry that was removed
    /// meant it as well. Any other stays.
    async fn delete_copy(&self, key: &ObjectKey, removal: &Removal) -> Result<()> {
        let Some(remote) = &removal.tombstone.remote else { return Ok(()) };
        let deleted = match self.version_of_copy(key, remote).await? {
            Some(version) => self.store.delete(key, &Condition::IfVersion(version)).await,
            None => Err(StoreError::new(ErrorKind::Changed, "delete", key)),
        };
        match deleted {
            Err(moved) if moved.is_condition_failed() => {
                tracing::info!(%key, "Removed here and changed elsewhere: it stays");
                self.note_left(&removal.path);
                Ok(())
            }
            outcome => outcome.map_err(SyncError::store(format!("Deleting {key}"))),
        }
    }

    /// Returns the condition for the delete; `None` if the object is not the one that was removed.
    async fn delete_condition(&self, removal: &Removal, key: &ObjectKey) -> Result<Option<Condition>> {
        let Some(remote) = &removal.tombstone.remote else { return Ok(None) };
        if let Some(version) = &remote.version
            && self.conditions().delete
        {
            return Ok(Some(Condition::IfVersion(version.clone())));
        }
        let Some(version) = self.version_of(key, remote).await? else { return Ok(None) };
        let exact = self.conditions().delete;
        Ok(Some(if exact { Condition::IfVersion(version) } else { Condition::Always }))
    }
}
