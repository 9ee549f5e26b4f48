//! Names of objects, and which of them may become names of files.
//!
//! An [`ObjectKey`] is any text that a bucket may hold. A [`DataKey`] has been admitted: it
//! may stand in the index, the catalog and the mount. There is no other way to make one, so
//! the filter of internal names and path safety cannot be forgotten.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use super::internal_name::{self, NameClass};

/// Longest key that S3 and GCS accept, in bytes of UTF-8.
pub const MAX_KEY_BYTES: usize = 1024;
/// Longest name of one file or directory, in bytes (`NAME_MAX`).
pub const MAX_NAME_BYTES: usize = 255;

/// The exact name of an object in the bucket, below the mount's prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(Arc<str>);

impl ObjectKey {
    /// Returns the key with exactly this text.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// Returns the key's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&DataKey> for ObjectKey {
    fn from(key: &DataKey) -> Self {
        Self(Arc::clone(&key.0))
    }
}

/// A key that is also a safe relative path of a file: no empty part, no `.` or `..`, no NUL,
/// no part over 255 bytes, none of the internal names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataKey(Arc<str>);

/// Why a key cannot be a file in the mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is swamp's or bayou's machinery, or local to a machine.
    #[error("is an internal name")]
    Internal,
    /// It ends in `/`: a folder marker made by another tool.
    #[error("is a folder marker")]
    FolderMarker,
    /// It is empty or has an empty part (`a//b`, `/a`).
    #[error("has an empty part")]
    EmptyPart,
    /// It has a part `.` or `..`.
    #[error("has a part . or ..")]
    DotPart,
    /// It contains a NUL character.
    #[error("contains a NUL character")]
    Nul,
    /// A part is longer than 255 bytes.
    #[error("has a part of more than 255 bytes")]
    PartTooLong,
    /// It is longer than 1,024 bytes.
    #[error("is longer than 1024 bytes")]
    TooLong,
}

impl DataKey {
    /// Admits a key to the mount, or says why it cannot be a file there.
    pub fn admit(text: &str) -> Result<Self, Refusal> {
        if internal_name::classify(text) != NameClass::Ordinary {
            return Err(Refusal::Internal);
        }
        check_path(text)?;
        Ok(Self(text.into()))
    }

    /// Returns the key's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the text, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

/// Checks that a text is a safe relative path of a file or directory.
pub fn check_path(text: &str) -> Result<(), Refusal> {
    if text.len() > MAX_KEY_BYTES {
        return Err(Refusal::TooLong);
    }
    if text.contains('\0') {
        return Err(Refusal::Nul);
    }
    if let Some(folder) = text.strip_suffix('/')
        && !folder.is_empty()
        && !folder.ends_with('/')
    {
        return Err(Refusal::FolderMarker);
    }
    for part in text.split('/') {
        match part {
            "" => return Err(Refusal::EmptyPart),
            "." | ".." => return Err(Refusal::DotPart),
            long if long.len() > MAX_NAME_BYTES => return Err(Refusal::PartTooLong),
            _ => {}
        }
    }
    Ok(())
}

impl fmt::Display for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for DataKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_keys_are_admitted_as_they_are() {
        for key in ["a", "a/b", "ünï cödé/ß", "a b/c%2Fd", "...", "a/..b", ".git/config", "x\\y"] {
            assert_eq!(DataKey::admit(key).unwrap().as_str(), key);
        }
    }

    #[test]
    fn unsafe_keys_are_refused_with_the_reason() {
        let long = "x".repeat(256);
        let table = [
            ("", Refusal::EmptyPart),
            ("/a", Refusal::EmptyPart),
            ("a//b", Refusal::EmptyPart),
            ("a//", Refusal::EmptyPart),
            ("/", Refusal::EmptyPart),
            ("dir/", Refusal::FolderMarker),
            (".", Refusal::DotPart),
            ("../x", Refusal::DotPart),
            ("a/../b", Refusal::DotPart),
            ("a/./b", Refusal::DotPart),
            ("a\0b", Refusal::Nul),
            (long.as_str(), Refusal::PartTooLong),
            (".datastore.lock", Refusal::Internal),
            ("a/.lock", Refusal::Internal),
            ("_index/x", Refusal::Internal),
        ];
        for (key, reason) in table {
            assert_eq!(DataKey::admit(key), Err(reason), "{key:?}");
        }
        assert_eq!(DataKey::admit(&"a/".repeat(600)), Err(Refusal::TooLong));
    }
}
