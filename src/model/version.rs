//! The version of an object, as its bucket names it.
//!
//! Opaque: only equality means anything. It stands here, below the store, because entries of
//! the index remember it.

use std::fmt;
use std::sync::Arc;

/// The opaque version of an object: equal versions mean equal bytes of one key.
///
/// S3: the ETag without its quotes. GCS: the generation. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Version(Arc<str>);

impl Version {
    /// Returns the version with this text, or `None` if the text can never be a version
    /// (empty, or GCS's generation `0`).
    pub fn new(text: &str) -> Option<Self> {
        let bare = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
        (!bare.is_empty() && bare != "0").then(|| Self(bare.into()))
    }

    /// Returns the version's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
