//! Parts of an index as shards, and shards as parts of an index: entries move as they are.

use std::collections::BTreeMap;

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

    /// Takes over the entries of a shard as they are.
    pub fn take_shard(&mut self, shard: &Shard) {
        for (key, value) in shard.raw() {
            self.entries.set(key, value.to_owned());
        }
    }
}
