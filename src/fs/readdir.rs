//! Listings of folders.
//!
//! The kernel comes back with the cookie of the last name that it has seen. Cookies are inode
//! numbers, so names that come and go meanwhile change nothing for the others; `.` and `..`
//! have cookies below the first inode number.

use fuser::{INodeNo, ReplyDirectory, ReplyDirectoryPlus};

use super::attributes::file_type;
use super::error::Result;
use super::front::Front;
use super::negotiate::{FOR_EVER, GENERATION};
use crate::cache::listing::EntryKind;
use crate::cache::{CacheError, Ino};

/// Names asked of the cache at a time; a reply seldom holds more.
const BATCH: usize = 256;

const DOT_COOKIE: u64 = 1;
const DOT_DOT_COOKIE: u64 = 2;

/// Whether a reply takes more names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Left,
    Full,
}

impl From<bool> for Room {
    /// fuser says whether the buffer is full.
    fn from(full: bool) -> Self {
        if full { Self::Full } else { Self::Left }
    }
}

/// One name on its way into a reply.
struct Listed<'a> {
    ino: Ino,
    cookie: u64,
    kind: EntryKind,
    name: &'a str,
}

impl Front {
    /// Lists the names behind cookie `after`, as many as the reply takes.
    pub(super) fn read_folder(&self, folder: Ino, after: u64, reply: &mut ReplyDirectory) -> Result<()> {
        self.list(folder, after, |listed| {
            let kind = file_type(listed.kind);
            Ok(reply.add(INodeNo(listed.ino), listed.cookie, kind, listed.name).into())
        })
    }

    /// Lists names with their attributes; each name but `.` and `..` counts as looked up.
    pub(super) fn read_folder_plus(
        &self,
        folder: Ino,
        after: u64,
        reply: &mut ReplyDirectoryPlus,
    ) -> Result<()> {
        self.list(folder, after, |listed| {
            let counts = listed.cookie > DOT_DOT_COOKIE;
            let attr =
                match if counts { self.cache.remember(listed.ino) } else { self.cache.attr(listed.ino) } {
                    Ok(attr) => self.file_attr(&attr),
                    // It was removed since the names were read.
                    Err(CacheError::Gone(_)) => return Ok(Room::Left),
                    Err(failed) => return Err(failed.into()),
                };
            let full = reply.add(attr.ino, listed.cookie, listed.name, &FOR_EVER, &attr, GENERATION);
            if full && counts {
                self.cache.forget(listed.ino, 1);
            }
            Ok(full.into())
        })
    }

    fn list(&self, folder: Ino, after: u64, mut add: impl FnMut(Listed<'_>) -> Result<Room>) -> Result<()> {
        let mut dot = |ino, cookie, name| {
            let listed = Listed { ino, cookie, kind: EntryKind::Folder, name };
            if after < cookie { add(listed) } else { Ok(Room::Left) }
        };
        if dot(folder, DOT_COOKIE, ".")? == Room::Full
            || dot(self.cache.parent_of(folder), DOT_DOT_COOKIE, "..")? == Room::Full
        {
            return Ok(());
        }
        let mut after = after.max(DOT_DOT_COOKIE);
        loop {
            let batch = self.cache.read_folder(folder, after, BATCH)?;
            for entry in &batch {
                let listed =
                    Listed { ino: entry.ino, cookie: entry.ino, kind: entry.kind, name: &entry.name };
                if add(listed)? == Room::Full {
                    return Ok(());
                }
                after = entry.ino;
            }
            if batch.len() < BATCH {
                return Ok(());
            }
        }
    }
}
