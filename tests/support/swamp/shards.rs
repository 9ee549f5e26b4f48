//! The shards and the meta document that lists them.

use serde_json::{Map, Value, json};

use super::index::{Entries, Index};
use super::{Failed, Process, Result};

/// The key of the meta document.
pub(super) const META: &str = "_index/_meta.json";

/// A meta document of version 1 or 2; any other counts as none.
#[derive(Debug, Clone)]
pub(crate) struct Meta {
    pub(super) version: u64,
    pub(super) partitions: Vec<String>,
    seq: Option<u64>,
}

impl Meta {
    pub(super) fn truth(mut partitions: Vec<String>, commit_seq: u64) -> Self {
        partitions.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
        Self { version: 2, partitions, seq: Some(commit_seq) }
    }

    pub(super) fn copies(partitions: Vec<String>) -> Self {
        Self { version: 1, partitions, seq: None }
    }

    fn read(document: &Value) -> Option<Self> {
        let version = document.get("version")?.as_u64().filter(|version| (1..=2).contains(version))?;
        let names = document.get("partitions")?.as_array()?;
        let partitions = names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect();
        Some(Self { version, partitions, seq: document.get("commitSeq").and_then(Value::as_u64) })
    }

    /// Returns the sequence number, if the shards are the truth.
    pub(super) fn commit_seq(&self) -> Option<u64> {
        (self.version == 2).then_some(self.seq.unwrap_or(0))
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut document = Map::new();
        document.insert("version".to_owned(), json!(self.version));
        document.insert("partitions".to_owned(), json!(self.partitions));
        if let Some(commit_seq) = self.commit_seq() {
            document.insert("commitSeq".to_owned(), json!(commit_seq));
        }
        serde_json::to_vec(&document).unwrap()
    }
}

/// Returns the key of a shard.
pub(super) fn key_of(shard: &str) -> String {
    format!("_index/{shard}.json")
}

impl Process {
    pub(super) async fn read_meta(&self) -> Result<Option<Meta>> {
        let Some((bytes, _)) = self.bucket.get(META).await? else { return Ok(None) };
        Ok(Meta::read(&serde_json::from_slice(&bytes)?))
    }

    pub(super) async fn put_meta(&self, meta: &Meta) -> Result<()> {
        self.bucket.put(META, meta.to_bytes()).await.map(drop)
    }

    /// Returns a shard's entries; nothing if it is missing or of another version.
    pub(super) async fn read_shard(&self, shard: &str) -> Result<Option<Entries>> {
        let Some((bytes, _)) = self.bucket.get(&key_of(shard)).await? else { return Ok(None) };
        let document: Value = serde_json::from_slice(&bytes)?;
        let is_known = document.get("version") == Some(&json!(1));
        Ok(is_known.then(|| document["entries"].as_object().cloned().unwrap_or_default()))
    }

    pub(super) async fn put_shard(&self, shard: &str, entries: &Entries) -> Result<()> {
        let body = serde_json::to_vec(&json!({"version": 1, "entries": entries})).unwrap();
        self.bucket.put(&key_of(shard), body).await.map(drop)
    }

    /// Puts the index in memory together from the shards, if they are the truth, and returns the
    /// sequence number that was read before them.
    pub(super) async fn assemble(&mut self) -> Result<Option<u64>> {
        let Some(meta) = self.read_meta().await? else { return Ok(None) };
        let Some(commit_seq) = meta.commit_seq() else { return Ok(None) };
        let mut entries = Entries::new();
        for shard in &meta.partitions {
            let Some(found) = self.read_shard(shard).await? else {
                return Err(Failed::new(format!("Index is corrupt: shard {shard} is missing")));
            };
            entries.extend(found);
        }
        let mut index = Index::of(entries, self.machine.now());
        // What is scrubbed here stays in the bucket's shards.
        index.scrub();
        self.index = Some(index);
        self.machine.write_index();
        Ok(Some(commit_seq))
    }
}
