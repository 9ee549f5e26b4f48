//! The index as swamp's shards, and an index of our own beside them for keys without a shard.
//!
//! Only the shards that a commit touches are read and written, then the meta document, last
//! and with its counter grown by one. What no shard may hold (and folders) is in
//! `_control/bayou/index.json`, which swamp never looks at. A shard whose last entry went is
//! emptied before the meta document lets go of it and deleted after, so no reader ever misses
//! one that is listed and none finds entries in one that is not.

use std::collections::{BTreeMap, BTreeSet};

use super::Wanted;
use super::documents;
use super::listing::{Changed, Listing};
use super::monolith::Monolith;
use crate::model::entry::Entry;
use crate::model::fingerprint::Fingerprint;
use crate::model::index::Index;
use crate::model::key::DataKey;
use crate::model::shard::{Shard, partition_key, shard_object};
use crate::model::timestamp::Timestamp;
use crate::store::{ObjectStore, Version};
use crate::sync::error::{Result, SyncError};

/// Our index of what no shard may hold.
pub(super) const BESIDE_KEY: &str = "_control/bayou/index.json";

/// All documents of a sharded index.
#[derive(Debug, Clone)]
pub(super) struct Shards {
    /// The version of the meta document; `None` if there is none.
    pub meta: Option<Version>,
    /// What the meta document says; `None` if it is of no use and must be made anew.
    pub commit_seq: Option<u64>,
    pub documents: BTreeMap<String, Document>,
    pub beside: Monolith,
    pub beside_touched: BesideTouched,
    /// Names of shards that are in the bucket although the meta document does not list them.
    pub unlisted: BTreeSet<String>,
    /// Names of shards that are listed but cannot be read.
    pub lost: Vec<String>,
    /// Keys that are in another shard than swamp's rule says, as far as shards were read.
    displaced: BTreeMap<String, String>,
    /// Whether the next commit must write the meta document although no entry changes.
    pub repair: bool,
}

/// A shard that the meta document lists.
#[derive(Debug, Clone, Default)]
pub(super) struct Document {
    /// The version in the bucket; `None` if it is not there yet.
    pub version: Option<Version>,
    /// Its entries; `None` while nobody needed them.
    pub shard: Option<Shard>,
    /// Whether the entries are not those of that version.
    pub touched: bool,
}

/// What is to change in our own index: what is set goes first, removals when all is written.
#[derive(Debug, Clone, Default)]
pub(super) struct BesideTouched {
    pub set: bool,
    pub removed: BTreeSet<String>,
}

impl Shards {
    /// Takes over a listing; what `known` has of its documents is kept. Shards are not read yet.
    /// Returns what is not known any more as well.
    pub(super) async fn fetch(
        store: &dyn ObjectStore,
        listing: Listing,
        known: Option<Self>,
    ) -> Result<(Self, Changed)> {
        let mut changed = Changed { all: known.is_none(), ..Changed::default() };
        let mut known = known.unwrap_or_else(Self::nothing);
        let mut documents = BTreeMap::new();
        for (name, version) in listing.shards {
            let old = known.documents.remove(&name).filter(|old| !old.touched);
            let same = old.filter(|old| version.is_some() && old.version == version);
            if same.is_none() {
                changed.shards.insert(name.clone());
            }
            // What was never written is empty, and is to be written.
            let touched = listing.unwritten.contains(&name);
            let shard = touched.then(Shard::default);
            documents.insert(name, same.unwrap_or(Document { version, shard, touched }));
        }
        // Those that are left are listed no more.
        changed.shards.extend(known.documents.into_keys());
        let beside_is_known = known.beside.version == listing.beside && !known.beside_touched.is_any();
        changed.beside = !beside_is_known;
        let beside = match beside_is_known {
            true => known.beside,
            false => Self::fetch_beside(store).await?,
        };
        changed.all |= !known.displaced.is_empty() || changed.shards.iter().any(|name| is_legacy(name));
        let shards = Self {
            meta: listing.meta,
            commit_seq: listing.commit_seq,
            documents,
            beside,
            beside_touched: BesideTouched::default(),
            unlisted: listing.unlisted,
            lost: Vec::new(),
            displaced: known.displaced,
            repair: listing.commit_seq.is_none() || !listing.unwritten.is_empty(),
        };
        Ok((shards, changed))
    }

    /// Reads the shards that changed; all of them, if an entry may have been in any. Of those,
    /// the ones that are wanted, and those whose names swamp's rule does not give any more: they
    /// may hold anything.
    pub(super) async fn load_changed(
        &mut self,
        store: &dyn ObjectStore,
        changed: &mut Changed,
        is_wanted: Wanted<'_>,
    ) -> Result<()> {
        let is_read = |name: &str| is_wanted(name) || is_legacy(name);
        self.load(store, |name| is_read(name) && (changed.all || changed.shards.contains(name))).await?;
        changed.all |= !self.displaced.is_empty();
        if changed.all { self.load(store, is_read).await } else { Ok(()) }
    }

    /// Returns shards with the entries of a monolith, and beside them what has no shard. `left`
    /// are the shards that are in the bucket; those that hold nothing any more are emptied.
    pub(super) fn of_monolith(
        monolith: Monolith,
        left: BTreeMap<String, Option<Version>>,
        ours: Option<Version>,
    ) -> Self {
        let mut index = monolith.index;
        let mut shards = index.move_into_shards();
        let names = left.keys().chain(shards.keys()).cloned().collect::<BTreeSet<_>>();
        let document = |name: String| {
            let version = left.get(&name).cloned().flatten();
            let shard = Some(shards.remove(&name).unwrap_or_default());
            (name, Document { version, shard, touched: true })
        };
        let documents = names.into_iter().map(document).collect();
        let is_needed = ours.is_some() || !index.is_empty() || index.dirs().next().is_some();
        let mut beside = Monolith::unpublished(index);
        beside.version = ours;
        let beside_touched = BesideTouched { set: is_needed, removed: BTreeSet::new() };
        let (meta, commit_seq) = (monolith.copies_version, Some(0));
        Self { meta, commit_seq, documents, beside, beside_touched, ..Self::nothing() }
    }

    /// Returns shards of which nothing is known.
    pub(super) fn nothing() -> Self {
        Self {
            meta: None,
            commit_seq: None,
            documents: BTreeMap::new(),
            beside: Monolith::unpublished(Index::empty(Timestamp::from_unix_ms(0))),
            beside_touched: BesideTouched::default(),
            unlisted: BTreeSet::new(),
            lost: Vec::new(),
            displaced: BTreeMap::new(),
            repair: false,
        }
    }

    async fn fetch_beside(store: &dyn ObjectStore) -> Result<Monolith> {
        Ok(Monolith::fetch(store, BESIDE_KEY).await?.unwrap_or_else(|| Self::nothing().beside))
    }

    /// Reads the shards among `wanted` whose entries are not known yet.
    pub(super) async fn load(
        &mut self,
        store: &dyn ObjectStore,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<()> {
        let is_wanted = |(name, document): &(&String, &Document)| document.shard.is_none() && wanted(name);
        let names: Vec<String> =
            self.documents.iter().filter(is_wanted).map(|(name, _)| name.clone()).collect();
        for (name, read) in documents::read_shards(store, names).await? {
            let Some((shard, version)) = read else {
                return Err(SyncError::MissingShard { address: store.address(), key: shard_object(&name) });
            };
            self.displaced.retain(|_, place| *place != name);
            let displaced = shard.keys().filter(|key| partition_key(key).as_deref() != Some(&*name));
            self.displaced.extend(displaced.map(|key| (key.to_owned(), name.clone())));
            self.documents
                .insert(name, Document { version: Some(version), shard: Some(shard), touched: false });
        }
        Ok(())
    }

    /// Reads the shards that hold, or are to hold, these keys, and those whose names swamp's rule
    /// does not give any more: they may hold anything.
    pub(super) async fn load_for<'a>(
        &mut self,
        store: &dyn ObjectStore,
        keys: impl Iterator<Item = &'a str>,
    ) -> Result<()> {
        let wanted: BTreeSet<String> = keys.filter_map(partition_key).collect();
        self.load(store, |name| wanted.contains(name) || is_legacy(name)).await?;
        for name in
            wanted.iter().filter(|name| !self.documents.contains_key(*name)).cloned().collect::<Vec<_>>()
        {
            if self.unlisted.remove(&name) {
                self.take_in(store, name).await?;
            }
        }
        Ok(())
    }

    /// Returns the fingerprint of this state.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let listing = Listing {
            meta: self.meta.clone(),
            commit_seq: self.commit_seq,
            shards: self.documents.iter().map(|(name, one)| (name.clone(), one.version.clone())).collect(),
            beside: self.beside.version.clone(),
            unlisted: BTreeSet::new(),
            unwritten: BTreeSet::new(),
        };
        listing.fingerprint()
    }

    fn loaded(&self) -> impl Iterator<Item = (&str, &Shard)> {
        self.documents.iter().filter_map(|(name, one)| Some((name.as_str(), one.shard.as_ref()?)))
    }

    /// Returns whether the shard that swamp's rule names for a key is there and was not read: what
    /// another says of the key may be older.
    fn is_unread(&self, key: &str) -> bool {
        let ruled = partition_key(key).and_then(|name| self.documents.get(&name));
        ruled.is_some_and(|document| document.shard.is_none())
    }

    /// Returns the shard that holds a key: the one that swamp's rule names, or whichever does.
    fn holder_of(&self, key: &str) -> Option<(&str, &Shard)> {
        let holds = |name: &str| {
            let (name, document) = self.documents.get_key_value(name)?;
            let shard = document.shard.as_ref().filter(|shard| shard.has(key))?;
            Some((name.as_str(), shard))
        };
        if self.is_unread(key) {
            return None;
        }
        partition_key(key).and_then(|name| holds(&name)).or_else(|| holds(self.displaced.get(key)?))
    }

    pub(super) fn get(&self, key: &str) -> Option<Entry> {
        match self.holder_of(key) {
            Some((_, shard)) => shard.get(key),
            None => self.beside.index.get(key),
        }
    }

    /// Sets an entry in the shard that swamp's rule names, or in our own index, and nowhere else.
    pub(super) fn set(&mut self, key: &DataKey, entry: &Entry) {
        let ruled = partition_key(key.as_str());
        self.remove_but(key.as_str(), ruled.as_deref());
        match ruled {
            Some(name) => {
                let document = self.documents.entry(name).or_default();
                let is_known = document.shard.is_some() || document.version.is_none();
                assert!(is_known, "A shard is read before it is changed");
                document.shard.get_or_insert_default().set(key, entry);
                document.touched = true;
                self.remove_beside(key.as_str());
            }
            None => {
                self.beside.set(key, entry);
                self.beside_touched.set = true;
                self.beside_touched.removed.remove(key.as_str());
            }
        }
    }

    /// Removes an entry wherever it is.
    pub(super) fn remove(&mut self, key: &str) {
        self.remove_but(key, None);
        self.remove_beside(key);
    }

    /// Removes an entry from all shards but one.
    fn remove_but(&mut self, key: &str, place: Option<&str>) {
        let ruled = partition_key(key);
        for name in ruled.into_iter().chain(self.displaced.remove(key)) {
            if Some(&*name) != place
                && let Some(document) = self.documents.get_mut(&name)
            {
                document.touched |= document.shard.as_mut().is_some_and(|shard| shard.remove(key));
            }
        }
    }

    fn remove_beside(&mut self, key: &str) {
        if self.beside.index.has(key) {
            self.beside_touched.removed.insert(key.to_owned());
        }
    }

    /// Returns our own index: it records the folders.
    pub(super) fn folders(&self) -> &Index {
        &self.beside.index
    }

    /// Returns the number of entries that were read.
    pub(super) fn len(&self) -> usize {
        self.loaded().map(|(_, shard)| shard.len()).sum::<usize>() + self.beside.index.len()
    }

    /// Returns whether the meta document must be made anew: the state cannot be told from others.
    pub(super) fn needs_repair(&self) -> bool {
        self.repair
    }

    /// Returns our own index, to change what it records of folders.
    pub(super) fn folders_mut(&mut self) -> &mut Index {
        self.beside_touched.set = true;
        &mut self.beside.index
    }

    /// Returns the entries that are known, those of shards that were read and ours.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, Entry)> {
        let is_here = |key: &str, name: &str| self.holder_of(key).is_some_and(|(holder, _)| holder == name);
        let sharded = self
            .loaded()
            .flat_map(move |(name, shard)| shard.entries().filter(move |(key, _)| is_here(key, name)));
        let ours = self.beside.index.entries();
        sharded.chain(
            ours.filter(|(key, _)| {
                !self.beside_touched.removed.contains(*key) && self.holder_of(key).is_none()
            }),
        )
    }

    /// Returns whether all that may hold a key was read, or enough to know its entry.
    pub(super) fn knows(&self, key: &str) -> bool {
        let is_read = |name: &String| self.documents.get(name).is_none_or(|one| one.shard.is_some());
        !self.is_unread(key)
            && (self.get(key).is_some() || self.documents.keys().filter(|name| is_legacy(name)).all(is_read))
    }

    /// Removes entries of internal names and returns the names.
    pub(super) fn scrub(&mut self) -> Vec<String> {
        let mut zombies = self.beside.scrub();
        self.beside_touched.set |= !zombies.is_empty();
        for document in self.documents.values_mut() {
            let found = document.shard.as_mut().map(Shard::scrub).unwrap_or_default();
            document.touched |= !found.is_empty();
            zombies.extend(found);
        }
        zombies
    }
}

impl BesideTouched {
    fn is_any(&self) -> bool {
        self.set || !self.removed.is_empty()
    }
}

/// Returns whether swamp's rule does not give a shard this name (any more).
pub(super) fn is_legacy(name: &str) -> bool {
    let folder = name.split_once("--").map(|(folder, _)| folder);
    !matches!(folder, Some("data" | "outputs" | "definitions-evaluated" | "workflow-runs"))
        && !matches!(
            name,
            "_root" | "workflows-evaluated" | "auto-definitions" | "audit" | "telemetry" | "logs" | "files"
        )
}
