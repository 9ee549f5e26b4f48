//! Why a request of the kernel fails. The number it is told is decided in [`super::errno`].

use crate::cache::CacheError;
use crate::sync::SyncError;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum FsError {
    /// The cache refused, or could not.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// What was to be in the bucket is not there.
    #[error(transparent)]
    Sync(#[from] SyncError),
    /// A name is longer than 255 bytes.
    #[error("Name is longer than 255 bytes")]
    NameTooLong,
    /// A name or link target is not UTF-8, which keys are.
    #[error("Name is not UTF-8")]
    NotUtf8,
    /// The name asked for cannot be a key, so no file has it.
    #[error("No file can have this name")]
    NeverExists,
    /// The request is one we do not know, or contradicts itself.
    #[error("{0} is not possible")]
    Invalid(&'static str),
    /// The file would be longer than a file can be.
    #[error("The file would be too large")]
    TooLarge,
    /// There is no data, or no hole, behind the offset.
    #[error("The offset is behind the end")]
    BehindEnd,
    /// The request is one that this filesystem does not have.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// Extended attributes outside of `user.` are not kept.
    #[error("Attribute {0:?} cannot be kept; only `user.` attributes can")]
    ForeignAttribute(String),
    /// The attribute is answered by bayou itself.
    #[error("Attribute {0:?} is read-only")]
    ReadOnlyAttribute(String),
    /// The caller's buffer is too small for the answer.
    #[error("The answer is larger than the caller's buffer")]
    BufferTooSmall,
}

/// The outcome of a request.
pub type Result<T> = std::result::Result<T, FsError>;

impl FsError {
    /// Returns whether the failure is bayou's or the world's, not the calling program's own.
    pub(super) fn is_trouble(&self) -> bool {
        match self {
            Self::Cache(error) => is_trouble(error),
            Self::Sync(_) => true,
            Self::NameTooLong
            | Self::NotUtf8
            | Self::NeverExists
            | Self::Invalid(_)
            | Self::TooLarge
            | Self::BehindEnd
            | Self::Unsupported(_)
            | Self::ForeignAttribute(_)
            | Self::ReadOnlyAttribute(_)
            | Self::BufferTooSmall => false,
        }
    }
}

fn is_trouble(error: &CacheError) -> bool {
    match error {
        CacheError::Full { .. }
        | CacheError::Stale { .. }
        | CacheError::Damaged { .. }
        | CacheError::Store { .. }
        | CacheError::Io { .. }
        | CacheError::Catalog { .. }
        | CacheError::Locked(_) => true,
        CacheError::NotFound(_)
        | CacheError::Gone(_)
        | CacheError::Exists(_)
        | CacheError::NotAFolder(_)
        | CacheError::IsAFolder(_)
        | CacheError::NotEmpty(_)
        | CacheError::IntoItself(_)
        | CacheError::Reserved(_)
        | CacheError::Outside(_)
        | CacheError::AcrossLocal(_)
        | CacheError::BadName { .. }
        | CacheError::NoAttribute(_)
        | CacheError::ReadOnly(_) => false,
    }
}
