//! Pulling and pushing no more than what an operation is about.
//!
//! A scoped run has not seen the whole, so it proves nothing of it: the cache is not marked
//! clean, and the tree counts as up to the version of the index that it was up to before.

use std::collections::HashSet;

use super::capabilities::SyncCapabilities;
use super::error::Result;
use super::guarded::Round;
use super::index::RemoteIndex;
use super::push::Busy;
use super::scope::Scope;
use super::{SyncReport, SyncService};
use crate::cache::rows::Path;

impl SyncService {
    /// Returns what this service can do.
    pub fn capabilities(&self) -> SyncCapabilities {
        SyncCapabilities::OURS
    }

    /// Pulls what others published of these keys. Folders that the index records come whole.
    pub async fn pull_within(&self, scope: &Scope) -> Result<SyncReport> {
        if scope.is_everything() {
            return self.pull().await;
        }
        let outcome = self.try_pull_within(scope).await;
        self.note_outcome(Round::Refresh, &outcome);
        match outcome? {
            Some(report) => Ok(report),
            // There is no index to take a part of.
            None => self.pull().await,
        }
    }

    /// As [`SyncService::start`], with no more than these keys.
    pub async fn start_within(&self, scope: &Scope) -> Result<SyncReport> {
        if scope.is_everything() {
            return self.start().await;
        }
        let report = self.pull_within(scope).await?;
        *self.started.lock() = report.clone();
        Ok(report)
    }

    async fn try_pull_within(&self, scope: &Scope) -> Result<Option<SyncReport>> {
        // Pulls and commits change the tree one at a time.
        let _held = self.index.lock().await;
        // Only who has seen the whole before knows where to look for news of it.
        let saw_whole = self.health.lock().last_pull.is_some();
        if saw_whole && self.is_up_to_date().await? {
            return Ok(Some(SyncReport::default()));
        }
        let Some(index) = self.fetch_part(scope).await? else { return Ok(None) };
        self.note_layout(&index);
        self.apply_part(&index, &|key| scope.contains(key)).await.map(Some)
    }

    /// Reads what the index says of these keys. What is known of the whole is left alone: a
    /// later pull has to find what is new of the rest.
    async fn fetch_part(&self, scope: &Scope) -> Result<Option<RemoteIndex>> {
        let is_wanted = |shard: &str| scope.may_be_in_shard(shard);
        Ok(self.fetch_wanted(None, None, &is_wanted).await?.index)
    }

    /// Pushes what is not in the bucket of these keys; of a file that was renamed out of them,
    /// the new name as well.
    pub async fn push_within(&self, scope: &Scope) -> Result<SyncReport> {
        if scope.is_everything() {
            return self.push().await;
        }
        self.check_writable()?;
        let mut report = SyncReport::default();
        let paths = self.pending_within(scope);
        let wanted = paths.iter().cloned().collect();
        report.add(self.push_batch(paths, Some(wanted), Busy::Skip).await?);
        // What another push was at, one by one, now that nothing is held.
        for path in self.pending_within(scope) {
            let wanted = HashSet::from([Path::clone(&path)]);
            report.add(self.push_batch(vec![path], Some(wanted), Busy::Wait).await?);
        }
        report.settled = false;
        Ok(report)
    }

    /// Returns the unpushed names, those that others wait for before them.
    fn pending_within(&self, scope: &Scope) -> Vec<Path> {
        let mut paths = self.cache.all_pending();
        paths.retain(|path| scope.contains(path));
        let moved: Vec<Path> = paths.iter().filter_map(|path| self.moved_to(path)).collect();
        moved.into_iter().chain(paths).collect::<indexmap::IndexSet<_>>().into_iter().collect()
    }
}
