//! Committing changes to the index: many waiters, one conditional write.
//!
//! Whoever finds nobody committing takes everything that waits and commits it at once; the
//! others find their answer ready. If the index moved on meanwhile it is read again, taken
//! over, and the same changes are made to the newer one.

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::error::{Result, SyncError};
use super::remote_index::RemoteIndex;
use super::{SyncService, layout};
use crate::cache::rows::{Path, Remote, Tombstone};
use crate::model::entry::{Attributes, Entry};
use crate::model::index::Index;
use crate::model::key::DataKey;
use crate::model::timestamp::Timestamp;
use crate::os::crash_point::{Step, reached};

/// How often a commit is tried when others change the index at the same time.
const MOST_ATTEMPTS: usize = 16;

/// One change of the index.
#[derive(Debug, Clone)]
pub enum Change {
    /// The key's entry is now this.
    Set(DataKey, Box<Entry>),
    /// The key has no entry any more, if it still has the one that was removed here.
    Remove(Path, Box<Tombstone>),
    /// The folder is recorded with these attributes.
    SetFolder(DataKey, Attributes),
    /// The folder is not recorded.
    RemoveFolder(Path),
}

/// Changes that wait for the next commit, and who waits for its outcome.
type Waiting = (Vec<Change>, oneshot::Sender<Result<()>>);

/// What waits for the next commit.
#[derive(Debug, Default)]
pub(super) struct Committer {
    waiting: Mutex<Vec<Waiting>>,
}

impl SyncService {
    /// Makes changes to the index in the bucket; returns when the bucket has them.
    pub(super) async fn commit(&self, changes: Vec<Change>) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let (sender, mut answer) = oneshot::channel();
        self.committer.waiting.lock().push((changes.clone(), sender));
        let mut held = self.index.lock().await;
        match answer.try_recv() {
            Ok(done) => return done,
            // Whoever took it was stopped in the middle: it may or may not be committed.
            Err(oneshot::error::TryRecvError::Closed) => {
                *held = None;
                let (sender, _) = oneshot::channel();
                self.committer.waiting.lock().push((changes, sender));
            }
            Err(oneshot::error::TryRecvError::Empty) => {}
        }
        let group = std::mem::take(&mut *self.committer.waiting.lock());
        let outcome = self.commit_group(&mut held, group.iter().flat_map(|(changes, _)| changes)).await;
        self.note_outcome(&outcome);
        for (_, waiter) in group {
            // A waiter that gave up does not need the answer.
            waiter.send(outcome.clone()).ok();
        }
        // Not before everybody has the answer: who finds none takes the next turn.
        drop(held);
        outcome
    }

    /// Publishes the index without the internal names that others left in it.
    pub(super) async fn commit_scrubbed(&self) -> Result<()> {
        let mut held = self.index.lock().await;
        if held.as_ref().is_none_or(|index| index.scrubbed().is_empty()) {
            return Ok(());
        }
        self.commit_group(&mut held, std::iter::empty()).await
    }

    async fn commit_group<'a>(
        &self,
        held: &mut Option<RemoteIndex>,
        changes: impl Iterator<Item = &'a Change> + Clone,
    ) -> Result<()> {
        self.check_writable()?;
        for _ in 0..MOST_ATTEMPTS {
            if held.is_none() {
                self.pull_index(held).await?;
            }
            let Some(mut index) = held.take() else { break };
            if !self.conditions().put && !self.is_still(&index).await? {
                continue;
            }
            if index.is_foreign() {
                let what = "Removing the partitions of the old index";
                layout::drop_partitions(&*self.store).await.map_err(SyncError::store(what))?;
            }
            changes.clone().for_each(|change| apply(index.index_mut(), change));
            match index.publish(&*self.store, Timestamp::from(self.clock.now())).await {
                Ok(()) => {
                    reached(Step::IndexCommitted);
                    return self.committed(held, index);
                }
                Err(moved) if moved.is_condition_failed() => {
                    tracing::debug!("The index moved on: the commit is made again on the newer one");
                }
                Err(failed) => {
                    let what = format!("Writing the index of {}", self.store.address());
                    return Err(SyncError::store(what)(failed));
                }
            }
        }
        Err(SyncError::Contended { address: self.store.address() })
    }

    fn committed(&self, held: &mut Option<RemoteIndex>, index: RemoteIndex) -> Result<()> {
        let fingerprint = index.fingerprint().map(|version| version.as_str().to_owned());
        self.health.lock().entries = index.index().len() as u64;
        *held = Some(index);
        self.unpublished.store(false, std::sync::atomic::Ordering::Release);
        self.cache.note_applied(fingerprint.as_deref()).map_err(SyncError::cache("Noting the commit"))
    }

    /// Where the store ignores conditions: looks whether the index is still the one we have.
    async fn is_still(&self, index: &RemoteIndex) -> Result<bool> {
        Ok(RemoteIndex::head(&*self.store).await?.as_ref() == index.fingerprint())
    }
}

fn apply(index: &mut Index, change: &Change) {
    match change {
        Change::Set(key, entry) => {
            index.set(key, entry);
            index.remove_dir(key.as_str());
        }
        Change::Remove(path, removed) => {
            let now = index.get(path).as_ref().and_then(Remote::of_entry);
            if now.is_some_and(|now| removed.means(&now)) {
                index.remove(path);
            }
        }
        Change::SetFolder(key, attributes) => index.set_dir(key, attributes),
        Change::RemoveFolder(path) => {
            index.remove_dir(path);
        }
    }
}
