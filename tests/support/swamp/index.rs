//! The monolith: its document, how it is fetched, and how it is made up where there is none.

use std::collections::HashSet;

use bayou::model::timestamp::Timestamp;
use serde_json::{Map, Value, json};

use super::names::shard_of;
use super::{Process, Result, is_internal};

/// The key of the monolith.
pub(super) const INDEX: &str = ".datastore-index.json";

/// Entries by key, in the document's order.
pub(super) type Entries = Map<String, Value>;

/// The document of the index, with whatever else stands in it.
pub(super) struct Index(Map<String, Value>);

impl Index {
    pub(super) fn of(entries: Entries, now: String) -> Self {
        let mut document = Map::new();
        document.insert("version".to_owned(), json!(1));
        document.insert("lastPulled".to_owned(), json!(now));
        document.insert("entries".to_owned(), Value::Object(entries));
        Self(document)
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut document: Map<String, Value> = serde_json::from_slice(bytes)?;
        if !document.get("entries").is_some_and(Value::is_object) {
            document.insert("entries".to_owned(), json!({}));
        }
        Ok(Self(document))
    }

    pub(super) fn entries(&self) -> &Entries {
        self.0["entries"].as_object().unwrap()
    }

    pub(super) fn entries_mut(&mut self) -> &mut Entries {
        self.0["entries"].as_object_mut().unwrap()
    }

    /// Removes machinery; returns whether there was any.
    pub(super) fn scrub(&mut self) -> bool {
        let before = self.entries().len();
        self.entries_mut().retain(|key, _| !is_internal(key));
        self.entries().len() < before
    }

    pub(super) fn stamped(&mut self, now: String) -> Vec<u8> {
        self.0.insert("lastPulled".to_owned(), json!(now));
        serde_json::to_vec(&self.0).unwrap()
    }

    /// Returns the entries by shard, shards in the order in which they first appear.
    pub(super) fn by_shard(&self) -> Vec<(String, Entries)> {
        let mut shards: Vec<(String, Entries)> = Vec::new();
        for (key, entry) in self.entries() {
            let Some(shard) = shard_of(key) else { continue };
            let at = shards.iter().position(|(name, _)| *name == shard).unwrap_or_else(|| {
                shards.push((shard, Entries::new()));
                shards.len() - 1
            });
            shards[at].1.insert(key.clone(), entry.clone());
        }
        shards
    }
}

impl Process {
    /// Fetches the monolith into memory, or discovers one; returns the fingerprint of the bytes.
    pub(super) async fn pull_index(&mut self) -> Result<Option<String>> {
        let Some((bytes, fingerprint)) = self.bucket.get(INDEX).await? else { return self.discover().await };
        let mut index = Index::parse(&bytes)?;
        if index.scrub() {
            self.mutated = true;
        }
        self.index = Some(index);
        self.machine.write_index();
        Ok(Some(fingerprint))
    }

    /// Makes an index of what is in the bucket and publishes it, whoever else does so as well.
    async fn discover(&mut self) -> Result<Option<String>> {
        let listed = self.bucket.list("").await?;
        let manifest = |key: &str| key.strip_suffix("/.namespace.json").map(str::to_owned);
        let foreign: HashSet<String> = listed.iter().filter_map(|one| manifest(one.key.as_str())).collect();
        let mut entries = Entries::new();
        for one in &listed {
            let key = one.key.as_str();
            let top = key.split('/').next().unwrap_or(key);
            if !is_internal(key) && !foreign.contains(top) {
                let modified = Timestamp::from(one.modified).to_string();
                entries
                    .insert(key.to_owned(), json!({"key": key, "size": one.size, "lastModified": modified}));
            }
        }
        let is_empty = entries.is_empty();
        self.index = Some(Index::of(entries, self.machine.now()));
        if is_empty {
            return Ok(None);
        }
        let fingerprint = self.put_index().await?;
        self.machine.write_index();
        Ok(Some(fingerprint))
    }

    /// Writes the index in memory over whatever the bucket has.
    pub(super) async fn put_index(&mut self) -> Result<String> {
        let now = self.machine.now();
        let body = self.index_in_memory().stamped(now);
        self.bucket.put(INDEX, body).await
    }

    pub(super) fn index_in_memory(&mut self) -> &mut Index {
        let now = self.machine.now();
        self.index.get_or_insert_with(|| Index::of(Entries::new(), now))
    }

    /// Returns whether every entry of the index has a file of its size here.
    pub(super) fn is_complete(&self) -> bool {
        let Some(index) = &self.index else { return false };
        !self.state.lazy()
            && index.entries().iter().filter(|(key, _)| !is_internal(key)).all(|(key, entry)| {
                self.machine.stat(key).is_some_and(|stat| entry.get("size") == Some(&json!(stat.size)))
            })
    }
}
