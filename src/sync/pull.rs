//! Bringing our tree up to the index in the bucket.
//!
//! If nothing changed this costs one HEAD. A name that the index lost is removed here only
//! when its object is gone as well: an entry may be missing because another writer overwrote
//! the index, and "unreachable" is never read as "deleted".

use super::discover::{Publish, discover};
use super::error::{Result, SyncError};
use super::guarded::Round;
use super::index::{self, Admitted, Changed, Fetched, Layout, RemoteIndex, Sighting, Wanted};
use super::scope::Scope;
use super::{META_EVERY, SHARDS_EVERY, SyncReport, SyncService};
use crate::cache::pull_state::Pulled;
use crate::model::key::ObjectKey;
use crate::model::timestamp::{Stamp, Timestamp};
use crate::os::crash_point::{Step, reached};

/// How often the index is read again when shards go meanwhile.
const MOST_READS: usize = 4;

impl SyncService {
    /// Pulls what others published.
    pub async fn pull(&self) -> Result<SyncReport> {
        let outcome = self.try_pull().await;
        self.note_outcome(Round::Refresh, &outcome);
        if outcome.is_ok() {
            self.health.lock().last_pull = Some(Timestamp::from(self.clock.now()));
        }
        outcome
    }

    /// Finds out how the index is laid out and pulls: the first thing a session does.
    pub async fn start(&self) -> Result<SyncReport> {
        let outcome = self.try_start().await;
        self.note_outcome(Round::Refresh, &outcome);
        let report = outcome?;
        self.health.lock().last_pull = Some(Timestamp::from(self.clock.now()));
        *self.started.lock() = report.clone();
        Ok(report)
    }

    async fn try_start(&self) -> Result<SyncReport> {
        let mut held = self.index.lock().await;
        let meta = RemoteIndex::look_at_meta(&*self.store).await?;
        let head = RemoteIndex::look(&*self.store, Layout::Monolith).await?;
        let mut report = SyncReport::default();
        let is_known = meta.is_none() && self.is_applied(&head);
        // Shards that lost their meta document are the index, whatever an old monolith says.
        if !is_known || RemoteIndex::has_shards(&*self.store).await? {
            report = self.pull_index(&mut held).await?;
        } else {
            self.layout.lock().meta = (self.clock.instant(), None);
        }
        Ok(report)
    }

    async fn try_pull(&self) -> Result<SyncReport> {
        let mut held = self.index.lock().await;
        let mut report = SyncReport::default();
        if !self.is_up_to_date().await? {
            report = self.pull_index(&mut held).await?;
        }
        drop(held);
        report.vanished += self.look_again_at_lingering().await?;
        Ok(report)
    }

    /// Looks at the index without reading it; returns whether the tree is up to it.
    pub(super) async fn is_up_to_date(&self) -> Result<bool> {
        let now = self.clock.instant();
        let (layout, is_due) = {
            let seen = self.layout.lock();
            let (since, every) = match seen.layout {
                Layout::Monolith => (seen.meta.0, META_EVERY),
                Layout::Shards => (seen.shards, SHARDS_EVERY),
            };
            (seen.layout, now.saturating_duration_since(since) >= every)
        };
        if is_due && (layout == Layout::Shards || self.was_migrated().await?) {
            return Ok(false);
        }
        Ok(self.is_applied(&RemoteIndex::look(&*self.store, layout).await?))
    }

    /// Asks whether the meta document is another one than it was.
    async fn was_migrated(&self) -> Result<bool> {
        let meta = RemoteIndex::look_at_meta(&*self.store).await?;
        let mut seen = self.layout.lock();
        seen.meta.0 = self.clock.instant();
        Ok(meta != seen.meta.1)
    }

    fn is_applied(&self, sighting: &Sighting) -> bool {
        match sighting {
            Sighting::Monolith(Some(version)) => {
                index::is_usable(version)
                    && self.cache.applied_fingerprint().as_deref() == Some(version.as_str())
            }
            Sighting::Monolith(None) => self.unpublished.load(std::sync::atomic::Ordering::Acquire),
            Sighting::Shards(..) => {
                self.cache.applied_fingerprint().is_some()
                    && self.layout.lock().applied.as_ref() == Some(sighting)
            }
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
        let (index, changed) = self.fetch(held.take()).await?;
        if changed.is_some() || index.is_none() {
            self.news.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
        }
        let index = match index {
            Some(index) => index,
            None => discover(&*self.store, publish, Timestamp::from(self.clock.now())).await?,
        };
        self.unpublished.store(!index.is_published(), std::sync::atomic::Ordering::Release);
        if !index.scrubbed().is_empty() {
            tracing::warn!(names = ?index.scrubbed(), "Internal names in the index are ignored; the next commit removes them");
        }
        let report = match changed {
            Some(changed) => self.apply(&index, &changed).await?,
            None => SyncReport::default(),
        };
        self.note_seen(&index, true);
        *held = Some(index);
        Ok(report)
    }

    /// Returns how often the index was found to be another than the one that we knew: while that
    /// stays what it is, nobody else has named or unnamed anything that we did not know of.
    pub(super) fn news_so_far(&self) -> u64 {
        self.news.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Reads the index, as far as this cache shows it.
    async fn fetch(&self, known: Option<RemoteIndex>) -> Result<(Option<RemoteIndex>, Option<Changed>)> {
        let applied = self.cache.applied_fingerprint();
        let held = self.cache.part().map(|part| Scope::of_folder(&part)).unwrap_or_default();
        let is_wanted = |shard: &str| held.may_be_in_shard(shard);
        // Nothing counts as taken over: all of the shards is taken over again.
        let is_kept = |known: &RemoteIndex| applied.is_some() || known.layout() == Layout::Monolith;
        let fetched = self.fetch_wanted(known.filter(is_kept), applied.as_deref(), &is_wanted).await?;
        Ok((fetched.index, fetched.changed))
    }

    /// Reads the index, of shards those that are wanted. A shard may go between the moment it is
    /// listed and the moment it is read; only what is missing again and again is missing.
    pub(super) async fn fetch_wanted(
        &self,
        mut known: Option<RemoteIndex>,
        applied: Option<&str>,
        is_wanted: Wanted<'_>,
    ) -> Result<Fetched> {
        for attempt in 1.. {
            match RemoteIndex::fetch(&*self.store, known.take(), applied, is_wanted).await {
                Err(SyncError::MissingShard { key, .. }) if attempt < MOST_READS => {
                    tracing::debug!(key, "An index shard went while the index was read: it is read again");
                }
                fetched => return fetched,
            }
        }
        unreachable!("the last attempt returns")
    }

    /// Remembers where to look for news.
    pub(super) fn note_layout(&self, index: &RemoteIndex) {
        let mut seen = self.layout.lock();
        seen.layout = index.layout();
        seen.meta = (self.clock.instant(), index.meta_version().cloned());
    }

    /// Remembers which documents the tree is up to.
    pub(super) fn note_seen(&self, index: &RemoteIndex, listed: bool) {
        self.note_layout(index);
        let now = self.clock.instant();
        let mut seen = self.layout.lock();
        seen.applied = Some(index.sighting());
        if listed {
            seen.shards = now;
        }
    }

    async fn apply(&self, index: &RemoteIndex, changed: &Changed) -> Result<SyncReport> {
        if changed.is_everything() {
            self.cache.begin_showing_all();
        }
        self.shadowed.store(false, std::sync::atomic::Ordering::Release);
        let report = self.apply_part(index, &|key| changed.covers(key)).await?;
        self.note_applied(index.fingerprint().as_deref())?;
        Ok(report)
    }

    /// Takes over what the index says of some keys.
    pub(super) async fn apply_part(
        &self,
        index: &RemoteIndex,
        covers: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<SyncReport> {
        let mut admitted = index.admitted(covers);
        self.complete_sizes(&mut admitted).await?;
        let mut refused = self.health.lock().refused.clone();
        refused.retain(|key| !covers(key));
        refused.extend(admitted.refused.iter().map(|(key, _)| key.clone()));
        self.cache.note_refused(&refused).map_err(SyncError::cache("Noting what cannot be shown"))?;
        self.health.lock().refused = refused;
        for (key, reason) in &admitted.refused {
            tracing::debug!(key, %reason, "A key of the index is not shown");
        }
        let mut pulled = self.take_over(&admitted, covers)?;
        self.lingering.keep(&pulled.vanished, covers);
        let vanished = self.confirm_vanished(std::mem::take(&mut pulled.vanished)).await?;
        if pulled.shadowed > 0 && vanished > 0 {
            // What was in the way may be gone now: a folder that became a file, or a file a folder.
            let uncovered = self.take_over(&admitted, covers)?;
            pulled.added += uncovered.added;
            pulled.shadowed = uncovered.shadowed;
        }
        self.shadowed.fetch_or(pulled.shadowed > 0, std::sync::atomic::Ordering::AcqRel);
        reached(Step::PullApplied);
        Ok(SyncReport { pulled: pulled.added + pulled.changed, vanished, ..SyncReport::default() })
    }

    fn take_over(&self, admitted: &Admitted, covers: &dyn Fn(&str) -> bool) -> Result<Pulled> {
        let applied = self.cache.apply_index(&admitted.files, &admitted.folders, covers);
        applied.map_err(SyncError::cache("Taking over the index"))
    }

    /// Notes which version of the index the tree is up to. While names linger, or it is not noted
    /// yet what was committed, the next process has to take it over anew to find that out.
    pub(super) fn note_applied(&self, fingerprint: Option<&str>) -> Result<()> {
        let noted = match self.is_all_noted() {
            true => self.cache.note_applied(fingerprint),
            false => self.cache.note_applied_for_now(fingerprint),
        };
        noted.map_err(SyncError::cache("Noting what was pulled"))
    }

    /// Has the next process know the index as this one does, now that a commit is noted.
    pub(super) fn keep_applied(&self) -> Result<()> {
        let kept = self.cache.keep_applied(|| self.is_all_noted());
        kept.map_err(SyncError::cache("Noting what was committed"))
    }

    fn is_all_noted(&self) -> bool {
        self.lingering.is_empty() && self.unnoted.count() == 0
    }

    /// Has the index taken over anew, after a failure that left unnoted what is in it.
    pub(super) async fn distrust(&self, failed: SyncError) -> SyncError {
        if let Err(also) = self.take_over_anew().await {
            tracing::warn!(error = super::describe(&also), "That the index is to be read anew is not noted");
        }
        failed
    }

    /// Has the next pull read the whole index and take it over again. Not held: the index.
    pub(super) async fn take_over_anew(&self) -> Result<()> {
        let mut held = self.index.lock().await;
        *held = None;
        self.layout.lock().applied = None;
        self.cache.note_applied(None).map_err(SyncError::cache("Noting what was pulled"))
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
}
