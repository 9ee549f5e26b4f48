//! What the catalog keeps: one row per inode, name, tombstone and content file.
//!
//! Rows are plain values. They are written as images: replaying one twice changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use super::kind::Kind;
use super::ranges::RangeSet;
use super::unchanged::Unchanged;
use crate::model::timestamp::Timestamp;
use crate::store::{Nonce, ObjectMeta, UploadId, Version};

/// The number of an inode; never reused, kept over remounts.
pub type Ino = u64;

/// The root folder's inode.
pub const ROOT: Ino = 1;

/// A path below the mount's root, without a leading slash; the root is the empty path.
pub type Path = Arc<str>;

/// A point in time: nanoseconds since 1970 (UTC).
pub type Nanos = i64;

/// The name of a content file: never reused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContentId(pub Arc<str>);

/// What the names of one file have in common in the index.
pub type LinkGroup = Arc<str>;

/// What identifies the bytes that the index names for one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remote {
    /// Size in bytes.
    pub size: u64,
    /// `lastModified`, as the entry says it.
    pub modified: String,
    /// SHA-256 of the bytes, lower case hex, where the entry has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The object's version, where the entry or an answer of the store has told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
}

impl Remote {
    /// Returns what the bucket says of an object.
    pub fn of_object(meta: &ObjectMeta) -> Self {
        let modified = Timestamp::from(meta.modified).to_string();
        Self { size: meta.size, modified, sha256: None, version: Some(meta.version.clone()) }
    }

    /// Returns whether both mean the same bytes, as far as can be told: by version where both
    /// have one, else by hash where both have one, else by size and time.
    pub fn is_same_as(&self, other: &Remote) -> bool {
        if self.size != other.size {
            return false;
        }
        if let (Some(a), Some(b)) = (&self.version, &other.version) {
            return a == b;
        }
        if let (Some(a), Some(b)) = (&self.sha256, &other.sha256) {
            return a == b;
        }
        self.modified == other.modified
    }
}

/// The object that a file's absent bytes come from: after a rename still the old key's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The object's key.
    pub key: Path,
    /// Its version.
    pub remote: Remote,
    /// The content stamp at which the file's bytes are exactly this object's.
    pub at: u64,
}

/// How often an inode was changed: content and metadata apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stamp {
    /// Changes of the content.
    pub content: u64,
    /// Changes of mode, owner, times and extended attributes.
    pub meta: u64,
}

impl Stamp {
    /// The stamp of no file that is there: an upload of a file that had the name before.
    pub const NEVER: Stamp = Stamp { content: u64::MAX, meta: u64::MAX };
}

/// One file, folder or symbolic link.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inode {
    /// File, folder or link.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Owner, where it was changed from the mount's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Group, where it was changed from the mount's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// Size in bytes.
    pub size: u64,
    /// When the content changed.
    pub mtime: Nanos,
    /// When anything changed.
    pub ctime: Nanos,
    /// When it was last read, where somebody said so; it stays on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub atime: Option<Nanos>,
    /// Extended attributes `user.*`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// How often it was changed.
    pub stamp: Stamp,
    /// The group that its names are in, if it has or had several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkGroup>,
    /// The content file, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<ContentId>,
    /// The object that fills what is absent from the content file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Machine-local: never indexed, never uploaded, never dirty.
    #[serde(default, skip_serializing_if = "is_false")]
    pub local: bool,
    /// A folder that exists only because there are names below it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub implied: bool,
    /// The path of its name, or of one of its names; `None` once it was unlinked.
    #[serde(skip)]
    pub path: Option<Path>,
    /// Open handles.
    #[serde(skip)]
    pub opens: u32,
    /// How many of them read and write the content file without us: it is lent to the kernel.
    #[serde(skip)]
    pub lent: u32,
    /// Whether its content file may be changed unseen.
    #[serde(skip)]
    pub watched: bool,
    /// Lookups that the kernel has not forgotten.
    #[serde(skip)]
    pub lookups: u64,
    /// Whether others took one of its names, which whoever has it open may have opened.
    #[serde(skip)]
    pub parted: bool,
    /// Whether bytes of it were read that its content does not hold (any more).
    #[serde(skip)]
    pub given: bool,
    /// The path that others took from it while it was open here.
    #[serde(skip)]
    pub taken_path: Option<Path>,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl Inode {
    /// Returns whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.kind == Kind::Folder
    }

    /// Returns the object that has exactly the file's bytes, if there is one.
    pub fn equal_object(&self) -> Option<&Source> {
        self.source.as_ref().filter(|source| source.at == self.stamp.content)
    }

    /// Returns whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.kind == Kind::File
    }
}

/// An upload that was begun and whose outcome is not noted yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uploading {
    /// The inode whose bytes are uploaded: the name may mean another one by now.
    pub ino: Ino,
    /// What the upload's bytes are a snapshot of.
    pub stamp: Stamp,
    /// The mark by which the object is recognised.
    pub nonce: Nonce,
    /// The multipart upload, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<UploadId>,
}

/// An upload that is in the bucket but that the index does not name yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uploaded {
    /// What the bytes are a snapshot of.
    pub stamp: Stamp,
    /// What is in the bucket now.
    pub remote: Remote,
}

impl Uploaded {
    /// Returns the upload of a file that had the name before.
    pub fn by_another(remote: Remote) -> Self {
        Self { stamp: Stamp::NEVER, remote }
    }
}

/// One name, with what the index says of its key and how far this machine has pushed it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Name {
    /// The inode behind the name.
    pub ino: Ino,
    /// What the index says of the key, as far as it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Remote>,
    /// The version that the local content derives from, or equals if it is clean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Remote>,
    /// The stamp at which bucket and index were last known to have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed: Option<Stamp>,
    /// An upload that was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploading: Option<Uploading>,
    /// An upload that is done but not in the index; at [`Stamp::NEVER`] it is that of another
    /// file, which had the name before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploaded: Option<Uploaded>,
    /// The key whose conflicting version this file keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict_of: Option<Path>,
    /// The path under which the index names the same file or folder until this name is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_from: Option<Path>,
    /// Whether the index may have a record of a folder under this path: of another one that had
    /// it before, or of this one, from a commit whose outcome is not noted yet.
    #[serde(default, skip_serializing_if = "is_false")]
    pub record_left: bool,
}

impl Name {
    /// Returns whether the index names another version than the one that our content derives
    /// from, and not because ours is ahead of it.
    pub fn has_moved_on(&self) -> bool {
        match (&self.base, &self.remote) {
            (Some(base), Some(remote)) => !base.is_same_as(remote) && self.uploaded.is_none(),
            (None, Some(_)) => true,
            (_, None) => false,
        }
    }

    /// Returns a name that exists only here.
    pub fn new_here(ino: Ino) -> Self {
        Self {
            ino,
            remote: None,
            base: None,
            pushed: None,
            uploading: None,
            uploaded: None,
            conflict_of: None,
            moved_from: None,
            record_left: false,
        }
    }
}

impl Tombstone {
    /// Returns whether this is what was removed, as the bucket or as the index knows it. The
    /// same bytes that somebody put there again later are not.
    pub fn means(&self, entry: &Remote) -> bool {
        let is_later = |removed: &Remote| {
            (removed.version.is_none() || entry.version.is_none()) && removed.modified != entry.modified
        };
        let removed = [&self.remote, &self.indexed].into_iter().flatten();
        removed.into_iter().any(|removed| removed.is_same_as(entry) && !is_later(removed))
    }
}

/// A name that was removed here and that the bucket may still have.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The object that the removed file left; `None` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Remote>,
    /// What the index says of the key: older than the object if an upload was not committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indexed: Option<Remote>,
    /// Whether a folder was removed: the index has a record of it. There may be a removed
    /// file's object besides.
    #[serde(default, skip_serializing_if = "is_false")]
    pub folder: bool,
    /// The new name of the same file: the old one goes when the new one is in the index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_to: Option<Path>,
    /// An upload that was under way when the name was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploading: Option<Uploading>,
    /// Whether the index has let go of the name already; only the object is left to delete.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unindexed: bool,
}

/// A content file: which of its bytes are there and which can be trusted after a power cut.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ContentRow {
    /// Bytes that are there, below `fill_limit`.
    pub present: RangeSet,
    /// Bytes from here on never come from the bucket: they were written here or are zeros.
    pub fill_limit: u64,
    /// Length up to which the file was on the disk at the last durable point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durable_len: Option<u64>,
    /// Bytes that were there, and on the disk, at the last durable point.
    #[serde(default, skip_serializing_if = "RangeSet::is_empty")]
    pub durable_present: RangeSet,
    /// Whether bytes below `durable_len` may have changed since the last durable point.
    #[serde(default, skip_serializing_if = "is_false")]
    pub overwriting: bool,
    /// What is known not to have changed since the file was an object's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unchanged: Option<Unchanged>,
}

/// One change of the catalog, as an image of the row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RowOp {
    /// The inode is now this.
    Inode(Ino, Box<Inode>),
    /// The inode is gone.
    NoInode(Ino),
    /// The name is now this.
    Name(Path, Box<Name>),
    /// The name is gone.
    NoName(Path),
    /// The tombstone is now this.
    Tombstone(Path, Box<Tombstone>),
    /// The tombstone is gone.
    NoTombstone(Path),
    /// The content file is now this.
    Content(ContentId, Box<ContentRow>),
    /// These bytes of a content file are there now.
    Extent(ContentId, u64, u64),
    /// These bytes of a content file are about to be changed.
    Changed(ContentId, u64, u64),
    /// The content file is gone.
    NoContent(ContentId),
    /// A setting of the whole cache.
    Setting(String, String),
}

/// Everything that the catalog holds, as loaded.
#[derive(Debug, Default)]
pub struct Rows {
    /// By inode number.
    pub inodes: BTreeMap<Ino, Inode>,
    /// By path.
    pub names: BTreeMap<Path, Name>,
    /// By path.
    pub tombstones: BTreeMap<Path, Tombstone>,
    /// By content id.
    pub contents: BTreeMap<ContentId, ContentRow>,
    /// Settings of the whole cache.
    pub settings: BTreeMap<String, String>,
}

impl Rows {
    /// Applies one change.
    pub fn apply(&mut self, op: RowOp) {
        match op {
            RowOp::Inode(ino, row) => drop(self.inodes.insert(ino, *row)),
            RowOp::NoInode(ino) => drop(self.inodes.remove(&ino)),
            RowOp::Name(path, row) => drop(self.names.insert(path, *row)),
            RowOp::NoName(path) => drop(self.names.remove(&path)),
            RowOp::Tombstone(path, row) => drop(self.tombstones.insert(path, *row)),
            RowOp::NoTombstone(path) => drop(self.tombstones.remove(&path)),
            RowOp::Content(id, row) => drop(self.contents.insert(id, *row)),
            RowOp::Extent(id, start, end) => {
                self.contents.entry(id).or_default().present.insert(start..end);
            }
            RowOp::Changed(id, start, end) => {
                let row = self.contents.get_mut(&id).and_then(|row| row.unchanged.as_mut());
                row.into_iter().for_each(|unchanged| unchanged.remove(start..end));
            }
            RowOp::NoContent(id) => drop(self.contents.remove(&id)),
            RowOp::Setting(name, value) => drop(self.settings.insert(name, value)),
        }
    }
}
