//! Building the index of a bucket that has none.
//!
//! Everything is listed, in pages, each retried. Internal names, folder markers, keys that no
//! file may have, what swamp's writers leave behind and the folders of its namespaces are left out. The index is published only if there still is none; who
//! loses that race takes the winner's. An empty bucket gets no index.

use std::collections::HashSet;

use async_trait::async_trait;
use futures::TryStreamExt;

use super::describe;
use super::error::{Result, SyncError};
use super::index::{Fence, RemoteIndex};
use crate::model::entry::Entry;
use crate::model::index::Index;
use crate::model::internal_name::is_leftover;
use crate::model::key::DataKey;
use crate::model::timestamp::{Stamp, Timestamp};
use crate::store::{ErrorKind, Listed, ObjectStore};

/// What the manifest of a namespace is called, behind the namespace's name.
pub(super) const NAMESPACE_MANIFEST: &str = "/.namespace.json";

/// Whether what was found may be written to the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publish {
    /// It may.
    Yes,
    /// It stays here.
    No,
}

/// Lists the bucket and returns the index of what is in it, published if it may be.
pub async fn discover(store: &dyn ObjectStore, publish: Publish, now: Timestamp) -> Result<RemoteIndex> {
    let mut index = Index::empty(now);
    let mut namespaces = HashSet::new();
    let mut pages = store.list("", None);
    let failed = || format!("Listing {}", store.address());
    while let Some(page) = pages.try_next().await.map_err(|e| SyncError::store(failed())(e))? {
        for listed in &page {
            add(&mut index, listed);
            namespaces.extend(listed.key.as_str().strip_suffix(NAMESPACE_MANIFEST).map(str::to_owned));
        }
    }
    drop(pages);
    leave_out(&mut index, &namespaces);
    let mut found = RemoteIndex::unpublished(index);
    if found.is_empty() || publish == Publish::No {
        return Ok(found);
    }
    match found.publish(store, now, &Unfenced).await {
        Ok(()) => {
            tracing::info!(
                entries = found.len(),
                address = store.address(),
                "The bucket had no index: one was built and published"
            );
            Ok(found)
        }
        Err(failed) => match failed.store_kind() {
            Some(ErrorKind::Exists | ErrorKind::Changed) => {
                Ok(RemoteIndex::fetch(store, None, None, &|_| true).await?.index.unwrap_or(found))
            }
            Some(ErrorKind::Denied | ErrorKind::Unauthenticated) => {
                let error = describe(&failed);
                tracing::warn!(
                    error,
                    "The index that was built may not be published: it stays on this machine"
                );
                Ok(found)
            }
            _ => Err(failed),
        },
    }
}

/// The index of a bucket that has none is created or not: no lock is needed for that.
struct Unfenced;

#[async_trait]
impl Fence for Unfenced {
    async fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// Leaves out the folders of namespaces: they have an index of their own.
fn leave_out(index: &mut Index, namespaces: &HashSet<String>) {
    let is_foreign = |key: &&str| namespaces.contains(key.split('/').next().unwrap_or(key));
    let foreign: Vec<String> = index.keys().filter(is_foreign).map(str::to_owned).collect();
    for key in foreign {
        index.remove(&key);
    }
}

fn add(index: &mut Index, listed: &Listed) {
    if is_leftover(listed.key.as_str()) {
        return;
    }
    match DataKey::admit(listed.key.as_str()) {
        Ok(key) => {
            let entry = Entry {
                size: Some(listed.size),
                last_modified: Some(Stamp::from(Timestamp::from(listed.modified))),
                version: listed.version.clone(),
                ..Entry::default()
            };
            index.set(&key, &entry);
        }
        Err(reason) => tracing::debug!(key = %listed.key, %reason, "Left out of the index"),
    }
}
