//! What is in a folder bucket, as any other client reads it.

use std::collections::BTreeMap;
use std::path::Path;

use bayou::model::content_hash::ContentHash;
use bayou::model::entry::Entry;
use bayou::model::index::{INDEX_KEY, Index};
use bayou::model::key::{DataKey, ObjectKey};
use bayou::store::folder::FolderStore;
use bayou::store::{ObjectStore, Version};
use futures::TryStreamExt;

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
        let entries = match store.get(&ObjectKey::new(INDEX_KEY), None, None).await {
            Ok(fetched) => {
                let index = Index::parse(&fetched.body).expect("the index is whole at every moment");
                index.entries().map(|(key, entry)| (key.to_owned(), entry)).collect()
            }
            Err(failed) => {
                assert!(failed.is_not_found(), "{failed}");
                BTreeMap::new()
            }
        };
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
