//! What is known of a sharded index without reading a shard: which there are, in which versions.

use std::collections::{BTreeMap, BTreeSet};

use super::documents::{self, MetaDocument};
use super::shards::BESIDE_KEY;
use crate::model::fingerprint::Fingerprint;
use crate::model::shard::{META_KEY, ShardRole, partition_key};
use crate::store::{ObjectStore, Version};
use crate::sync::error::Result;

/// What is known of the documents without reading the shards.
#[derive(Debug, Clone)]
pub(super) struct Listing {
    pub meta: Option<Version>,
    pub commit_seq: Option<u64>,
    pub shards: BTreeMap<String, Option<Version>>,
    pub beside: Option<Version>,
    /// Names of shards that are in the bucket although the meta document does not list them.
    pub unlisted: BTreeSet<String>,
    /// Names that the meta document lists although nobody ever wrote such a shard.
    pub unwritten: BTreeSet<String>,
}

impl Listing {
    /// Looks at the documents: the meta document is given, shards and ours are asked for.
    pub(super) async fn look(store: &dyn ObjectStore, meta: Option<MetaDocument>) -> Result<Self> {
        let listed = documents::list_shards(store);
        let (mut listed, beside) = tokio::try_join!(listed, documents::head(store, BESIDE_KEY))?;
        let version = meta.as_ref().map(|meta| meta.version.clone());
        let truth = meta.and_then(|document| document.meta).and_then(|meta| match meta.role {
            ShardRole::Truth { commit_seq } => Some((meta.partitions, commit_seq.unwrap_or(0))),
            ShardRole::Copies => None,
        });
        let Some((names, commit_seq)) = truth else {
            let (unlisted, unwritten) = (BTreeSet::new(), BTreeSet::new());
            return Ok(Self { meta: version, commit_seq: None, shards: listed, beside, unlisted, unwritten });
        };
        let missing: Vec<String> = names.iter().filter(|name| !listed.contains_key(*name)).cloned().collect();
        let shards = names.into_iter().map(|name| (name.clone(), listed.remove(&name).flatten())).collect();
        let mut listing = Self {
            meta: version,
            commit_seq: Some(commit_seq),
            shards,
            beside,
            unlisted: BTreeSet::new(),
            unwritten: BTreeSet::new(),
        };
        for (name, version) in listed {
            listing.take_unlisted(name, version, &missing);
        }
        Ok(listing)
    }

    /// Swamp drops a shard with a name of an older rule from its list, and lists in its place the
    /// one of today's rule, which it never wrote: then the old one counts.
    fn take_unlisted(&mut self, name: String, version: Option<Version>, missing: &[String]) {
        let replaces =
            |new: &&String| name.strip_prefix(new.as_str()).is_some_and(|rest| rest.starts_with("--"));
        match missing.iter().find(replaces) {
            Some(new) => {
                self.unwritten.insert(new.clone());
                self.shards.insert(name, version);
            }
            None => drop(self.unlisted.insert(name)),
        }
    }

    /// Returns the fingerprint of this state.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let shards = self.shards.iter().map(|(name, version)| (&**name, version.as_ref()));
        let others = [(META_KEY, self.meta.as_ref()), (BESIDE_KEY, self.beside.as_ref())];
        Fingerprint::of_shards(self.commit_seq.unwrap_or(0), shards.chain(others))
    }
}

/// Which parts of the index are not what they were.
#[derive(Debug, Clone, Default)]
pub struct Changed {
    pub(super) all: bool,
    pub(super) shards: BTreeSet<String>,
    pub(super) beside: bool,
}

impl Changed {
    /// Returns whether everything may be another thing now.
    pub fn everything() -> Self {
        Self { all: true, ..Self::default() }
    }

    /// Returns whether nothing is surely what it was.
    pub fn is_everything(&self) -> bool {
        self.all
    }

    /// Returns whether what the index says of a key may be another thing now.
    pub fn covers(&self, key: &str) -> bool {
        self.all || partition_key(key).map_or(self.beside, |name| self.shards.contains(&name))
    }
}
