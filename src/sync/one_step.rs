//! What was renamed together is committed together.
//!
//! Whoever pushes a part of a rename pushes all of it. What is not ready as a whole waits for the
//! next push: the index names all of it under the new names, or all of it under the old ones.

use std::collections::{BTreeMap, HashSet};

use super::SyncService;
use super::deletion::Removal;
use super::error::Result;
use super::index::Layout;
use super::push::{Busy, Keys};
use super::upload::Ready;
use crate::cache::rows::Path;

impl SyncService {
    /// Completes a batch by what was renamed together with something in it. With
    /// [`Busy::Wait`] it returns when nobody else works on any of it, and holds it.
    pub(super) async fn complete_batch(
        &self,
        paths: &mut Vec<Path>,
        wanted: &mut Option<HashSet<Path>>,
        busy: Busy,
    ) -> Keys {
        let mut known = HashSet::new();
        paths.retain(|path| known.insert(Path::clone(path)));
        let groups = self.cache.move_groups(Some(paths.iter()));
        paths.extend(
            groups
                .iter()
                .flat_map(|group| &group.names)
                .filter(|path| known.insert(Path::clone(path)))
                .cloned(),
        );
        if let Some(wanted) = wanted {
            wanted.extend(groups.iter().flat_map(|group| &group.removed).cloned());
        }
        if busy == Busy::Skip {
            return Keys::default();
        }
        // In their order: whoever waits for a key and holds others took them in the same order.
        let mut all: Vec<&Path> =
            paths.iter().chain(groups.iter().flat_map(|group| &group.removed)).collect();
        all.sort_unstable();
        all.dedup();
        let mut keys = BTreeMap::new();
        for path in all {
            keys.insert(Path::clone(path), self.keys.lock(path).await);
        }
        keys
    }

    /// Commits names and removals, in one step where the index is one document. Of shards each is
    /// a document: there new names are there before the old ones go.
    pub(super) async fn commit_both(&self, ready: &[Ready], removals: &[Removal]) -> Result<HashSet<Path>> {
        let gone = removals.iter().flat_map(Removal::changes);
        let named = ready.iter().map(|ready| ready.change.clone());
        let has_moved = removals.iter().any(|removal| removal.tombstone.moved_to.is_some());
        if self.layout.lock().layout == Layout::Monolith || !has_moved {
            return Ok((*self.commit(gone.chain(named).collect()).await?).clone());
        }
        let mut skipped = (*self.commit(named.collect()).await?).clone();
        match self.commit(gone.collect()).await {
            Ok(more) => skipped.extend(more.iter().cloned()),
            // The new names are there, and nobody notes it.
            Err(failed) => return Err(self.distrust(failed).await),
        }
        Ok(skipped)
    }

    /// Leaves out what belongs to a rename of which something else is not ready.
    pub(super) fn leave_incomplete(
        &self,
        ready: Vec<Ready>,
        removals: Vec<Removal>,
    ) -> (Vec<Ready>, Vec<Removal>) {
        // A name that was renamed or removed meanwhile is not published; its tombstone knows
        // of the object. One that was removed and is there again is not removed.
        let (mut ready, mut removals) = (ready, removals);
        removals.retain(|removal| self.cache.is_removed(&removal.path, &removal.tombstone));
        ready.retain(|ready| self.cache.file_state(&ready.path).is_some_and(|now| now.name.ino == ready.ino));
        let named: HashSet<Path> = ready.iter().map(|ready| Path::clone(&ready.path)).collect();
        let gone: HashSet<Path> = removals.iter().map(|removal| Path::clone(&removal.path)).collect();
        let groups = self.cache.move_groups(Some(named.iter().chain(&gone)));
        let is_incomplete = |path: &Path, done: &HashSet<Path>| !done.contains(path);
        let mut left = HashSet::new();
        for group in groups {
            let missing = group.names.iter().find(|path| is_incomplete(path, &named));
            let missing = missing.or_else(|| group.removed.iter().find(|path| is_incomplete(path, &gone)));
            if let Some(missing) = missing {
                tracing::debug!(%missing, names = group.names.len(), "A rename is not ready as a whole: it waits");
                left.extend(group.paths().cloned());
            }
        }
        removals.retain(|removal| !left.contains(&removal.path));
        ready.retain(|ready| !left.contains(&ready.path));
        (ready, removals)
    }
}
