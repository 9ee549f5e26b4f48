//! Content files that are lent to the kernel, which then reads them without asking.
//!
//! A large file that is all here and clean is lent to who opens it for reading. While it is lent
//! all opens of it are, which is the kernel's rule, and it is not dropped: what would be fetched
//! in its place were another content file. Opens that are not lent have the kernel keep pages of
//! its own; while there are such, nothing is lent.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Cache;
use super::content::{Content, ContentState};
use super::error::Result;
use super::file::{Access, count_open};
use super::names::Names;
use super::rows::{Ino, Inode};

/// From this size on a file is lent: to lend a smaller one costs more than it saves.
pub const LEAST_LENT_BYTES: u64 = 1 << 20;

/// What is lent, at most half of what the cache may hold: the rest is for what is written.
#[derive(Debug, Default)]
pub(super) struct Loans(Mutex<HashMap<Ino, u64>>);

impl Loans {
    /// Lends a file of `bytes`, if that leaves enough; one that is lent already stays so.
    fn begin(&self, ino: Ino, bytes: u64, limit_bytes: u64) -> bool {
        let mut lent = self.0.lock();
        let fits = lent.contains_key(&ino) || lent.values().sum::<u64>() + bytes <= limit_bytes / 2;
        if fits {
            lent.insert(ino, bytes);
        }
        fits
    }

    fn end(&self, ino: Ino) {
        self.0.lock().remove(&ino);
    }
}

/// Whether files may be lent that are not yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewLoans {
    /// They may.
    Allowed,
    /// Only those that are lent already.
    Refused,
}

impl Cache {
    /// Opens a file, and returns its content file if it is lent. The caller owes a
    /// [`Cache::release_lent`] then, and else a [`Cache::release`].
    ///
    /// Who opens a lent file for writing owes a [`Cache::watch`] before the program is answered.
    pub fn open_lent(&self, ino: Ino, access: Access, new: NewLoans) -> Result<Option<Arc<File>>> {
        self.check_access(access)?;
        loop {
            let Some(content) = self.content_to_lend(ino, access, new)? else {
                let mut names = self.names.write();
                if names.inode(ino)?.lent > 0 {
                    // Somebody was faster.
                    continue;
                }
                return count_open(&mut names, ino).map(|()| None);
            };
            let mut state = content.lock();
            let mut names = self.names.write();
            if names.inode(ino)?.content.as_ref() != Some(&content.id) {
                continue;
            }
            let file = state.file(content.path());
            count_open(&mut names, ino)?;
            let inode = names.inode(ino)?;
            // What is watched is not dropped anyway, and must not be read through the kernel's pages.
            let limit = if inode.watched { u64::MAX } else { self.options.limit_bytes };
            let is_new =
                || is_lendable(&names, inode, access, &state) && self.loans.begin(ino, state.len, limit);
            if inode.lent == 0 && (file.is_err() || !is_new()) {
                return Ok(None);
            }
            let inode = names.inode_mut(ino)?;
            inode.lent += u32::from(file.is_ok());
            inode.opens -= u32::from(file.is_err());
            return file.map(Some);
        }
    }

    /// Goes on with an open as one that is not lent: the kernel would not have the content file.
    pub fn unlend(&self, ino: Ino) {
        let mut names = self.names.write();
        let Ok(inode) = names.inode_mut(ino) else { return };
        inode.lent = inode.lent.saturating_sub(1);
        if inode.lent == 0 {
            self.loans.end(ino);
        }
    }

    /// Returns whether all who have a file open have it lent.
    pub fn is_lent_to_all(&self, ino: Ino) -> bool {
        self.names.read().inode(ino).is_ok_and(|inode| inode.opens == inode.lent)
    }

    /// Closes a file that was lent; returns whether others have it lent still.
    pub fn release_lent(&self, ino: Ino) -> bool {
        let mut names = self.names.write();
        let Ok(inode) = names.inode_mut(ino) else { return false };
        inode.opens = inode.opens.saturating_sub(1);
        inode.lent = inode.lent.saturating_sub(1);
        let (lent, watched) = (inode.lent > 0, inode.watched);
        if !lent {
            self.loans.end(ino);
        }
        if watched && !lent {
            self.tell_unused(&names, ino);
        }
        self.drop_if_unused(&mut names, ino);
        lent
    }

    /// Returns the content of a file that may be lent, as far as its names say.
    fn content_to_lend(&self, ino: Ino, access: Access, new: NewLoans) -> Result<Option<Arc<Content>>> {
        let id = {
            let names = self.names.read();
            let inode = names.inode(ino)?;
            let may = inode.lent > 0
                || (new == NewLoans::Allowed
                    && inode.opens == 0
                    && (inode.watched || is_worth_lending(&names, inode, access)));
            inode.content.clone().filter(|_| may)
        };
        // Content that was dropped this moment is not lent.
        Ok(id.and_then(|id| self.content(&id).ok()))
    }
}

/// Returns whether an open that was just counted may be the first that is lent. Held: the content's
/// lock.
fn is_lendable(names: &Names, inode: &Inode, access: Access, state: &ContentState) -> bool {
    let is_alone = inode.opens == 1 && state.is_complete();
    is_alone && (inode.watched || is_worth_lending(names, inode, access))
}

fn is_worth_lending(names: &Names, inode: &Inode, access: Access) -> bool {
    let is_clean = || inode.path.as_ref().is_some_and(|path| !names.is_dirty(path));
    access == Access::Read
        && inode.is_file()
        && inode.size >= LEAST_LENT_BYTES
        && !inode.local
        && inode.equal_object().is_some()
        && is_clean()
}
