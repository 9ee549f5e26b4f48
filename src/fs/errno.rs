//! What a program is told when something fails: the one table from our errors to errno.
//!
//! Every kind is matched, so that a new one cannot be forgotten. Where the choice is not
//! obvious the reason stands beside it.

use std::io;

use fuser::Errno;

use super::error::FsError;
use crate::cache::CacheError;
use crate::model::key::Refusal;
use crate::store::{ErrorKind, StoreError};
use crate::sync::SyncError;

/// An error that can be told to a program.
pub trait ToErrno {
    /// Returns the number that the system call fails with.
    fn to_errno(&self) -> Errno;
}

impl ToErrno for FsError {
    fn to_errno(&self) -> Errno {
        match self {
            Self::Cache(error) => error.to_errno(),
            Self::Sync(error) => error.to_errno(),
            Self::NameTooLong => Errno::ENAMETOOLONG,
            Self::NotUtf8 => Errno::EILSEQ,
            Self::NeverExists => Errno::ENOENT,
            Self::ReadOnlyAttribute(_) => Errno::EPERM,
            Self::TooLarge => Errno::EFBIG,
            Self::BehindEnd => Errno::ENXIO,
            Self::Unsupported(_) => Errno::EOPNOTSUPP,
            Self::Invalid(_) => Errno::EINVAL,
            Self::ForeignAttribute(_) => Errno::ENOTSUP,
            Self::BufferTooSmall => Errno::ERANGE,
        }
    }
}

impl ToErrno for CacheError {
    fn to_errno(&self) -> Errno {
        match self {
            Self::NotFound(_) => Errno::ENOENT,
            // The kernel answers a stale inode by looking its name up again.
            Self::Gone(_) | Self::Stale { .. } => Errno::ESTALE,
            Self::Exists(_) => Errno::EEXIST,
            Self::NotAFolder(_) => Errno::ENOTDIR,
            Self::IsAFolder(_) => Errno::EISDIR,
            Self::NotEmpty(_) => Errno::ENOTEMPTY,
            Self::IntoItself(_) => Errno::EINVAL,
            Self::Reserved(_) | Self::Outside(_) => Errno::EPERM,
            // `mv` then copies the bytes, which is what crossing this border means.
            Self::AcrossLocal(_) => Errno::EXDEV,
            Self::BadName { reason, .. } => reason.to_errno(),
            Self::NoAttribute(_) => Errno::NO_XATTR,
            Self::ReadOnly(_) => Errno::EROFS,
            Self::Full { .. } => Errno::ENOSPC,
            Self::Store { source, .. } => source.to_errno(),
            Self::Io { source, .. } => disk_errno(source),
            Self::Damaged { .. } | Self::Catalog { .. } | Self::Locked(_) => Errno::EIO,
        }
    }
}

impl ToErrno for SyncError {
    fn to_errno(&self) -> Errno {
        match self {
            Self::Store { source, .. } => source.to_errno(),
            Self::Cache { source, .. } => source.to_errno(),
            // What the change was based on is not in the bucket any more.
            Self::Conflict { .. } => Errno::ESTALE,
            Self::ReadOnly { .. } => Errno::EROFS,
            // Nothing is lost: the file stays dirty and is pushed later.
            Self::DamagedIndex { .. }
            | Self::DamagedShard { .. }
            | Self::MissingShard { .. }
            | Self::NothingToMigrate { .. }
            | Self::NoShard { .. }
            | Self::KeepsChanging { .. }
            | Self::Contended { .. }
            | Self::LockHeld { .. }
            | Self::LockLost { .. }
            | Self::Panicked { .. } => Errno::EIO,
        }
    }
}

impl ToErrno for Refusal {
    fn to_errno(&self) -> Errno {
        match self {
            Self::PartTooLong | Self::TooLong => Errno::ENAMETOOLONG,
            Self::Internal => Errno::EPERM,
            Self::FolderMarker | Self::EmptyPart | Self::DotPart | Self::Nul => Errno::EINVAL,
        }
    }
}

/// A full local disk is a full filesystem; whatever else the disk says is not about the
/// program's own call.
fn disk_errno(error: &io::Error) -> Errno {
    match error.kind() {
        io::ErrorKind::StorageFull => Errno::ENOSPC,
        io::ErrorKind::QuotaExceeded => Errno::EDQUOT,
        _ => Errno::EIO,
    }
}

impl ToErrno for StoreError {
    fn to_errno(&self) -> Errno {
        self.kind.to_errno()
    }
}

impl ToErrno for ErrorKind {
    fn to_errno(&self) -> Errno {
        match self {
            // The name exists (the index has it), but the version that was opened does not any
            // more: what NFS says of a file that was replaced or removed on the server.
            Self::NotFound | Self::Changed => Errno::ESTALE,
            Self::Denied | Self::Unauthenticated => Errno::EACCES,
            // A full bucket folder; a program may free space and try again.
            Self::NoSpace => Errno::ENOSPC,
            // After the timeout; ETIMEDOUT is not expected from read and fsync by many programs.
            Self::Throttled | Self::Unreachable => Errno::EIO,
            // Conflicts are settled by sync; one that arrives here is not the program's doing,
            // nor is a request that the server calls wrong.
            Self::Exists | Self::NoBucket | Self::Corrupt | Self::Unsupported | Self::Invalid => Errno::EIO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::key::ObjectKey;

    #[test]
    fn a_version_that_is_gone_is_stale_and_never_a_missing_name() {
        assert_eq!(ErrorKind::NotFound.to_errno(), Errno::ESTALE);
        assert_eq!(ErrorKind::Changed.to_errno(), Errno::ESTALE);
    }

    #[test]
    fn a_bucket_that_cannot_be_reached_is_an_io_error() {
        let error = StoreError::new(ErrorKind::Unreachable, "get", &ObjectKey::new("a"));
        assert_eq!(error.to_errno(), Errno::EIO);
    }
}
