//! What can go wrong with what this machine holds.

use std::io;
use std::path::PathBuf;

use crate::model::key::Refusal;
use crate::os::folder_lock::LockError;
use crate::store::StoreError;

use super::rows::Ino;

/// The outcome of an operation on the cache.
pub type Result<T> = std::result::Result<T, CacheError>;

/// Why an operation on the cache failed.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// There is no such name.
    #[error("No such file: {0:?}")]
    NotFound(String),
    /// There is no such inode any more.
    #[error("Inode {0} is gone")]
    Gone(Ino),
    /// The name exists.
    #[error("Name exists: {0:?}")]
    Exists(String),
    /// A folder was needed.
    #[error("Not a folder: {0:?}")]
    NotAFolder(String),
    /// A file was needed.
    #[error("Is a folder: {0:?}")]
    IsAFolder(String),
    /// The folder has names in it.
    #[error("Folder is not empty: {0:?}")]
    NotEmpty(String),
    /// A folder cannot be moved below itself.
    #[error("Cannot move {0:?} below itself")]
    IntoItself(String),
    /// The name is reserved for swamp's and bayou's machinery.
    #[error("Name is reserved: {0:?}")]
    Reserved(String),
    /// The name is not of the part of the tree that is held.
    #[error("Outside of the part that is mounted: {0:?}")]
    Outside(String),
    /// A machine-local file and an ordinary one cannot take each other's place.
    #[error("Cannot rename between machine-local and ordinary names: {0:?}")]
    AcrossLocal(String),
    /// The name cannot be part of a key.
    #[error("Name {name:?} {reason}")]
    BadName {
        /// The name.
        name: String,
        /// Why not.
        reason: Refusal,
    },
    /// There is no such extended attribute.
    #[error("No such attribute: {0:?}")]
    NoAttribute(String),
    /// Nothing may be changed through this mount.
    #[error("The mount is read-only: {0}")]
    ReadOnly(String),
    /// The cache is at its limit and nothing can be evicted.
    #[error("The cache is full ({limit} bytes, all of it dirty, pinned or in use)")]
    Full {
        /// The limit in bytes.
        limit: u64,
    },
    /// The bytes of the version that a handle holds are gone from the bucket.
    #[error("{path:?} was replaced in the bucket while it was open")]
    Stale {
        /// The file.
        path: String,
    },
    /// Fetched bytes are not the ones that the index names.
    #[error("{path:?} does not have the hash that the index names")]
    Damaged {
        /// The file.
        path: String,
    },
    /// A request to the bucket failed.
    #[error("{path:?} could not be fetched")]
    Store {
        /// The file.
        path: String,
        /// What the store said.
        source: std::sync::Arc<StoreError>,
    },
    /// The local disk failed.
    #[error("{step} failed at {}", path.display())]
    Io {
        /// What was tried.
        step: &'static str,
        /// The file on the local disk.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The catalog's database failed.
    #[error("Catalog {} cannot be used", path.display())]
    Catalog {
        /// The database.
        path: PathBuf,
        /// What it said.
        source: rusqlite::Error,
    },
    /// Another process owns the cache folder.
    #[error(transparent)]
    Locked(#[from] LockError),
}

impl CacheError {
    /// Returns a wrapper that adds to an error what was tried on which file.
    pub fn io(step: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { step, path, source }
    }
}
