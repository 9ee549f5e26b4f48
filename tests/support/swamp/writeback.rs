//! Writing the index: the monolith with its advisory copies, or the shards.

use std::collections::BTreeSet;

use super::names::shard_of;
use super::push::Base;
use super::shards::{Meta, key_of};
use super::{Process, Result};

impl Process {
    /// Writes the index in memory back after a push that touched these keys.
    pub(super) async fn write_back(&mut self, base: &Base, touched: &[String]) -> Result<()> {
        match base {
            Base::Shards(commit_seq) => self.write_shards(*commit_seq, touched).await,
            Base::Monolith(_) => self.write_monolith(touched).await,
        }
    }

    /// The touched shards, then a list of all shards that the entries in memory fall into: one
    /// that others added meanwhile is left out, one of an older rule is listed and never written.
    async fn write_shards(&mut self, commit_seq: u64, touched: &[String]) -> Result<()> {
        let shards = self.index_in_memory().by_shard();
        for shard in touched_shards(touched) {
            match shards.iter().find(|(name, _)| *name == shard) {
                Some((name, entries)) => self.put_shard(name, entries).await?,
                // A failure of this goes unnoticed.
                None => drop(self.bucket.delete(&key_of(&shard)).await),
            }
        }
        let names = shards.into_iter().map(|(name, _)| name).collect();
        self.put_meta(&Meta::truth(names, commit_seq + 1)).await?;
        self.machine.write_index();
        if self.is_complete() {
            self.mark_clean_at(commit_seq + 1);
        }
        Ok(())
    }

    pub(super) async fn write_monolith(&mut self, touched: &[String]) -> Result<()> {
        let fingerprint = self.put_index().await?;
        self.mutated = false;
        self.machine.write_index();
        self.write_copies(touched).await;
        if self.is_complete() {
            self.mark_synced(&fingerprint);
        }
        Ok(())
    }

    /// The advisory copies of what was touched; one that became empty stays as it is. Failures
    /// go unnoticed.
    async fn write_copies(&mut self, touched: &[String]) {
        let shards = self.index_in_memory().by_shard();
        let wanted = touched_shards(touched);
        for (name, entries) in &shards {
            if touched.is_empty() || wanted.contains(name) {
                drop(self.put_shard(name, entries).await);
            }
        }
        let is_sharded = self.read_meta().await.is_ok_and(|meta| meta.is_some_and(|meta| meta.version == 2));
        if !is_sharded {
            let names = shards.into_iter().map(|(name, _)| name).collect();
            drop(self.put_meta(&Meta::copies(names)).await);
        }
    }
}

fn touched_shards(touched: &[String]) -> BTreeSet<String> {
    touched.iter().filter_map(|key| shard_of(key)).collect()
}
