//! Bringing our tree up to the index in the bucket.
//!
//! If nothing changed this costs one HEAD. A name that the index lost is removed here only
//! when its object is gone as well: an entry may be missing because another writer overwrote
//! the index, and "unreachable" is never read as "deleted".

use futures::{StreamExt, stream};

use super::discover::{Publish, discover};
use super::error::{Result, SyncError};
use super::layout::{self, Layout};
use super::remote_index::{self, Admitted, RemoteIndex};
use super::{LINGER, SyncReport, SyncService};
use crate::cache::pull_state::Pulled;
use crate::cache::rows::Path;
use crate::model::key::ObjectKey;
use crate::model::timestamp::{Stamp, Timestamp};
use crate::os::crash_point::{Step, reached};

/// How many objects are asked for at once.
const PARALLEL_HEADS: usize = 32;

impl SyncService {
    /// Pulls what others published.
    pub async fn pull(&self) -> Result<SyncReport> {
        let outcome = self.try_pull().await;
        self.note_outcome(&outcome);
        if outcome.is_ok() {
            self.health.lock().last_pull = Some(Timestamp::from(self.clock.now()));
        }
        outcome
    }

    /// Finds out how the index is laid out, then pulls: the first thing a session does.
    pub async fn start(&self) -> Result<SyncReport> {
        let layout = layout::detect(&*self.store).await?;
        if let Layout::Sharded { reason, .. } = &layout {
            self.cache.make_read_only(reason.clone());
        } else if let Some(holder) = layout::live_lock(&*self.store, self.clock.now()).await? {
            let reason =
                format!("{holder} holds the lock .datastore.lock of the bucket; mount again when it is gone");
            self.cache.make_read_only(reason);
        }
        *self.layout.lock() = layout;
        let report = self.pull().await?;
        *self.started.lock() = report.clone();
        Ok(report)
    }

    async fn try_pull(&self) -> Result<SyncReport> {
        let sharded = match &*self.layout.lock() {
            Layout::Sharded { shards, .. } => Some(shards.clone()),
            Layout::Monolith => None,
        };
        if let Some(shards) = sharded {
            let admitted = layout::read_shards(&*self.store, &shards).await?;
            return self.apply(admitted, None).await;
        }
        let mut held = self.index.lock().await;
        let head = RemoteIndex::head(&*self.store).await?;
        let mut report = SyncReport::default();
        if !self.is_applied(head.as_ref()) {
            report = self.pull_index(&mut held).await?;
        }
        drop(held);
        report.vanished += self.look_again_at_lingering().await?;
        Ok(report)
    }

    fn is_applied(&self, head: Option<&crate::store::Version>) -> bool {
        match head {
            Some(version) => {
                remote_index::is_usable(version)
                    && self.cache.applied_fingerprint().as_deref() == Some(version.as_str())
            }
            None => self.unpublished.load(std::sync::atomic::Ordering::Acquire),
        }
    }

    /// Reads the index (or discovers and publishes it) and applies it. Held: the index.
    pub(super) async fn pull_index(&self, held: &mut Option<RemoteIndex>) -> Result<SyncReport> {
        let publish = if self.check_writable().is_ok() { Publish::Yes } else { Publish::No };
        self.pull_index_and(held, publish).await
    }

    /// As [`SyncService::pull_index`], saying what is to become of an index that is discovered.
    pub(super) async fn pull_index_and(
        &self,
        held: &mut Option<RemoteIndex>,
        publish: Publish,
    ) -> Result<SyncReport> {
        let fetched = RemoteIndex::fetch(&*self.store).await?;
        let index = match fetched {
            Some(index) => index,
            None => discover(&*self.store, publish, Timestamp::from(self.clock.now())).await?,
        };
        self.unpublished.store(index.fingerprint().is_none(), std::sync::atomic::Ordering::Release);
        if !index.scrubbed().is_empty() {
            tracing::warn!(names = ?index.scrubbed(), "Internal names in the index are ignored; the next commit removes them");
        }
        let admitted = index.admitted();
        let fingerprint = index.fingerprint().map(|version| version.as_str().to_owned());
        let report = self.apply(admitted, fingerprint).await?;
        *held = Some(index);
        Ok(report)
    }

    async fn apply(&self, mut admitted: Admitted, fingerprint: Option<String>) -> Result<SyncReport> {
        self.complete_sizes(&mut admitted).await?;
        {
            let mut health = self.health.lock();
            health.refused = admitted.refused.iter().map(|(key, _)| key.clone()).collect();
            health.entries = (admitted.files.len() + admitted.refused.len()) as u64;
        }
        for (key, reason) in &admitted.refused {
            tracing::debug!(key, %reason, "A key of the index is not shown");
        }
        let mut pulled = self.take_over(&admitted)?;
        self.lingering.lock().retain(|path, _| pulled.vanished.contains(path));
        let vanished = self.confirm_vanished(std::mem::take(&mut pulled.vanished)).await?;
        if pulled.shadowed > 0 && vanished > 0 {
            // What was in the way may be gone now: a folder that became a file, or a file a folder.
            let uncovered = self.take_over(&admitted)?;
            pulled.added += uncovered.added;
            pulled.shadowed = uncovered.shadowed;
        }
        self.shadowed.store(pulled.shadowed > 0, std::sync::atomic::Ordering::Release);
        reached(Step::PullApplied);
        self.note_applied(fingerprint.as_deref())?;
        Ok(SyncReport { pulled: pulled.added + pulled.changed, vanished, ..SyncReport::default() })
    }

    fn take_over(&self, admitted: &Admitted) -> Result<Pulled> {
        let applied = self.cache.apply_index(&admitted.files, &admitted.folders);
        applied.map_err(SyncError::cache("Taking over the index"))
    }

    /// Notes which version of the index the tree is up to. While names linger the next process
    /// has to take it over anew: it must find out that they do.
    pub(super) fn note_applied(&self, fingerprint: Option<&str>) -> Result<()> {
        let noted = match self.lingering.lock().is_empty() {
            true => self.cache.note_applied(fingerprint),
            false => self.cache.note_applied_for_now(fingerprint),
        };
        noted.map_err(SyncError::cache("Noting what was pulled"))
    }

    /// Asks for the sizes that entries of other writers do not say.
    async fn complete_sizes(&self, admitted: &mut Admitted) -> Result<()> {
        for (key, entry) in admitted.files.iter_mut().filter(|(_, entry)| entry.size.is_none()) {
            let what = format!("Asking for the size of {key}");
            match self.store.head(&ObjectKey::from(&*key)).await.map_err(SyncError::store(what))? {
                Some(meta) => {
                    entry.size = Some(meta.size);
                    entry.version = Some(meta.version);
                    entry.last_modified.get_or_insert(Stamp::from(Timestamp::from(meta.modified)));
                }
                None => entry.size = Some(0),
            }
        }
        Ok(())
    }

    /// Removes the names whose objects are gone; remembers the others.
    async fn confirm_vanished(&self, paths: Vec<Path>) -> Result<u64> {
        let ask = |path: Path| async move {
            let what = format!("Asking whether {path} was removed");
            let known = self.cache.file_state(&path).and_then(|state| state.name.remote);
            let meta = self.store.head(&ObjectKey::new(Path::clone(&path))).await;
            meta.map(|meta| (path, known, meta)).map_err(SyncError::store(what))
        };
        let mut answers = stream::iter(paths).map(ask).buffer_unordered(PARALLEL_HEADS);
        let mut removed = 0;
        while let Some(answer) = answers.next().await {
            let (path, known, meta) = answer?;
            match meta {
                None => {
                    self.lingering.lock().remove(&path);
                    self.cache
                        .apply_vanished(&path, &known)
                        .map_err(SyncError::cache(format!("Removing {path}")))?;
                    removed += 1;
                }
                Some(meta) => self.linger(path, meta.version),
            }
        }
        Ok(removed)
    }

    fn linger(&self, path: Path, version: crate::store::Version) {
        let now = self.clock.instant();
        let mut lingering = self.lingering.lock();
        let (since, _) = *lingering.entry(Path::clone(&path)).or_insert_with(|| {
            tracing::info!(%path, "The index does not name it any more, but its object is there: it stays for now");
            (now, Some(version.clone()))
        });
        let unchanged = self.cache.committed_version(&path).is_some_and(|ours| ours == version);
        if unchanged && now.saturating_duration_since(since) >= LINGER && self.check_writable().is_ok() {
            tracing::warn!(%path, "Another writer dropped our entry from the index: it is published again");
            if let Err(failed) = self.cache.publish_again(&path) {
                tracing::warn!(%path, error = %failed, "That could not be noted");
            }
        }
    }

    async fn look_again_at_lingering(&self) -> Result<u64> {
        let paths: Vec<Path> = self.lingering.lock().keys().cloned().collect();
        if paths.is_empty() {
            return Ok(0);
        }
        let vanished = self.confirm_vanished(paths).await?;
        if vanished > 0 && self.shadowed.load(std::sync::atomic::Ordering::Acquire) {
            // The next pull takes the index over again: they may have stood in somebody's way.
            self.cache.note_applied(None).map_err(SyncError::cache("Noting what was pulled"))?;
        }
        Ok(vanished)
    }

    /// Returns whether a name's object was there, as this version, although the index has lost it.
    pub(super) fn lingers(&self, path: &str, version: Option<&crate::store::Version>) -> bool {
        let seen = self.lingering.lock().get(path).and_then(|(_, seen)| seen.clone());
        seen.is_some() && seen.as_ref() == version
    }
}
