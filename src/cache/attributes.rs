//! Mode, owner, times and extended attributes.
//!
//! A call that would change nothing marks nothing.

use super::Cache;
use super::error::{CacheError, Result};
use super::rows::{Ino, Inode, Nanos, RowOp};
use super::tree::Attr;
use crate::os::crash_point::{Step, reached};

/// Which attributes to set; `None` leaves one as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct SetAttr {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Time of the last change of the content, nanoseconds since 1970.
    pub mtime: Option<Nanos>,
    /// Time of the last reading, nanoseconds since 1970; it stays on this machine.
    pub atime: Option<Nanos>,
    /// Size in bytes.
    pub size: Option<u64>,
}

/// How an extended attribute is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XattrMode {
    /// Made or replaced.
    Any,
    /// Only made (`XATTR_CREATE`).
    Create,
    /// Only replaced (`XATTR_REPLACE`).
    Replace,
}

impl Cache {
    /// Sets attributes and returns all of them.
    pub fn set_attr(&self, ino: Ino, set: SetAttr) -> Result<Attr> {
        if let Some(size) = set.size {
            self.truncate(ino, size)?;
        }
        self.change_meta(ino, |inode| {
            inode.mode = set.mode.map_or(inode.mode, |mode| mode & 0o7777);
            inode.uid = set.uid.or(inode.uid);
            inode.gid = set.gid.or(inode.gid);
            inode.mtime = set.mtime.unwrap_or(inode.mtime);
            Ok(())
        })?;
        set.atime.map_or(Ok(()), |atime| self.set_atime(ino, atime))?;
        self.attr(ino)
    }

    /// Notes a time of reading: nothing that the bucket is told.
    fn set_atime(&self, ino: Ino, atime: Nanos) -> Result<()> {
        let _token = self.begin_change_of(true)?;
        let now = self.now_nanos();
        let mut names = self.names.write();
        let inode = names.inode_mut(ino)?;
        (inode.atime, inode.ctime) = (Some(atime), now);
        let read = inode.clone();
        if read.path.is_some() {
            self.catalog.note(&[RowOp::Inode(ino, Box::new(read))])?;
        }
        Ok(())
    }

    /// Returns an extended attribute.
    pub fn xattr(&self, ino: Ino, name: &str) -> Result<Vec<u8>> {
        let names = self.names.read();
        let found = names.inode(ino)?.xattrs.get(name).cloned();
        found.ok_or_else(|| CacheError::NoAttribute(name.to_owned()))
    }

    /// Returns the names of all extended attributes.
    pub fn xattr_names(&self, ino: Ino) -> Result<Vec<String>> {
        Ok(self.names.read().inode(ino)?.xattrs.keys().cloned().collect())
    }

    /// Sets an extended attribute.
    pub fn set_xattr(&self, ino: Ino, name: &str, value: &[u8], mode: XattrMode) -> Result<()> {
        self.change_meta(ino, |inode| {
            let there = inode.xattrs.contains_key(name);
            match mode {
                XattrMode::Create if there => return Err(CacheError::Exists(name.to_owned())),
                XattrMode::Replace if !there => return Err(CacheError::NoAttribute(name.to_owned())),
                XattrMode::Any | XattrMode::Create | XattrMode::Replace => {}
            }
            inode.xattrs.insert(name.to_owned(), value.to_vec());
            Ok(())
        })
    }

    /// Removes an extended attribute.
    pub fn remove_xattr(&self, ino: Ino, name: &str) -> Result<()> {
        self.change_meta(ino, |inode| match inode.xattrs.remove(name) {
            Some(_) => Ok(()),
            None => Err(CacheError::NoAttribute(name.to_owned())),
        })
    }

    /// The folders above the part of the tree that is held are others'.
    fn check_changeable(&self, ino: Ino) -> Result<()> {
        let names = self.names.read();
        let path = names.inode(ino)?.path.as_ref().filter(|path| !path.is_empty());
        path.map_or(Ok(()), |path| names.check_within(path))
    }

    fn change_meta(&self, ino: Ino, change: impl Fn(&mut Inode) -> Result<()>) -> Result<()> {
        let (uncounted, differs) = {
            let names = self.names.read();
            let inode = names.inode(ino)?;
            let mut changed = inode.clone();
            change(&mut changed)?;
            (inode.local || inode.path.is_none(), changed != *inode)
        };
        if !differs {
            return Ok(());
        }
        self.check_changeable(ino)?;
        let _token = self.begin_change_of(uncounted)?;
        let now = self.now_nanos();
        let mut names = self.names.write();
        let mut changed = names.inode(ino)?.clone();
        change(&mut changed)?;
        changed.ctime = now;
        changed.stamp.meta += 1;
        if changed.is_folder() {
            changed.implied = false;
        }
        if changed.path.is_none() {
            *names.inode_mut(ino)? = changed;
            return Ok(());
        }
        self.commit(&mut names, vec![RowOp::Inode(ino, Box::new(changed))])?;
        reached(Step::AttributesNoted);
        Ok(())
    }
}
