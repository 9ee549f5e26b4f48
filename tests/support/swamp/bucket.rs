//! Swamp's requests: plain ones, without metadata and, but for the lock, without conditions.
//!
//! Each is written down, waits at a gate where a test wants it to wait, and what a write or
//! delete puts an end to is kept, so that the test knows what swamp itself destroyed.

use std::sync::Arc;

use bayou::model::key::ObjectKey;
use bayou::os::clock::Clock;
use bayou::store::{Condition, ErrorKind, Listed, PutOptions};
use bytes::Bytes;
use futures::TryStreamExt;
use parking_lot::Mutex;

use super::{Result, is_internal};
use crate::pace::Pace;
use crate::world::World;

/// A bucket as swamp uses it.
#[derive(Clone)]
pub(crate) struct Bucket {
    world: Arc<World>,
    pace: Arc<Pace>,
    requests: Arc<Mutex<Vec<String>>>,
    deeds: Arc<Mutex<Vec<Deed>>>,
}

/// What swamp did to an object that is not machinery.
#[derive(Debug)]
pub(crate) struct Deed {
    pub(crate) key: String,
    /// What the object was.
    pub(crate) before: Option<Bytes>,
    /// What it is since; nothing if it was deleted.
    pub(crate) after: Option<Bytes>,
}

impl Bucket {
    /// Returns the world's bucket; each request waits until `pace` lets it pass.
    pub(crate) fn new(world: &Arc<World>, pace: Arc<Pace>) -> Self {
        Self { world: Arc::clone(world), pace, requests: Arc::default(), deeds: Arc::default() }
    }

    /// Returns the requests since the last look and forgets them.
    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.requests.lock())
    }

    /// Returns what was done to objects since the last look and forgets it.
    pub(crate) fn take_deeds(&self) -> Vec<Deed> {
        std::mem::take(&mut *self.deeds.lock())
    }

    pub(super) fn wall_clock(&self) -> std::time::SystemTime {
        self.world.clock.now()
    }

    fn note(&self, method: &str, key: &str) {
        self.requests.lock().push(format!("{method} {key}"));
    }

    /// Returns an object's bytes and fingerprint.
    pub(super) async fn get(&self, key: &str) -> Result<Option<(Bytes, String)>> {
        let _passed = self.pace.pass().await;
        self.note("GET", key);
        match self.world.bucket.get(&ObjectKey::new(key), None, None).await {
            Ok(fetched) => Ok(Some((fetched.body, fetched.meta.version.as_str().to_owned()))),
            Err(absent) if absent.is_not_found() => Ok(None),
            Err(failed) => Err(failed.into()),
        }
    }

    /// Returns an object's fingerprint, and how old it is by this machine's clock in milliseconds.
    pub(super) async fn head(&self, key: &str) -> Result<Option<(String, u128)>> {
        let _passed = self.pace.pass().await;
        self.note("HEAD", key);
        let meta = self.world.bucket.head(&ObjectKey::new(key)).await?;
        Ok(meta.map(|meta| {
            let age = meta.modified.elapsed().unwrap_or_default();
            (meta.version.as_str().to_owned(), age.as_millis())
        }))
    }

    /// Writes an object, whatever is there; returns its fingerprint.
    pub(super) async fn put(&self, key: &str, body: impl Into<Bytes>) -> Result<String> {
        let _passed = self.pace.pass().await;
        self.note("PUT", key);
        let body = body.into();
        self.keep(key, Some(&body)).await;
        Ok(self.world.put_foreign(key, body).await.as_str().to_owned())
    }

    /// Writes an object if there is none; returns whether it did.
    pub(super) async fn put_if_absent(&self, key: &str, body: Vec<u8>) -> Result<bool> {
        let _passed = self.pace.pass().await;
        self.note("PUT", key);
        let options = PutOptions::when(Condition::IfAbsent);
        match self.world.bucket.put(&ObjectKey::new(key), body.into(), &options).await {
            Ok(_) => Ok(true),
            Err(there) if there.kind == ErrorKind::Exists => Ok(false),
            Err(failed) => Err(failed.into()),
        }
    }

    /// Deletes an object, whatever it is.
    pub(super) async fn delete(&self, key: &str) -> Result<()> {
        let _passed = self.pace.pass().await;
        self.note("DELETE", key);
        self.keep(key, None).await;
        Ok(self.world.bucket.delete(&ObjectKey::new(key), &Condition::Always).await?)
    }

    /// Returns all objects below a prefix.
    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        let _passed = self.pace.pass().await;
        self.note("LIST", prefix);
        let pages: Vec<_> = self.world.bucket.list(prefix, None).try_collect().await?;
        Ok(pages.into_iter().flatten().collect())
    }

    async fn keep(&self, key: &str, after: Option<&Bytes>) {
        if is_internal(key) {
            return;
        }
        let before = self.world.object(key).await;
        self.deeds.lock().push(Deed { key: key.to_owned(), before, after: after.cloned() });
    }
}
