//! What looking after the index needs to know of its documents.

use super::documents;
use super::listing::Listing;
use super::monolith::Monolith;
use super::shards::{BESIDE_KEY, Document, Shards};
use super::{Documents, RemoteIndex};
use crate::model::index::{INDEX_KEY, Index};
use crate::model::shard::{META_KEY, Shard, ShardRole, shard_object};
use crate::model::timestamp::Timestamp;
use crate::store::ObjectStore;
use crate::sync::error::{Result, SyncError};
use crate::sync::upkeep::Problem;

impl RemoteIndex {
    /// Reads the index; documents that are damaged or missing are left out.
    pub(in crate::sync) async fn fetch_what_can_be_read(store: &dyn ObjectStore) -> Result<Option<Self>> {
        match Self::fetch(store, None, None, &|_| true).await {
            Err(
                SyncError::DamagedIndex { .. }
                | SyncError::MissingShard { .. }
                | SyncError::DamagedShard { .. },
            ) => Self::fetch_damaged(store).await,
            fetched => Ok(fetched?.index),
        }
    }

    async fn fetch_damaged(store: &dyn ObjectStore) -> Result<Option<Self>> {
        let meta = documents::fetch_meta(store).await?;
        let role = meta.as_ref().and_then(|document| document.meta.as_ref()).map(|meta| meta.role);
        let is_monolith = match role {
            Some(role) => role == ShardRole::Copies,
            None => documents::list_shards(store).await?.is_empty(),
        };
        if is_monolith {
            let monolith = Monolith::fetch_what_can_be_read(store, INDEX_KEY).await?;
            let copies = meta.filter(|_| role.is_some());
            return Ok(monolith.map(|monolith| Self::of_monolith(monolith, copies)));
        }
        let beside = Monolith::fetch_what_can_be_read(store, BESIDE_KEY).await?;
        let listing = Listing::look(store, meta).await?;
        let mut shards = Shards::with_beside(store, listing, beside).await?;
        shards.load_what_can_be_read(store).await?;
        let scrubbed = shards.scrub();
        Ok(Some(Self { layout: Documents::Shards(Box::new(shards)), scrubbed }))
    }

    /// Returns whether there are shards, or copies.
    pub(in crate::sync) async fn has_shards(store: &dyn ObjectStore) -> Result<bool> {
        Ok(!documents::list_shards(store).await?.is_empty())
    }

    /// Reads the monolith that is left beside shards.
    pub(in crate::sync) async fn fetch_old_monolith(store: &dyn ObjectStore) -> Result<Option<Index>> {
        Ok(Monolith::fetch(store, INDEX_KEY).await?.map(|monolith| monolith.index))
    }

    /// Returns its layout in words, the number of shards (or copies) and the counter of commits.
    pub(in crate::sync) fn describe(&self) -> (&'static str, usize, Option<u64>) {
        match &self.layout {
            Documents::Monolith(monolith) => match &monolith.copies {
                Some(copies) => ("monolith with copies", copies.partitions.len(), None),
                None => ("monolith", 0, None),
            },
            Documents::Shards(shards) => ("shards", shards.documents.len(), shards.commit_seq),
        }
    }

    /// Tells what is wrong with the documents themselves.
    pub(in crate::sync) async fn look_at_documents(
        &self,
        store: &dyn ObjectStore,
        mut tell: impl FnMut(Problem, Vec<String>),
    ) -> Result<()> {
        match &self.layout {
            Documents::Monolith(monolith) => {
                tell(Problem::Damaged, damaged(monolith, INDEX_KEY));
                tell(Problem::UntrueCopies, untrue_copies(store, monolith).await?);
            }
            Documents::Shards(shards) => {
                tell(Problem::Damaged, damaged(&shards.beside, BESIDE_KEY));
                tell(
                    Problem::LostMeta,
                    shards.needs_repair().then(|| META_KEY.to_owned()).into_iter().collect(),
                );
                tell(Problem::UnlistedShards, shards.unlisted.iter().cloned().collect());
                tell(Problem::LostShards, shards.lost.clone());
            }
        }
        Ok(())
    }

    /// Looks at copies that may not be true any more.
    pub(in crate::sync) async fn look_at_copies(&mut self, store: &dyn ObjectStore) -> Result<()> {
        match &mut self.layout {
            Documents::Monolith(monolith) => monolith.look_at_copies(store).await,
            Documents::Shards(_) => Ok(()),
        }
    }

    /// Takes in shards that swamp's meta documents forget. Who calls this holds the lock.
    pub(in crate::sync) async fn take_in_forgotten(&mut self, store: &dyn ObjectStore) -> Result<()> {
        match &mut self.layout {
            Documents::Monolith(_) => Ok(()),
            Documents::Shards(shards) => shards.take_in_forgotten(store).await,
        }
    }

    /// Takes in what shards hold that no meta document lists, and marks all copies to be written.
    pub(in crate::sync) async fn take_in_unlisted(&mut self, store: &dyn ObjectStore) -> Result<()> {
        match &mut self.layout {
            Documents::Monolith(monolith) => monolith.touch_copies(),
            Documents::Shards(shards) => shards.take_in_unlisted(store).await?,
        }
        Ok(())
    }

    /// Turns a monolith into shards that are not written yet; returns them and the keys that
    /// swamp has no shard for.
    pub(in crate::sync) async fn into_shards(self, store: &dyn ObjectStore) -> Result<(Self, Vec<String>)> {
        let Documents::Monolith(monolith) = self.layout else { return Ok((self, Vec::new())) };
        let left = documents::list_shards(store).await?;
        let ours = documents::head(store, BESIDE_KEY).await?;
        let shards = Shards::of_monolith(*monolith, left, ours);
        let beside = shards.folders().keys().map(str::to_owned).collect();
        let index = Self { layout: Documents::Shards(Box::new(shards)), scrubbed: Vec::new() };
        Ok((index, beside))
    }

    /// Returns all entries and folders as one document.
    pub(in crate::sync) async fn as_monolith(
        &mut self,
        store: &dyn ObjectStore,
        now: Timestamp,
    ) -> Result<Vec<u8>> {
        match &mut self.layout {
            Documents::Monolith(monolith) => Ok(monolith.index.to_bytes()),
            Documents::Shards(shards) => {
                shards.load(store, |_| true).await?;
                let mut whole = shards.folders().clone();
                whole.set_last_pulled(now);
                for shard in shards.documents.values().filter_map(|document| document.shard.as_ref()) {
                    whole.take_shard(shard);
                }
                Ok(whole.to_bytes())
            }
        }
    }
}

fn damaged(document: &Monolith, key: &str) -> Vec<String> {
    document.is_damaged.then(|| key.to_owned()).into_iter().collect()
}

impl Shards {
    /// Takes over a listing with our own index as it could be read. Shards are not read yet.
    async fn with_beside(
        store: &dyn ObjectStore,
        listing: Listing,
        beside: Option<Monolith>,
    ) -> Result<Self> {
        let mut known = Self::nothing();
        known.beside = beside.unwrap_or(known.beside);
        let is_damaged = known.beside.is_damaged;
        let (mut shards, _) = Self::fetch(store, listing, Some(known)).await?;
        shards.beside_touched.set |= is_damaged;
        Ok(shards)
    }

    /// Reads the shards that can be read; the others are empty from now on.
    async fn load_what_can_be_read(&mut self, store: &dyn ObjectStore) -> Result<()> {
        for name in self.documents.keys().cloned().collect::<Vec<_>>() {
            match self.load(store, |one| *one == *name).await {
                Err(SyncError::MissingShard { .. } | SyncError::DamagedShard { .. }) => {
                    let version = documents::head(store, &shard_object(&name)).await?;
                    self.lost.push(shard_object(&name));
                    let document = Document { version, shard: Some(Shard::default()), touched: true };
                    self.documents.insert(name, document);
                }
                read => read?,
            }
        }
        Ok(())
    }
}

/// Returns the keys of copies that say something else than the monolith.
async fn untrue_copies(store: &dyn ObjectStore, monolith: &Monolith) -> Result<Vec<String>> {
    let Some(copies) = monolith.copies.as_ref().filter(|meta| meta.role == ShardRole::Copies) else {
        return Ok(Vec::new());
    };
    let mut untrue = Vec::new();
    for name in &copies.partitions {
        if !monolith.has_true_copy(store, name).await? {
            untrue.push(shard_object(name));
        }
    }
    Ok(untrue)
}
