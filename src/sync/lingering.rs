//! Objects that are there although the index does not name them (any more).
//!
//! An entry may be missing because another writer overwrote the index, or because whoever
//! removes the file is about to delete its object. So a name is removed here only when its object
//! is gone. What is still there after a while is named by the index again, as what it is: all
//! mounts show what the bucket holds.

use std::collections::BTreeMap;
use std::time::Instant;

use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;

use super::entries::entry_of_object;
use super::error::{Result, SyncError};
use super::{LINGER, SyncService};
use crate::cache::rows::Path;
use crate::model::key::ObjectKey;
use crate::store::{ObjectMeta, Version};

/// How many objects are asked for at once.
const PARALLEL_HEADS: usize = 32;

/// What the index does not name although it was there when it was last looked for.
#[derive(Default)]
pub(super) struct Lingering {
    /// Names that the index lost: since when, and as which version they were first seen.
    names: Mutex<BTreeMap<Path, (Instant, Version)>>,
    /// Objects that a removal here left, because they were not what was removed: since when.
    left: Mutex<BTreeMap<Path, Instant>>,
}

impl Lingering {
    /// Returns whether no name lingers.
    pub(super) fn is_empty(&self) -> bool {
        self.names.lock().is_empty()
    }

    /// Returns whether a name's object was there, as this version, although the index lost it.
    pub(super) fn has(&self, path: &str, version: Option<&Version>) -> bool {
        self.names.lock().get(path).is_some_and(|(_, seen)| Some(seen) == version)
    }

    /// Has every name linger as if it began now: while some go, somebody is deleting them.
    fn begin_again(&self, now: Instant) {
        self.names.lock().values_mut().for_each(|(since, _)| *since = now);
    }

    /// Forgets names that the index has, as far as it `covers` them.
    pub(super) fn keep(&self, vanished: &[Path], covers: &dyn Fn(&str) -> bool) {
        self.names.lock().retain(|path, _| !covers(path) || vanished.contains(path));
    }
}

impl SyncService {
    /// Removes the names whose objects are gone; remembers the others.
    pub(super) async fn confirm_vanished(&self, paths: Vec<Path>) -> Result<u64> {
        let ask = |path: Path| async move {
            let known = self.cache.file_state(&path).and_then(|state| state.name.remote);
            self.object_at(&path).await.map(|meta| (path, known, meta))
        };
        let answers = stream::iter(paths).map(ask).buffer_unordered(PARALLEL_HEADS);
        let (gone, there): (Vec<_>, Vec<_>) =
            answers.try_collect::<Vec<_>>().await?.into_iter().partition(|(.., meta)| meta.is_none());
        for (path, known, _) in &gone {
            self.lingering.names.lock().remove(path);
            let removing = self.cache.apply_vanished(path, known);
            removing.map_err(SyncError::cache(format!("Removing {path}")))?;
        }
        if !gone.is_empty() {
            self.lingering.begin_again(self.clock.instant());
        }
        for (path, _, meta) in there {
            if let Some(meta) = meta {
                self.linger(&path, &meta).await?;
            }
        }
        Ok(gone.len() as u64)
    }

    /// Remembers that a name's object is there although the index has lost the name; after a
    /// while the index is to name it again.
    async fn linger(&self, path: &Path, meta: &ObjectMeta) -> Result<()> {
        let now = self.clock.instant();
        let since = {
            let mut names = self.lingering.names.lock();
            let seen = names.entry(Path::clone(path)).or_insert_with(|| {
                tracing::info!(%path, "The index does not name it any more, but its object is there: it stays");
                (now, meta.version.clone())
            });
            seen.0
        };
        if now.saturating_duration_since(since) < LINGER || self.check_writable().is_err() {
            return Ok(());
        }
        tracing::warn!(%path, "Its entry was dropped from the index, but its object is there: it is named again");
        let Some(entry) = entry_of_object(&*self.store, path, Some(meta), None).await? else {
            return Ok(());
        };
        let named = self.cache.name_again(path, &entry);
        named.map_err(SyncError::cache(format!("Noting that {path} is to be named")))
    }

    /// Looks again at what lingers; returns how many names went.
    pub(super) async fn look_again_at_lingering(&self) -> Result<u64> {
        self.show_what_was_left().await?;
        let paths: Vec<Path> = self.lingering.names.lock().keys().cloned().collect();
        if paths.is_empty() {
            return Ok(0);
        }
        let vanished = self.confirm_vanished(paths).await?;
        if vanished > 0 && self.shadowed.load(std::sync::atomic::Ordering::Acquire) {
            // They may have stood in somebody's way.
            self.take_over_anew().await?;
        }
        Ok(vanished)
    }

    /// Remembers that a removal found another object than was removed. Whoever put it may be
    /// about to name it.
    pub(super) fn note_left(&self, path: &Path) {
        self.lingering.left.lock().entry(Path::clone(path)).or_insert_with(|| self.clock.instant());
    }

    /// Shows objects that were left by removals here and that nobody has named since.
    async fn show_what_was_left(&self) -> Result<()> {
        let now = self.clock.instant();
        let is_due = |since: &Instant| now.saturating_duration_since(*since) >= LINGER;
        let due: Vec<Path> = {
            let left = self.lingering.left.lock();
            left.iter().filter(|(_, since)| is_due(since)).map(|(path, _)| Path::clone(path)).collect()
        };
        for path in due {
            // Whoever works on it may be about to delete it.
            let Some(_key) = self.keys.try_lock(&path) else { continue };
            if self.check_writable().is_err() || self.cache.file_state(&path).is_some() {
                self.lingering.left.lock().remove(&path);
                continue;
            }
            let meta = self.object_at(&path).await?;
            if let Some(entry) = entry_of_object(&*self.store, &path, meta.as_ref(), None).await? {
                let shown = self.cache.show_unnamed(&path, &entry);
                if shown.map_err(SyncError::cache(format!("Showing {path}")))? {
                    tracing::info!(%path, "Removed here and changed elsewhere: it comes back");
                }
            }
            self.lingering.left.lock().remove(&path);
        }
        Ok(())
    }

    /// Asks for a key's object.
    pub(super) async fn object_at(&self, path: &Path) -> Result<Option<ObjectMeta>> {
        let what = format!("Asking whether {path} is there");
        self.store.head(&ObjectKey::new(Path::clone(path))).await.map_err(SyncError::store(what))
    }
}
