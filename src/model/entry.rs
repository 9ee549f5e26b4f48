//! One entry of the index: what every client knows of one key.
//!
//! Reading never fails: a member that is missing or odd is unknown, and the entry is still
//! usable. Writing is exact: swamp's five members in swamp's order, then ours, then what
//! others left in the entry.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::content_hash::ContentHash;
use super::identity::Identity;
use super::raw_json::{Members, number_of, text_of};
use super::special::Special;
use super::timestamp::Stamp;
use super::version::Version;

/// Most bytes of the name of a link group.
const MAX_GROUP_BYTES: usize = 64;

/// What the index knows of one key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// Size in bytes; `None` if the entry does not say it as a number.
    pub size: Option<u64>,
    /// When the object was written.
    pub last_modified: Option<Stamp>,
    /// Modification time of the file it was uploaded from.
    pub local_mtime: Option<Stamp>,
    /// SHA-256 of exactly this version's bytes.
    pub sha256: Option<ContentHash>,
    /// Version of the object (`etag`).
    pub version: Option<Version>,
    /// Target, if the key is a symbolic link.
    pub symlink: Option<String>,
    /// What the key is, if it is a pipe, a socket or a device.
    pub special: Option<Special>,
    /// The group of names that are one file together with this one.
    pub link: Option<Arc<str>>,
    /// What a file system keeps besides the content.
    pub attributes: Attributes,
}

/// Attributes of a file or directory that differ from the default; swamp ignores them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Permission bits (`0o7777` at most).
    pub mode: Option<u32>,
    /// Modification time in nanoseconds since 1970; a decimal text in the index, because
    /// JavaScript's numbers would round it.
    pub mtime_ns: Option<i64>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Extended attributes; values are hex text in the index.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

impl Entry {
    /// Reads an entry; what is missing or odd is unknown.
    pub(super) fn read(value: &RawValue) -> Self {
        let mut entry = Self::default();
        for (name, value) in Members::of(value).0 {
            match &*name {
                "size" => entry.size = number_of(value),
                "lastModified" => entry.last_modified = text_of(value).map(|text| Stamp::read(&text)),
                "localMtime" => entry.local_mtime = text_of(value).map(|text| Stamp::read(&text)),
                "sha256" => entry.sha256 = text_of(value).and_then(|text| ContentHash::from_hex(&text)),
                "etag" => entry.version = text_of(value).and_then(|text| Version::new(&text)),
                "symlink" => entry.symlink = text_of(value),
                "special" => entry.special = text_of(value).and_then(|text| Special::parse(&text)),
                "link" => entry.link = text_of(value).and_then(|text| link_group(&text)),
                other => entry.attributes.read_member(other, value),
            }
        }
        entry
    }

    /// Returns the entry of `key` as JSON, with the members that others left in `old`.
    pub(super) fn write(&self, key: &str, old: Option<&RawValue>) -> Box<RawValue> {
        let members = WrittenEntry {
            key,
            size: self.size,
            last_modified: self.last_modified.as_ref().map(Stamp::as_str),
            local_mtime: self.local_mtime.as_ref().map(Stamp::as_str),
            sha256: self.sha256.as_ref().map(ToString::to_string),
            etag: self.version.as_ref().map(Version::as_str),
            symlink: self.symlink.as_deref(),
            special: self.special.map(|special| special.to_string()),
            link: self.link.as_deref(),
            attributes: self.attributes.written(),
            foreign: Foreign::of(old),
        };
        serde_json::value::to_raw_value(&members).expect("an entry has only names, texts and whole numbers")
    }

    /// Returns what identifies the entry's bytes.
    pub fn identity(&self) -> Identity {
        Identity {
            size: self.size,
            sha256: self.sha256,
            last_modified: self.last_modified.as_ref().and_then(Stamp::time),
            version: self.version.clone(),
        }
    }

    /// Returns whether both entries surely name the same bytes.
    pub fn same_identity(&self, other: &Self) -> bool {
        self.identity().is_same_as(&other.identity())
    }
}

impl Attributes {
    /// Returns whether nothing differs from the default.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Reads the attributes of a directory; what is missing or odd is the default.
    pub(super) fn read(value: &RawValue) -> Self {
        let mut attributes = Self::default();
        for (name, value) in Members::of(value).0 {
            attributes.read_member(&name, value);
        }
        attributes
    }

    /// Returns the attributes as JSON, with the members that others left in `old`.
    pub(super) fn write(&self, old: Option<&RawValue>) -> Box<RawValue> {
        let members = WrittenDir { attributes: self.written(), foreign: Foreign::of(old) };
        serde_json::value::to_raw_value(&members)
            .expect("attributes have only names, texts and whole numbers")
    }

    fn read_member(&mut self, name: &str, value: &RawValue) {
        let small = |value| number_of(value).and_then(|number| u32::try_from(number).ok());
        match name {
            "mode" => self.mode = small(value).map(|mode| mode & 0o7777),
            "mtimeNs" => self.mtime_ns = text_of(value).and_then(|text| text.parse().ok()),
            "uid" => self.uid = small(value),
            "gid" => self.gid = small(value),
            "xattrs" => self.xattrs = read_xattrs(value),
            _ => {}
        }
    }

    fn written(&self) -> WrittenAttributes {
        WrittenAttributes {
            mode: self.mode,
            mtime_ns: self.mtime_ns.map(|ns| ns.to_string()),
            uid: self.uid,
            gid: self.gid,
            xattrs: self.xattrs.iter().map(|(name, value)| (name.clone(), hex::encode(value))).collect(),
        }
    }
}

/// Returns the name of a link group, if it may be one.
pub fn link_group(text: &str) -> Option<Arc<str>> {
    (1..=MAX_GROUP_BYTES).contains(&text.len()).then(|| Arc::from(text))
}

fn read_xattrs(value: &RawValue) -> BTreeMap<String, Vec<u8>> {
    let members = Members::of(value).0.into_iter();
    members
        .filter_map(|(name, value)| Some((name.into_owned(), hex::decode(text_of(value)?).ok()?)))
        .collect()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenEntry<'a> {
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_modified: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local_mtime: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    symlink: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    special: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<&'a str>,
    #[serde(flatten)]
    attributes: WrittenAttributes,
    #[serde(flatten)]
    foreign: Foreign<'a>,
}

#[derive(Serialize)]
struct WrittenDir<'a> {
    #[serde(flatten)]
    attributes: WrittenAttributes,
    #[serde(flatten)]
    foreign: Foreign<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenAttributes {
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime_ns: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<String, String>,
}

/// Members that are neither swamp's nor ours.
struct Foreign<'a>(Members<'a>);

impl<'a> Foreign<'a> {
    /// Every name that an entry may get from swamp or from us.
    const KNOWN: [&'static str; 15] = [
        "key",
        "size",
        "lastModified",
        "localMtime",
        "sha256",
        "etag",
        "generation",
        "symlink",
        "special",
        "link",
        "mode",
        "mtimeNs",
        "uid",
        "gid",
        "xattrs",
    ];

    fn of(old: Option<&'a RawValue>) -> Self {
        let mut members = old.map(Members::of).unwrap_or_default();
        members.0.retain(|(name, _)| !Self::KNOWN.contains(&&**name));
        Self(members)
    }
}

impl Serialize for Foreign<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let members = &self.0.0;
        let mut map = serializer.serialize_map(Some(members.len()))?;
        for (name, value) in members {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Entry {
        Entry::read(&RawValue::from_string(text.to_owned()).unwrap())
    }

    #[test]
    fn members_are_written_in_swamps_order_and_then_ours() {
        let entry = Entry {
            size: Some(6),
            last_modified: Some(Stamp::read("2026-08-01T09:30:01.250Z")),
            local_mtime: Some(Stamp::read("2026-08-01T09:29:58.123Z")),
            sha256: Some(ContentHash::of(b"hello\n")),
            version: Version::new("\"9f2c\""),
            symlink: Some("../a".into()),
            special: Some(Special::Fifo),
            link: Some("0f3c".into()),
            attributes: Attributes {
                mode: Some(0o755),
                mtime_ns: Some(-1_785_576_672_500_000_001),
                uid: Some(1),
                gid: Some(2),
                xattrs: [("user.x".to_owned(), vec![0, 255])].into(),
            },
        };
        let text = entry.write("a", None);
        assert_eq!(
            text.get(),
            "{\"key\":\"a\",\"size\":6,\"lastModified\":\"2026-08-01T09:30:01.250Z\",\
             \"localMtime\":\"2026-08-01T09:29:58.123Z\",\
             \"sha256\":\"5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03\",\
             \"etag\":\"9f2c\",\"symlink\":\"../a\",\"special\":\"fifo\",\"link\":\"0f3c\",\"mode\":493,\"mtimeNs\":\"-1785576672500000001\",\
             \"uid\":1,\"gid\":2,\"xattrs\":{\"user.x\":\"00ff\"}}"
        );
        assert_eq!(Entry::read(&text), entry);
    }

    #[test]
    fn what_is_odd_is_unknown_and_the_entry_is_still_usable() {
        let odd = r#"{"key":7,"size":"6","lastModified":"soon","localMtime":null,"sha256":"ABC",
            "etag":"","special":"door","link":"","mode":"x","mtimeNs":5,"uid":-1,"xattrs":{"a":"zz","b":1,"c":"00"}}"#;
        let entry = read(odd);
        assert_eq!(entry.size, None);
        assert_eq!(entry.last_modified, Some(Stamp::read("soon")));
        assert_eq!((entry.local_mtime, entry.sha256, entry.version), (None, None, None));
        assert_eq!(entry.attributes.xattrs, [("c".to_owned(), vec![0])].into());
        assert_eq!(Attributes { xattrs: BTreeMap::new(), ..entry.attributes }, Attributes::default());
        assert_eq!(read("{}"), Entry::default());
        for no_object in ["null", "7", "[1]", "\"x\""] {
            assert_eq!(read(no_object), Entry::default(), "{no_object}");
        }
        assert_eq!(read(r#"{"size":3}"#).size, Some(3));
        assert_eq!(read(r#"{"mode":33188}"#).attributes.mode, Some(0o644));
    }

    #[test]
    fn what_others_left_in_an_entry_survives_and_what_is_ours_is_replaced() {
        let old = RawValue::from_string(
            r#"{"note":{"a":[1.50]},"key":"z","size":9,"etag":"old","mode":1,"generation":"7","ünï":"\ud800"}"#
                .to_owned(),
        )
        .unwrap();
        let entry = Entry { size: Some(1), ..Entry::default() };
        assert_eq!(
            entry.write("a", Some(&old)).get(),
            r#"{"key":"a","size":1,"note":{"a":[1.50]},"ünï":"\ud800"}"#
        );
    }
}
