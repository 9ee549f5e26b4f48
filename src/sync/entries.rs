//! How a file is told to the bucket: its entry in the index and the metadata of its object.

use crate::cache::rows::{Inode, Kind, Remote};
use crate::model::content_hash::ContentHash;
use crate::model::entry::{Attributes, Entry};
use crate::model::timestamp::{Stamp, Timestamp};
use crate::store::{Condition, Nonce, ObjectMeta, PutOptions, UserMeta};

/// Returns how a file's object is written: its user metadata says again what its entry says.
pub(super) fn put_options(inode: &Inode, condition: Condition) -> PutOptions {
    let mut meta = UserMeta::new();
    meta.insert("bayou-mode".to_owned(), format!("{:o}", inode.mode));
    meta.insert("bayou-mtime-ns".to_owned(), inode.mtime.to_string());
    if let Kind::Symlink(target) = &inode.kind {
        meta.insert("bayou-symlink".to_owned(), target.clone());
    }
    PutOptions { condition, nonce: Nonce::fresh(), meta }
}

/// Returns the index entry of a file: swamp's members, and ours where they are not the default.
pub(super) fn entry_of(inode: &Inode, remote: &Remote) -> Entry {
    let default_mode = if inode.is_file() { 0o644 } else { 0o777 };
    let attributes = Attributes {
        mode: (inode.mode != default_mode).then_some(inode.mode),
        mtime_ns: (inode.mtime % 1_000_000 != 0).then_some(inode.mtime),
        ..inode.attributes()
    };
    Entry {
        size: Some(remote.size),
        last_modified: Some(Stamp::read(&remote.modified)),
        local_mtime: Some(Stamp::from(Timestamp::from_unix_ns(inode.mtime))),
        sha256: remote.sha256.as_deref().and_then(ContentHash::from_hex),
        version: remote.version.clone(),
        symlink: match &inode.kind {
            Kind::Symlink(target) => Some(target.clone()),
            Kind::File | Kind::Folder => None,
        },
        attributes,
    }
}

/// Returns the index entry of an object: what is known of this version of it, and what the
/// object's metadata says if nothing is.
pub(super) fn entry_of_object(meta: &ObjectMeta, old: Option<Entry>) -> Entry {
    let is_this = old.as_ref().is_some_and(|old| old.version.as_ref() == Some(&meta.version));
    let said = |name: &str| meta.user.get(name);
    let attributes = match &old {
        Some(old) => old.attributes.clone(),
        None => Attributes {
            mode: said("bayou-mode").and_then(|mode| u32::from_str_radix(mode, 8).ok()),
            mtime_ns: said("bayou-mtime-ns").and_then(|mtime| mtime.parse().ok()),
            ..Attributes::default()
        },
    };
    let symlink = old.as_ref().and_then(|old| old.symlink.clone()).or_else(|| said("bayou-symlink").cloned());
    Entry {
        size: Some(meta.size),
        last_modified: Some(Stamp::from(Timestamp::from(meta.modified))),
        version: Some(meta.version.clone()),
        symlink,
        attributes,
        ..old.filter(|_| is_this).unwrap_or_default()
    }
}

/// Returns what the index keeps of a folder.
pub(super) fn folder_attributes(inode: &Inode) -> Attributes {
    Attributes { mode: (inode.mode != 0o755).then_some(inode.mode), mtime_ns: None, ..inode.attributes() }
}
