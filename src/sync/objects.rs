//! What is in the bucket besides the index: the objects that may be files.
//!
//! Everything is listed, in pages, each retried. Internal names, folder markers and keys that no
//! file may have are left out. What is below a prefix with an index of its own belongs to that
//! index (swamp's namespaces, other mounts): it is told apart, and nobody else names it.

use std::collections::BTreeSet;

use futures::TryStreamExt;

use super::error::{Result, SyncError};
use crate::model::index::INDEX_KEY;
use crate::model::key::DataKey;
use crate::model::shard::META_KEY;
use crate::store::{Listed, ObjectStore};

/// What the manifest of a namespace is called. Only at the top, as for swamp.
const NAMESPACE_MANIFEST: &str = ".namespace.json";

/// The objects of a bucket that may be files, in the order of the listing.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// Those that this bucket's index may name.
    pub ours: Vec<(DataKey, Listed)>,
    /// Those below a prefix that has an index of its own.
    pub of_others: Vec<(DataKey, Listed)>,
}

/// Lists the objects that may be files.
pub(super) async fn list_files(store: &dyn ObjectStore) -> Result<Files> {
    let (mut files, mut prefixes) = (Vec::new(), BTreeSet::new());
    let mut pages = store.list("", None);
    let failed = || format!("Listing {}", store.address());
    while let Some(page) = pages.try_next().await.map_err(|e| SyncError::store(failed())(e))? {
        for listed in page {
            let key = listed.key.as_str();
            prefixes.extend(own_index_below(key).map(str::to_owned));
            match DataKey::admit(key) {
                Ok(key) => files.push((key, listed)),
                Err(reason) => tracing::debug!(key, %reason, "It is no file"),
            }
        }
    }
    for prefix in &prefixes {
        tracing::debug!(prefix, address = store.address(), "What is below has an index of its own");
    }
    let (of_others, ours) = files.into_iter().partition(|(key, _)| is_below(&prefixes, key.as_str()));
    Ok(Files { ours, of_others })
}

/// Returns the prefix, without the slash behind it, that a key says has an index of its own.
fn own_index_below(key: &str) -> Option<&str> {
    let below = |name: &str| key.strip_suffix(name)?.strip_suffix('/').filter(|prefix| !prefix.is_empty());
    let namespace = below(NAMESPACE_MANIFEST).filter(|prefix| !prefix.contains('/'));
    below(INDEX_KEY).or_else(|| below(META_KEY)).or(namespace)
}

fn is_below(prefixes: &BTreeSet<String>, key: &str) -> bool {
    let ends = key.match_indices('/').map(|(at, _)| &key[..at]);
    ends.chain([key]).any(|folder| prefixes.contains(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_below_a_prefix_is_told_from_names_that_only_look_like_it() {
        for (key, prefix) in [
            ("ns/.namespace.json", "ns"),
            ("ns/.datastore-index.json", "ns"),
            ("a/b/.datastore-index.json", "a/b"),
            ("a/b/_index/_meta.json", "a/b"),
        ] {
            assert_eq!(own_index_below(key), Some(prefix), "{key}");
        }
        for key in [
            ".datastore-index.json",
            "_index/_meta.json",
            "a/b/.namespace.json",
            "a/x.datastore-index.json",
            "a/_index/audit.json",
            "/.datastore-index.json",
        ] {
            assert_eq!(own_index_below(key), None, "{key}");
        }
    }

    #[test]
    fn what_is_below_a_prefix_is_told_from_what_begins_with_its_name() {
        let prefixes = BTreeSet::from(["a/b".to_owned()]);
        for key in ["a/b", "a/b/c", "a/b/c/d"] {
            assert!(is_below(&prefixes, key), "{key}");
        }
        for key in ["a", "a/bc", "a/c", "b", "x/a/b"] {
            assert!(!is_below(&prefixes, key), "{key}");
        }
    }
}
