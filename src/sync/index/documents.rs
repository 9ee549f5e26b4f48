//! The documents of swamp's second layout, as requests: the meta document and the shards.
//!
//! Which layout a bucket has is decided from what is in it. A meta document of version 2 says
//! that shards are the truth, one of version 1 that they are copies. Shards without a usable
//! meta document may be either: then the objects have the last word.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};

use crate::model::key::ObjectKey;
use crate::model::shard::{INDEX_FOLDER, META_KEY, Meta, Shard, partition_of_object, shard_object};
use crate::store::{ObjectStore, Version};
use crate::sync::error::{Result, SyncError};

/// How many documents are read at once.
const PARALLEL_SHARDS: usize = 16;

/// The meta document as it is in the bucket.
#[derive(Debug, Clone)]
pub(super) struct MetaDocument {
    /// What it says; `None` if it is damaged, or of a version that nobody knows.
    pub meta: Option<Meta>,
    /// The version of the object.
    pub version: Version,
}

/// Reads the meta document; `None` if there is none.
pub(super) async fn fetch_meta(store: &dyn ObjectStore) -> Result<Option<MetaDocument>> {
    let what = || format!("Reading the index meta of {}", store.address());
    match store.get(&ObjectKey::new(META_KEY), None, None).await {
        Ok(fetched) => {
            let meta = Meta::parse(&fetched.body).unwrap_or_else(|damaged| {
                tracing::warn!(error = %damaged, "{META_KEY} is damaged");
                None
            });
            Ok(Some(MetaDocument { meta, version: fetched.meta.version }))
        }
        Err(absent) if absent.is_not_found() => Ok(None),
        Err(failed) => Err(SyncError::store(what())(failed)),
    }
}

/// Returns the version of an object of the index; `None` if there is none.
pub(super) async fn head(store: &dyn ObjectStore, key: &str) -> Result<Option<Version>> {
    let what = || format!("Asking for {key} of {}", store.address());
    let meta = store.head(&ObjectKey::new(key)).await.map_err(|failed| SyncError::store(what())(failed))?;
    Ok(meta.map(|meta| meta.version))
}

/// Lists the shards that are in the bucket, with their versions.
pub(super) async fn list_shards(store: &dyn ObjectStore) -> Result<BTreeMap<String, Option<Version>>> {
    let what = format!("Listing the index shards of {}", store.address());
    let pages: Vec<_> = store.list(INDEX_FOLDER, None).try_collect().await.map_err(SyncError::store(what))?;
    let shards = pages.into_iter().flatten().filter_map(|listed| {
        let partition = partition_of_object(listed.key.as_str())?.to_owned();
        Some((partition, listed.version))
    });
    Ok(shards.collect())
}

/// A shard with the version of exactly these bytes; `None` if it is not in the bucket.
pub(super) type Read = Option<(Shard, Version)>;

/// Reads shards, side by side.
pub(super) async fn read_shards(
    store: &dyn ObjectStore,
    partitions: Vec<String>,
) -> Result<Vec<(String, Read)>> {
    let read = |partition: String| async move {
        let shard = read_shard(store, &partition).await?;
        Ok((partition, shard))
    };
    stream::iter(partitions).map(read).buffer_unordered(PARALLEL_SHARDS).try_collect().await
}

/// Reads a shard. One of a version that nobody knows counts as damaged, never as empty.
pub(super) async fn read_shard(store: &dyn ObjectStore, partition: &str) -> Result<Read> {
    let key = shard_object(partition);
    let fetched = match store.get(&ObjectKey::new(&*key), None, None).await {
        Ok(fetched) => fetched,
        Err(absent) if absent.is_not_found() => return Ok(None),
        Err(failed) => return Err(SyncError::store(format!("Reading index shard {key}"))(failed)),
    };
    let damaged =
        |detail: String| SyncError::DamagedShard { address: store.address(), key: key.clone(), detail };
    match Shard::parse(&fetched.body) {
        Ok(Some(shard)) => Ok(Some((shard, fetched.meta.version))),
        Ok(None) => Err(damaged("it is of an unknown version".to_owned())),
        Err(source) => Err(damaged(format!("{source}: {}", source.source))),
    }
}
