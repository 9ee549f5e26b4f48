//! Whether swamp's copies of a monolith's parts say what it says.
//!
//! A commit writes the copies that it touches. What others do to the index, swamp's pulls above
//! all, may leave copies behind. So a copy is looked at again when its part of the index is
//! another one than it was when the copy was last known to be true.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};

use super::documents;
use super::monolith::Monolith;
use crate::model::entry::Entry;
use crate::model::shard::{Shard, partition_key};
use crate::store::{ObjectStore, Version};
use crate::sync::error::{Result, SyncError};

/// How many copies are read at once.
const PARALLEL_COPIES: usize = 16;
/// Up to how many copies are looked at when nothing is known of any yet. Where there are more,
/// those that were made before this process began are left to `bayou index verify`.
const MOST_AT_FIRST: usize = 64;

/// What is known of the copies.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownCopies {
    /// The version of the monolith for which all of them were looked at.
    looked_at: Option<Version>,
    /// By name, the digest of the part of the index that a copy was seen to say.
    true_to: BTreeMap<String, u64>,
}

impl Monolith {
    /// Looks at the copies that may say something else than the monolith; those that do are to be
    /// written with the next commit.
    pub(super) async fn look_at_copies(&mut self, store: &dyn ObjectStore) -> Result<()> {
        let Some(copies) = self.copies.as_ref().filter(|_| self.known.looked_at != self.version) else {
            return Ok(());
        };
        let parts = self.index.digests(partition_key);
        let names: BTreeSet<String> = copies.partitions.iter().chain(parts.keys()).cloned().collect();
        let digest = |name: &str| parts.get(name).copied().unwrap_or_default();
        let is_unsure = |name: &&String| self.known.true_to.get(*name) != Some(&digest(name));
        let unsure: Vec<String> = names.iter().filter(is_unsure).cloned().collect();
        let is_too_much = self.known.true_to.is_empty() && unsure.len() > MOST_AT_FIRST;
        let monolith = &*self;
        let look = |name: String| async move {
            let is_true = is_too_much || monolith.has_true_copy(store, &name).await?;
            Ok::<_, SyncError>((name, is_true))
        };
        let looks = stream::iter(unsure).map(look).buffer_unordered(PARALLEL_COPIES);
        let seen: Vec<(String, bool)> = looks.try_collect().await?;
        for (name, is_true) in seen {
            if is_true {
                self.known.true_to.insert(name.clone(), digest(&name));
            } else {
                self.touched.insert(name);
            }
        }
        self.known.looked_at.clone_from(&self.version);
        Ok(())
    }

    /// Returns whether a copy names what the monolith names, and nothing else.
    pub(super) async fn has_true_copy(&self, store: &dyn ObjectStore, name: &str) -> Result<bool> {
        let truth = self.index.shard_of(|key| partition_key(key).as_deref() == Some(name));
        match documents::read_shard(store, name).await {
            Ok(copy) => Ok(copy.is_some_and(|(copy, _)| by_key(&copy) == by_key(&truth))),
            Err(SyncError::DamagedShard { .. }) => Ok(false),
            Err(failed) => Err(failed),
        }
    }

    /// Returns whether copies are to be written although no entry changes.
    pub(super) fn has_untrue_copies(&self) -> bool {
        self.copies.is_some() && !self.touched.is_empty()
    }

    /// Notes that these copies were written and say what the monolith says.
    pub(super) fn note_copies(&mut self, written: &BTreeSet<String>, before: Option<&Version>) {
        let parts = self.index.digests(partition_key);
        for name in written {
            let digest = parts.get(name).copied().unwrap_or_default();
            self.known.true_to.insert(name.clone(), digest);
        }
        if self.known.looked_at.as_ref() == before {
            self.known.looked_at.clone_from(&self.version);
        }
    }
}

fn by_key(shard: &Shard) -> BTreeMap<&str, Entry> {
    shard.entries().collect()
}
