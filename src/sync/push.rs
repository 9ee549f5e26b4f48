//! The one door through which changes reach the bucket.
//!
//! Objects are uploaded side by side, then one commit names them all (and lets go of what was
//! removed), then removed objects are deleted. A failure of one file does not keep the others
//! from being pushed; the first failure is the outcome.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::conflict::Resolution;
use super::deletion::Removal;
use super::error::{Result, SyncError};
use super::guarded::Round;
use super::key_locks::KeyGuard;
use super::lock::Held;
use super::upload::{Judged, Prepared, Ready};
use super::{SyncReport, SyncService};
use crate::cache::Ino;
use crate::cache::moves::MoveGroup;
use crate::cache::rows::{Path, Stamp};
use crate::os::crash_point::{Step, reached};
use crate::store::ErrorKind;

/// How often a name is tried again after a conflict was resolved.
const MOST_CONFLICTS: usize = 4;
/// Up to how many files of how many bytes together a push is short.
const SHORT_FILES: usize = 64;
const SHORT_BYTES: u64 = 4 << 20;
/// How often a push goes on with what it could not push.
const MOST_ROUNDS: usize = 4;
/// How often fsync goes on when a file changes under it.
const MOST_FLUSHES: usize = 16;

/// Whether a push waits for keys that another push works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Busy {
    /// It waits; used with the names of one file only, in their order, so that no two pushes
    /// wait for each other.
    Wait,
    /// It leaves them out.
    Skip,
}

/// The keys that a push holds from its beginning, in their order.
pub(super) type Keys = BTreeMap<Path, KeyGuard>;

/// What uploads came to.
#[derive(Default)]
pub(super) struct Uploads {
    /// What the index is to name.
    pub ready: Vec<Ready>,
    /// Conflict copies that were made.
    pub conflicts: Vec<String>,
    /// The first failure.
    pub failed: Option<SyncError>,
}

/// A task that nobody needs when this is dropped; nor what it came to.
struct AbortOnDrop(tokio::task::JoinHandle<Result<Held>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl SyncService {
    /// Pushes everything that is not in the bucket and marks the cache clean if it then is.
    ///
    /// With nothing to push this costs one HEAD.
    pub async fn push(&self) -> Result<SyncReport> {
        if self.is_all_pushed().await? {
            return Ok(SyncReport { settled: true, ..SyncReport::default() });
        }
        self.check_writable()?;
        let mut report = self.push_pending().await?;
        report.settled = self.finish_push().await?;
        Ok(report)
    }

    /// Returns whether nothing is to be pushed and both sides are known to be equal.
    pub(super) async fn is_all_pushed(&self) -> Result<bool> {
        Ok(self.cache.nothing_pending() && !self.has_missing() && self.is_clean().await?)
    }

    /// Marks the cache clean if it is, when all that could be committed is.
    pub(super) async fn finish_push(&self) -> Result<bool> {
        self.clear_temporaries().await?;
        self.prune().await?;
        self.ensure_index().await?;
        if self.mend().await? {
            self.ensure_index().await?;
        }
        self.settle().await
    }

    /// Has the index say what is so of itself, where others left it otherwise; returns whether
    /// that was needed.
    pub(super) async fn mend(&self) -> Result<bool> {
        if let Some(index) = &mut *self.index.lock().await {
            index.look_at_copies(&*self.store).await?;
        }
        self.commit_repairs().await
    }

    /// Pushes everything that is not in the bucket.
    pub async fn push_pending(&self) -> Result<SyncReport> {
        let mut report = SyncReport::default();
        let paths = self.cache.all_pending();
        report.add(self.push_batch(paths, None, Busy::Skip).await?);
        // What another push was at, or others changed meanwhile, one by one, now that nothing
        // is held.
        for _ in 0..MOST_ROUNDS {
            // Once for all that is pushed together.
            let groups = self.cache.move_groups(None::<std::iter::Empty<_>>);
            let others = |group: &MoveGroup| group.paths().skip(1).cloned().collect::<Vec<_>>();
            let together: HashSet<Path> = groups.iter().flat_map(others).collect();
            for path in self.cache.all_pending().into_iter().filter(|path| !together.contains(path)) {
                report.add(self.push_batch(vec![path], None, Busy::Wait).await?);
            }
        }
        Ok(report)
    }

    /// Pushes what has rested long enough.
    pub async fn push_names(&self, paths: Vec<Path>) -> Result<SyncReport> {
        let wanted = paths.iter().cloned().collect();
        self.push_batch(paths, Some(wanted), Busy::Skip).await
    }

    /// Returns when a file's content and attributes, as they are now, are in the bucket and
    /// in its index.
    pub async fn flush_file(&self, ino: Ino) -> Result<()> {
        let target = self.cache.stamp_of(ino).unwrap_or_default();
        for _ in 0..MOST_FLUSHES {
            let mut behind = self.cache.names_of(ino);
            behind.retain(|path| !self.has_reached(path, target));
            if behind.is_empty() {
                return Ok(());
            }
            self.push_batch(behind, Some(HashSet::new()), Busy::Wait).await?;
        }
        let path = self.cache.path_of(ino).map_or_else(String::new, |path| path.to_string());
        Err(SyncError::KeepsChanging { path })
    }

    /// Returns whether bucket and index have a name as it was at a stamp.
    fn has_reached(&self, path: &Path, target: Stamp) -> bool {
        let Some(state) = self.cache.file_state(path) else { return true };
        let has = |pushed: Stamp| pushed.content >= target.content && pushed.meta >= target.meta;
        !state.dirty || (state.name.pushed.is_some_and(has) && state.name.uploaded.is_none())
    }

    /// Returns when the names directly in a folder are in the index as they are now.
    pub async fn flush_folder(&self, ino: Ino) -> Result<()> {
        let Some(folder) = self.cache.path_of(ino) else { return Ok(()) };
        let paths = self.cache.pending_in_folder(&folder);
        if paths.is_empty() {
            return Ok(());
        }
        let moved = paths.iter().filter_map(|path| self.moved_to(path));
        self.push_names(moved.chain(paths.iter().cloned()).collect()).await?;
        for path in self.cache.pending_in_folder(&folder) {
            // A name that was renamed goes only when its new name is pushed.
            if let Some(to) = self.moved_to(&path) {
                self.push_batch(vec![to], Some(HashSet::new()), Busy::Wait).await?;
            }
            self.push_batch(vec![Path::clone(&path)], Some(HashSet::from([path])), Busy::Wait).await?;
        }
        Ok(())
    }

    pub(super) fn moved_to(&self, path: &Path) -> Option<Path> {
        self.cache.tombstone(path)?.moved_to
    }

    async fn is_clean(&self) -> Result<bool> {
        let up_to_date = self.is_up_to_date().await;
        self.note_outcome(Round::Refresh, &up_to_date);
        let applied = self.cache.applied_fingerprint();
        Ok(up_to_date? && applied.is_some_and(|applied| self.cache.watermark().is_clean_at(&applied)))
    }

    /// Reads the index if we do not have it: a proof needs the bytes.
    pub(super) async fn ensure_index(&self) -> Result<()> {
        let mut held = self.index.lock().await;
        if held.is_none() || !self.is_up_to_date().await? {
            self.pull_index(&mut held).await?;
        }
        Ok(())
    }

    pub(super) async fn push_batch(
        &self,
        paths: Vec<Path>,
        wanted: Option<HashSet<Path>>,
        busy: Busy,
    ) -> Result<SyncReport> {
        let outcome = self.try_push_batch(paths, wanted, busy).await;
        self.note_push(&outcome);
        outcome
    }

    /// Notes how a push went; without the right to write there is no use in going on.
    pub(super) fn note_push<T>(&self, outcome: &Result<T>) {
        self.note_outcome(Round::Flush, outcome);
        if outcome.as_ref().is_err_and(|failed| failed.store_kind() == Some(ErrorKind::Denied)) {
            let reason = "the credentials may not write to the bucket; what is dirty is kept";
            self.cache.make_read_only(reason);
        }
    }

    async fn try_push_batch(
        &self,
        mut paths: Vec<Path>,
        mut wanted: Option<HashSet<Path>>,
        busy: Busy,
    ) -> Result<SyncReport> {
        if paths.is_empty() {
            return Ok(SyncReport::default());
        }
        self.check_writable()?;
        let keys = self.complete_batch(&mut paths, &mut wanted, busy).await;
        let _early = self.hold_lock_early(&paths);
        let Uploads { ready, conflicts, failed } = self.upload_all(paths, busy, &keys).await;
        let mut report = SyncReport { conflicts, ..SyncReport::default() };
        let committed = self.commit_ready(ready, (wanted.as_ref(), busy, &keys), &mut report).await;
        if let Err(left) = self.clear_temporaries().await {
            // Whoever settles tries again.
            tracing::warn!(error = super::describe(&left), "What was set aside in the bucket is still there");
        }
        match failed {
            Some(failed) => Err(failed),
            None => committed.map(|()| report),
        }
    }

    /// Has the lock taken while a short push uploads; a long one must not keep others waiting.
    fn hold_lock_early(&self, paths: &[Path]) -> Option<AbortOnDrop> {
        let size = |path: &Path| self.cache.file_state(path).map_or(0, |state| state.inode.size);
        let is_short = paths.len() <= SHORT_FILES && paths.iter().map(size).sum::<u64>() <= SHORT_BYTES;
        let lock = Arc::clone(&self.lock);
        is_short.then(|| AbortOnDrop(tokio::spawn(async move { lock.hold().await })))
    }

    pub(super) async fn commit_ready(
        &self,
        ready: Vec<Ready>,
        (wanted, busy, keys): (Option<&HashSet<Path>>, Busy, &Keys),
        report: &mut SyncReport,
    ) -> Result<()> {
        let removals = self.removals(wanted, &ready, (busy, keys)).await?;
        let (ready, removals) = self.leave_incomplete(ready, removals);
        // Whoever names objects that no entry names waits until the deleted ones are gone.
        let is_short = !removals.is_empty() && removals.len() <= SHORT_FILES;
        let _turn = if is_short { Some(self.lock.hold().await?) } else { None };
        let unnoted = self.unnoted.one();
        let skipped = self.commit_both(&ready, &removals).await?;
        if let Err(failed) = self.note_named(ready, &skipped, report) {
            return Err(self.distrust(failed).await);
        }
        let (made_anew, removals): (Vec<_>, Vec<_>) =
            removals.into_iter().partition(|removal| skipped.contains(&removal.path));
        self.leave_made_anew(made_anew).await?;
        self.remove_objects(removals, report).await?;
        drop(unnoted);
        self.keep_applied()
    }

    /// Notes what the index names now. What was skipped stays dirty: it is prepared again on what
    /// the index says now.
    fn note_named(&self, ready: Vec<Ready>, skipped: &HashSet<Path>, report: &mut SyncReport) -> Result<()> {
        for done in ready.into_iter().filter(|ready| !skipped.contains(&ready.path)) {
            report.pushed += 1;
            report.pushed_bytes += done.sent;
            let before = done.change.before();
            self.cache
                .note_committed(&done.path, done.ino, done.stamp, done.remote, before)
                .map_err(SyncError::cache(format!("Noting that {} is pushed", done.path)))?;
        }
        reached(Step::CommitNoted);
        Ok(())
    }

    /// Deletes the objects of names that the index has let go of.
    async fn remove_objects(&self, removals: Vec<Removal>, report: &mut SyncReport) -> Result<()> {
        let is_long = removals.len() > SHORT_FILES;
        let again: Vec<_> = removals.iter().filter(|_| is_long).flat_map(Removal::changes).collect();
        // Nobody names one of them again before the index has let go of it for the second time.
        let _guards: Vec<_> = removals.iter().filter(|_| is_long).map(Removal::guard).collect();
        report.deleted += self.delete_objects(removals).await?;
        // Somebody may have named objects meanwhile that are gone now.
        self.commit(again).await.map(drop)
    }

    /// Prepares one name; a conflict copy that comes of it is prepared as well.
    pub(super) async fn prepare_resolved(
        &self,
        path: Path,
        busy: Busy,
        keys: &Keys,
    ) -> Result<(Vec<Ready>, Vec<String>)> {
        let (mut ready, mut conflicts) = (Vec::new(), Vec::new());
        let (mut next, mut judged) = (Some(path), Judged::NotYet);
        for _ in 0..MOST_CONFLICTS {
            let Some(path) = next.take() else { break };
            let Some(guard) = self.take_key(&path, busy, keys).await else { break };
            match self.prepare(&path, guard, judged).await? {
                Prepared::Nothing => break,
                Prepared::Ready(one) => ready.push(*one),
                Prepared::Conflict(_guard) => match self.resolve_conflict(&path).await? {
                    Resolution::Again => (next, judged) = (Some(path), Judged::Resolved),
                    Resolution::Theirs => break,
                    Resolution::Beside(aside) => {
                        conflicts.push(aside.to_string());
                        (next, judged) = (Some(aside), Judged::NotYet);
                    }
                },
            }
        }
        if let Some(path) = next {
            // It stays dirty: who pushes tries again, on what the bucket has then.
            tracing::debug!(%path, "Others changed it at every attempt");
        }
        Ok((ready, conflicts))
    }

    pub(super) async fn take_key(&self, path: &Path, busy: Busy, keys: &Keys) -> Option<KeyGuard> {
        if let Some(held) = keys.get(path) {
            return Some(held.clone());
        }
        match busy {
            Busy::Wait => Some(self.keys.lock(path).await),
            Busy::Skip => self.keys.try_lock(path),
        }
    }
}
