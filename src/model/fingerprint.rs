//! What tells one state of the index from another, cheaply.
//!
//! A monolith is told by the version of its object. Shards are told by swamp's counter of
//! commits together with the versions of all documents: the counter alone begins anew when
//! shards are made anew, and a writer may die before it counts.

use std::fmt;

use super::content_hash::ContentHash;
use super::version::Version;

/// What the text of a fingerprint of shards begins with; no ETag and no generation does.
const SHARDS: &str = "shards:";

/// One state of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fingerprint {
    /// The version of the monolith, as text.
    Document(String),
    /// The counter of commits, and a digest of the versions of all documents.
    Shards {
        /// Swamp's `commitSeq`.
        commit_seq: u64,
        /// In hex.
        digest: String,
    },
}

impl Fingerprint {
    /// Reads what [`fmt::Display`] wrote.
    pub fn read(text: &str) -> Self {
        let shards = text.strip_prefix(SHARDS).and_then(|rest| rest.split_once(':'));
        match shards.and_then(|(seq, digest)| Some((seq.parse().ok()?, digest))) {
            Some((commit_seq, digest)) => Self::Shards { commit_seq, digest: digest.to_owned() },
            None => Self::Document(text.to_owned()),
        }
    }

    /// Returns the fingerprint of shards whose documents have these versions, in any order.
    pub fn of_shards<'a>(
        commit_seq: u64,
        documents: impl Iterator<Item = (&'a str, Option<&'a Version>)>,
    ) -> Self {
        let mut lines: Vec<String> = documents
            .map(|(name, version)| format!("{name}\0{}\0", version.map_or("", Version::as_str)))
            .collect();
        lines.sort_unstable();
        let digest = ContentHash::of(lines.concat().as_bytes()).to_string();
        Self::Shards { commit_seq, digest }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document(version) => f.write_str(version),
            Self::Shards { commit_seq, digest } => write!(f, "{SHARDS}{commit_seq}:{digest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_it_was_written() {
        let version = Version::new("v").unwrap();
        let shards = Fingerprint::of_shards(7, [("a", Some(&version)), ("b", None)].into_iter());
        for one in [Fingerprint::Document("9f2c-1".to_owned()), shards] {
            assert_eq!(Fingerprint::read(&one.to_string()), one);
        }
        assert_eq!(Fingerprint::read("shards:x:y"), Fingerprint::Document("shards:x:y".to_owned()));
    }

    #[test]
    fn every_version_counts_and_their_order_does_not() {
        let (one, two) = (Version::new("1").unwrap(), Version::new("2").unwrap());
        let of = |documents: &[(&str, &Version)]| {
            Fingerprint::of_shards(1, documents.iter().map(|(name, version)| (*name, Some(*version))))
        };
        assert_eq!(of(&[("a", &one), ("b", &two)]), of(&[("b", &two), ("a", &one)]));
        assert_ne!(of(&[("a", &one), ("b", &two)]), of(&[("a", &two), ("b", &one)]));
        assert_ne!(of(&[("a", &one)]), of(&[("a", &one), ("b", &two)]));
        assert_ne!(
            Fingerprint::of_shards(1, std::iter::empty()),
            Fingerprint::of_shards(2, std::iter::empty())
        );
    }
}
