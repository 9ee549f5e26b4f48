//! A listing of the folder, in the order of the keys' bytes.
//!
//! Folders are walked depth first, with a `/` behind their names, which gives the order of
//! the whole keys. Only one folder is open at a time, however deep the tree. Objects kept
//! aside are merged in under their true keys. What cannot be an object (links, sockets, names
//! that are not UTF-8) is skipped and counted.

use std::iter::Peekable;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::Errno;

use super::Folder;
use super::failure::Request;
use super::object::{Facts, KEY_XATTR, xattr};
use super::place::{AS_FOLDER, MACHINERY, ODD, odd_name, plain_path};
use crate::model::key::ObjectKey;
use crate::store::{Listed, Result};

const PAGE: usize = 1000;

/// A listing that is under way.
pub(super) struct Listing {
    folder: Arc<Folder>,
    request: Request,
    after: Option<String>,
    walk: Option<Walk>,
}

/// The walk through the folders.
struct Walk {
    levels: Vec<Level>,
    plain_ahead: Option<Listed>,
    odd: Peekable<std::vec::IntoIter<Listed>>,
    skipped: usize,
}

/// A folder on the way down, with the names that are still to come.
struct Level {
    /// Empty, or ends in `/`.
    path: String,
    /// Folders' names end in `/`.
    names: std::vec::IntoIter<String>,
    open: Option<OwnedFd>,
}

impl Listing {
    pub(super) fn new(folder: Arc<Folder>, prefix: &str, after: Option<&ObjectKey>) -> Self {
        let request = Request { operation: "list", key: ObjectKey::new(prefix) };
        Self { folder, request, after: after.map(|key| key.as_str().to_owned()), walk: None }
    }

    pub(super) fn request(&self) -> &Request {
        &self.request
    }

    /// Returns the next objects, none at the end.
    pub(super) fn next_page(&mut self) -> Result<Vec<Listed>> {
        self.folder.check_root(&self.request)?;
        let mut walk = match self.walk.take() {
            Some(walk) => walk,
            None => self.begin()?,
        };
        let mut page = Vec::new();
        while page.len() < PAGE {
            let Some(next) = self.next_object(&mut walk)? else { break };
            page.push(next);
        }
        if page.is_empty() && walk.skipped > 0 {
            tracing::warn!(
                bucket = %self.folder.address,
                skipped = walk.skipped,
                "Skipped what cannot be an object: links, special files, names that are not UTF-8"
            );
        }
        self.walk = Some(walk);
        Ok(page)
    }

    fn begin(&self) -> Result<Walk> {
        let odd = self.odd_objects()?.into_iter().peekable();
        let mut walk = Walk { levels: Vec::new(), plain_ahead: None, odd, skipped: 0 };
        let prefix = self.request.key.as_str();
        match prefix.rsplit_once('/') {
            None => self.descend(&mut walk, String::new())?,
            Some((folder, _)) if plain_path(folder).is_some() => {
                self.descend(&mut walk, format!("{folder}/"))?;
            }
            Some(_) => {}
        }
        Ok(walk)
    }

    /// Returns the smaller of the next objects of both kinds; kept aside counts first.
    fn next_object(&self, walk: &mut Walk) -> Result<Option<Listed>> {
        if walk.plain_ahead.is_none() {
            walk.plain_ahead = self.next_plain(walk)?;
        }
        let (Some(odd), Some(plain)) = (walk.odd.peek(), walk.plain_ahead.as_ref()) else {
            return Ok(walk.odd.next().or_else(|| walk.plain_ahead.take()));
        };
        if plain.key < odd.key {
            return Ok(walk.plain_ahead.take());
        }
        if plain.key == odd.key {
            walk.plain_ahead = None;
        }
        Ok(walk.odd.next())
    }

    fn next_plain(&self, walk: &mut Walk) -> Result<Option<Listed>> {
        while let Some(level) = walk.levels.last_mut() {
            let Some(name) = level.names.next() else {
                walk.levels.pop();
                continue;
            };
            let path = format!("{}{name}", level.path);
            if name.ends_with('/') {
                if self.may_hold_keys(&path) {
                    level.open = None;
                    self.descend(walk, path)?;
                }
            } else if self.is_wanted(&path)
                && let Some(facts) = self.look(level, &name)?
            {
                return Ok(Some(listed(path, facts)));
            }
        }
        Ok(None)
    }

    fn is_wanted(&self, key: &str) -> bool {
        key.starts_with(self.request.key.as_str()) && self.after.as_deref().is_none_or(|after| key > after)
    }

    /// Returns whether a wanted key may begin with this path, which ends in `/`.
    fn may_hold_keys(&self, path: &str) -> bool {
        let prefix = self.request.key.as_str();
        let after = self.after.as_deref().unwrap_or("");
        (path.starts_with(prefix) || prefix.starts_with(path)) && (path > after || after.starts_with(path))
    }

    /// Looks at a file; `None` if it is gone or no file any more.
    fn look(&self, level: &mut Level, name: &str) -> Result<Option<Facts>> {
        let folder = match level.open.take() {
            Some(open) => open,
            None => match self.open(&level.path)? {
                Some(open) => open,
                None => return Ok(None),
            },
        };
        let stat = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW);
        level.open = Some(folder);
        match stat {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
                Ok(Some(Facts::of(&stat)))
            }
            Ok(_) | Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.request.failed("look at a file")(errno)),
        }
    }

    /// Opens a folder by its path, which ends in `/` or is empty; `None` if it is gone.
    fn open(&self, path: &str) -> Result<Option<OwnedFd>> {
        match self.folder.open_beneath(if path.is_empty() { "." } else { path }, AS_FOLDER) {
            Ok(open) => Ok(Some(open)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => Ok(None),
            Err(errno) => Err(self.request.failed("open a folder")(errno)),
        }
    }

    fn descend(&self, walk: &mut Walk, path: String) -> Result<()> {
        let Some(open) = self.open(&path)? else { return Ok(()) };
        let mut names = Vec::new();
        for entry in Dir::read_from(&open).map_err(self.request.failed("read a folder"))? {
            let entry = entry.map_err(self.request.failed("read a folder"))?;
            let raw_name = entry.file_name().to_bytes();
            if matches!(raw_name, b"." | b"..") || (path.is_empty() && raw_name == MACHINERY.as_bytes()) {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => rustix::fs::statat(&open, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
                    .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode)),
                known => known,
            };
            match (std::str::from_utf8(raw_name), kind) {
                (Ok(name), FileType::RegularFile) if plain_path(&format!("{path}{name}")).is_some() => {
                    names.push(name.to_owned());
                }
                (Ok(name), FileType::Directory) => names.push(format!("{name}/")),
                _ => walk.skipped += 1,
            }
        }
        names.sort_unstable();
        walk.levels.push(Level { path, names: names.into_iter(), open: Some(open) });
        Ok(())
    }

    /// Returns the wanted objects that are kept aside, in order.
    fn odd_objects(&self) -> Result<Vec<Listed>> {
        let failed = || self.request.failed("read .bayou-folder/odd");
        let Some(odd) = self.open(&format!("{ODD}/"))? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for entry in Dir::read_from(&odd).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            found.extend(self.odd_object(&entry.file_name().to_string_lossy())?);
        }
        found.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    fn odd_object(&self, name: &str) -> Result<Option<Listed>> {
        let failed = || self.request.failed("look at an object in .bayou-folder/odd");
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK;
        let file = match self.folder.open_beneath(&format!("{ODD}/{name}"), flags) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::LOOP) => return Ok(None),
            Err(errno) => return Err(failed()(errno)),
        };
        let Some(key) = xattr(&file, KEY_XATTR).map_err(failed())? else {
            tracing::warn!(bucket = %self.folder.address, name, "Skipped an object in .bayou-folder/odd that has lost its key");
            return Ok(None);
        };
        let stat = rustix::fs::fstat(&file).map_err(failed())?;
        let key = String::from_utf8(key).ok().filter(|key| odd_name(key) == name && self.is_wanted(key));
        Ok(key.map(|key| listed(key, Facts::of(&stat))))
    }
}

fn listed(key: String, facts: Facts) -> Listed {
    Listed {
        key: ObjectKey::new(key),
        size: facts.size,
        modified: facts.modified(),
        version: Some(facts.version()),
    }
}
