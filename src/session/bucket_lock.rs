//! The lock of a bucket as people see and break it, without a mount and without a cache.

use std::time::Duration;

use super::bucket;
use super::failures;
use crate::control::{Failure, FailureKind};
use crate::model::lock_name::LockName;
use crate::os::clock::SharedClock;
use crate::store::access::Access;
use crate::store::{SharedStore, StoreError};
use crate::sync::lock::{self, Broken, SeenLock};

/// Which lock of which bucket.
#[derive(Debug, Clone)]
pub struct LockPlace {
    /// The bucket as people write it.
    pub source: String,
    /// How to reach it.
    pub access: Access,
    /// The lock.
    pub name: LockName,
}

/// How a lock stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct LockStatus {
    /// The bucket's address.
    pub source: String,
    /// The lock's key.
    pub key: String,
    /// Whether there is a lock.
    pub held: bool,
    /// Who holds it, `user@host`; nothing if the lock cannot be read.
    pub holder: Option<String>,
    /// The holder's machine.
    pub hostname: Option<String>,
    /// The holder's process on that machine.
    pub pid: Option<u64>,
    /// When it was taken or last renewed, by the holder's clock.
    pub acquired_at: Option<String>,
    /// How long it counts after that, in milliseconds.
    pub ttl_ms: Option<u64>,
    /// The mark of this holding.
    pub nonce: Option<String>,
    /// How long ago it was written, by the bucket's own clock, in milliseconds.
    pub age_ms: Option<u64>,
    /// Whether it has lapsed: the next client that wants it takes it over.
    pub lapsed: bool,
}

/// What became of a lock that was to be broken.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LockRelease {
    /// Whether this removed it.
    pub released: bool,
    /// Why not.
    pub reason: Option<String>,
    /// The lock as it was before.
    pub previous: LockStatus,
}

/// Returns how a lock stands; one request.
pub async fn status(place: &LockPlace, clock: SharedClock) -> Result<LockStatus, Failure> {
    let store = connect(place, &clock).await?;
    let seen = look(place, &store).await?;
    Ok(describe(place, &store, seen.as_ref()))
}

/// Breaks a lock, if `agree` says so once it knows whose it is.
pub async fn release(
    place: &LockPlace,
    agree: impl FnOnce(&LockStatus) -> Result<(), Failure>,
    clock: SharedClock,
) -> Result<LockRelease, Failure> {
    let store = connect(place, &clock).await?;
    let seen = look(place, &store).await?;
    let previous = describe(place, &store, seen.as_ref());
    let unreleased = |reason: &str, previous| {
        let reason = Some(reason.to_owned());
        Ok(LockRelease { released: false, reason, previous })
    };
    let Some(seen) = seen else { return unreleased("nobody holds it", previous) };
    agree(&previous)?;
    match lock::force_release(&*store, &place.name.key(), &seen).await.map_err(failed(&store))? {
        Broken::Yes => Ok(LockRelease { released: true, reason: None, previous }),
        Broken::WasGone => unreleased("its holder has given it back meanwhile", previous),
        Broken::Changed => {
            let message = format!(
                "The lock {:?} in {} has another holder meanwhile and was left alone; look again with \
                 `bayou lock status {}{}`",
                previous.key,
                previous.source,
                previous.source,
                place.name.flags()
            );
            Err(Failure::new(FailureKind::System, message))
        }
    }
}

async fn connect(place: &LockPlace, clock: &SharedClock) -> Result<SharedStore, Failure> {
    bucket::connect_root(&place.source, &place.access, clock).await
}

async fn look(place: &LockPlace, store: &SharedStore) -> Result<Option<SeenLock>, Failure> {
    lock::inspect_with_age(&**store, &place.name.key()).await.map_err(failed(store))
}

fn failed(store: &SharedStore) -> impl FnOnce(StoreError) -> Failure {
    let address = store.address();
    move |error| failures::of_store(&address, &error)
}

fn describe(place: &LockPlace, store: &SharedStore, seen: Option<&SeenLock>) -> LockStatus {
    let (source, key) = (store.address(), place.name.key().to_string());
    let Some(seen) = seen else { return LockStatus { source, key, ..LockStatus::default() } };
    let body = seen.body.as_ref();
    LockStatus {
        source,
        key,
        held: true,
        holder: body.map(|body| body.holder.clone()),
        hostname: body.map(|body| body.hostname.clone()),
        pid: body.and_then(|body| body.pid),
        acquired_at: body.map(|body| body.acquired_at.as_str().to_owned()),
        ttl_ms: body.map(|body| ms(body.ttl)),
        nonce: seen.nonce().map(str::to_owned),
        age_ms: seen.age.map(ms),
        lapsed: seen.is_dead(),
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
