//! Clearing the watermark, on proof.

use super::SyncService;
use super::error::{Result, SyncError};
use super::index::RemoteIndex;
use crate::cache::rows::{Path, Remote};
use crate::cache::watermark::Settled;
use crate::model::compare::compare;
use crate::model::key::DataKey;

impl SyncService {
    /// What is done when nothing is to be pushed: what this machine changed is settled, and what
    /// others left untrue beside it is made true.
    pub async fn rest(&self) -> Result<()> {
        self.prune().await?;
        if self.check_writable().is_ok() {
            self.clear_temporaries().await?;
        }
        if self.cache.watermark().is_dirty() {
            if self.check_writable().is_ok() {
                let mended = self.mend().await;
                self.note_push(&mended);
                mended?;
            }
            if !self.settle().await? {
                return Ok(());
            }
        }
        self.bring_up_monolith().await
    }

    /// Compares all that is known here with all that the index names and marks the cache clean
    /// if they are equal. Returns whether it is clean.
    pub async fn settle(&self) -> Result<bool> {
        if !self.cache.nothing_pending() {
            return Ok(false);
        }
        self.cache.let_go_of_watched();
        let held = self.index.lock().await;
        let Some(index) = &*held else { return Ok(false) };
        let Some(fingerprint) = index.fingerprint() else { return Ok(false) };
        if self.cache.applied_fingerprint().as_ref() != Some(&fingerprint) {
            return Ok(false);
        }
        let is_clean = self.mark_clean(index, &fingerprint)?;
        if is_clean {
            self.keep_applied()?;
        }
        Ok(is_clean)
    }

    fn mark_clean(&self, index: &RemoteIndex, fingerprint: &str) -> Result<bool> {
        if self.cache.watermark().is_clean_at(fingerprint) {
            return Ok(true);
        }
        // The ticket is drawn before anything is looked at: what changes from here on counts.
        let ticket = self.cache.watermark().begin_sync();
        if !self.cache.nothing_pending() {
            return Ok(false);
        }
        let comparison = compare(self.cache.known_identities(), self.entries(index));
        let differing =
            comparison.only_here().len() + comparison.only_there().len() + comparison.differing().len();
        let Some(proof) = comparison.proof() else {
            tracing::debug!(differing, "Not settled: both sides are not equal yet");
            return Ok(false);
        };
        let settled = self.cache.watermark().mark_synced(ticket, proof, fingerprint);
        let settled = settled.map_err(|source| {
            let folder = self.cache.folder().to_owned();
            SyncError::cache("Marking clean")(crate::cache::CacheError::io("Writing", folder)(source))
        })?;
        Ok(settled == Settled::Clean)
    }

    /// Keys that cannot be shown count as known on both sides: they are left out of both. What
    /// shards name that were not read is what they named when they were taken over: they are
    /// the same.
    fn entries(&self, index: &RemoteIndex) -> Vec<(Path, crate::model::identity::Identity)> {
        let shadowed = self.shadowed.load(std::sync::atomic::Ordering::Acquire);
        let is_shown = |key: &DataKey| {
            self.cache.is_within(key.as_str()) && !(shadowed && self.cache.is_shadowed(key.as_str()))
        };
        let admitted = |(key, entry): (&str, crate::model::entry::Entry)| {
            let key = DataKey::admit(key).ok().filter(is_shown)?;
            let identity = Remote::of_entry(&entry).map(|remote| remote.identity()).unwrap_or_default();
            Some((key.shared(), identity))
        };
        let mut entries: Vec<_> = index.entries().filter_map(admitted).collect();
        let unread = self.cache.indexed_identities(|key| !index.knows(key));
        entries.extend(unread);
        entries
    }
}
