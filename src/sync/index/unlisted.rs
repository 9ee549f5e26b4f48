//! Shards that are in the bucket although the meta document does not list them.
//!
//! Somebody left one behind, or wrote a meta document that forgot it: swamp forgets those whose
//! names are of an older rule. What one names counts as far as the objects are there and no other
//! shard names them. Who takes one in holds the lock: nobody is about to list it.

use futures::{StreamExt, TryStreamExt, stream};

use super::documents;
use super::shards::{Document, Shards, is_legacy};
use crate::model::entry::Entry;
use crate::model::key::DataKey;
use crate::model::shard::partition_key;
use crate::store::ObjectStore;
use crate::sync::error::Result;

/// How many objects are asked for at once.
const PARALLEL_HEADS: usize = 32;

impl Shards {
    /// Takes in all shards that are not listed.
    pub(super) async fn take_in_unlisted(&mut self, store: &dyn ObjectStore) -> Result<()> {
        for name in std::mem::take(&mut self.unlisted) {
            self.take_in(store, name).await?;
        }
        Ok(())
    }

    /// Takes in those that swamp forgets.
    pub(super) async fn take_in_forgotten(&mut self, store: &dyn ObjectStore) -> Result<()> {
        for name in self.unlisted.extract_if(.., |name| is_legacy(name)).collect::<Vec<_>>() {
            self.take_in(store, name).await?;
        }
        Ok(())
    }

    /// Returns whether there are such.
    pub(super) fn has_forgotten(&self) -> bool {
        self.unlisted.iter().any(|name| is_legacy(name))
    }

    /// Takes in one of them. What swamp's rule puts elsewhere by now moves there, and the shard
    /// goes if nothing is left.
    pub(super) async fn take_in(&mut self, store: &dyn ObjectStore, name: String) -> Result<()> {
        let Some((mut shard, version)) = documents::read_shard(store, &name).await? else { return Ok(()) };
        let entries: Vec<_> = shard.entries().map(|(key, entry)| (key.to_owned(), entry)).collect();
        let is_here = |key: &str| partition_key(key).as_deref() == Some(&*name);
        let elsewhere: Vec<String> = entries.iter().filter_map(|(key, _)| partition_key(key)).collect();
        self.load(store, |one| one != name && elsewhere.iter().any(|place| place == one)).await?;
        for (key, entry) in there(store, entries).await? {
            match entry {
                Some(_) if is_here(&key) => {}
                found => {
                    shard.remove(&key);
                    if let (Some(entry), Ok(data)) = (found, DataKey::admit(&key))
                        && self.get(&key).is_none()
                    {
                        self.set(&data, &entry);
                    }
                }
            }
        }
        self.documents.insert(name, Document { version: Some(version), shard: Some(shard), touched: true });
        Ok(())
    }
}

/// Returns the entries, without those whose objects are not there.
async fn there(
    store: &dyn ObjectStore,
    entries: Vec<(String, Entry)>,
) -> Result<Vec<(String, Option<Entry>)>> {
    let ask = |(key, entry): (String, Entry)| async move {
        let found = documents::head(store, &key).await?;
        Ok((key, found.map(|_| entry)))
    };
    stream::iter(entries).map(ask).buffer_unordered(PARALLEL_HEADS).try_collect().await
}
