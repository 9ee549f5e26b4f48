//! Pulling: by size alone, and rewriting the index without the lock when an object is gone.

use serde_json::{Value, json};

use super::names::{is_lazy_skippable, shards_of_model};
use super::{Failed, Process, Result, is_internal};

/// What is pulled.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pull {
    /// Models (`type/id`); everything if there are none.
    pub(crate) models: Vec<String>,
    /// Whether contents are left out.
    pub(crate) metadata_only: bool,
}

impl Process {
    /// Brings what the index names and returns how many files came.
    pub(crate) async fn pull(&mut self, what: &Pull) -> Result<u64> {
        // The sidecar may not have been read yet: a lazy cache of an earlier process looks whole.
        let skips_fast_path = self.state.lazy() && !what.metadata_only;
        if !skips_fast_path && self.is_pulled().await? {
            return Ok(0);
        }
        let fingerprint = self.acquire_index(&what.models).await?;
        let (mut pulled, mut failures) = (0, Vec::new());
        for key in self.missing_here(what.metadata_only) {
            match self.bucket.get(&key).await {
                Ok(Some((body, _))) => match self.machine.write(&key, body) {
                    Ok(()) => {
                        pulled += 1;
                        self.adopt_mtime(&key);
                    }
                    Err(failed) => failures.push(failed.0),
                },
                Ok(None) => {
                    self.index_in_memory().entries_mut().remove(&key);
                    self.mutated = true;
                }
                Err(failed) => failures.push(failed.0),
            }
        }
        if !failures.is_empty() {
            return Err(Failed::new(format!("Failed to pull {} file(s): {failures:?}", failures.len())));
        }
        if let Some(fingerprint) = fingerprint {
            self.finish_pull(fingerprint, pulled > 0).await;
        }
        self.note_laziness(what);
        Ok(pulled)
    }

    /// Gets an index to compare with; returns the monolith's fingerprint if it is that one.
    async fn acquire_index(&mut self, models: &[String]) -> Result<Option<String>> {
        if models.is_empty() {
            return match self.assemble().await? {
                Some(_) => Ok(None),
                None => self.pull_index().await,
            };
        }
        for model in models {
            for (at, shard) in shards_of_model(model).iter().enumerate() {
                match self.read_shard(shard).await? {
                    Some(found) => self.index_in_memory().entries_mut().extend(found),
                    // A model without data: the monolith is asked, however old it may be.
                    None if at == 0 => return self.pull_index().await,
                    None => {}
                }
            }
        }
        Ok(None)
    }

    /// Returns the keys of the index in memory that have no file of their size here.
    fn missing_here(&mut self, metadata_only: bool) -> Vec<String> {
        let machine = std::sync::Arc::clone(&self.machine);
        let mut missing = Vec::new();
        for (key, entry) in self.index_in_memory().entries_mut() {
            if is_internal(key) || (metadata_only && is_lazy_skippable(key)) {
                continue;
            }
            match machine.stat(key) {
                Some(stat) if entry.get("size") == Some(&json!(stat.size)) => set_mtime(entry, &stat.mtime),
                _ => missing.push(key.clone()),
            }
        }
        missing
    }

    fn adopt_mtime(&mut self, key: &str) {
        let Some(stat) = self.machine.stat(key) else { return };
        if let Some(entry) = self.index_in_memory().entries_mut().get_mut(key) {
            set_mtime(entry, &stat.mtime);
        }
    }

    /// Writes the index back if it was pruned, and marks clean; whatever fails here is swallowed.
    async fn finish_pull(&mut self, mut fingerprint: String, pulled: bool) {
        if pulled || self.mutated {
            self.machine.write_index();
        }
        if self.mutated {
            let Ok(own) = self.put_index().await else { return };
            fingerprint = own;
            self.mutated = false;
        }
        self.mark_synced(&fingerprint);
    }

    fn note_laziness(&mut self, what: &Pull) {
        if what.metadata_only {
            self.set_lazy(true);
        } else if self.state.lazy() && what.models.is_empty() {
            self.set_lazy(false);
        }
    }
}

fn set_mtime(entry: &mut Value, mtime: &str) {
    if let Some(entry) = entry.as_object_mut() {
        entry.insert("localMtime".to_owned(), json!(mtime));
    }
}
