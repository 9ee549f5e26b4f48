//! Extended attributes.
//!
//! `user.*` is kept with the file. `user.bayou.*` is answered by us and never listed, so that
//! tools that copy all attributes do not try to set it. Everything else (ACLs, labels,
//! capabilities) is refused as by a filesystem that has none.

use std::ffi::OsStr;

use super::error::{FsError, Result};
use super::front::Front;
use crate::cache::Ino;
use crate::cache::attributes::XattrMode;

/// What of an attribute is asked for: with a buffer of 0 bytes only its size.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Size(u32),
    Data(Vec<u8>),
}

const KEPT: &str = "user.";
const OURS: &str = "user.bayou.";

impl Front {
    /// Returns an attribute, or its size if the caller has room for 0 bytes.
    pub(super) fn get_xattr(&self, ino: Ino, name: &OsStr, room: u32) -> Result<Answer> {
        let name = kept(name)?;
        let value = match name.strip_prefix(OURS) {
            Some(own) => self.own_xattr(ino, own)?,
            None => self.cache.xattr(ino, name)?,
        };
        fitted(value, room)
    }

    /// Returns the names of all attributes that are kept, each ended by a NUL.
    pub(super) fn list_xattrs(&self, ino: Ino, room: u32) -> Result<Answer> {
        let names = self.cache.xattr_names(ino)?;
        let list = names.iter().flat_map(|name| name.bytes().chain([0])).collect();
        fitted(list, room)
    }

    /// Sets an attribute.
    pub(super) fn set_xattr(&self, ino: Ino, name: &OsStr, value: &[u8], flags: i32) -> Result<()> {
        let name = writable(name)?;
        let mode = match flags {
            0 => XattrMode::Any,
            libc::XATTR_CREATE => XattrMode::Create,
            libc::XATTR_REPLACE => XattrMode::Replace,
            _ => return Err(FsError::Invalid("Creating and replacing an attribute at once")),
        };
        Ok(self.cache.set_xattr(ino, name, value, mode)?)
    }

    /// Removes an attribute.
    pub(super) fn remove_xattr(&self, ino: Ino, name: &OsStr) -> Result<()> {
        Ok(self.cache.remove_xattr(ino, writable(name)?)?)
    }
}

fn kept(name: &OsStr) -> Result<&str> {
    match name.to_str() {
        Some(text) if text.starts_with(KEPT) => Ok(text),
        Some(_) | None => Err(FsError::ForeignAttribute(name.to_string_lossy().into_owned())),
    }
}

fn writable(name: &OsStr) -> Result<&str> {
    let name = kept(name)?;
    if name.starts_with(OURS) { Err(FsError::ReadOnlyAttribute(name.to_owned())) } else { Ok(name) }
}

fn fitted(value: Vec<u8>, room: u32) -> Result<Answer> {
    let size = u32::try_from(value.len()).map_err(|_| FsError::BufferTooSmall)?;
    match room {
        0 => Ok(Answer::Size(size)),
        room if size > room => Err(FsError::BufferTooSmall),
        _ => Ok(Answer::Data(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_user_attributes_are_kept() {
        assert_eq!(kept(OsStr::new("user.a")).unwrap(), "user.a");
        for foreign in ["security.capability", "system.posix_acl_access", "trusted.x", "user", ""] {
            assert!(matches!(kept(OsStr::new(foreign)), Err(FsError::ForeignAttribute(_))), "{foreign}");
        }
    }

    #[test]
    fn our_own_attributes_are_read_only() {
        assert!(matches!(writable(OsStr::new("user.bayou.state")), Err(FsError::ReadOnlyAttribute(_))));
        assert_eq!(writable(OsStr::new("user.bayou")).unwrap(), "user.bayou");
    }

    #[test]
    fn a_caller_without_room_is_told_the_size() {
        assert_eq!(fitted(vec![1, 2], 0).unwrap(), Answer::Size(2));
        assert_eq!(fitted(vec![1, 2], 2).unwrap(), Answer::Data(vec![1, 2]));
        assert!(matches!(fitted(vec![1, 2], 1), Err(FsError::BufferTooSmall)));
    }
}
