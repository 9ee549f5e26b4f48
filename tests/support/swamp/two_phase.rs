//! Pushing in two phases: objects outside the lock, the index inside.

use std::collections::BTreeSet;

use super::index::Entries;
use super::names::shard_of;
use super::shards::{Meta, key_of};
use super::{Process, Result};

/// What was prepared and is not in the index yet.
#[derive(Debug, Default)]
pub(crate) struct Manifest {
    entries: Entries,
    deleted: Vec<String>,
}

impl Manifest {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.deleted.is_empty()
    }

    fn keys(&self) -> Vec<String> {
        self.entries.keys().chain(&self.deleted).cloned().collect()
    }

    /// Deletions are made last: they win.
    fn apply(&self, entries: &mut Entries, is_meant: impl Fn(&str) -> bool) {
        let ours = self.entries.iter().filter(|(key, _)| is_meant(key));
        entries.extend(ours.map(|(key, entry)| (key.clone(), entry.clone())));
        self.deleted.iter().filter(|key| is_meant(key)).for_each(|key| drop(entries.remove(key)));
    }
}

impl Process {
    /// Uploads and deletes objects; the index and the sidecar are left alone.
    pub(crate) async fn prepare_push(&mut self) -> Result<Manifest> {
        let mut manifest = Manifest::default();
        if self.is_pushed().await? {
            return Ok(manifest);
        }
        self.read_base().await?;
        let work = self.find_work();
        for path in &work.uploads {
            if let Some(entry) = self.upload(path).await? {
                manifest.entries.insert(path.clone(), entry);
            }
        }
        for path in work.deletions {
            self.bucket.delete(&path).await?;
            manifest.deleted.push(path);
        }
        Ok(manifest)
    }

    /// Brings what was prepared into the index as it is now.
    pub(crate) async fn commit_push(&mut self, manifest: &Manifest) -> Result<u64> {
        let meta = self.read_meta().await?;
        let sharded = meta.as_ref().and_then(|meta| Some((meta.clone(), meta.commit_seq()?)));
        match sharded {
            Some((_, commit_seq)) if manifest.is_empty() => {
                // The number may be that of a commit whose entries were never looked at.
                if self.is_complete() {
                    self.mark_clean_at(commit_seq);
                }
            }
            Some((meta, commit_seq)) => self.commit_shards(manifest, &meta, commit_seq + 1).await?,
            None if manifest.is_empty() => {
                let fingerprint = self.pull_index().await?;
                if let Some(fingerprint) = fingerprint.filter(|_| self.is_complete()) {
                    self.mark_synced(&fingerprint);
                }
            }
            None => {
                self.pull_index().await?;
                manifest.apply(self.index_in_memory().entries_mut(), |_| true);
                self.write_monolith(&manifest.keys()).await?;
            }
        }
        Ok((manifest.entries.len() + manifest.deleted.len()) as u64)
    }

    async fn commit_shards(&mut self, manifest: &Manifest, meta: &Meta, commit_seq: u64) -> Result<()> {
        let dirty: BTreeSet<String> = manifest.keys().iter().filter_map(|key| shard_of(key)).collect();
        let mut names: BTreeSet<String> = meta.partitions.iter().cloned().collect();
        for shard in dirty {
            let mut entries = self.read_shard(&shard).await?.unwrap_or_default();
            manifest.apply(&mut entries, |key| shard_of(key).as_ref() == Some(&shard));
            if entries.is_empty() {
                self.bucket.delete(&key_of(&shard)).await?;
                names.remove(&shard);
            } else {
                self.put_shard(&shard, &entries).await?;
                names.insert(shard);
            }
        }
        self.put_meta(&Meta::truth(names.into_iter().collect(), commit_seq)).await?;
        // The index of the first phase stands for the new one, whatever others committed between.
        manifest.apply(self.index_in_memory().entries_mut(), |_| true);
        self.machine.write_index();
        if self.is_complete() {
            self.mark_half_clean_at(commit_seq);
        }
        Ok(())
    }
}
