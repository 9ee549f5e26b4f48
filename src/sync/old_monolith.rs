//! The monolith that is left beside shards.
//!
//! Swamp's clients that were in step with it before the migration compare its version only, and
//! see nothing that was written since. An index without entries whose version ends in `-1`, as
//! that of an upload in parts does, is never taken for what they know: they look at the shards.
//! Where versions do not look like that, the monolith says what the shards say, and a mount that
//! has pushed all and rests brings it up: any newer version has those clients look again.

use bytes::Bytes;

use super::error::{Result, SyncError};
use super::index::{Layout, RemoteIndex, is_usable};
use super::{SyncService, describe};
use crate::model::entry::Entry;
use crate::model::index::{INDEX_KEY, Index};
use crate::model::key::ObjectKey;
use crate::model::timestamp::Timestamp;
use crate::store::{Condition, ObjectMeta, ObjectStore, PutOptions, Version};

/// Where it is tried what versions look like.
const TRIAL_KEY: &str = "_control/bayou/probe/parts";
/// An index of more bytes than this is not empty.
const EMPTY_BYTES: u64 = 1 << 10;

/// Returns the monolith's metadata, if there is one that clients may take for the index.
async fn usable(store: &dyn ObjectStore) -> Result<Option<ObjectMeta>> {
    let what = format!("Asking for {INDEX_KEY}");
    let meta = store.head(&ObjectKey::new(INDEX_KEY)).await.map_err(SyncError::store(what))?;
    Ok(meta.filter(|meta| is_usable(&meta.version)))
}

/// Returns whether there is a monolith that clients may take for the index, and that says
/// something else than it, whose shards were read.
pub(super) async fn misleads(store: &dyn ObjectStore, index: &RemoteIndex) -> Result<bool> {
    if usable(store).await?.is_none() {
        return Ok(false);
    }
    match RemoteIndex::fetch_old_monolith(store).await {
        Ok(old) => Ok(old.is_some_and(|old| {
            let says_so = |(key, entry): (&str, Entry)| index.get(key) == Some(entry);
            old.len() != index.len() || !old.entries().all(says_so)
        })),
        Err(SyncError::DamagedIndex { .. }) => Ok(true),
        Err(failed) => Err(failed),
    }
}

/// Returns whether there is a monolith that clients may take for the index, and that can be made
/// to mislead nobody for good.
pub(super) async fn can_be_emptied(store: &dyn ObjectStore) -> Result<bool> {
    Ok(store.abilities().parts_show && usable(store).await?.is_some())
}

async fn is_empty(store: &dyn ObjectStore, old: &ObjectMeta) -> Result<bool> {
    if old.size > EMPTY_BYTES {
        return Ok(false);
    }
    match RemoteIndex::fetch_old_monolith(store).await {
        Ok(old) => Ok(old.is_some_and(|old| old.is_empty() && old.dirs().next().is_none())),
        Err(SyncError::DamagedIndex { .. }) => Ok(false),
        Err(failed) => Err(failed),
    }
}

/// Has the monolith mislead nobody; returns whether it says nothing now, not all.
pub(super) async fn neutralise(
    store: &dyn ObjectStore,
    index: &mut RemoteIndex,
    now: Timestamp,
) -> Result<bool> {
    let empty = Bytes::from(Index::empty(now).to_bytes());
    let trial = ObjectKey::new(TRIAL_KEY);
    let version = put_in_parts(store, &trial, empty.clone()).await?;
    let what = format!("Deleting {TRIAL_KEY}");
    store.delete(&trial, &Condition::Always).await.map_err(SyncError::store(what))?;
    let monolith = ObjectKey::new(INDEX_KEY);
    if !is_usable(&version) {
        put_in_parts(store, &monolith, empty).await?;
        return Ok(true);
    }
    let whole = index.as_monolith(store, now).await?;
    let options = PutOptions::when(Condition::Always);
    let what = format!("Writing {INDEX_KEY}");
    store.put(&monolith, whole.into(), &options).await.map_err(SyncError::store(what))?;
    Ok(false)
}

async fn put_in_parts(store: &dyn ObjectStore, key: &ObjectKey, body: Bytes) -> Result<Version> {
    let written = async {
        let options = PutOptions::when(Condition::Always);
        let upload = store.begin_upload(key, body.len() as u64, &options).await?;
        let part = store.upload_part(key, &upload, 1, body).await?;
        store.complete_upload(key, &upload, &[part], &options).await
    };
    written.await.map_err(SyncError::store(format!("Writing {key}")))
}

impl SyncService {
    /// Has the old monolith mislead nobody, if this machine ever changed the shards and somebody
    /// has changed them since it was last seen to.
    pub async fn bring_up_monolith(&self) -> Result<()> {
        let is_asked = self.committed_shards.lock().is_some() && self.check_writable().is_ok();
        let Some(applied) = self.cache.applied_fingerprint().filter(|_| is_asked) else { return Ok(()) };
        if self
            .committed_shards
            .lock()
            .as_ref()
            .is_some_and(|seen| seen.monolith_at.as_ref() == Some(&applied))
        {
            return Ok(());
        }
        let outcome = self.see_to_monolith(&applied).await;
        match &outcome {
            Ok(()) => {
                if let Some(seen) = &mut *self.committed_shards.lock() {
                    seen.monolith_at = Some(applied);
                }
            }
            Err(failed) => tracing::debug!(error = describe(failed), "The old monolith is seen to later"),
        }
        outcome
    }

    async fn see_to_monolith(&self, fingerprint: &str) -> Result<()> {
        let Some(old) = usable(&*self.store).await? else { return Ok(()) };
        // `migrate` and `verify --repair` do better there; but what they made says nothing, and
        // whoever wrote over that has lost nobody anything.
        let is_spent = self.store.abilities().parts_show;
        if is_spent && !is_empty(&*self.store, &old).await? {
            return Ok(());
        }
        let lock = self.lock.hold().await?;
        let mut held = self.index.lock().await;
        let is_it = |index: &&mut RemoteIndex| {
            index.layout() == Layout::Shards && index.fingerprint().as_deref() == Some(fingerprint)
        };
        // Whoever committed since sees to it.
        let Some(index) = held.as_mut().filter(is_it) else { return Ok(()) };
        let now = Timestamp::from(self.clock.now());
        if is_spent {
            lock.check().await?;
            return neutralise(&*self.store, index, now).await.map(drop);
        }
        let whole = index.as_monolith(&*self.store, now).await?;
        if !misleads(&*self.store, index).await? {
            return Ok(());
        }
        lock.check().await?;
        let what = || format!("Bringing up the old {INDEX_KEY} of {}", self.store.address());
        let options = PutOptions::when(Condition::IfVersion(old.version));
        let written = self.store.put(&ObjectKey::new(INDEX_KEY), whole.into(), &options).await;
        written.map(drop).map_err(SyncError::store(what()))
    }
}
