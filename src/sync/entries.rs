//! How a file is told to the bucket: its entry in the index and the metadata of its object.

use std::collections::BTreeMap;

use super::error::{Result, SyncError};
use crate::cache::rows::{Inode, Kind, Remote};
use crate::model::content_hash::ContentHash;
use crate::model::entry::{Attributes, Entry, link_group};
use crate::model::key::ObjectKey;
use crate::model::special::Special;
use crate::model::timestamp::{Stamp, Timestamp};
use crate::store::{Condition, Nonce, ObjectMeta, ObjectStore, PutOptions, UserMeta};

/// Most bytes of extended attributes that an object's metadata says again: all of it may be 2 KiB.
const MAX_XATTRS_BYTES: usize = 512;
/// Most bytes of a symlink's target that the metadata says again; escaped they may be three times
/// as many. Of a longer one it says only that the object's bytes are a target.
const MAX_TARGET_BYTES: usize = 340;
const IN_BODY: &str = "";

/// Returns how a file's object is written: its user metadata says again what its entry says.
///
/// The hash goes along where a file has several names: by it they are found to be the same.
pub(super) fn put_options(inode: &Inode, condition: Condition, sha256: Option<&str>) -> PutOptions {
    let mut meta = UserMeta::new();
    meta.insert("bayou-mode".to_owned(), format!("{:o}", inode.mode));
    meta.insert("bayou-mtime-ns".to_owned(), inode.mtime.to_string());
    match &inode.kind {
        Kind::Symlink(target) => {
            let said = if target.len() > MAX_TARGET_BYTES { IN_BODY } else { target };
            meta.insert("bayou-symlink".to_owned(), said.to_owned());
        }
        Kind::Special(special) => drop(meta.insert("bayou-special".to_owned(), special.to_string())),
        Kind::File | Kind::Folder => {}
    }
    if let Some(link) = &inode.link {
        meta.insert("bayou-link".to_owned(), link.to_string());
        sha256.map(|hash| meta.insert("bayou-sha256".to_owned(), hash.to_owned()));
    }
    let owners = [("bayou-uid", inode.uid), ("bayou-gid", inode.gid)];
    let owners = owners.into_iter().filter_map(|(name, id)| Some((name.to_owned(), id?.to_string())));
    meta.extend(owners);
    let xattrs = xattrs_text(&inode.xattrs);
    if !inode.xattrs.is_empty() && xattrs.len() <= MAX_XATTRS_BYTES {
        meta.insert("bayou-xattrs".to_owned(), xattrs);
    }
    PutOptions { condition, nonce: Nonce::fresh(), meta }
}

/// Returns the index entry of a file: swamp's members, and ours where they are not the default.
pub(super) fn entry_of(inode: &Inode, remote: &Remote) -> Entry {
    let attributes = Attributes {
        mode: (inode.mode != inode.kind.default_mode()).then_some(inode.mode),
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
            Kind::File | Kind::Folder | Kind::Special(_) => None,
        },
        special: match inode.kind {
            Kind::Special(special) => Some(special),
            Kind::File | Kind::Folder | Kind::Symlink(_) => None,
        },
        link: inode.link.clone(),
        attributes,
    }
}

/// Returns the index entry of an object: what is known of this version of it, and what the
/// object says if nothing is; `None` if there is none, or it was replaced or removed meanwhile.
///
/// One request for symlinks whose target is too long for metadata, else none.
pub(super) async fn entry_of_object(
    store: &dyn ObjectStore,
    key: &str,
    meta: Option<&ObjectMeta>,
    old: Option<Entry>,
) -> Result<Option<Entry>> {
    let Some(meta) = meta else { return Ok(None) };
    let entry = entry_said(meta, old);
    if entry.symlink.as_deref() != Some(IN_BODY) {
        return Ok(Some(entry));
    }
    match store.get(&ObjectKey::new(key), None, Some(&meta.version)).await {
        Ok(fetched) => {
            let symlink = String::from_utf8(fetched.body.into()).ok().filter(|target| !target.is_empty());
            Ok(Some(Entry { symlink, ..entry }))
        }
        Err(failed) if failed.is_condition_failed() || failed.is_not_found() => Ok(None),
        Err(failed) => Err(SyncError::store(format!("Reading where {key} points"))(failed)),
    }
}

/// Returns the index entry of an object as far as its metadata goes.
fn entry_said(meta: &ObjectMeta, old: Option<Entry>) -> Entry {
    let is_this = old.as_ref().is_some_and(|old| old.version.as_ref() == Some(&meta.version));
    let said = |name: &str| meta.user.get(name);
    let attributes = match &old {
        Some(old) => old.attributes.clone(),
        None => Attributes {
            mode: said("bayou-mode").and_then(|mode| u32::from_str_radix(mode, 8).ok()),
            mtime_ns: said("bayou-mtime-ns").and_then(|mtime| mtime.parse().ok()),
            uid: said("bayou-uid").and_then(|uid| uid.parse().ok()),
            gid: said("bayou-gid").and_then(|gid| gid.parse().ok()),
            xattrs: said("bayou-xattrs").map(|text| xattrs_of(text)).unwrap_or_default(),
        },
    };
    let symlink = old.as_ref().and_then(|old| old.symlink.clone()).or_else(|| said("bayou-symlink").cloned());
    let special = match &old {
        Some(old) => old.special,
        None => said("bayou-special").and_then(|text| Special::parse(text)),
    };
    let of_object = |old: Option<Entry>| match old {
        Some(old) if is_this => old,
        Some(_) => Entry::default(),
        None => {
            let link = said("bayou-link").and_then(|text| link_group(text));
            let sha256 = said("bayou-sha256").and_then(|text| ContentHash::from_hex(text));
            Entry { sha256: sha256.filter(|_| link.is_some()), link, ..Entry::default() }
        }
    };
    Entry {
        size: Some(meta.size),
        last_modified: Some(Stamp::from(Timestamp::from(meta.modified))),
        version: Some(meta.version.clone()),
        symlink,
        special,
        attributes,
        ..of_object(old)
    }
}

/// Extended attributes in an object's metadata: names and values in hex, which fits any header.
fn xattrs_text(xattrs: &BTreeMap<String, Vec<u8>>) -> String {
    let one = |(name, value): (&String, &Vec<u8>)| format!("{}={}", hex::encode(name), hex::encode(value));
    xattrs.iter().map(one).collect::<Vec<_>>().join(",")
}

fn xattrs_of(text: &str) -> BTreeMap<String, Vec<u8>> {
    let one = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        Some((String::from_utf8(hex::decode(name).ok()?).ok()?, hex::decode(value).ok()?))
    };
    text.split(',').filter_map(one).collect()
}

/// Returns what the index keeps of a folder.
pub(super) fn folder_attributes(inode: &Inode) -> Attributes {
    Attributes { mode: (inode.mode != 0o755).then_some(inode.mode), mtime_ns: None, ..inode.attributes() }
}
