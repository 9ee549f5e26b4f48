//! The monolith that is left beside shards.
//!
//! Swamp's clients that were in step with it before the migration compare its version only, and
//! see nothing that was written since. An index without entries whose version ends in `-1`, as
//! that of an upload in parts does, is never taken for what they know: they look at the shards.
//! Where versions do not look like that, the monolith says what the shards say.

use bytes::Bytes;

use super::Upkeep;
use crate::model::entry::Entry;
use crate::model::index::{INDEX_KEY, Index};
use crate::model::key::ObjectKey;
use crate::model::timestamp::Timestamp;
use crate::store::{Condition, PutOptions, Version};
use crate::sync::error::{Result, SyncError};
use crate::sync::index::{RemoteIndex, is_usable};

/// Where it is tried what versions look like.
const TRIAL_KEY: &str = "_control/bayou/probe/parts";

impl Upkeep {
    /// Returns whether there is a monolith that clients may take for the index, and that says
    /// something else than it.
    pub(super) async fn monolith_misleads(&self, index: &RemoteIndex) -> Result<bool> {
        let what = format!("Asking for {INDEX_KEY}");
        let meta = self.store.head(&ObjectKey::new(INDEX_KEY)).await.map_err(SyncError::store(what))?;
        if meta.is_none_or(|meta| !is_usable(&meta.version)) {
            return Ok(false);
        }
        match RemoteIndex::fetch_old_monolith(&*self.store).await {
            Ok(old) => Ok(old.is_some_and(|old| {
                let says_so = |(key, entry): (&str, Entry)| index.get(key) == Some(entry);
                old.len() != index.len() || !old.entries().all(says_so)
            })),
            Err(SyncError::DamagedIndex { .. }) => Ok(true),
            Err(failed) => Err(failed),
        }
    }

    /// Has the monolith mislead nobody; returns whether it says nothing now, not all.
    pub(super) async fn neutralise_monolith(&self, index: &mut RemoteIndex, now: Timestamp) -> Result<bool> {
        let empty = Bytes::from(Index::empty(now).to_bytes());
        let trial = ObjectKey::new(TRIAL_KEY);
        let version = self.put_in_parts(&trial, empty.clone()).await?;
        let what = format!("Deleting {TRIAL_KEY}");
        self.store.delete(&trial, &Condition::Always).await.map_err(SyncError::store(what))?;
        let monolith = ObjectKey::new(INDEX_KEY);
        if !is_usable(&version) {
            self.put_in_parts(&monolith, empty).await?;
            return Ok(true);
        }
        let whole = index.as_monolith(&*self.store, now).await?;
        let options = PutOptions::when(Condition::Always);
        let what = format!("Writing {INDEX_KEY}");
        self.store.put(&monolith, whole.into(), &options).await.map_err(SyncError::store(what))?;
        Ok(false)
    }

    async fn put_in_parts(&self, key: &ObjectKey, body: Bytes) -> Result<Version> {
        let written = async {
            let options = PutOptions::when(Condition::Always);
            let upload = self.store.begin_upload(key, body.len() as u64, &options).await?;
            let part = self.store.upload_part(key, &upload, 1, body).await?;
            self.store.complete_upload(key, &upload, &[part], &options).await
        };
        written.await.map_err(SyncError::store(format!("Writing {key}")))
    }
}
