//! The index of a bucket as people look after it, without a mount and without a cache.

use std::sync::Arc;

use super::bucket;
use super::failures;
use crate::control::Failure;
use crate::model::lock_name::LockName;
use crate::model::namespace::Namespace;
use crate::os::clock::SharedClock;
use crate::store::access::Access;
use crate::store::probe::{Conditions, probe};
use crate::sync::SyncError;
use crate::sync::lock::{BucketLock, LockOptions};
use crate::sync::upkeep::Upkeep;

/// Which index.
#[derive(Debug, Clone)]
pub struct IndexPlace {
    /// The bucket as people write it.
    pub source: String,
    /// How to reach it.
    pub access: Access,
    /// The namespace whose index it is; the whole bucket's if `None`.
    pub namespace: Option<Namespace>,
}

/// Whether the index will be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It is only looked at.
    Look,
    /// It is changed, under the lock.
    Change,
}

/// Returns the keeper of an index.
pub async fn open(place: &IndexPlace, purpose: Purpose, clock: &SharedClock) -> Result<Upkeep, Failure> {
    let root = bucket::connect_root(&place.source, &place.access, clock).await?;
    let store = bucket::part_of(&root, place.namespace.as_ref());
    let conditions = match purpose {
        Purpose::Look => Conditions::none(),
        Purpose::Change => {
            probe(&*store).await.map_err(|error| failures::of_store(&store.address(), &error))?
        }
    };
    let options = LockOptions { wait: place.access.timeout, ..LockOptions::default() };
    let key = LockName::of_bucket(place.namespace.as_ref()).key();
    let lock = BucketLock::new(Arc::clone(&root), key, Arc::clone(clock), conditions, options);
    let upkeep = Upkeep::new(store, lock, Arc::clone(clock));
    Ok(match &place.namespace {
        Some(_) => upkeep.with_root(root),
        None => upkeep,
    })
}

/// Says that an index could not be looked after.
pub fn failed(upkeep: &Upkeep) -> impl FnOnce(SyncError) -> Failure {
    let address = upkeep.address();
    move |error| failures::of_sync(&address, &error)
}
