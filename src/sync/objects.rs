//! What is in the bucket besides the index: the objects that may be files.
//!
//! Everything is listed, in pages, each retried. Internal names, folder markers, keys that no
//! file may have and the folders of namespaces are left out: those have an index of their own.

use std::collections::HashSet;

use futures::TryStreamExt;

use super::error::{Result, SyncError};
use crate::model::key::DataKey;
use crate::store::{Listed, ObjectStore};

/// What the manifest of a namespace is called, behind the namespace's name.
const NAMESPACE_MANIFEST: &str = "/.namespace.json";

/// Lists the objects that may be files, in the order of the listing.
pub(super) async fn list_files(store: &dyn ObjectStore) -> Result<Vec<(DataKey, Listed)>> {
    let (mut files, mut namespaces) = (Vec::new(), HashSet::new());
    let mut pages = store.list("", None);
    let failed = || format!("Listing {}", store.address());
    while let Some(page) = pages.try_next().await.map_err(|e| SyncError::store(failed())(e))? {
        for listed in page {
            let key = listed.key.as_str();
            namespaces.extend(key.strip_suffix(NAMESPACE_MANIFEST).map(str::to_owned));
            match DataKey::admit(key) {
                Ok(key) => files.push((key, listed)),
                Err(reason) => tracing::debug!(key, %reason, "It is no file"),
            }
        }
    }
    files.retain(|(key, _)| !namespaces.contains(key.as_str().split('/').next().unwrap_or(key.as_str())));
    Ok(files)
}
