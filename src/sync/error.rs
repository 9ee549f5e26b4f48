//! What can go wrong between this machine and the index in the bucket.

use std::sync::Arc;
use std::time::Duration;

use super::guarded::Round;
use crate::cache::CacheError;
use crate::model::index::Damaged;
use crate::model::lock_name::LockName;
use crate::store::{ErrorKind, StoreError};

/// The outcome of a sync operation.
pub type Result<T> = std::result::Result<T, SyncError>;

/// Why a pull, a push or a settle failed. Cheap to clone: one failure may answer many waiters.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SyncError {
    /// A request failed.
    #[error("{what}")]
    Store {
        /// What was to be done.
        what: String,
        /// What the store said.
        source: Arc<StoreError>,
    },
    /// What this machine holds cannot be used.
    #[error("{what}")]
    Cache {
        /// What was to be done.
        what: String,
        /// What failed.
        source: Arc<CacheError>,
    },
    /// The index in the bucket is damaged.
    #[error(
        "The index {key} in {address} cannot be read; put back an older version of it, or run `bayou index rebuild` to have it built anew from the objects"
    )]
    DamagedIndex {
        /// The bucket.
        address: String,
        /// The document.
        key: String,
        /// Where and how.
        source: Arc<Damaged>,
    },
    /// A shard of the index is damaged.
    #[error(
        "The index shard {key} in {address} cannot be read ({detail}); put back an older version of it, or run `bayou index rebuild`"
    )]
    DamagedShard {
        /// The bucket.
        address: String,
        /// The shard.
        key: String,
        /// Where and how.
        detail: String,
    },
    /// The index cannot be turned into shards.
    #[error("{address} cannot be migrated: {reason}")]
    NothingToMigrate {
        /// The bucket.
        address: String,
        /// Why.
        reason: String,
    },
    /// Swamp has no shard for some keys.
    #[error(
        "{address} was not migrated: swamp's clients would not see {} of its files any more, because they have no \
         shard for them ({}); --keep-beside migrates all the same",
        keys.len(),
        first_of(keys)
    )]
    NoShard {
        /// The bucket.
        address: String,
        /// The keys.
        keys: Vec<String>,
    },
    /// A shard that the index lists is not in the bucket.
    #[error(
        "The index shard {key} is missing in {address}, so what the index names is not known; put it back, or run `bayou index rebuild`"
    )]
    MissingShard {
        /// The bucket.
        address: String,
        /// The shard.
        key: String,
    },
    /// A file was changed here and elsewhere, and conflicts are to fail.
    #[error("{path:?} was changed here and in the bucket; ours is kept here (--on-conflict=fail)")]
    Conflict {
        /// The file.
        path: String,
    },
    /// A file went on changing while it was uploaded.
    #[error("{path:?} keeps changing while it is uploaded")]
    KeepsChanging {
        /// The file.
        path: String,
    },
    /// The bucket may only be read.
    #[error("Nothing is written to the bucket: {reason}")]
    ReadOnly {
        /// Why.
        reason: String,
    },
    /// Another client holds the lock of the bucket for longer than we may wait.
    #[error(
        "The lock {key:?} in {address} is held by {holder}, waited {} s; `bayou lock status {}` shows it, and if its holder is gone `bayou lock release {} --force` breaks it",
        waited.as_secs(), lock_words(address, key), lock_words(address, key)
    )]
    LockHeld {
        /// The bucket.
        address: String,
        /// The lock's key.
        key: String,
        /// Who holds it, with the number of its process.
        holder: String,
        /// How long we have waited.
        waited: Duration,
    },
    /// Somebody took the lock of the bucket while we held it.
    #[error("The lock {key:?} in {address} was lost to {by}: what was to be written under it is not")]
    LockLost {
        /// The bucket.
        address: String,
        /// The lock's key.
        key: String,
        /// Who has it now.
        by: String,
    },
    /// Other writers changed the index again and again.
    #[error("The index in {address} was changed by others at every attempt to commit")]
    Contended {
        /// The bucket.
        address: String,
    },
    /// This program made a mistake and could stop itself.
    #[error("{round} ended in a panic: {message}")]
    Panicked {
        /// What was being done.
        round: Round,
        /// What the panic said.
        message: String,
    },
}

/// Returns the first names of a list.
fn first_of(keys: &[String]) -> String {
    let shown = keys.iter().take(10).cloned().collect::<Vec<_>>().join(", ");
    if keys.len() > 10 { format!("{shown}, …") } else { shown }
}

impl SyncError {
    /// Returns a wrapper that adds to a store's error what was to be done.
    pub fn store(what: impl Into<String>) -> impl FnOnce(StoreError) -> Self {
        let what = what.into();
        move |source| Self::Store { what, source: Arc::new(source) }
    }

    /// Returns a wrapper that adds to a cache's error what was to be done.
    pub fn cache(what: impl Into<String>) -> impl FnOnce(CacheError) -> Self {
        let what = what.into();
        move |source| Self::Cache { what, source: Arc::new(source) }
    }

    /// Returns the store's verdict, if a request failed.
    pub fn store_kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Store { source, .. } => Some(source.kind),
            Self::Cache { source, .. } => match &**source {
                CacheError::Store { source, .. } => Some(source.kind),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns the store's own error, if a request failed.
    pub fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Store { source, .. } => Some(source),
            Self::Cache { source, .. } => match &**source {
                CacheError::Store { source, .. } => Some(source),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns whether a condition of a write did not hold.
    pub(super) fn is_condition_failed(&self) -> bool {
        self.store_error().is_some_and(StoreError::is_condition_failed)
    }

    /// Returns whether bytes could not be fetched because their version is not in the bucket
    /// any more.
    pub(super) fn is_base_gone(&self) -> bool {
        let Self::Cache { source, .. } = self else { return false };
        match &**source {
            CacheError::Stale { .. } => true,
            CacheError::Store { source, .. } => source.is_not_found() || source.is_condition_failed(),
            _ => false,
        }
    }
}

/// Returns the words that name a lock to `bayou lock`.
fn lock_words(address: &str, key: &str) -> String {
    let flags = LockName::of_key(key).map(|name| name.flags()).unwrap_or_default();
    format!("{address}{flags}")
}
