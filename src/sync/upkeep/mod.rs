//! Looking after the index itself, without a cache: what is in it, whether it is true, and
//! making it true.
//!
//! The objects have the last word: an entry without an object goes, an object without an entry
//! gets one. Nothing here deletes an object that holds somebody's data. Whatever is changed is
//! changed under the bucket's lock, on what the index says by then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::error::Result;
use super::index::RemoteIndex;
use super::lock::BucketLock;
use super::objects;
use crate::os::clock::SharedClock;
use crate::store::{Listed, SharedStore};

mod migrate;
mod repair;
mod survey;

pub use migrate::Migrated;
pub use survey::{Finding, Problem, Survey, is_at_or_below};

/// Looks after the index of one bucket.
pub struct Upkeep {
    store: SharedStore,
    /// What is outside of the namespace that the store is.
    root: Option<SharedStore>,
    lock: Arc<BucketLock>,
    clock: SharedClock,
}

/// The objects that may be files.
#[derive(Debug, Default)]
struct Objects {
    by_key: BTreeMap<String, Listed>,
    /// Keys of those below a prefix that has an index of its own.
    of_others: BTreeSet<String>,
}

/// Whether documents of the index that cannot be read are an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    /// They are.
    Fails,
    /// What they named is found again from the objects.
    IsLeftOut,
}

impl Upkeep {
    /// Returns the keeper of a bucket's index; asks for nothing yet.
    pub fn new(store: SharedStore, lock: Arc<BucketLock>, clock: SharedClock) -> Self {
        Self { store, root: None, lock, clock }
    }

    /// Has entries kept whose content old clients left outside of the namespace.
    pub fn with_root(self, root: SharedStore) -> Self {
        Self { root: Some(root), ..self }
    }

    /// Returns the bucket's address, for messages.
    pub fn address(&self) -> String {
        self.store.address()
    }

    /// Returns when the lock is given back.
    pub async fn finish(&self) {
        self.lock.idle().await;
    }

    async fn read(&self, damage: Damage) -> Result<Option<RemoteIndex>> {
        match damage {
            Damage::Fails => Ok(RemoteIndex::fetch(&*self.store, None, None, &|_| true).await?.index),
            Damage::IsLeftOut => RemoteIndex::fetch_what_can_be_read(&*self.store).await,
        }
    }

    async fn objects(&self) -> Result<Objects> {
        let files = objects::list_files(&*self.store).await?;
        let of_others = files.of_others.iter().map(|(key, _)| key.as_str().to_owned()).collect();
        let all = files.ours.into_iter().chain(files.of_others);
        let by_key = all.map(|(key, listed)| (key.as_str().to_owned(), listed)).collect();
        Ok(Objects { by_key, of_others })
    }
}
