//! Changing names: `mkdir`, `mknod`, `symlink`, `link`, `unlink`, `rmdir`, `rename`.
//!
//! Permission has been checked by the kernel (`default_permissions`), the sticky bit included.

use std::ffi::OsStr;
use std::path::Path;

use fuser::{FileAttr, RenameFlags};

use super::error::{FsError, Result};
use super::front::{Caller, Front};
use super::name;
use crate::cache::Ino;
use crate::cache::rename::Replace;
use crate::cache::tree::NewNode;
use crate::model::special::{Device, Special};

const SET_GID: u32 = 0o2000;

/// What kind of node is made; a folder inherits more than the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeKind {
    File,
    Folder,
}

impl Front {
    /// Makes a folder.
    pub(super) fn make_folder(
        &self,
        parent: Ino,
        name: &OsStr,
        mode: u32,
        caller: Caller,
    ) -> Result<FileAttr> {
        let name = name::new(name)?;
        let node = self.new_node(parent, mode, caller, NodeKind::Folder)?;
        Ok(self.file_attr(&self.cache.make_folder(parent, name, node)?))
    }

    /// Makes a file and does not open it, as tar does, or a pipe, a socket or a device.
    pub(super) fn make_node(
        &self,
        parent: Ino,
        name: &OsStr,
        (mode, device): (u32, u32),
        caller: Caller,
    ) -> Result<FileAttr> {
        let name = name::new(name)?;
        let node = self.new_node(parent, mode, caller, NodeKind::File)?;
        let device = Device::from_kernel(device);
        let special = match mode & libc::S_IFMT {
            libc::S_IFREG => return Ok(self.file_attr(&self.cache.create(parent, name, node)?)),
            libc::S_IFIFO => Special::Fifo,
            libc::S_IFSOCK => Special::Socket,
            libc::S_IFBLK => Special::Block(device),
            libc::S_IFCHR => Special::Char(device),
            _ => return Err(FsError::Invalid("A node of this kind")),
        };
        Ok(self.file_attr(&self.cache.make_special(parent, name, node, special)?))
    }

    /// Makes a symbolic link; its target may be any text.
    pub(super) fn make_symlink(
        &self,
        parent: Ino,
        name: &OsStr,
        target: &Path,
        caller: Caller,
    ) -> Result<FileAttr> {
        let name = name::new(name)?;
        let target = name::link_target(target)?;
        let node = self.new_node(parent, 0o777, caller, NodeKind::File)?;
        Ok(self.file_attr(&self.cache.make_symlink(parent, name, node, target)?))
    }

    /// Gives a file another name.
    pub(super) fn link(&self, ino: Ino, parent: Ino, name: &OsStr) -> Result<FileAttr> {
        Ok(self.file_attr(&self.cache.link(ino, parent, name::new(name)?)?))
    }

    /// Removes a file or symbolic link.
    pub(super) fn unlink(&self, parent: Ino, name: &OsStr) -> Result<()> {
        Ok(self.cache.unlink(parent, name::existing(name)?)?)
    }

    /// Removes an empty folder.
    pub(super) fn remove_folder(&self, parent: Ino, name: &OsStr) -> Result<()> {
        Ok(self.cache.remove_folder(parent, name::existing(name)?)?)
    }

    /// Renames a file or folder, over an existing one unless the flags forbid it, or exchanges
    /// two names.
    pub(super) fn rename(
        &self,
        (parent, name): (Ino, &OsStr),
        (new_parent, new_name): (Ino, &OsStr),
        flags: RenameFlags,
    ) -> Result<()> {
        let from = (parent, name::existing(name)?);
        let replace = match flags {
            none if none.is_empty() => Replace::Yes,
            RenameFlags::RENAME_NOREPLACE => Replace::No,
            RenameFlags::RENAME_EXCHANGE => {
                return Ok(self.cache.exchange(from, (new_parent, name::existing(new_name)?))?);
            }
            _ => return Err(FsError::Invalid("This kind of rename")),
        };
        Ok(self.cache.rename(from, (new_parent, name::new(new_name)?), replace)?)
    }

    /// Returns what a new node is made with: the caller's, but the folder's group where the
    /// folder says so, as on any local disk.
    pub(super) fn new_node(&self, parent: Ino, mode: u32, caller: Caller, kind: NodeKind) -> Result<NewNode> {
        let folder = self.cache.attr(parent)?;
        let inherits = folder.mode & SET_GID != 0;
        let gid = if inherits { folder.gid } else { differing(caller.gid, self.options.gid) };
        let mode = if inherits && kind == NodeKind::Folder { mode | SET_GID } else { mode };
        Ok(NewNode { mode, uid: differing(caller.uid, self.options.uid), gid })
    }
}

/// Returns an owner that must be kept because it is not the mount's own.
pub(super) fn differing(owner: u32, own: u32) -> Option<u32> {
    (owner != own).then_some(owner)
}
