//! Building the index of a bucket that has none.
//!
//! It names every object that may be a file, but for what swamp's writers leave behind. It is
//! published only if there still is none; who loses that race takes the winner's. An empty
//! bucket gets no index.

use async_trait::async_trait;

use super::describe;
use super::error::Result;
use super::index::{Fence, RemoteIndex};
use super::objects;
use crate::model::entry::Entry;
use crate::model::index::Index;
use crate::model::internal_name::is_leftover;
use crate::model::timestamp::{Stamp, Timestamp};
use crate::store::{ErrorKind, Listed, ObjectStore};

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
    for (key, listed) in objects::list_files(store).await?.ours {
        if !is_leftover(key.as_str()) {
            index.set(&key, &entry_of(listed));
        }
    }
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

fn entry_of(listed: Listed) -> Entry {
    Entry {
        size: Some(listed.size),
        last_modified: Some(Stamp::from(Timestamp::from(listed.modified))),
        version: listed.version,
        ..Entry::default()
    }
}
