//! Pushing in one go: uploads, deletions, then the index over whatever the bucket has.

use bayou::model::content_hash::ContentHash;
use serde_json::{Value, json};

use super::{Process, Result};

/// Which index a push began with.
#[derive(Debug, Clone)]
pub(super) enum Base {
    /// The monolith, with the fingerprint of its bytes.
    Monolith(Option<String>),
    /// The shards, as of a commit.
    Shards(u64),
}

impl Process {
    /// Sends what is dirty and returns how many files were sent and deleted.
    pub(crate) async fn push(&mut self) -> Result<u64> {
        if self.is_pushed().await? {
            return Ok(0);
        }
        let base = self.read_base().await?;
        let work = self.find_work();
        for path in &work.uploads {
            // Before each upload everything is marked: what was to be deleted is forgotten if it fails.
            self.mark_dirty(None);
            let Some(entry) = self.upload(path).await? else { continue };
            self.index_in_memory().entries_mut().insert(path.clone(), entry);
        }
        for path in &work.deletions {
            self.bucket.delete(path).await?;
            self.index_in_memory().entries_mut().remove(path);
        }
        let touched: Vec<String> = work.uploads.iter().chain(&work.deletions).cloned().collect();
        if touched.is_empty() && !self.mutated {
            self.note_nothing_to_push(&base);
        } else {
            self.write_back(&base, &touched).await?;
        }
        Ok(touched.len() as u64)
    }

    pub(super) async fn read_base(&mut self) -> Result<Base> {
        match self.assemble().await? {
            Some(commit_seq) => Ok(Base::Shards(commit_seq)),
            None => self.pull_index().await.map(Base::Monolith),
        }
    }

    fn note_nothing_to_push(&mut self, base: &Base) {
        if !self.is_complete() {
            return;
        }
        match base {
            Base::Shards(commit_seq) => self.mark_clean_at(*commit_seq),
            Base::Monolith(Some(fingerprint)) => self.mark_synced(fingerprint),
            Base::Monolith(None) => {}
        }
    }

    /// Puts a file into the bucket and returns its entry; nothing if it vanished meanwhile.
    pub(super) async fn upload(&self, path: &str) -> Result<Option<Value>> {
        let Some(bytes) = self.machine.read(path) else { return Ok(None) };
        let (size, hash) = (bytes.len(), ContentHash::of(&bytes).to_string());
        self.bucket.put(path, bytes).await?;
        let now = self.machine.now();
        let mtime = self.machine.stat(path).map(|stat| stat.mtime);
        Ok(Some(json!({"key": path, "size": size, "lastModified": now, "localMtime": mtime, "sha256": hash})))
    }
}
