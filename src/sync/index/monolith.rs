//! The index as one document, with swamp's copies of its parts kept true beside it.
//!
//! The document is written first: it is the truth. The copies (`_index/*.json` under a meta
//! document of version 1) are what swamp's scoped pulls trust, so each one that a commit
//! touches is written before the commit counts, also when it is empty by then.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::copies::KnownCopies;
use crate::model::entry::Entry;
use crate::model::index::{Damaged, INDEX_KEY, Index};
use crate::model::key::{DataKey, ObjectKey};
use crate::model::shard::{META_KEY, Meta, ShardRole, partition_key, shard_object};
use crate::model::timestamp::Timestamp;
use crate::os::crash_point::{Step, reached};
use crate::store::{Condition, ObjectStore, PutOptions, StoreError, Version};
use crate::sync::error::{Result, SyncError};

/// How many copies are written at once.
const PARALLEL_COPIES: usize = 16;

/// The whole index in one object.
#[derive(Debug, Clone)]
pub(super) struct Monolith {
    pub index: Index,
    pub version: Option<Version>,
    /// The meta document of the copies; `None` if the bucket has none.
    pub copies: Option<Meta>,
    /// The version of that document.
    pub copies_version: Option<Version>,
    /// Whether the document could not be read, so that this one is empty.
    pub is_damaged: bool,
    /// Copies to be written with the next commit.
    pub touched: BTreeSet<String>,
    /// What is known of the copies.
    pub known: KnownCopies,
}

impl Monolith {
    /// Reads the document at a key; `None` if there is none.
    pub(super) async fn fetch(store: &dyn ObjectStore, key: &str) -> Result<Option<Self>> {
        let Some((index, version)) = read(store, key).await? else { return Ok(None) };
        let index = index.map_err(|damaged| SyncError::DamagedIndex {
            address: store.address(),
            key: key.to_owned(),
            source: Arc::new(damaged),
        })?;
        Ok(Some(Self { version: Some(version), ..Self::unpublished(index) }))
    }

    /// As [`Monolith::fetch`]; a document that is damaged is empty.
    pub(super) async fn fetch_what_can_be_read(store: &dyn ObjectStore, key: &str) -> Result<Option<Self>> {
        let Some((index, version)) = read(store, key).await? else { return Ok(None) };
        let is_damaged = index.is_err();
        let index = index.unwrap_or_else(|_| Index::empty(Timestamp::from_unix_ms(0)));
        Ok(Some(Self { version: Some(version), is_damaged, ..Self::unpublished(index) }))
    }

    /// Returns a document that is not in the bucket yet.
    pub(super) fn unpublished(index: Index) -> Self {
        let (touched, known) = (BTreeSet::new(), KnownCopies::default());
        let (copies, copies_version, is_damaged) = (None, None, false);
        Self { index, version: None, copies, copies_version, is_damaged, touched, known }
    }

    /// Has every copy written with the next commit.
    pub(super) fn touch_copies(&mut self) {
        let listed = self.copies.iter().flat_map(|meta| meta.partitions.clone());
        self.touched.extend(listed.chain(self.partitions()).collect::<Vec<_>>());
    }

    /// Returns whether there are no copies beside it.
    pub(super) fn is_plain(&self) -> bool {
        self.copies_version.is_none()
    }

    pub(super) fn set(&mut self, key: &DataKey, entry: &Entry) {
        self.touched.extend(partition_key(key.as_str()));
        self.index.set(key, entry);
    }

    pub(super) fn remove(&mut self, key: &str) -> bool {
        self.touched.extend(partition_key(key));
        self.index.remove(key)
    }

    /// Removes entries of internal names and returns the names.
    pub(super) fn scrub(&mut self) -> Vec<String> {
        let zombies = self.index.scrub();
        self.touched.extend(zombies.iter().filter_map(|key| partition_key(key)));
        zombies
    }

    /// Writes the document if the bucket still has the version that this one was read from (or
    /// none, if it was never published), then the copies of what was changed.
    pub(super) async fn publish(&mut self, store: &dyn ObjectStore, now: Timestamp) -> Result<()> {
        let failed = |failed| SyncError::store(format!("Writing the index of {}", store.address()))(failed);
        let before = self.version.clone();
        self.write_document(store, INDEX_KEY, now).await.map_err(failed)?;
        reached(Step::IndexPut);
        self.write_copies(store, before).await.map_err(failed)
    }

    /// Writes the document alone, to a key.
    pub(super) async fn write_document(
        &mut self,
        store: &dyn ObjectStore,
        key: &str,
        now: Timestamp,
    ) -> std::result::Result<(), StoreError> {
        self.index.set_last_pulled(now);
        let condition = self.version.clone().map_or(Condition::IfAbsent, Condition::IfVersion);
        let body = Bytes::from(self.index.to_bytes());
        let version = store.put(&ObjectKey::new(key), body, &PutOptions::when(condition)).await?;
        self.version = Some(version);
        Ok(())
    }

    async fn write_copies(
        &mut self,
        store: &dyn ObjectStore,
        before: Option<Version>,
    ) -> std::result::Result<(), StoreError> {
        let touched = std::mem::take(&mut self.touched);
        let Some(copies) = &self.copies else { return Ok(()) };
        let index = &self.index;
        let write = |partition: String| async move {
            let shard = index.shard_of(|key| partition_key(key).as_deref() == Some(&*partition));
            let key = ObjectKey::new(shard_object(&partition));
            store.put(&key, shard.to_bytes().into(), &PutOptions::when(Condition::Always)).await?;
            reached(Step::CopyPut);
            Ok::<_, StoreError>(())
        };
        let writes = stream::iter(touched.clone()).map(write);
        writes.buffer_unordered(PARALLEL_COPIES).try_collect::<()>().await?;
        let partitions = self.partitions();
        if partitions == copies.partitions {
            self.note_copies(&touched, before.as_ref());
            return Ok(());
        }
        let meta = Meta { role: ShardRole::Copies, partitions };
        let options = PutOptions::when(Condition::Always);
        let version = store.put(&ObjectKey::new(META_KEY), meta.to_bytes().into(), &options).await?;
        reached(Step::MetaPut);
        (self.copies, self.copies_version) = (Some(meta), Some(version));
        self.note_copies(&touched, before.as_ref());
        Ok(())
    }

    /// Returns the names of the copies, in the order in which swamp lists them.
    fn partitions(&self) -> Vec<String> {
        let mut seen = HashSet::new();
        self.index.keys().filter_map(partition_key).filter(|name| seen.insert(name.clone())).collect()
    }
}

/// Reads what is at a key, with the version of exactly these bytes; `None` if nothing is.
async fn read(
    store: &dyn ObjectStore,
    key: &str,
) -> Result<Option<(std::result::Result<Index, Damaged>, Version)>> {
    match store.get(&ObjectKey::new(key), None, None).await {
        Ok(fetched) => Ok(Some((Index::parse(&fetched.body), fetched.meta.version))),
        Err(absent) if absent.is_not_found() => Ok(None),
        Err(failed) => Err(SyncError::store(format!("Reading {key} of {}", store.address()))(failed)),
    }
}
