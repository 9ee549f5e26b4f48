//! Turning a monolith into shards, as swamp's `migrate-index` does, but once.

use super::{Damage, Upkeep};
use crate::model::timestamp::Timestamp;
use crate::sync::error::{Result, SyncError};
use crate::sync::index::Layout;
use crate::sync::old_monolith;

/// What a migration came to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Migrated {
    /// The bucket's address.
    pub source: String,
    /// Number of shards.
    pub shards: u64,
    /// Swamp's counter of commits.
    pub commit_seq: u64,
    /// Entries that swamp has no shard for; only bayou sees them from now on.
    pub beside: u64,
    /// Whether the old monolith says nothing now; else it says what the shards say.
    pub monolith_is_empty: bool,
}

impl Upkeep {
    /// Turns a monolith into shards. Refuses if there are shards already, and if swamp has no
    /// shard for some keys, unless these may be kept where only bayou sees them.
    pub async fn migrate(&self, keep_beside: bool) -> Result<Migrated> {
        let lock = self.lock.hold().await?;
        let address = self.store.address();
        let Some(index) = self.read(Damage::Fails).await? else {
            return Err(SyncError::NothingToMigrate { address, reason: "it has no index".to_owned() });
        };
        if index.layout() == Layout::Shards {
            let reason = "its index is sharded already".to_owned();
            return Err(SyncError::NothingToMigrate { address, reason });
        }
        let (mut shards, beside) = index.into_shards(&*self.store).await?;
        if !beside.is_empty() && !keep_beside {
            return Err(SyncError::NoShard { address, keys: beside });
        }
        lock.check().await?;
        let now = Timestamp::from(self.clock.now());
        shards.publish(&*self.store, now, &lock).await?;
        let monolith_is_empty = old_monolith::neutralise(&*self.store, &mut shards, now).await?;
        let (_, count, commit_seq) = shards.describe();
        Ok(Migrated {
            source: address,
            shards: count as u64,
            commit_seq: commit_seq.unwrap_or_default(),
            beside: beside.len() as u64,
            monolith_is_empty,
        })
    }
}
