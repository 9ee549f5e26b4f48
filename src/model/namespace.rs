//! Names of namespaces: parts of a bucket that each have an index of their own.
//!
//! All of a namespace's keys begin with its name and `/`; only its lock stands at the root of
//! the bucket's prefix, beside those of the others. The rule for names is swamp's, because
//! both share the bucket.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest name of a namespace, in bytes.
const MAX_BYTES: usize = 64;

/// The name of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(Arc<str>);

/// Why a text is no name of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} cannot be the name of a namespace: {reason}")]
pub struct BadNamespace {
    name: String,
    reason: &'static str,
}

impl Namespace {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Namespace {
    type Err = BadNamespace;

    fn from_str(text: &str) -> Result<Self, BadNamespace> {
        match fault(text) {
            Some(reason) => Err(BadNamespace { name: text.to_owned(), reason }),
            None => Ok(Self(text.into())),
        }
    }
}

/// Returns the rule that a name breaks, if any.
fn fault(name: &str) -> Option<&'static str> {
    let outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.is_empty() {
        Some("it is empty")
    } else if name.len() > MAX_BYTES {
        Some("it has more than 64 characters")
    } else if !name.chars().all(|c| outer(c) || c == '-') {
        Some("only lower-case letters, digits and hyphens are allowed")
    } else if !(name.starts_with(outer) && name.ends_with(outer)) {
        Some("it must begin and end with a letter or a digit")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::internal_name::{NameClass, classify};

    #[test]
    fn a_name_is_what_swamp_takes_for_one() {
        let longest = "x".repeat(64);
        for name in ["a", "7", "infra", "team-b", "a--b", "0-0", &longest] {
            assert_eq!(name.parse::<Namespace>().unwrap().as_str(), name);
        }
        let too_long = "x".repeat(65);
        for name in ["", "-a", "a-", "-", "Infra", "a_b", "a/b", "..", "ä", "a b", "a\n", &too_long] {
            let refused = name.parse::<Namespace>().unwrap_err().to_string();
            assert!(
                refused.starts_with(&format!("{name:?} cannot be the name of a namespace: ")),
                "{refused}"
            );
        }
    }

    /// Swamp asks its rule of internal names with the namespace before the name at one place
    /// and without it at others. Ours is asked without it only; this is why that is enough.
    #[test]
    fn a_name_that_is_internal_behind_a_namespace_is_so_without_it() {
        let names = [
            ".datastore-index.json",
            ".push-queue.json",
            ".datastore.lock",
            ".datastore-sync-state.json",
            "_index",
            "_index/_meta.json",
            "_control/leader",
            ".lock",
            "data/m/.lock",
            ".namespace.json",
            "other/.namespace.json",
            "data/_catalog.db-wal",
        ];
        let behind: Vec<&str> = names
            .into_iter()
            .filter(|name| classify(&format!("infra/{name}")) != NameClass::Ordinary)
            .collect();
        assert_eq!(
            behind,
            [".lock", "data/m/.lock", ".namespace.json", "other/.namespace.json", "data/_catalog.db-wal"]
        );
        for name in names {
            assert_ne!(classify(name), NameClass::Ordinary, "{name}");
        }
        for name in ["data/a", ".catalog-export.json", "infra/_index/_meta.json", "_indexes"] {
            assert_eq!(classify(name), NameClass::Ordinary, "{name}");
            assert_eq!(classify(&format!("infra/{name}")), NameClass::Ordinary, "{name}");
        }
    }
}
