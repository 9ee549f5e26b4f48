//! Whether two descriptions of a key mean the same bytes.

use super::content_hash::ContentHash;
use super::timestamp::Timestamp;
use super::version::Version;

/// What identifies the bytes under a key, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// Size in bytes.
    pub size: Option<u64>,
    /// SHA-256 of the bytes.
    pub sha256: Option<ContentHash>,
    /// When the object was written.
    pub last_modified: Option<Timestamp>,
    /// The object's version.
    pub version: Option<Version>,
}

impl Identity {
    /// Returns whether both surely mean the same bytes; what is unsure is not the same.
    ///
    /// Two versions decide alone; else two hashes and sizes; else size and time.
    pub fn is_same_as(&self, other: &Self) -> bool {
        if let (Some(ours), Some(theirs)) = (&self.version, &other.version) {
            return ours == theirs;
        }
        let same_size = self.size.is_some() && self.size == other.size;
        if let (Some(ours), Some(theirs)) = (self.sha256, other.sha256) {
            return same_size && ours == theirs;
        }
        same_size && self.last_modified.is_some() && self.last_modified == other.last_modified
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(version: &str, hash: Option<&[u8]>, size: Option<u64>, ms: Option<i64>) -> Identity {
        Identity {
            size,
            sha256: hash.map(ContentHash::of),
            last_modified: ms.map(Timestamp::from_unix_ms),
            version: Version::new(version),
        }
    }

    #[test]
    fn two_versions_decide_alone() {
        let a = identity("v1", Some(b"a"), Some(1), Some(1));
        assert!(a.is_same_as(&identity("v1", Some(b"b"), Some(2), None)));
        assert!(!a.is_same_as(&identity("v2", Some(b"a"), Some(1), Some(1))));
    }

    #[test]
    fn without_two_versions_two_hashes_decide_with_the_size() {
        let a = identity("v1", Some(b"a"), Some(1), Some(1));
        assert!(a.is_same_as(&identity("", Some(b"a"), Some(1), Some(2))));
        assert!(!a.is_same_as(&identity("", Some(b"b"), Some(1), Some(1))));
        assert!(!a.is_same_as(&identity("", Some(b"a"), Some(2), Some(1))));
    }

    #[test]
    fn without_hashes_size_and_time_decide() {
        let a = identity("", None, Some(1), Some(1));
        assert!(a.is_same_as(&identity("v1", Some(b"a"), Some(1), Some(1))));
        assert!(!a.is_same_as(&identity("", None, Some(2), Some(1))));
        assert!(!a.is_same_as(&identity("", None, Some(1), Some(2))));
    }

    #[test]
    fn what_is_unknown_on_both_sides_is_not_the_same() {
        let unknown = Identity::default();
        assert!(!unknown.is_same_as(&unknown));
        let no_time = identity("", None, Some(1), None);
        assert!(!no_time.is_same_as(&no_time));
        let no_size = identity("", Some(b"a"), None, Some(1));
        assert!(!no_size.is_same_as(&no_size));
    }
}
