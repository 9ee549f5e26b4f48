//! Entries whose objects are gone.
//!
//! Others delete an object and never get around to its entry. A read finds that out. What is
//! still missing after a while is asked for again, and the entry goes in a commit that looks once
//! more for the object when it has the lock. What is dirty here is pushed instead, and the rest is
//! never asked for: only `bayou index verify` looks at every object.

use std::collections::HashSet;

use futures::{StreamExt, stream};

use super::commit::{Change, SentWhen};
use super::error::{Result, SyncError};
use super::index::RemoteIndex;
use super::{LINGER, SyncService};
use crate::cache::rows::{Path, Remote};
use crate::store::Version;

impl SyncService {
    /// Returns whether something is missing for long enough to be looked at.
    pub(super) fn has_missing(&self) -> bool {
        !self.cache.missing_for(LINGER).is_empty()
    }

    /// Has the index forget what is missing for a while; returns how many names went. Not held:
    /// the index.
    pub(super) async fn prune(&self) -> Result<u64> {
        if !self.has_missing() || self.check_writable().is_err() {
            return Ok(0);
        }
        self.ensure_index().await?;
        let mut dangling = Vec::new();
        for (path, indexed) in self.cache.missing_for(LINGER) {
            if self.is_dangling(&path, &indexed).await? {
                dangling.push(Change::Prune(path, Box::new(indexed)));
            } else {
                self.cache.forget_missing(&path);
            }
        }
        let unnoted = self.unnoted.one();
        let skipped = self.commit(dangling.clone()).await?;
        let mut gone = 0;
        for change in &dangling {
            let Change::Prune(path, entry) = change else { continue };
            self.cache.forget_missing(path);
            if skipped.contains(path) {
                continue;
            }
            tracing::warn!(%path, "Its object was deleted and its entry was left: the entry is removed");
            // Somebody may have made it anew since.
            let known = self.cache.file_state(path).and_then(|state| state.name.remote);
            let known = known.filter(|known| known.is_same_as(entry));
            let removing = self.cache.apply_vanished(path, &known);
            removing.map_err(SyncError::cache(format!("Removing {path}")))?;
            gone += 1;
        }
        drop(unnoted);
        self.keep_applied()?;
        Ok(gone)
    }

    /// Returns whether a key's entry is still this, its object is missing still, and nothing here
    /// is about to take its place.
    async fn is_dangling(&self, path: &Path, entry: &Remote) -> Result<bool> {
        if self.cache.file_state(path).is_some_and(|state| state.dirty) {
            return Ok(false);
        }
        let indexed = self.indexed(path).await?.as_ref().and_then(Remote::of_entry);
        let is_same = indexed.is_some_and(|indexed| indexed.is_same_as(entry));
        Ok(is_same && self.object_at(path).await?.is_none())
    }

    /// Returns which of the keys that are to be pruned have no object, and which of those that
    /// the index does not name yet. Of those, only what was put while nobody else changed the
    /// index is there for sure: others may have named, unnamed and deleted the rest since. Held:
    /// the lock, which who deletes holds as well.
    pub(super) async fn absent(
        &self,
        index: &RemoteIndex,
        changes: impl Iterator<Item = &Change>,
    ) -> Result<HashSet<Path>> {
        let news = self.news_so_far();
        let asked = changes.filter_map(|change| match change {
            Change::Prune(path, _) => Some((Path::clone(path), None)),
            Change::Set(key, entry, was) => {
                let is_sure = was.sent == SentWhen::Now && was.news == news;
                let is_named = is_sure || index.get(key.as_str()).is_some();
                (!is_named).then(|| (key.shared(), entry.version.clone()))
            }
            Change::Remove(..) | Change::SetFolder(..) | Change::RemoveFolder(_) => None,
        });
        let asked: Vec<(Path, Option<Version>)> = asked.collect();
        let looks = asked.into_iter().map(|(path, version)| async move {
            let there = self.object_at(&path).await?;
            let is_it = there.is_some_and(|there| version.is_none_or(|version| version == there.version));
            Ok((!is_it).then_some(path))
        });
        let mut looks = stream::iter(looks).buffer_unordered(self.options.uploads);
        let mut absent = HashSet::new();
        while let Some(look) = looks.next().await {
            absent.extend(look?);
        }
        Ok(absent)
    }
}
