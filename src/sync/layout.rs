//! How the index is laid out in the bucket, and who else is at work on it.
//!
//! This version writes the monolith only. A sharded bucket is read from its shards, and one
//! that swamp has locked is left alone: both are mounted read-only, with the reason in words.

use std::time::{Duration, SystemTime};

use futures::{StreamExt, TryStreamExt, stream};

use super::error::{Result, SyncError};
use super::remote_index::Admitted;
use crate::model::key::ObjectKey;
use crate::model::shard::{INDEX_FOLDER, META_KEY, Meta, Shard, ShardRole};
use crate::store::{Condition, ErrorKind, ObjectStore, StoreError, Version};

/// The lock that swamp's writers take.
const LOCK_KEY: &str = ".datastore.lock";
/// How long a lock lives if its body does not say.
const DEFAULT_LOCK_TTL: Duration = Duration::from_secs(30);
/// How many shards are read at once.
const PARALLEL_SHARDS: usize = 16;

/// How the index of a bucket is laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// One document (swamp v1), perhaps with advisory copies of its partitions.
    Monolith,
    /// Shards are the truth (swamp v2); the names of the shard objects.
    Sharded {
        /// The shards' keys.
        shards: Vec<ObjectKey>,
        /// The version of the meta document; `None` if there is none.
        meta: Option<Version>,
        /// Why it is read-only, in words.
        reason: String,
    },
}

/// Finds out how the index is laid out.
pub async fn detect(store: &dyn ObjectStore) -> Result<Layout> {
    let what = || format!("Looking at the index of {}", store.address());
    let meta = match store.get(&ObjectKey::new(META_KEY), None, None).await {
        Ok(fetched) => Some(fetched),
        Err(absent) if absent.is_not_found() => None,
        Err(failed) => return Err(SyncError::store(what())(failed)),
    };
    let Some(fetched) = meta else { return shards_without_meta(store).await };
    let parsed = Meta::parse(&fetched.body)
        .map_err(|source| SyncError::DamagedIndex { address: store.address(), source: source.into() })?;
    match parsed {
        Some(Meta { role: ShardRole::Truth { .. }, partitions }) => Ok(Layout::Sharded {
            shards: partitions.iter().map(|name| shard_key(name)).collect(),
            meta: Some(fetched.meta.version),
            reason: "its index is sharded (swamp v2), which this version can only read".to_owned(),
        }),
        Some(Meta { role: ShardRole::Copies, .. }) => Ok(Layout::Monolith),
        None => shards_without_meta(store).await,
    }
}

async fn shards_without_meta(store: &dyn ObjectStore) -> Result<Layout> {
    let shards = list_shards(store)
        .await
        .map_err(SyncError::store(format!("Looking for index shards in {}", store.address())))?;
    if shards.is_empty() {
        return Ok(Layout::Monolith);
    }
    let reason = "it has index shards but no usable _index/_meta.json, so which entries are true is uncertain; \
                  run `swamp datastore migrate-index`, or remove _index/ to use the monolithic index";
    Ok(Layout::Sharded { shards, meta: None, reason: reason.to_owned() })
}

async fn list_shards(store: &dyn ObjectStore) -> std::result::Result<Vec<ObjectKey>, StoreError> {
    let pages: Vec<_> = store.list(INDEX_FOLDER, None).try_collect().await?;
    let is_shard = |key: &ObjectKey| key.as_str().ends_with(".json") && key.as_str() != META_KEY;
    Ok(pages.into_iter().flatten().map(|listed| listed.key).filter(is_shard).collect())
}

/// Reads all shards.
///
/// Fails if one that the meta document lists is missing: then the entries are not known.
pub async fn read_shards(store: &dyn ObjectStore, shards: &[ObjectKey]) -> Result<Admitted> {
    let read = |key: ObjectKey| async move {
        let what = format!("Reading index shard {key}");
        let fetched = store.get(&key, None, None).await.map_err(SyncError::store(what))?;
        Shard::parse(&fetched.body)
            .map_err(|source| SyncError::DamagedIndex { address: store.address(), source: source.into() })
    };
    let shards: Vec<Option<Shard>> =
        stream::iter(shards.to_vec()).map(read).buffered(PARALLEL_SHARDS).try_collect().await?;
    let mut admitted = Admitted::default();
    for shard in shards.iter().flatten() {
        shard.entries().for_each(|(key, entry)| admitted.take(key, entry));
    }
    Ok(admitted)
}

/// Deletes swamp's advisory partitions and their meta document: they would go stale with the
/// next commit, and without them swamp's scoped pulls use the monolith.
///
/// Fails with `Changed` if the bucket was made a sharded one meanwhile.
pub async fn drop_partitions(store: &dyn ObjectStore) -> std::result::Result<(), StoreError> {
    let mut shards = list_shards(store).await?;
    let meta = ObjectKey::new(META_KEY);
    match store.get(&meta, None, None).await {
        Ok(fetched) => {
            if let Ok(Some(Meta { role: ShardRole::Truth { .. }, .. })) = Meta::parse(&fetched.body) {
                return Err(StoreError::new(ErrorKind::Changed, "commit", &meta)
                    .detail("the index was migrated to shards; mount again"));
            }
            // The meta goes first: shards that it lists must not be missing.
            store.delete(&meta, &Condition::Always).await?;
        }
        Err(absent) if absent.is_not_found() => {}
        Err(failed) => return Err(failed),
    }
    for shard in shards.drain(..) {
        store.delete(&shard, &Condition::Always).await?;
    }
    Ok(())
}

/// Returns who holds swamp's lock, if it is alive.
pub async fn live_lock(store: &dyn ObjectStore, now: SystemTime) -> Result<Option<String>> {
    let fetched = match store.get(&ObjectKey::new(LOCK_KEY), None, None).await {
        Ok(fetched) => fetched,
        Err(absent) if absent.is_not_found() => return Ok(None),
        Err(failed) => {
            return Err(SyncError::store(format!("Looking at the lock of {}", store.address()))(failed));
        }
    };
    let body: serde_json::Value = serde_json::from_slice(&fetched.body).unwrap_or_default();
    let ttl = body.get("ttlMs").and_then(serde_json::Value::as_u64).map(Duration::from_millis);
    let age = now.duration_since(fetched.meta.modified).unwrap_or(Duration::ZERO);
    if age > ttl.unwrap_or(DEFAULT_LOCK_TTL) {
        return Ok(None);
    }
    let holder = body.get("holder").and_then(serde_json::Value::as_str).unwrap_or("an unreadable lock");
    Ok(Some(holder.to_owned()))
}

fn shard_key(partition: &str) -> ObjectKey {
    ObjectKey::new(format!("{INDEX_FOLDER}{partition}.json"))
}
