//! Everything that lies between the machines of a simulation and their bucket.
//!
//! Requests wait here until the simulation decides what becomes of the next one.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bayou::model::key::ObjectKey;
use bayou::os::clock::Clock;
use bayou::store::{
    Abilities, Component, Condition, ErrorKind, Fetched, Listed, ObjectMeta, ObjectStore, PartSource,
    PutOptions, Result, StoreError, UploadId, UploadedPart, Version,
};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::bucket::{Asked, Bucket};
use super::clock::SimClock;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Answered,
    /// It takes effect, and the answer is lost.
    AnswerLost,
    /// It never reaches the bucket.
    Refused,
    /// Who asked is told that nobody answered, and it takes effect later.
    Late,
}

type Effect = Box<dyn FnOnce(&mut Bucket) + Send>;

/// A request that is under way.
struct Request {
    what: String,
    effect: Effect,
    /// Tells who asked that there was no answer; does nothing the second time.
    give_up: Box<dyn Fn() + Send>,
}

/// The requests that are under way, in the order in which they were sent.
pub(super) struct Network {
    requests: Mutex<Vec<Request>>,
    pub(super) bucket: Mutex<Bucket>,
    clock: SimClock,
    /// Whether the bucket puts objects together, instead of taking parts early and copying them.
    composes: bool,
}

impl Network {
    pub(super) fn new(clock: SimClock, composes: bool) -> Arc<Self> {
        Arc::new(Self { requests: Mutex::default(), bucket: Mutex::default(), clock, composes })
    }

    pub(super) fn under_way(&self) -> usize {
        self.requests.lock().len()
    }

    /// Decides about one request; returns which.
    pub(super) fn decide(&self, number: usize, fate: Fate) -> String {
        let Request { what, effect, give_up } = self.requests.lock().remove(number);
        match fate {
            Fate::Answered => effect(&mut self.bucket.lock()),
            Fate::AnswerLost => {
                give_up();
                effect(&mut self.bucket.lock());
            }
            Fate::Refused => give_up(),
            Fate::Late => {
                give_up();
                self.requests.lock().push(Request { what: what.clone(), effect, give_up: Box::new(|| ()) });
            }
        }
        what
    }
}

/// One machine's way to the bucket.
pub(super) struct Door {
    pub(super) machine: usize,
    pub(super) network: Arc<Network>,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Door({})", self.machine)
    }
}

impl Door {
    async fn ask<T: Send + 'static>(
        &self,
        operation: &'static str,
        key: &ObjectKey,
        work: impl FnOnce(&Asked, &mut Bucket) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let answer = Arc::new(Mutex::new(Some(answer)));
        let clock = self.network.clock.clone();
        let (effect_answer, effect_key) = (Arc::clone(&answer), key.clone());
        let effect = Box::new(move |bucket: &mut Bucket| {
            let asked = Asked { operation, key: effect_key, now: clock.now() };
            let outcome = work(&asked, bucket);
            if let Some(answer) = effect_answer.lock().take() {
                // Who asked may be gone.
                drop(answer.send(outcome));
            }
        });
        let lost_key = key.clone();
        let give_up = Box::new(move || {
            let lost = StoreError::new(ErrorKind::Unreachable, operation, &lost_key).detail("simulated");
            if let Some(answer) = answer.lock().take() {
                drop(answer.send(Err(lost)));
            }
        });
        let what = format!("{} {operation} {}", self.machine, told(key));
        self.network.requests.lock().push(Request { what, effect, give_up });
        let gone = || StoreError::new(ErrorKind::Unreachable, operation, key).detail("given up");
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// Keys that have a mark in them are other keys each time.
fn told(key: &ObjectKey) -> &str {
    if key.as_str().starts_with("_control/") { "_control/…" } else { key.as_str() }
}

#[async_trait]
impl ObjectStore for Door {
    async fn get(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
        if_version: Option<&Version>,
    ) -> Result<Fetched> {
        let wanted = if_version.cloned();
        self.ask("get", key, move |asked, bucket| bucket.get(asked, range, wanted.as_ref())).await
    }

    async fn put(&self, key: &ObjectKey, body: Bytes, options: &PutOptions) -> Result<Version> {
        let options = options.clone();
        self.ask("put", key, move |asked, bucket| bucket.put(asked, body, &options)).await
    }

    async fn begin_upload(&self, key: &ObjectKey, _: u64, _: &PutOptions) -> Result<UploadId> {
        self.ask("begin", key, move |_, bucket| Ok(UploadId(bucket.begin()))).await
    }

    async fn upload_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        body: Bytes,
    ) -> Result<UploadedPart> {
        let upload = upload.clone();
        self.ask("part", key, move |asked, bucket| bucket.part(asked, &upload.0, number, body)).await
    }

    async fn copy_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        from: &PartSource,
    ) -> Result<UploadedPart> {
        let (upload, from) = (upload.clone(), from.clone());
        self.ask("copy part", key, move |asked, bucket| bucket.copy_part(asked, &upload.0, number, &from))
            .await
    }

    async fn complete_upload(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[UploadedPart],
        options: &PutOptions,
    ) -> Result<Version> {
        let (upload, parts, options) = (upload.clone(), parts.to_vec(), options.clone());
        self.ask("complete", key, move |asked, bucket| bucket.complete(asked, &upload.0, &parts, &options))
            .await
    }

    async fn abort_upload(&self, key: &ObjectKey, upload: &UploadId) -> Result<()> {
        let upload = upload.clone();
        self.ask("abort", key, move |_, bucket| {
            bucket.abort(&upload.0);
            Ok(())
        })
        .await
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>> {
        self.ask("head", key, |asked, bucket| Ok(bucket.head(asked))).await
    }

    async fn delete(&self, key: &ObjectKey, condition: &Condition) -> Result<()> {
        let condition = condition.clone();
        self.ask("delete", key, move |asked, bucket| bucket.delete(asked, &condition)).await
    }

    async fn copy(
        &self,
        from: &ObjectKey,
        from_version: &Version,
        to: &ObjectKey,
        options: &PutOptions,
    ) -> Result<Version> {
        let (from, version, options) = (from.clone(), from_version.clone(), options.clone());
        self.ask("copy", to, move |asked, bucket| bucket.copy(asked, (&from, &version), &options)).await
    }

    async fn compose(
        &self,
        components: &[Component],
        to: &ObjectKey,
        options: &PutOptions,
    ) -> Result<Version> {
        let (components, options) = (components.to_vec(), options.clone());
        self.ask("compose", to, move |asked, bucket| bucket.compose(asked, &components, &options)).await
    }

    fn list(&self, prefix: &str, start_after: Option<&ObjectKey>) -> BoxStream<'_, Result<Vec<Listed>>> {
        let (prefix, after) = (prefix.to_owned(), start_after.cloned());
        let page = async move {
            let key = ObjectKey::new(prefix.as_str());
            self.ask("list", &key, move |_, bucket| Ok(bucket.list(&prefix, after.as_ref()))).await
        };
        futures::stream::once(page).boxed()
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            min_part_bytes: 1,
            max_parts: 10_000,
            max_put_bytes: 5 << 30,
            parts_show: false,
            parts_in_order: self.network.composes,
            begins_early: !self.network.composes,
            copies_parts: !self.network.composes,
            most_components: if self.network.composes { 32 } else { 0 },
            write_interval: std::time::Duration::ZERO,
        }
    }

    fn address(&self) -> String {
        "sim://bucket".to_owned()
    }
}
