//! Writing what was changed in a sharded index, in an order that no reader is misled by.
//!
//! New names of our own index, then shards, then the meta document, then what our own index
//! lets go of, then shards that are empty. A writer that dies on the way has made nothing
//! visible that is not there, and hidden nothing that is.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::Fence;
use super::shards::{BESIDE_KEY, Document, Shards};
use crate::model::key::ObjectKey;
use crate::model::shard::{META_KEY, Meta, Shard, ShardRole, shard_object};
use crate::model::timestamp::Timestamp;
use crate::os::crash_point::{Step, reached};
use crate::store::{Condition, ObjectStore, PutOptions, StoreError};
use crate::sync::error::{Result, SyncError};

/// How many shards are written at once.
const PARALLEL_WRITES: usize = 16;

impl Shards {
    /// Writes what was changed: new names of ours, shards, the meta document, and last what
    /// moved from our own index into shards.
    ///
    /// The counter grows by one also if no entry changed: an earlier attempt may have died
    /// between its shards and the meta document.
    pub(super) async fn publish(
        &mut self,
        store: &dyn ObjectStore,
        now: Timestamp,
        fence: &dyn Fence,
    ) -> Result<()> {
        let failed = |failed| SyncError::store(format!("Writing the index of {}", store.address()))(failed);
        if self.beside_touched.set {
            self.beside.write_document(store, BESIDE_KEY, now).await.map_err(failed)?;
            reached(Step::BesidePut);
            self.beside_touched.set = false;
        }
        let emptied = self.write_shards(store).await.map_err(failed)?;
        fence.check().await?;
        self.write_meta(store, &emptied, now).await.map_err(failed)?;
        self.let_go(store, now, emptied).await.map_err(failed)
    }

    /// Removes what the documents that were written do not need any more.
    async fn let_go(
        &mut self,
        store: &dyn ObjectStore,
        now: Timestamp,
        emptied: Vec<String>,
    ) -> std::result::Result<(), StoreError> {
        let removed = std::mem::take(&mut self.beside_touched.removed);
        if !removed.is_empty() {
            for key in &removed {
                self.beside.remove(key);
            }
            self.beside.write_document(store, BESIDE_KEY, now).await?;
        }
        for name in emptied {
            let document = self.documents.remove(&name).unwrap_or_default();
            let key = ObjectKey::new(shard_object(&name));
            let condition = document.version.map_or(Condition::Always, Condition::IfVersion);
            match store.delete(&key, &condition).await {
                Err(moved) if moved.is_condition_failed() => {
                    tracing::debug!(%key, "Somebody fills the shard that was empty: it stays");
                }
                deleted => {
                    deleted?;
                    reached(Step::ShardDeleted);
                }
            }
        }
        Ok(())
    }

    /// Writes the shards that were touched; returns the names of those that are empty now.
    async fn write_shards(
        &mut self,
        store: &dyn ObjectStore,
    ) -> std::result::Result<Vec<String>, StoreError> {
        let touched = self.documents.iter().filter(|(_, document)| document.touched);
        let write = |(name, document): (&String, &Document)| {
            let (name, version) = (name.clone(), document.version.clone());
            let body = document.shard.as_ref().map(Shard::to_bytes).unwrap_or_default();
            async move {
                let key = ObjectKey::new(shard_object(&name));
                // One that is there although it should not be is taken in by the next attempt.
                let options = PutOptions::when(version.map_or(Condition::IfAbsent, Condition::IfVersion));
                let version = store.put(&key, Bytes::from(body), &options).await?;
                reached(Step::ShardPut);
                Ok::<_, StoreError>((name, version))
            }
        };
        let writes: Vec<_> = touched.map(write).collect();
        let written: Vec<_> = stream::iter(writes).buffer_unordered(PARALLEL_WRITES).try_collect().await?;
        for (name, version) in written {
            if let Some(document) = self.documents.get_mut(&name) {
                (document.version, document.touched) = (Some(version), false);
            }
        }
        let is_empty = |document: &Document| document.shard.as_ref().is_some_and(Shard::is_empty);
        let emptied = self.documents.iter().filter(|(_, document)| is_empty(document));
        Ok(emptied.map(|(name, _)| name.clone()).collect())
    }

    async fn write_meta(
        &mut self,
        store: &dyn ObjectStore,
        emptied: &[String],
        now: Timestamp,
    ) -> std::result::Result<(), StoreError> {
        // A counter that is lost begins beyond all that anybody may remember.
        let next = self.commit_seq.map_or_else(|| now.as_unix_ms().unsigned_abs(), |seq| seq + 1);
        let partitions = self.documents.keys().filter(|name| !emptied.contains(name)).cloned().collect();
        let meta = Meta { role: ShardRole::Truth { commit_seq: Some(next) }, partitions };
        let condition = self.meta.clone().map_or(Condition::IfAbsent, Condition::IfVersion);
        let options = PutOptions::when(condition);
        let version = store.put(&ObjectKey::new(META_KEY), meta.to_bytes().into(), &options).await?;
        reached(Step::MetaPut);
        (self.meta, self.commit_seq, self.repair) = (Some(version), Some(next), false);
        Ok(())
    }
}
