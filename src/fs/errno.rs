//! What a program is told when something fails: the one table from our errors to errno.
//!
//! Every kind is matched, so that a new one cannot be forgotten. Where the choice is not
//! obvious the reason stands beside it.

use fuser::Errno;

use crate::store::{ErrorKind, StoreError};

/// An error that can be told to a program.
pub trait ToErrno {
    /// Returns the number that the system call fails with.
    fn to_errno(&self) -> Errno;
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
