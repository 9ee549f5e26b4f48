//! Where the object of a key is kept in the folder.
//!
//! This is the only conversion from a key to a path. A key that cannot be a path at all, or
//! not now because something else is in the way, is kept under `.bayou-folder/odd`, named by
//! its hash.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::Folder;
use super::failure::Request;
use crate::model::content_hash::ContentHash;
use crate::model::key::check_path;
use crate::store::Result;

/// The machinery's folder in the root.
pub(super) const MACHINERY: &str = ".bayou-folder";
/// Objects whose keys cannot be paths.
pub(super) const ODD: &str = ".bayou-folder/odd";
/// Bytes on their way to become objects.
pub(super) const TMP: &str = ".bayou-folder/tmp";

/// How folders are opened: for reading, because only then can they be synced.
pub(super) const AS_FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// Returns the key as a path, if the text can be one in any folder.
pub(super) fn plain_path(key: &str) -> Option<&str> {
    let first = key.split('/').next()?;
    (check_path(key).is_ok() && first != MACHINERY).then_some(key)
}

/// Returns the path of a key that cannot be one.
pub(super) fn odd_path(key: &str) -> String {
    format!("{ODD}/{}", odd_name(key))
}

pub(super) fn odd_name(key: &str) -> String {
    ContentHash::of(key.as_bytes()).to_string()
}

/// A name in an open folder, ready to be renamed to.
pub(super) struct Target {
    pub(super) parent: OwnedFd,
    pub(super) name: String,
    pub(super) is_odd: bool,
    /// Folders that got new entries on the way, to be synced.
    pub(super) changed: Vec<OwnedFd>,
}

/// What stands in the way of a path.
pub(super) enum Obstacle {
    /// A file, link or other thing where a folder is needed; or the filesystem has no such name.
    Clash,
    /// Anything else.
    Failure(Errno),
}

impl From<Errno> for Obstacle {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::ILSEQ | Errno::INVAL | Errno::ISDIR => {
                Self::Clash
            }
            _ => Self::Failure(errno),
        }
    }
}

impl Folder {
    /// Returns where the object of the request's key is to be written; makes folders on the
    /// way. `None`: somebody has just removed one of them.
    pub(super) fn target(&self, request: &Request) -> Result<Option<Target>> {
        let key = request.key.as_str();
        if let Some(path) = plain_path(key) {
            match self.plain_target(path) {
                Ok(target) => return Ok(Some(target)),
                Err(Obstacle::Clash) => {}
                Err(Obstacle::Failure(Errno::NOENT)) => return self.check_root(request).map(|()| None),
                Err(Obstacle::Failure(errno)) => {
                    return Err(request.failed("make the object's folder")(errno));
                }
            }
        }
        let parent = self.machinery(ODD, request)?;
        Ok(Some(Target { parent, name: odd_name(key), is_odd: true, changed: Vec::new() }))
    }

    fn plain_target(&self, path: &str) -> std::result::Result<Target, Obstacle> {
        let (above, name) = path.rsplit_once('/').unwrap_or((".", path));
        let mut changed = Vec::new();
        let parent = self.folder_at(above, &mut changed)?;
        match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {}
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {}
            Ok(_) => return Err(Obstacle::Clash),
            Err(errno) => return Err(errno.into()),
        }
        Ok(Target { parent, name: name.to_owned(), is_odd: false, changed })
    }

    /// Opens a folder below the root and makes what is missing of its path.
    pub(super) fn folder_at(
        &self,
        path: &str,
        changed: &mut Vec<OwnedFd>,
    ) -> std::result::Result<OwnedFd, Obstacle> {
        match self.open_beneath(path, AS_FOLDER) {
            Err(Errno::NOENT) => {}
            opened => return Ok(opened?),
        }
        let (above, name) = path.rsplit_once('/').unwrap_or((".", path));
        let parent = self.folder_at(above, changed)?;
        match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => changed.push(parent),
            Err(errno) => return Err(errno.into()),
        }
        Ok(self.open_beneath(path, AS_FOLDER)?)
    }

    /// Opens a folder of the machinery and makes it if it is missing.
    pub(super) fn machinery(&self, path: &str, request: &Request) -> Result<OwnedFd> {
        let mut changed = Vec::new();
        let opened = self.folder_at(path, &mut changed).map_err(|obstacle| {
            let errno = match obstacle {
                Obstacle::Clash => Errno::NOTDIR,
                Obstacle::Failure(errno) => errno,
            };
            self.check_root(request).err().unwrap_or_else(|| request.failed("use .bayou-folder")(errno))
        })?;
        sync_folders(&changed, request)?;
        Ok(opened)
    }
}

/// Returns when the entries of these folders are on the disk.
///
/// A folder above that another writer made a moment ago need not be named: it is earlier in
/// the journal of the filesystem.
pub(super) fn sync_folders(folders: &[OwnedFd], request: &Request) -> Result<()> {
    let mut each = folders.iter();
    each.try_for_each(rustix::fs::fsync).map_err(request.failed("sync a folder"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_safe_relative_path_outside_the_machinery_is_one() {
        for key in
            ["a", "a/b.txt", "ü/ .x", "a/.bayou-folder", ".bayou-folders", "_index/_meta.json", ".lock"]
        {
            assert_eq!(plain_path(key), Some(key));
        }
        let long = "x".repeat(256);
        for key in ["", "/", "/a", "a/", "a//b", ".", "a/../b", "..", "a\0", ".bayou-folder", &long] {
            assert_eq!(plain_path(key), None, "{key:?}");
        }
        assert_eq!(plain_path(".bayou-folder/tmp/x"), None);
    }
}
