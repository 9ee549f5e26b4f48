//! A lock as it was found in the bucket.

use std::time::{Duration, SystemTime};

use crate::model::key::ObjectKey;
use crate::model::lock_body::LockBody;
use crate::store::{ObjectStore, Result, Version};

/// How much older than it says a lock must be before it is taken for dead: servers keep whole
/// seconds, and not all of one service have the same time.
pub(super) const MARGIN: Duration = Duration::from_secs(5);

/// How often a lock is looked at again that was renewed meanwhile.
const MOST_LOOKS: usize = 3;

/// What the bucket had under the lock's key.
#[derive(Debug, Clone)]
pub struct SeenLock {
    /// What it says; `None` if it cannot be read.
    pub body: Option<LockBody>,
    /// The object's version.
    pub version: Version,
    /// When it was last written, by the store's clock; `None` where the store does not say.
    pub modified: Option<SystemTime>,
    /// How long ago that was, by the same clock; `None` where the store does not say.
    pub age: Option<Duration>,
}

/// Returns the lock under `key`, if there is one; one request.
pub async fn inspect(store: &dyn ObjectStore, key: &ObjectKey) -> Result<Option<SeenLock>> {
    match store.get(key, None, None).await {
        Ok(fetched) => Ok(Some(SeenLock {
            body: LockBody::parse(&fetched.body),
            age: fetched.meta.age,
            modified: fetched.meta.modified,
            version: fetched.meta.version,
        })),
        Err(absent) if absent.is_not_found() => Ok(None),
        Err(failed) => Err(failed),
    }
}

/// Returns the lock under `key` with its age, where the store says it at all: one request, or
/// two where an answer with bytes does not tell the time.
pub async fn inspect_with_age(store: &dyn ObjectStore, key: &ObjectKey) -> Result<Option<SeenLock>> {
    let mut seen = inspect(store, key).await?;
    for _ in 0..MOST_LOOKS {
        let Some(lock) = seen.as_mut().filter(|lock| lock.modified.is_none()) else { break };
        match store.head(key).await? {
            Some(meta) if meta.version == lock.version => {
                lock.age = meta.age();
                lock.modified = Some(meta.modified);
            }
            // It was renewed between the two.
            Some(_) => seen = inspect(store, key).await?,
            None => return Ok(None),
        }
    }
    Ok(seen)
}

impl SeenLock {
    /// Returns the holder's mark, if the lock has one.
    pub fn nonce(&self) -> Option<&str> {
        self.body.as_ref()?.nonce.as_deref()
    }

    /// Returns whether it is the holding with this mark.
    pub fn carries(&self, nonce: &str) -> bool {
        self.nonce() == Some(nonce)
    }

    /// Returns whether its holder has surely let it lapse, when it is `age` old. What cannot
    /// be read never lapses.
    pub(super) fn is_dead_at(&self, age: Duration) -> bool {
        self.body.as_ref().is_some_and(|body| age > body.ttl.saturating_add(MARGIN))
    }

    /// Returns whether its holder has surely let it lapse.
    pub fn is_dead(&self) -> bool {
        self.age.is_some_and(|age| self.is_dead_at(age))
    }
}
