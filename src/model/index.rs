//! The index of a bucket as one document, `.datastore-index.json`.
//!
//! Several programs share it, so it is edited, not rebuilt: entries that nobody changed and
//! members that we do not know leave it as they came. Keys that no file may have stay in it
//! too; whoever wants to show an entry must admit its key ([`DataKey::admit`]).
//! A damaged document is an error and never an empty index.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::{RawValue, to_raw_value};

use super::entry::{Attributes, Entry};
use super::internal_name::is_internal;
use super::key::DataKey;
use super::raw_json::{RawMap, compact, write_member};
use super::timestamp::Timestamp;

/// The document's key in the bucket.
pub const INDEX_KEY: &str = ".datastore-index.json";

/// All entries of a bucket, and bayou's directories.
#[derive(Debug, Clone)]
pub struct Index {
    top: Vec<TopMember>,
    pub(super) entries: RawMap,
    dirs: RawMap,
}

/// A top-level member, in its place.
#[derive(Debug, Clone)]
enum TopMember {
    Entries,
    Dirs,
    Other(Box<str>, Box<RawValue>),
}

/// A document of the index that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{document} is damaged at line {line}, column {column}")]
pub struct Damaged {
    /// Which document: `Index`, `Index meta`, `Index shard`.
    pub document: &'static str,
    /// From 1.
    pub line: usize,
    /// In bytes, from 1; 0 is before the first byte of the line.
    pub column: usize,
    /// What is wrong there.
    pub source: serde_json::Error,
}

impl Damaged {
    pub(super) fn new(document: &'static str, source: serde_json::Error) -> Self {
        Self { document, line: source.line(), column: source.column(), source }
    }
}

impl Index {
    /// Returns an index without entries.
    pub fn empty(now: Timestamp) -> Self {
        let version = TopMember::Other("version".into(), raw(&1));
        let mut index = Self { top: vec![version], entries: RawMap::default(), dirs: RawMap::default() };
        index.set_last_pulled(now);
        index.top.push(TopMember::Entries);
        index
    }

    /// Reads a document, compact or pretty; without `entries` it is empty.
    pub fn parse(bytes: &[u8]) -> Result<Self, Damaged> {
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        serde_json::from_slice(text).map_err(|source| Damaged::new("Index", source))
    }

    /// Returns the document as compact JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![b'{'];
        for (at, member) in self.top.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            match member {
                TopMember::Other(name, value) => write_member(&mut out, name, value),
                TopMember::Entries => {
                    out.extend_from_slice(b"\"entries\":");
                    self.entries.write_to(&mut out);
                }
                TopMember::Dirs => {
                    out.extend_from_slice(b"\"bayouDirs\":");
                    self.dirs.write_to(&mut out);
                }
            }
        }
        out.push(b'}');
        out
    }

    /// Sets `lastPulled`, the time the document was last written.
    pub fn set_last_pulled(&mut self, now: Timestamp) {
        let value = raw(&now.to_string());
        let old = self.top.iter_mut().find_map(|member| match member {
            TopMember::Other(name, value) if &**name == "lastPulled" => Some(value),
            TopMember::Other(..) | TopMember::Entries | TopMember::Dirs => None,
        });
        match old {
            Some(old) => *old = value,
            None => self.top.push(TopMember::Other("lastPulled".into(), value)),
        }
    }

    /// Removes entries of internal names and returns the names.
    pub fn scrub(&mut self) -> Vec<String> {
        let zombies: Vec<String> = self.keys().filter(|key| is_internal(key)).map(str::to_owned).collect();
        for key in &zombies {
            self.entries.remove(key);
        }
        zombies
    }

    /// Returns the number of entries, those with keys that no file may have included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the keys, in the document's order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(key, _)| key)
    }

    /// Returns the entries, in the document's order; each is read when it is reached.
    pub fn entries(&self) -> impl Iterator<Item = (&str, Entry)> {
        self.entries.iter().map(|(key, value)| (key, Entry::read(value)))
    }

    /// Returns the entry of a key.
    pub fn get(&self, key: &str) -> Option<Entry> {
        self.entries.get(key).map(Entry::read)
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

    /// Returns whether there is an entry of a key.
    pub fn has(&self, key: &str) -> bool {
        self.entries.get(key).is_some()
    }

    /// Returns the directories that are recorded, in the document's order.
    pub fn dirs(&self) -> impl Iterator<Item = (&str, Attributes)> {
        self.dirs.iter().map(|(path, value)| (path, Attributes::read(value)))
    }

    /// Returns what is recorded of a directory.
    pub fn dir(&self, path: &str) -> Option<Attributes> {
        self.dirs.get(path).map(Attributes::read)
    }

    /// Records a directory: one that is empty, or has attributes.
    pub fn set_dir(&mut self, path: &DataKey, attributes: &Attributes) {
        let value = attributes.write(self.dirs.get(path.as_str()));
        self.dirs.set(path.as_str(), value);
        if !self.top.iter().any(|member| matches!(member, TopMember::Dirs)) {
            self.top.push(TopMember::Dirs);
        }
    }

    /// Forgets a directory; returns whether it was recorded.
    pub fn remove_dir(&mut self, path: &str) -> bool {
        self.dirs.remove(path)
    }

    fn read_member<'de, A: MapAccess<'de>>(&mut self, name: &str, members: &mut A) -> Result<(), A::Error> {
        let member = match name {
            "entries" => {
                self.entries = members.next_value::<ObjectOrNothing>()?.0;
                TopMember::Entries
            }
            "bayouDirs" => {
                self.dirs = members.next_value::<ObjectOrNothing>()?.0;
                TopMember::Dirs
            }
            _ => TopMember::Other(name.into(), compact(members.next_value()?)),
        };
        match self.top.iter_mut().find(|old| old.name() == name) {
            Some(old) => *old = member,
            None => self.top.push(member),
        }
        Ok(())
    }
}

impl TopMember {
    fn name(&self) -> &str {
        match self {
            Self::Entries => "entries",
            Self::Dirs => "bayouDirs",
            Self::Other(name, _) => name,
        }
    }
}

fn raw(value: &(impl serde::Serialize + ?Sized)) -> Box<RawValue> {
    to_raw_value(value).expect("a text or number is always JSON")
}

impl<'de> Deserialize<'de> for Index {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(IndexVisitor)
    }
}

struct IndexVisitor;

impl<'de> Visitor<'de> for IndexVisitor {
    type Value = Index;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an index (an object)")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Index, A::Error> {
        let mut index = Index { top: Vec::new(), entries: RawMap::default(), dirs: RawMap::default() };
        while let Some(name) = members.next_key::<String>()? {
            index.read_member(&name, &mut members)?;
        }
        if !index.top.iter().any(|member| matches!(member, TopMember::Entries)) {
            index.top.push(TopMember::Entries);
        }
        Ok(index)
    }
}

/// An object; `null` and the empty list, as swamp reads them, are an object without members.
pub(super) struct ObjectOrNothing(pub(super) RawMap);

impl<'de> Deserialize<'de> for ObjectOrNothing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyVisitor;
        impl<'de> Visitor<'de> for AnyVisitor {
            type Value = RawMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_unit<E>(self) -> Result<RawMap, E> {
                Ok(RawMap::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RawMap, A::Error> {
                match list.next_element::<serde::de::IgnoredAny>()? {
                    None => Ok(RawMap::default()),
                    Some(_) => Err(A::Error::custom("invalid type: list, expected an object")),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<RawMap, A::Error> {
                RawMap::deserialize(serde::de::value::MapAccessDeserializer::new(members))
            }
        }
        deserializer.deserialize_any(AnyVisitor).map(ObjectOrNothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Index {
        Index::parse(text.as_bytes()).unwrap()
    }

    fn written(index: &Index) -> String {
        String::from_utf8(index.to_bytes()).unwrap()
    }

    fn key(text: &str) -> DataKey {
        DataKey::admit(text).unwrap()
    }

    fn sized(size: u64) -> Entry {
        Entry { size: Some(size), ..Entry::default() }
    }

    #[test]
    fn an_empty_index_is_what_swamp_writes() {
        let index = Index::empty(Timestamp::from_unix_ms(1_785_576_672_500));
        assert_eq!(written(&index), r#"{"version":1,"lastPulled":"2026-08-01T09:31:12.500Z","entries":{}}"#);
    }

    #[test]
    fn a_document_without_entries_is_empty_and_can_be_filled() {
        for text in ["{}", r#"{"entries":null}"#, r#"{"entries":[]}"#] {
            let mut index = parse(text);
            assert!(index.is_empty());
            index.set(&key("a"), &sized(1));
            assert_eq!(written(&index), r#"{"entries":{"a":{"key":"a","size":1}}}"#, "{text}");
        }
    }

    #[test]
    fn a_damaged_document_is_an_error_that_says_where_and_never_empty() {
        let table = [
            ("", 1, 0),
            ("{\"version\":1,\"lastPulled\":\"", 1, 27),
            ("{\"entries\":\n{\"a\":{]}}", 2, 7),
            ("[]", 1, 0),
            ("{\"entries\":7}", 1, 12),
            ("{\"entries\":[1]}", 1, 14),
            ("{} x", 1, 4),
        ];
        for (text, line, column) in table {
            let error = Index::parse(text.as_bytes()).unwrap_err();
            assert_eq!((error.line, error.column), (line, column), "{text}: {}", error.source);
        }
        assert!(Index::parse(b"{\"entries\":{\"\xff\":{}}}").is_err());
    }

    #[test]
    fn pretty_and_bom_are_read_and_written_compact() {
        let pretty =
            "\u{feff}{\n  \"version\": 1,\n  \"entries\": {\n    \"a b\": { \"size\" : 1 }\n  }\n}\n";
        assert_eq!(written(&parse(pretty)), r#"{"version":1,"entries":{"a b":{"size":1}}}"#);
    }

    #[test]
    fn unknown_members_and_their_order_survive_a_change() {
        let mut index = parse(
            r#"{"x":[1.50,{"y":null}],"version":9,"entries":{"b":{"odd":1,"size":2},"a":7},"lastPulled":"?","z":1}"#,
        );
        index.set(&key("b"), &sized(3));
        index.set_last_pulled(Timestamp::from_unix_ms(0));
        assert_eq!(
            written(&index),
            r#"{"x":[1.50,{"y":null}],"version":9,"entries":{"b":{"key":"b","size":3,"odd":1},"a":7},"lastPulled":"1970-01-01T00:00:00.000Z","z":1}"#
        );
    }

    #[test]
    fn keys_that_no_file_may_have_stay_unchanged() {
        let text = r#"{"entries":{"../x":{"size":1},"x/":{},"a//b":{},"a\u0000b":{},"":{},"__proto__":{}}}"#;
        let mut index = parse(text);
        assert!(index.scrub().is_empty());
        assert_eq!(index.len(), 6);
        assert_eq!(written(&index), text);
    }

    #[test]
    fn scrub_removes_internal_names_and_says_which() {
        let mut index = parse(r#"{"entries":{"a/.lock":{},"a":{},"_index/x":{},"_catalog.db-wal":{}}}"#);
        assert_eq!(index.scrub(), ["a/.lock", "_index/x", "_catalog.db-wal"]);
        assert_eq!(written(&index), r#"{"entries":{"a":{}}}"#);
    }

    #[test]
    fn directories_are_kept_in_a_member_of_our_own() {
        let mut index = parse(r#"{"entries":{}}"#);
        let attributes = Attributes { mode: Some(0o700), ..Attributes::default() };
        index.set_dir(&key("a/b"), &attributes);
        index.set_dir(&key("c"), &Attributes::default());
        assert_eq!(written(&index), r#"{"entries":{},"bayouDirs":{"a/b":{"mode":448},"c":{}}}"#);
        let mut again = parse(&written(&index));
        assert_eq!(again.dir("a/b"), Some(attributes));
        assert_eq!(again.dirs().count(), 2);
        assert!(again.remove_dir("c"));
        assert_eq!(again.dir("c"), None);
    }
}
