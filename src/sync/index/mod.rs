//! The index in the bucket, in whichever layout it has, together with the versions of exactly
//! these bytes.
//!
//! Entries and versions are never paired by hand, so no later HEAD can slip in between. Only a
//! 404 means that there is no document; every other failure is an error and changes nothing
//! anywhere. Which layout a bucket has is found out anew with each reading.

use async_trait::async_trait;

use super::entries::entry_of_object;
use super::error::{Result, SyncError};
use crate::model::entry::{Attributes, Entry};
use crate::model::index::{INDEX_KEY, Index};
use crate::model::key::{DataKey, ObjectKey};
use crate::model::shard::{META_KEY, ShardRole};
use crate::model::sidecar::FingerprintKind;
use crate::model::timestamp::Timestamp;
use crate::store::{ObjectStore, Version};

mod admitted;
mod copies;
mod documents;
mod listing;
mod monolith;
mod shard_writes;
mod shards;
mod unlisted;
mod upkeep;

pub use admitted::Admitted;
pub use listing::Changed;

use documents::MetaDocument;
use listing::Listing;
use monolith::Monolith;
use shards::{BESIDE_KEY, Shards};

/// Says before each write of the index whether it may still be written.
#[async_trait]
pub(super) trait Fence: Send + Sync {
    /// Fails if it may not.
    async fn check(&self) -> Result<()>;
}

/// An index with the versions of the objects that it was read from or written to.
#[derive(Debug, Clone)]
pub struct RemoteIndex {
    layout: Documents,
    scrubbed: Vec<String>,
}

#[derive(Debug, Clone)]
enum Documents {
    Monolith(Box<Monolith>),
    Shards(Box<Shards>),
}

/// How the index of a bucket is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One document (swamp v1), perhaps with advisory copies of its partitions.
    Monolith,
    /// Shards are the truth (swamp v2).
    Shards,
}

/// What a look at the index finds without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// The version of the monolith; `None` if there is none.
    Monolith(Option<Version>),
    /// The versions of the meta document and of our own index.
    Shards(Option<Version>, Option<Version>),
}

/// An index that was read.
#[derive(Debug)]
pub struct Fetched {
    /// The index; `None` if the bucket has none.
    pub index: Option<RemoteIndex>,
    /// What of it is not what it was; `None` if that was taken over before.
    pub changed: Option<Changed>,
}

/// Whether a shard with this name is to be read.
pub type Wanted<'a> = &'a (dyn Fn(&str) -> bool + Sync);

impl RemoteIndex {
    /// Reads the index; of shards only those that are wanted. What `known` has of its documents
    /// is not read again, and nothing is read of shards in the state `applied`.
    pub async fn fetch(
        store: &dyn ObjectStore,
        known: Option<Self>,
        applied: Option<&str>,
        is_wanted: Wanted<'_>,
    ) -> Result<Fetched> {
        let meta = documents::fetch_meta(store).await?;
        let role = meta.as_ref().and_then(|document| document.meta.as_ref()).map(|meta| meta.role);
        match role {
            Some(ShardRole::Truth { .. }) => {
                Self::fetch_shards(store, meta, (known, applied), is_wanted).await
            }
            Some(ShardRole::Copies) => Self::fetch_monolith(store, meta, known).await,
            None => Self::fetch_without_meta(store, meta, known).await,
        }
    }

    async fn fetch_monolith(
        store: &dyn ObjectStore,
        meta: Option<MetaDocument>,
        known: Option<Self>,
    ) -> Result<Fetched> {
        let monolith = Monolith::fetch(store, INDEX_KEY).await?;
        let index = monolith.map(|mut monolith| {
            if let Some(Self { layout: Documents::Monolith(known), .. }) = known {
                monolith.known = known.known;
            }
            Self::of_monolith(monolith, meta)
        });
        Ok(Fetched { index, changed: Some(Changed::everything()) })
    }

    fn of_monolith(mut monolith: Monolith, copies: Option<MetaDocument>) -> Self {
        monolith.copies_version = copies.as_ref().map(|document| document.version.clone());
        monolith.copies = copies.and_then(|document| document.meta);
        let scrubbed = monolith.scrub();
        Self { layout: Documents::Monolith(Box::new(monolith)), scrubbed }
    }

    async fn fetch_shards(
        store: &dyn ObjectStore,
        meta: Option<MetaDocument>,
        (known, applied): (Option<Self>, Option<&str>),
        is_wanted: Wanted<'_>,
    ) -> Result<Fetched> {
        let listing = Listing::look(store, meta).await?;
        let is_applied = applied == Some(&*listing.fingerprint().to_string());
        let known = known.and_then(|known| match known.layout {
            Documents::Shards(shards) => Some(*shards),
            Documents::Monolith(_) => None,
        });
        let (mut shards, mut changed) = Shards::fetch(store, listing, known).await?;
        if !is_applied {
            shards.load_changed(store, &mut changed, is_wanted).await?;
        }
        let scrubbed = shards.scrub();
        let index = Self { layout: Documents::Shards(Box::new(shards)), scrubbed };
        Ok(Fetched { index: Some(index), changed: (!is_applied).then_some(changed) })
    }

    /// Shards without a usable meta document may be the truth that lost its meta, or copies.
    /// No entry of either side is lost: what only an old monolith names counts if its object
    /// is there.
    async fn fetch_without_meta(
        store: &dyn ObjectStore,
        meta: Option<MetaDocument>,
        known: Option<Self>,
    ) -> Result<Fetched> {
        let knows_no_shards = known.is_some_and(
            |known| matches!(known.layout, Documents::Monolith(monolith) if monolith.is_plain()),
        );
        if meta.is_none() && (knows_no_shards || documents::list_shards(store).await?.is_empty()) {
            return Self::fetch_monolith(store, None, None).await;
        }
        let (monolith, fetched) = tokio::try_join!(
            Monolith::fetch(store, INDEX_KEY),
            Self::fetch_shards(store, meta, (None, None), &|_| true)
        )?;
        let Some(Self { layout: Documents::Shards(mut shards), scrubbed }) = fetched.index else {
            return Ok(fetched);
        };
        if shards.documents.is_empty() {
            // Nothing was ever sharded: a meta document of no use is all there is.
            return Self::fetch_monolith(store, None, None).await;
        }
        tracing::warn!(
            address = store.address(),
            "The bucket has index shards but no usable {META_KEY}: it is made anew from the shards with the next commit"
        );
        let old = monolith.map(|monolith| monolith.index);
        for (key, entry) in old.iter().flat_map(Index::entries) {
            if let Ok(key) = DataKey::admit(key)
                && shards.get(key.as_str()).is_none()
                && let Some(entry) = as_it_is(store, &key, entry).await?
            {
                shards.set(&key, &entry);
            }
        }
        let index = Self { layout: Documents::Shards(shards), scrubbed };
        Ok(Fetched { index: Some(index), changed: Some(Changed::everything()) })
    }

    /// Looks at the index without reading it.
    pub async fn look(store: &dyn ObjectStore, layout: Layout) -> Result<Sighting> {
        match layout {
            Layout::Monolith => Ok(Sighting::Monolith(documents::head(store, INDEX_KEY).await?)),
            Layout::Shards => {
                let (meta, beside) =
                    tokio::try_join!(documents::head(store, META_KEY), documents::head(store, BESIDE_KEY))?;
                Ok(Sighting::Shards(meta, beside))
            }
        }
    }

    /// Returns the version of the meta document; `None` if there is none.
    pub async fn look_at_meta(store: &dyn ObjectStore) -> Result<Option<Version>> {
        documents::head(store, META_KEY).await
    }

    /// Returns an index that is not in the bucket yet.
    pub fn unpublished(index: Index) -> Self {
        let monolith = Monolith::unpublished(index);
        Self { layout: Documents::Monolith(Box::new(monolith)), scrubbed: Vec::new() }
    }

    /// Writes what was changed if the bucket still has the versions that this was read from (or
    /// none, if it was never published). The fence was just asked; it is asked again if there is
    /// more than one write before the change can be seen.
    pub(super) async fn publish(
        &mut self,
        store: &dyn ObjectStore,
        now: Timestamp,
        fence: &dyn Fence,
    ) -> Result<()> {
        match &mut self.layout {
            Documents::Monolith(monolith) => monolith.publish(store, now).await?,
            Documents::Shards(shards) => shards.publish(store, now, fence).await?,
        }
        self.scrubbed.clear();
        Ok(())
    }

    /// Reads what must be known to change what is said of these keys.
    pub async fn load_for<'a>(
        &mut self,
        store: &dyn ObjectStore,
        keys: impl Iterator<Item = &'a str>,
    ) -> Result<()> {
        match &mut self.layout {
            Documents::Monolith(_) => Ok(()),
            Documents::Shards(shards) => shards.load_for(store, keys).await,
        }
    }

    /// Returns how it is laid out.
    pub fn layout(&self) -> Layout {
        match &self.layout {
            Documents::Monolith(_) => Layout::Monolith,
            Documents::Shards(_) => Layout::Shards,
        }
    }

    /// Returns what a look at the bucket finds as long as it has exactly these documents.
    pub fn sighting(&self) -> Sighting {
        match &self.layout {
            Documents::Monolith(monolith) => Sighting::Monolith(monolith.version.clone()),
            Documents::Shards(shards) => Sighting::Shards(shards.meta.clone(), shards.beside.version.clone()),
        }
    }

    /// Returns the version of the meta document that was read with it.
    pub fn meta_version(&self) -> Option<&Version> {
        match &self.layout {
            Documents::Monolith(monolith) => monolith.copies_version.as_ref(),
            Documents::Shards(shards) => shards.meta.as_ref(),
        }
    }

    /// Returns what tells this state from others; `None` if it is not in the bucket, or if
    /// nothing can tell.
    pub fn fingerprint(&self) -> Option<String> {
        match &self.layout {
            Documents::Monolith(monolith) => {
                monolith.version.as_ref().filter(|version| is_usable(version)).map(ToString::to_string)
            }
            Documents::Shards(shards) => (!shards.needs_repair()).then(|| shards.fingerprint().to_string()),
        }
    }

    /// Returns whether it is in the bucket.
    pub fn is_published(&self) -> bool {
        match &self.layout {
            Documents::Monolith(monolith) => monolith.version.is_some(),
            Documents::Shards(_) => true,
        }
    }

    /// Returns whether it should be written although no entry changes: it has internal names, its
    /// meta document is of no use or forgot shards, or copies are not true.
    pub fn needs_repair(&self) -> bool {
        match &self.layout {
            _ if !self.scrubbed.is_empty() => true,
            Documents::Monolith(monolith) => monolith.has_untrue_copies(),
            Documents::Shards(shards) => shards.needs_repair() || shards.has_forgotten(),
        }
    }

    /// Returns internal names that were in the documents and are left out.
    pub fn scrubbed(&self) -> &[String] {
        &self.scrubbed
    }

    /// Returns the entry of a key.
    pub fn get(&self, key: &str) -> Option<Entry> {
        match &self.layout {
            Documents::Monolith(monolith) => monolith.index.get(key),
            Documents::Shards(shards) => shards.get(key),
        }
    }

    /// Returns the entries as far as they were read, in no order.
    pub fn entries(&self) -> Box<dyn Iterator<Item = (&str, Entry)> + '_> {
        match &self.layout {
            Documents::Monolith(monolith) => Box::new(monolith.index.entries()),
            Documents::Shards(shards) => Box::new(shards.entries()),
        }
    }

    /// Returns whether what it says of a key was read.
    pub fn knows(&self, key: &str) -> bool {
        match &self.layout {
            Documents::Monolith(_) => true,
            Documents::Shards(shards) => shards.knows(key),
        }
    }

    /// Returns the number of entries that were read.
    pub fn len(&self) -> usize {
        match &self.layout {
            Documents::Monolith(monolith) => monolith.index.len(),
            Documents::Shards(shards) => shards.len(),
        }
    }

    /// Returns whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sets the entry of a key.
    pub fn set(&mut self, key: &DataKey, entry: &Entry) {
        match &mut self.layout {
            Documents::Monolith(monolith) => monolith.set(key, entry),
            Documents::Shards(shards) => shards.set(key, entry),
        }
    }

    /// Removes the entry of a key.
    pub fn remove(&mut self, key: &str) {
        match &mut self.layout {
            Documents::Monolith(monolith) => drop(monolith.remove(key)),
            Documents::Shards(shards) => shards.remove(key),
        }
    }

    /// Records a folder: one that is empty, or has attributes.
    pub fn set_dir(&mut self, path: &DataKey, attributes: &Attributes) {
        match &mut self.layout {
            Documents::Monolith(monolith) => monolith.index.set_dir(path, attributes),
            Documents::Shards(shards) => shards.folders_mut().set_dir(path, attributes),
        }
    }

    /// Forgets a folder.
    pub fn remove_dir(&mut self, path: &str) {
        match &mut self.layout {
            Documents::Monolith(monolith) => drop(monolith.index.remove_dir(path)),
            Documents::Shards(shards) if shards.folders().dir(path).is_some() => {
                shards.folders_mut().remove_dir(path);
            }
            Documents::Shards(_) => {}
        }
    }

    /// Returns what of the keys that are asked for can be shown.
    pub fn admitted(&self, is_asked: &dyn Fn(&str) -> bool) -> Admitted {
        let mut admitted = Admitted::default();
        for (key, entry) in self.entries().filter(|(key, _)| is_asked(key)) {
            admitted.take(key, entry);
        }
        let folders = match &self.layout {
            Documents::Monolith(monolith) => &monolith.index,
            Documents::Shards(shards) => shards.folders(),
        };
        admitted.folders = folders.dirs().map(|(path, attributes)| (path.to_owned(), attributes)).collect();
        admitted
    }
}

/// Returns what an old entry and the bucket say of an object; `None` if that is gone.
async fn as_it_is(store: &dyn ObjectStore, key: &DataKey, old: Entry) -> Result<Option<Entry>> {
    let what = format!("Asking whether {key} is there");
    let meta = store.head(&ObjectKey::from(key)).await.map_err(SyncError::store(what))?;
    entry_of_object(store, key.as_str(), meta.as_ref(), Some(old)).await
}

/// Returns whether equal versions prove equal bytes of the index.
pub fn is_usable(version: &Version) -> bool {
    FingerprintKind::Etag.is_usable(version.as_str())
}
