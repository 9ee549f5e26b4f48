//! Swamp's second layout of the index: shards and the meta document that lists them.
//!
//! In a version 1 bucket the shards are copies of parts of the monolith, in a version 2 bucket
//! they are the truth. Which shard a key belongs to follows from its parts alone. Entries that
//! nobody changed leave a shard as they came; other members of the documents are dropped by
//! every writer, swamp's and ours.

use serde_json::value::RawValue;

use super::entry::Entry;
use super::index::{Damaged, ObjectOrNothing};
use super::internal_name::is_internal;
use super::key::DataKey;
use super::raw_json::RawMap;

/// Folder of the shards and their meta document in the bucket.
pub const INDEX_FOLDER: &str = "_index/";
/// The meta document's key in the bucket.
pub const META_KEY: &str = "_index/_meta.json";

/// The meta document of the shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// What the shards are worth.
    pub role: ShardRole,
    /// Names of the shards.
    pub partitions: Vec<String>,
}

/// What the shards of a bucket are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardRole {
    /// Version 1: copies; the monolith is the truth.
    Copies,
    /// Version 2: the truth; a monolith beside them is a stale leftover.
    Truth {
        /// Grows by one with each commit; the fingerprint of the index.
        commit_seq: Option<u64>,
    },
}

impl Meta {
    /// Reads a meta document. As swamp does, a version or shape that is unknown counts as no
    /// meta (`None`); what is not JSON is an error.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, Damaged> {
        let document = serde_json::from_slice(bytes).map_err(|source| Damaged::new("Index meta", source))?;
        Ok(Self::read(&document))
    }

    fn read(document: &serde_json::Value) -> Option<Self> {
        let role = match version_of(document)? {
            1 => ShardRole::Copies,
            2 => ShardRole::Truth { commit_seq: document.get("commitSeq").and_then(whole_number) },
            _ => return None,
        };
        let names = document.get("partitions")?.as_array()?;
        let partitions = names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect();
        Some(Self { role, partitions })
    }

    /// Returns the document as swamp writes it: compact, and sorted where shards are the truth.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut names: Vec<&str> = self.partitions.iter().map(String::as_str).collect();
        let (version, commit_seq) = match self.role {
            ShardRole::Copies => (1, String::new()),
            ShardRole::Truth { commit_seq } => {
                // JavaScript sorts texts by their UTF-16 units.
                names.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
                (2, format!(",\"commitSeq\":{}", commit_seq.unwrap_or(1)))
            }
        };
        let names = serde_json::to_string(&names).expect("writing texts to memory cannot fail");
        format!("{{\"version\":{version},\"partitions\":{names}{commit_seq}}}").into_bytes()
    }
}

/// The entries of one shard.
#[derive(Debug, Clone, Default)]
pub struct Shard {
    entries: RawMap,
}

impl Shard {
    /// Reads a shard. As swamp does, a version other than 1 counts as no shard (`None`); what
    /// is not JSON, or has no object of entries, is an error.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, Damaged> {
        #[derive(serde::Deserialize)]
        struct Document {
            version: Option<serde_json::Value>,
            entries: Option<ObjectOrNothing>,
        }
        let document: Document =
            serde_json::from_slice(bytes).map_err(|source| Damaged::new("Index shard", source))?;
        let version = document.version.as_ref().and_then(whole_number);
        let entries = document.entries.map(|entries| entries.0).unwrap_or_default();
        Ok((version == Some(1)).then_some(Self { entries }))
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the entries, in the document's order; each is read when it is reached.
    pub fn entries(&self) -> impl Iterator<Item = (&str, Entry)> {
        self.entries.iter().map(|(key, value)| (key, Entry::read(value)))
    }

    /// Returns the keys, in the document's order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(key, _)| key)
    }

    /// Returns the entry of a key.
    pub fn get(&self, key: &str) -> Option<Entry> {
        self.entries.get(key).map(Entry::read)
    }

    /// Returns whether there is an entry of a key.
    pub fn has(&self, key: &str) -> bool {
        self.entries.get(key).is_some()
    }

    /// Sets the entry of a key; members that are neither swamp's nor ours stay in it.
    pub fn set(&mut self, key: &DataKey, entry: &Entry) {
        let value = entry.write(key.as_str(), self.entries.get(key.as_str()));
        self.entries.set(key.as_str(), value);
    }

    /// Removes the entry of a key; returns whether there was one.
    pub fn remove(&mut self, key: &str) -> bool {
        self.entries.remove(key)
    }

    pub(super) fn raw(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.entries.iter()
    }

    /// Takes over an entry as another document of the index has it, members unknown to us included.
    pub(super) fn take(&mut self, key: &str, value: &RawValue) {
        self.entries.set(key, value.to_owned());
    }

    /// Removes entries of internal names and returns the names.
    pub fn scrub(&mut self) -> Vec<String> {
        let zombies: Vec<String> = self.keys().filter(|key| is_internal(key)).map(str::to_owned).collect();
        for key in &zombies {
            self.entries.remove(key);
        }
        zombies
    }

    /// Returns the document as compact JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = br#"{"version":1,"entries":"#.to_vec();
        self.entries.write_to(&mut out);
        out.push(b'}');
        out
    }
}

/// Returns the key of the object that holds a shard.
pub fn shard_object(partition: &str) -> String {
    format!("{INDEX_FOLDER}{partition}.json")
}

/// Returns the name of the shard that an object below [`INDEX_FOLDER`] holds.
pub fn partition_of_object(key: &str) -> Option<&str> {
    let name = key.strip_prefix(INDEX_FOLDER)?.strip_suffix(".json")?;
    (key != META_KEY && !name.is_empty() && !name.contains('/')).then_some(name)
}

/// Returns the name of the shard that swamp keeps a key in; `None` if it has none for it.
pub fn partition_key(key: &str) -> Option<String> {
    let parts: Vec<&str> = key.split('/').collect();
    match (parts[0], parts.len()) {
        ("", 1) => None,
        (_, 1) => Some("_root".to_owned()),
        ("data" | "outputs" | "definitions-evaluated", count @ 4..) => {
            let kept = if count >= 6 { count - 3 } else { count - 1 };
            Some(parts[..kept].join("--"))
        }
        ("workflow-runs", 3..) => Some(format!("workflow-runs--{}", parts[1])),
        (
            folder @ ("workflows-evaluated" | "auto-definitions" | "audit" | "telemetry" | "logs" | "files"),
            _,
        ) => Some(folder.to_owned()),
        _ => None,
    }
}

fn version_of(document: &serde_json::Value) -> Option<u64> {
    document.get("version").and_then(whole_number)
}

/// JavaScript has one kind of number: `1.0` is 1.
fn whole_number(value: &serde_json::Value) -> Option<u64> {
    let value = serde_json::value::to_raw_value(value).ok()?;
    super::raw_json::number_of(&value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(text: &str) -> Option<Meta> {
        Meta::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn meta_of_an_unknown_version_or_shape_is_no_meta() {
        for text in [
            r#"{"version":3,"partitions":[],"commitSeq":1}"#,
            r#"{"version":"2","partitions":[]}"#,
            r#"{"version":2}"#,
            r#"{"version":2,"partitions":{}}"#,
            r#"{"partitions":[]}"#,
            "null",
            "[]",
        ] {
            assert_eq!(meta(text), None, "{text}");
        }
    }

    #[test]
    fn meta_says_what_the_shards_are_worth() {
        let copies = Meta { role: ShardRole::Copies, partitions: vec!["a".into()] };
        assert_eq!(meta(r#"{"version":1,"partitions":["a"],"commitSeq":1}"#), Some(copies));
        let truth = |commit_seq| Meta { role: ShardRole::Truth { commit_seq }, partitions: vec![] };
        assert_eq!(meta(r#"{"version":2.0,"partitions":[],"commitSeq":7}"#), Some(truth(Some(7))));
        assert_eq!(meta(r#"{"version":2,"partitions":[]}"#), Some(truth(None)));
    }

    #[test]
    fn what_is_not_json_is_an_error() {
        assert!(Meta::parse(b"{").is_err());
        assert!(Shard::parse(b"").is_err());
        assert!(Shard::parse(br#"{"version":1,"entries":[1]}"#).is_err());
    }

    #[test]
    fn documents_are_written_as_swamp_writes_them() {
        let names =
            || vec!["b".to_owned(), "\u{ff5e}".to_owned(), "\u{1f600}".to_owned(), "_root".to_owned()];
        let copies = Meta { role: ShardRole::Copies, partitions: names() }.to_bytes();
        assert_eq!(
            copies,
            "{\"version\":1,\"partitions\":[\"b\",\"\u{ff5e}\",\"\u{1f600}\",\"_root\"]}".as_bytes()
        );
        let truth = Meta { role: ShardRole::Truth { commit_seq: Some(7) }, partitions: names() }.to_bytes();
        let text =
            "{\"version\":2,\"partitions\":[\"_root\",\"b\",\"\u{1f600}\",\"\u{ff5e}\"],\"commitSeq\":7}";
        assert_eq!(String::from_utf8(truth).unwrap(), text);
        let mut shard = Shard::default();
        assert_eq!(shard.to_bytes(), br#"{"version":1,"entries":{}}"#);
        shard.set(&DataKey::admit("a").unwrap(), &Entry { size: Some(3), ..Entry::default() });
        assert_eq!(shard.to_bytes(), br#"{"version":1,"entries":{"a":{"key":"a","size":3}}}"#);
    }

    #[test]
    fn a_shard_and_its_object_name_each_other() {
        assert_eq!(partition_of_object(&shard_object("data--a--b")), Some("data--a--b"));
        for other in [META_KEY, "_index/", "_index/.json", "_index/a/b.json", "_index/a", "x.json"] {
            assert_eq!(partition_of_object(other), None, "{other}");
        }
    }

    #[test]
    fn a_shard_of_another_version_is_no_shard() {
        let shard = |text: &str| Shard::parse(text.as_bytes()).unwrap();
        assert!(shard(r#"{"version":2,"entries":{}}"#).is_none());
        assert!(shard(r#"{"entries":{}}"#).is_none());
        assert!(shard(r#"{"version":1}"#).unwrap().is_empty());
        let one = shard(r#"{"version":1,"entries":{"a":{"size":3}},"x":1}"#).unwrap();
        assert_eq!(one.entries().map(|(key, entry)| (key, entry.size)).collect::<Vec<_>>(), [("a", Some(3))]);
    }
}
