//! Finds out what a store really does with conditions.
//!
//! Some stores ignore them silently, and some only on certain requests, so each is tried on
//! objects of our own below [`PROBE_PREFIX`]. A read-only mount never probes: it writes.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Condition, ErrorKind, Nonce, ObjectStore, PutOptions, Result, StoreError, Version};
use crate::model::key::ObjectKey;

/// Below this the probe writes; it leaves nothing behind.
pub const PROBE_PREFIX: &str = "_control/bayou/probe/";

/// Which requests honour their condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditions {
    /// A put `IfAbsent` and `IfVersion`.
    pub put: bool,
    /// The completion of a multipart upload, `IfAbsent` and `IfVersion`.
    pub complete: bool,
    /// A copy, for its source and for its target.
    pub copy: bool,
    /// A delete `IfVersion`.
    pub delete: bool,
    /// A get of a range of one version.
    pub get: bool,
}

impl Conditions {
    /// Returns what is assumed of a store that was not tried: that it ignores every condition.
    pub fn none() -> Self {
        Self { put: false, complete: false, copy: false, delete: false, get: false }
    }
}

/// Tries each kind of conditional request on `store`.
///
/// Fails if the store cannot be reached or does not let us write; whatever else a request
/// fails with means that its conditions are of no use.
pub async fn probe(store: &dyn ObjectStore) -> Result<Conditions> {
    let nonce = Nonce::fresh();
    let name = |what: &str| ObjectKey::new(format!("{PROBE_PREFIX}{}-{what}", nonce.as_str()));
    let subject = Subject::write(store, name("subject"), name("copy")).await?;
    let found = subject.try_all().await;
    subject.clean_up().await;
    found
}

/// An object that was written twice: its first version is one that it no longer has.
struct Subject<'a> {
    store: &'a dyn ObjectStore,
    key: ObjectKey,
    copy: ObjectKey,
    stale: Version,
    current: Version,
}

/// What a request that must be refused came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    /// It was refused, as it must be.
    Honoured,
    /// It was done, or refused as something that the store does not know.
    Useless,
}

impl<'a> Subject<'a> {
    async fn write(store: &'a dyn ObjectStore, key: ObjectKey, copy: ObjectKey) -> Result<Self> {
        let write = |body: &'static [u8]| {
            let key = key.clone();
            async move {
                let options = PutOptions::when(Condition::Always);
                store.put(&key, Bytes::from_static(body), &options).await
            }
        };
        let stale = write(b"first").await?;
        let current = write(b"second").await?;
        Ok(Self { store, key, copy, stale, current })
    }

    async fn try_all(&self) -> Result<Conditions> {
        Ok(Conditions {
            get: self.try_get().await?,
            put: self.try_put().await?,
            complete: self.try_complete().await?,
            copy: self.try_copy().await?,
            delete: self.try_delete().await?,
        })
    }

    /// The conditions that the subject does not meet.
    fn unmet(&self) -> [Condition; 2] {
        [Condition::IfAbsent, Condition::IfVersion(self.stale.clone())]
    }

    async fn try_get(&self) -> Result<bool> {
        let refused = self.store.get(&self.key, Some(0..1), Some(&self.stale)).await;
        let served = self.store.get(&self.key, Some(0..1), Some(&self.current)).await;
        Ok(judge(refused)? == Finding::Honoured && is_done(served)?)
    }

    async fn try_put(&self) -> Result<bool> {
        for condition in self.unmet() {
            let options = PutOptions::when(condition);
            let outcome = self.store.put(&self.key, Bytes::from_static(b"third"), &options).await;
            if judge(outcome)? == Finding::Useless {
                return Ok(false);
            }
        }
        let met = PutOptions::when(Condition::IfVersion(self.current.clone()));
        is_done(self.store.put(&self.key, Bytes::from_static(b"second"), &met).await)
    }

    async fn try_complete(&self) -> Result<bool> {
        for condition in self.unmet() {
            let options = PutOptions::when(condition);
            if judge(self.upload(&options).await)? == Finding::Useless {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn upload(&self, options: &PutOptions) -> Result<Version> {
        let body = Bytes::from_static(b"fourth");
        let upload = self.store.begin_upload(&self.key, body.len() as u64, options).await?;
        let outcome = async {
            let part = self.store.upload_part(&self.key, &upload, 1, body).await?;
            self.store.complete_upload(&self.key, &upload, &[part], options).await
        };
        let outcome = outcome.await;
        if outcome.is_err() {
            note_leftover(self.store.abort_upload(&self.key, &upload).await);
        }
        outcome
    }

    async fn try_copy(&self) -> Result<bool> {
        // An earlier try may have succeeded where it should not: what counts is the present.
        let Some(subject) = self.store.head(&self.key).await? else { return Ok(false) };
        let always = PutOptions::when(Condition::Always);
        let stale_source = self.store.copy(&self.key, &self.stale, &self.copy, &always).await;
        if judge(stale_source)? == Finding::Useless {
            return Ok(false);
        }
        for condition in self.unmet() {
            let options = PutOptions::when(condition);
            let onto_itself = self.store.copy(&self.key, &subject.version, &self.key, &options).await;
            if judge(onto_itself)? == Finding::Useless {
                return Ok(false);
            }
        }
        is_done(self.store.copy(&self.key, &subject.version, &self.copy, &always).await)
    }

    async fn try_delete(&self) -> Result<bool> {
        let unmet = Condition::IfVersion(self.stale.clone());
        Ok(judge(self.store.delete(&self.key, &unmet).await)? == Finding::Honoured)
    }

    async fn clean_up(&self) {
        for key in [&self.key, &self.copy] {
            note_leftover(self.store.delete(key, &Condition::Always).await);
        }
    }
}

/// Judges a request whose condition was not met.
fn judge<T>(outcome: Result<T>) -> Result<Finding> {
    match outcome {
        Err(refused) if refused.is_condition_failed() => Ok(Finding::Honoured),
        Ok(_) => Ok(Finding::Useless),
        Err(error) if is_answer(&error) => Ok(Finding::Useless),
        Err(error) => Err(error),
    }
}

/// Returns whether a request whose condition was met was done.
fn is_done<T>(outcome: Result<T>) -> Result<bool> {
    match outcome {
        Ok(_) => Ok(true),
        Err(error) if is_answer(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns whether a failure says something about the store, and not about the moment.
fn is_answer(error: &StoreError) -> bool {
    match error.kind {
        ErrorKind::NotFound
        | ErrorKind::Changed
        | ErrorKind::Exists
        | ErrorKind::Denied
        | ErrorKind::Unsupported
        | ErrorKind::Invalid => true,
        ErrorKind::NoBucket
        | ErrorKind::Unauthenticated
        | ErrorKind::Throttled
        | ErrorKind::Unreachable
        | ErrorKind::Corrupt
        | ErrorKind::NoSpace => false,
    }
}

fn note_leftover(outcome: Result<()>) {
    if let Err(error) = outcome {
        tracing::warn!(%error, "The probe left an object behind");
    }
}
