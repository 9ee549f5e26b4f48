//! Finding names: `lookup`, `forget`, `readlink`.

use std::ffi::OsStr;

use fuser::FileAttr;

use super::error::{FsError, Result};
use super::front::Front;
use super::name;
use crate::cache::{CacheError, Ino};

impl Front {
    /// Finds a name in a folder; `None` if no file has it, which the kernel remembers.
    pub(super) fn lookup(&self, parent: Ino, name: &OsStr) -> Result<Option<FileAttr>> {
        let found = name::existing(name).and_then(|name| Ok(self.cache.lookup(parent, name)?));
        match found {
            Ok(attr) => Ok(Some(self.file_attr(&attr))),
            Err(FsError::NeverExists | FsError::Cache(CacheError::NotFound(_))) => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    /// Takes back what the kernel counted of an inode.
    pub(super) fn forget(&self, ino: Ino, count: u64) -> Result<()> {
        self.cache.forget(ino, count);
        Ok(())
    }

    /// Returns the target of a symbolic link.
    pub(super) fn read_link(&self, ino: Ino) -> Result<String> {
        Ok(self.cache.read_link(ino)?)
    }
}
