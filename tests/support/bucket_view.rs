//! What is in a folder bucket, as any other client reads it.

use std::collections::BTreeMap;
use std::path::Path;

use bayou::model::content_hash::ContentHash;
use bayou::model::entry::Entry;
use bayou::model::index::{INDEX_KEY, Index};
use bayou::model::key::{DataKey, ObjectKey};
use bayou::model::shard::{META_KEY, Meta, Shard, ShardRole, shard_object};
use bayou::store::folder::FolderStore;
use bayou::store::{ObjectStore, Version};
use bytes::Bytes;
use futures::TryStreamExt;

/// Where bayou keeps what has no shard.
const BESIDE_KEY: &str = "_control/bayou/index.json";

/// An object of the bucket.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) hash: String,
    pub(crate) size: u64,
    version: Version,
}

/// What a bucket holds at one moment.
#[derive(Debug)]
pub(crate) struct BucketView {
    /// What the index names, by key.
    pub(crate) entries: BTreeMap<String, Entry>,
    /// All objects with keys that files may have.
    pub(crate) objects: BTreeMap<String, Object>,
}

impl BucketView {
    /// Reads everything in the bucket at `folder`.
    pub(crate) fn of(folder: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let store = FolderStore::open(folder).unwrap();
        runtime.block_on(Self::read(&store))
    }

    async fn read(store: &dyn ObjectStore) -> Self {
        let entries = read_entries(store).await;
        let listed: Vec<_> = store.list("", None).try_collect().await.unwrap();
        let mut objects = BTreeMap::new();
        for key in listed.into_iter().flatten().map(|listed| listed.key) {
            if DataKey::admit(key.as_str()).is_ok() {
                let fetched = store.get(&key, None, None).await.unwrap();
                let hash = ContentHash::of(&fetched.body).to_string();
                let (size, version) = (fetched.body.len() as u64, fetched.meta.version);
                objects.insert(key.as_str().to_owned(), Object { hash, size, version });
            }
        }
        Self { entries, objects }
    }

    /// Checks that every entry has its object, and says the truth of it unless the object is
    /// ahead. Returns what is wrong.
    pub(crate) fn faults(&self) -> Vec<String> {
        let check = |(key, entry): (&String, &Entry)| {
            let Some(object) = self.objects.get(key) else {
                return Some(format!("{key}: the index names it, and there is no object"));
            };
            let ahead = entry.version.as_ref().is_some_and(|version| *version != object.version);
            let hash = entry.sha256.map(|hash| hash.to_string());
            let lies = entry.size.is_some_and(|size| size != object.size)
                || hash.is_some_and(|hash| hash != object.hash);
            (lies && !ahead).then(|| format!("{key}: the entry {entry:?} is not of {object:?}"))
        };
        self.entries.iter().filter_map(check).collect()
    }
}

/// Reads the index, whichever layout it has.
async fn read_entries(store: &dyn ObjectStore) -> BTreeMap<String, Entry> {
    let meta = body(store, META_KEY).await.map(|meta| Meta::parse(&meta).unwrap().unwrap());
    match meta {
        Some(Meta { role: ShardRole::Truth { .. }, partitions }) => {
            let mut entries = read_document(store, BESIDE_KEY).await;
            for name in partitions {
                let shard = body(store, &shard_object(&name)).await.expect("a shard that is listed is there");
                let shard = Shard::parse(&shard).unwrap().unwrap();
                entries.extend(shard.entries().map(|(key, entry)| (key.to_owned(), entry)));
            }
            entries
        }
        Some(Meta { role: ShardRole::Copies, .. }) | None => read_document(store, INDEX_KEY).await,
    }
}

async fn read_document(store: &dyn ObjectStore, key: &str) -> BTreeMap<String, Entry> {
    let Some(body) = body(store, key).await else { return BTreeMap::new() };
    let index = Index::parse(&body).expect("the index is whole at every moment");
    index.entries().map(|(key, entry)| (key.to_owned(), entry)).collect()
}

async fn body(store: &dyn ObjectStore, key: &str) -> Option<Bytes> {
    match store.get(&ObjectKey::new(key), None, None).await {
        Ok(fetched) => Some(fetched.body),
        Err(failed) => {
            assert!(failed.is_not_found(), "{failed}");
            None
        }
    }
}
