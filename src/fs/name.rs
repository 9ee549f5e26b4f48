//! Names as the kernel gives them: any bytes but `/` and NUL.
//!
//! A key is UTF-8, so a name that is not can be asked for but never exists, and cannot be
//! made. What else a name must be (length of the whole key, reserved names) the cache knows.

use std::ffi::OsStr;
use std::path::Path;

use super::error::FsError;
use crate::model::key::MAX_NAME_BYTES;

/// Returns a name that is asked for; fails as a missing file does if it cannot exist.
pub(super) fn existing(name: &OsStr) -> Result<&str, FsError> {
    if name.len() > MAX_NAME_BYTES {
        return Err(FsError::NameTooLong);
    }
    name.to_str().ok_or(FsError::NeverExists)
}

/// Returns a name that is to be made.
pub(super) fn new(name: &OsStr) -> Result<&str, FsError> {
    if name.len() > MAX_NAME_BYTES {
        return Err(FsError::NameTooLong);
    }
    name.to_str().ok_or(FsError::NotUtf8)
}

/// Returns the target of a symbolic link that is to be made.
pub(super) fn link_target(target: &Path) -> Result<&str, FsError> {
    target.to_str().ok_or(FsError::NotUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_name_that_is_not_utf8_is_missing_and_cannot_be_made() {
        let name = OsStr::from_bytes(b"a\xff");
        assert!(matches!(existing(name), Err(FsError::NeverExists)));
        assert!(matches!(new(name), Err(FsError::NotUtf8)));
        assert!(matches!(link_target(Path::new(name)), Err(FsError::NotUtf8)));
    }

    #[test]
    fn length_is_counted_in_bytes() {
        let longest = "ü".repeat(127) + "x";
        assert_eq!(new(OsStr::new(&longest)).unwrap(), longest);
        let too_long = "ü".repeat(128);
        assert!(matches!(new(OsStr::new(&too_long)), Err(FsError::NameTooLong)));
        assert!(matches!(existing(OsStr::new(&too_long)), Err(FsError::NameTooLong)));
    }
}
