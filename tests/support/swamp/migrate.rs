//! Turning the monolith into shards, also where the shards are the truth already.

use super::names::shard_of;
use super::shards::{META, Meta};
use super::{Failed, Process, Result};

impl Process {
    /// Writes shards of whatever the monolith says and calls them the first commit; returns
    /// the shards' names.
    pub(crate) async fn migrate_index(&mut self) -> Result<Vec<String>> {
        self.pull_index().await?;
        let index = self.index_in_memory();
        let names = if index.entries().is_empty() {
            self.list_shards().await?
        } else {
            if let Some(key) = index.entries().keys().find(|key| shard_of(key).is_none()) {
                return Err(Failed::new(format!("Migration aborted: {key} has no shard")));
            }
            let shards = index.by_shard();
            for (name, entries) in &shards {
                self.put_shard(name, entries).await?;
            }
            shards.into_iter().map(|(name, _)| name).collect()
        };
        let meta = Meta::truth(names, 1);
        self.put_meta(&meta).await?;
        Ok(meta.partitions)
    }

    async fn list_shards(&self) -> Result<Vec<String>> {
        let listed = self.bucket.list("_index/").await?;
        let name = |key: &str| key.strip_prefix("_index/")?.strip_suffix(".json").map(str::to_owned);
        Ok(listed.iter().map(|one| one.key.as_str()).filter(|key| *key != META).filter_map(name).collect())
    }
}
