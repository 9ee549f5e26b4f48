//! Parts of an index as shards, and shards as parts of an index: entries move as they are.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::index::Index;
use super::shard::{Shard, partition_key};

impl Index {
    /// Returns the entries of some keys as a shard holds them.
    pub fn shard_of(&self, wanted: impl Fn(&str) -> bool) -> Shard {
        let mut shard = Shard::default();
        for (key, value) in self.entries.iter().filter(|(key, _)| wanted(key)) {
            shard.take(key, value);
        }
        shard
    }

    /// Moves all entries that swamp has a shard for into shards; what is left stays.
    pub fn move_into_shards(&mut self) -> BTreeMap<String, Shard> {
        let mut shards: BTreeMap<String, Shard> = BTreeMap::new();
        let mut moved = Vec::new();
        for (key, value) in self.entries.iter() {
            if let Some(partition) = partition_key(key) {
                shards.entry(partition).or_default().take(key, value);
                moved.push(key.to_owned());
            }
        }
        for key in &moved {
            self.entries.remove(key);
        }
        shards
    }

    /// Returns a digest of each part's entries as they are, in whatever order; it is good for
    /// comparisons in this process only.
    pub fn digests(&self, part_of: impl Fn(&str) -> Option<String>) -> BTreeMap<String, u64> {
        let mut digests: BTreeMap<String, u64> = BTreeMap::new();
        for (key, value) in self.entries.iter() {
            if let Some(part) = part_of(key) {
                let mut hasher = DefaultHasher::new();
                (key, value.get()).hash(&mut hasher);
                let digest = digests.entry(part).or_default();
                *digest = digest.wrapping_add(hasher.finish());
            }
        }
        digests
    }

    /// Takes over the entries of a shard as they are.
    pub fn take_shard(&mut self, shard: &Shard) {
        for (key, value) in shard.raw() {
            self.entries.set(key, value.to_owned());
        }
    }
}
