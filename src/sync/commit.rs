//! Committing changes to the index: many waiters, one conditional write.
//!
//! Whoever finds nobody committing takes everything that waits and commits it at once, under
//! the bucket's lock; the others find their answer ready. If the index moved on meanwhile it is read again, taken
//! over, and the same changes are made to the newer one, unless they were meant for another
//! version of the key than the newer one names.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::SyncService;
use super::discover::Publish;
use super::error::{Result, SyncError};
use super::guarded::Round;
use super::index::{Fence, Layout, RemoteIndex};
use super::lock::Held;
use crate::cache::rows::{Path, Remote, Tombstone};
use crate::model::entry::{Attributes, Entry};
use crate::model::key::DataKey;
use crate::model::timestamp::Timestamp;
use crate::os::crash_point::{Step, reached};

/// How often a commit is tried when others change the index at the same time.
const MOST_ATTEMPTS: usize = 16;

/// One change of the index.
#[derive(Debug, Clone)]
pub enum Change {
    /// The key's entry is now this, if it still is what it was.
    Set(DataKey, Box<Entry>, Was),
    /// The key has no entry any more, if it still has the one that was removed here.
    Remove(Path, Box<Tombstone>),
    /// The key has no entry any more, if it still has this one and the object is not there.
    Prune(Path, Box<Remote>),
    /// The folder is recorded with these attributes.
    SetFolder(DataKey, Attributes),
    /// The folder is not recorded.
    RemoveFolder(Path),
}

/// What an entry must have been for its change to be meant for it.
#[derive(Debug, Clone)]
pub struct Was {
    /// What the index said when the change was made.
    pub indexed: Option<Remote>,
    /// When the object was written for this change.
    pub sent: SentWhen,
    /// How much news there had been before that, as [`SyncService::news_so_far`] says.
    pub news: u64,
}

/// When an object was written for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SentWhen {
    /// By the push that makes the change.
    Now,
    /// Before that: others may have named, unnamed and deleted it since.
    Earlier,
    /// Never: it must be in the index already.
    Never,
}

/// The names whose change was not made, because it was meant for another version.
pub type Skipped = Arc<HashSet<Path>>;

/// Changes that wait for the next commit, and who waits for its outcome.
type Waiting = (Vec<Change>, oneshot::Sender<Result<Skipped>>);

/// What waits for the next commit.
#[derive(Debug, Default)]
pub(super) struct Committer {
    waiting: Mutex<Vec<Waiting>>,
    /// When the index was last written.
    last: Mutex<Option<Instant>>,
}

impl SyncService {
    /// Makes changes to the index in the bucket; returns when the bucket has them, with those
    /// that could not be made.
    pub(super) async fn commit(&self, changes: Vec<Change>) -> Result<Skipped> {
        if changes.is_empty() {
            return Ok(Skipped::default());
        }
        let lock = self.lock.hold().await?;
        let (sender, mut answer) = oneshot::channel();
        self.committer.waiting.lock().push((changes.clone(), sender));
        let mut held = self.index.lock().await;
        let answered = answer.try_recv();
        if let Ok(done) = answered {
            return done;
        }
        self.wait_for_turn().await;
        let mut group = std::mem::take(&mut *self.committer.waiting.lock());
        if matches!(answered, Err(TryRecvError::Closed)) {
            // Whoever took our changes was stopped in the middle: they may or may not be committed.
            *held = None;
            group.insert(0, (changes, oneshot::channel().0));
        }
        let outcome =
            self.commit_group(&mut held, &lock, group.iter().flat_map(|(changes, _)| changes)).await;
        *self.committer.last.lock() = Some(self.clock.instant());
        self.note_outcome(Round::Flush, &outcome);
        for (_, waiter) in group {
            // A waiter that gave up does not need the answer.
            waiter.send(outcome.clone()).ok();
        }
        // Not before everybody has the answer: who finds none takes the next turn.
        drop(held);
        outcome
    }

    /// Waits until the store takes another write of the index; what comes meanwhile joins it.
    async fn wait_for_turn(&self) {
        let interval = self.store.abilities().write_interval;
        let last = *self.committer.last.lock();
        let passed = last.map_or(interval, |last| self.clock.instant().duration_since(last));
        if passed < interval {
            self.clock.sleep(interval - passed).await;
        }
    }

    /// Publishes the index if it needs that by itself: without the internal names that others
    /// left in it, with a meta document that was lost, with shards that one forgot, with copies
    /// that are true. Returns whether it did.
    pub(super) async fn commit_repairs(&self) -> Result<bool> {
        let needs_repair = |held: &Option<RemoteIndex>| held.as_ref().is_some_and(RemoteIndex::needs_repair);
        if !needs_repair(&*self.index.lock().await) {
            return Ok(false);
        }
        let lock = self.lock.hold().await?;
        let mut held = self.index.lock().await;
        if !self.is_up_to_date().await? {
            // Others may have seen to it while we waited.
            self.pull_index(&mut held).await?;
        }
        let Some(mut index) = held.take_if(|index| index.needs_repair()) else { return Ok(false) };
        index.take_in_forgotten(&*self.store).await?;
        *held = Some(index);
        self.commit_group(&mut held, &lock, std::iter::empty()).await.map(|_| true)
    }

    async fn commit_group<'a>(
        &self,
        held: &mut Option<RemoteIndex>,
        lock: &Held,
        changes: impl Iterator<Item = &'a Change> + Clone,
    ) -> Result<Skipped> {
        self.check_writable()?;
        let mut looked = false;
        for _ in 0..MOST_ATTEMPTS {
            let unpublished = held.as_ref().is_some_and(|index| !index.is_published());
            if held.is_none() || (unpublished && !looked) {
                // The first index of a bucket names what others put there meanwhile as well.
                self.pull_index_and(held, Publish::No).await?;
                looked = true;
            }
            let Some(mut index) = held.take() else { break };
            let keys = changes.clone().map(Change::name);
            index.load_for(&*self.store, keys).await?;
            let absent = self.absent(&index, changes.clone()).await?;
            let ((), is_current) = tokio::try_join!(lock.check(), self.is_current(&index))?;
            if is_current {
                let before = index.fingerprint();
                let skipped = self.make_all(&mut index, changes.clone(), &absent);
                let now = Timestamp::from(self.clock.now());
                match index.publish(&*self.store, now, lock).await {
                    Ok(()) => {
                        reached(Step::IndexCommitted);
                        return self.committed(held, index, before).map(|()| skipped.into());
                    }
                    Err(moved) if moved.is_condition_failed() => {}
                    Err(failed) => return Err(failed),
                }
            }
            tracing::debug!("The index moved on: the commit is made again on the newer one");
            *held = Some(index);
            self.pull_index_and(held, Publish::No).await?;
        }
        Err(SyncError::Contended { address: self.store.address() })
    }

    fn make_all<'a>(
        &self,
        index: &mut RemoteIndex,
        changes: impl Iterator<Item = &'a Change>,
        absent: &HashSet<Path>,
    ) -> HashSet<Path> {
        changes.filter(|change| !self.make(index, change, absent)).map(Change::path).collect()
    }

    fn committed(
        &self,
        held: &mut Option<RemoteIndex>,
        index: RemoteIndex,
        before: Option<String>,
    ) -> Result<()> {
        // A tree that was not up to the index before is not up to it now.
        let was_applied = self.cache.applied_fingerprint() == before;
        let fingerprint = index.fingerprint();
        if index.layout() == Layout::Shards {
            self.committed_shards.lock().get_or_insert_default();
        }
        if was_applied {
            self.note_seen(&index, false);
        }
        *held = Some(index);
        self.unpublished.store(false, std::sync::atomic::Ordering::Release);
        // What it names is not noted yet: the next process must find that out if we die here.
        let noted = self.cache.note_applied_for_now(fingerprint.as_deref().filter(|_| was_applied));
        noted.map_err(SyncError::cache("Noting what was committed"))
    }

    /// Looks whether the index still has the layout that we know, and where the store ignores
    /// conditions, whether it is still the one that we have.
    async fn is_current(&self, index: &RemoteIndex) -> Result<bool> {
        let store = &*self.store;
        if !self.conditions().put {
            let (now, meta) =
                tokio::try_join!(RemoteIndex::look(store, index.layout()), RemoteIndex::look_at_meta(store))?;
            return Ok(now == index.sighting() && meta.as_ref() == index.meta_version());
        }
        match index.layout() {
            Layout::Monolith => Ok(RemoteIndex::look_at_meta(store).await?.as_ref() == index.meta_version()),
            Layout::Shards => Ok(true),
        }
    }

    /// Makes a change; returns whether it could be made.
    fn make(&self, index: &mut RemoteIndex, change: &Change, absent: &HashSet<Path>) -> bool {
        match change {
            Change::Set(key, entry, was) => {
                let now = index.get(key.as_str());
                let may_be = !absent.contains(key.as_str());
                if !may_be || !self.may_set(key, entry, was, now.as_ref().and_then(Remote::of_entry)) {
                    return false;
                }
                index.set(key, entry);
                index.remove_dir(key.as_str());
            }
            Change::Remove(path, removed) => {
                let now = index.get(path).as_ref().and_then(Remote::of_entry);
                if now.is_some_and(|now| !removed.means(&now)) {
                    return false;
                }
                // Also if it is gone: an earlier attempt may have died before all copies said so.
                index.remove(path);
            }
            Change::Prune(path, dangling) => {
                let now = index.get(path).as_ref().and_then(Remote::of_entry);
                if !absent.contains(path) || now.is_some_and(|now| !now.is_same_as(dangling)) {
                    return false;
                }
                index.remove(path);
            }
            Change::SetFolder(key, attributes) => index.set_dir(key, attributes),
            Change::RemoveFolder(path) => index.remove_dir(path),
        }
        true
    }

    fn may_set(&self, key: &DataKey, entry: &Entry, was: &Was, now: Option<Remote>) -> bool {
        match (&now, Remote::of_entry(entry)) {
            // What the index never named nobody can have removed from it.
            (None, _) => {
                was.sent != SentWhen::Never
                    || was.indexed.is_none()
                    || self.lingering.has(key.as_str(), entry.version.as_ref())
            }
            (Some(now), Some(ours)) if now.is_same_as(&ours) => true,
            (Some(now), _) => was.indexed.as_ref().is_some_and(|indexed| indexed.is_same_as(now)),
        }
    }
}

impl Change {
    fn name(&self) -> &str {
        match self {
            Self::Set(key, ..) | Self::SetFolder(key, _) => key.as_str(),
            Self::Remove(path, _) | Self::Prune(path, _) | Self::RemoveFolder(path) => path,
        }
    }

    /// Returns what the index said of the name when the change was made.
    pub(super) fn before(&self) -> Option<&Remote> {
        match self {
            Self::Set(_, _, was) => was.indexed.as_ref(),
            Self::Remove(..) | Self::Prune(..) | Self::SetFolder(..) | Self::RemoveFolder(_) => None,
        }
    }

    fn path(&self) -> Path {
        match self {
            Self::Set(key, ..) | Self::SetFolder(key, _) => key.shared(),
            Self::Remove(path, _) | Self::Prune(path, _) | Self::RemoveFolder(path) => Path::clone(path),
        }
    }
}

#[async_trait]
impl Fence for Held {
    async fn check(&self) -> Result<()> {
        Self::check(self).await
    }
}
