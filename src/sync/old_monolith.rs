//! The monolith that is left beside shards, where it cannot be made to mislead nobody for good.
//!
//! Swamp's clients that were in step with it before the migration look at its version only. Any
//! newer version has them look again, so it is brought up when a mount has pushed all and rests.
//! Where `bayou index migrate` and `verify --repair` can do better, nothing is done here.

use super::error::{Result, SyncError};
use super::index::{Layout, is_usable};
use super::{SyncService, describe};
use crate::model::index::INDEX_KEY;
use crate::model::key::ObjectKey;
use crate::model::timestamp::Timestamp;
use crate::store::{Condition, PutOptions};

impl SyncService {
    /// Has the old monolith say what the shards say, if this machine changed them since.
    pub async fn bring_up_monolith(&self) -> Result<()> {
        if self.store.abilities().parts_show || self.check_writable().is_err() {
            return Ok(());
        }
        let committed = self.committed_shards.lock().take();
        let Some(fingerprint) = committed else { return Ok(()) };
        let outcome = self.write_monolith(&fingerprint).await;
        if let Err(failed) = &outcome {
            tracing::debug!(error = describe(failed), "The old monolith is brought up later");
            self.committed_shards.lock().get_or_insert(fingerprint);
        }
        outcome
    }

    async fn write_monolith(&self, fingerprint: &str) -> Result<()> {
        let lock = self.lock.hold().await?;
        let mut held = self.index.lock().await;
        let is_it = |index: &&mut super::RemoteIndex| {
            index.layout() == Layout::Shards && index.fingerprint().as_deref() == Some(fingerprint)
        };
        // Whoever committed since brings it up.
        let Some(index) = held.as_mut().filter(is_it) else { return Ok(()) };
        let key = ObjectKey::new(INDEX_KEY);
        let what = || format!("Bringing up the old {INDEX_KEY} of {}", self.store.address());
        let old = self.store.head(&key).await.map_err(|failed| SyncError::store(what())(failed))?;
        let Some(old) = old.filter(|old| is_usable(&old.version)) else { return Ok(()) };
        let whole = index.as_monolith(&*self.store, Timestamp::from(self.clock.now())).await?;
        lock.check().await?;
        let options = PutOptions::when(Condition::IfVersion(old.version));
        let written = self.store.put(&key, whole.into(), &options).await;
        written.map(drop).map_err(SyncError::store(what()))
    }
}
