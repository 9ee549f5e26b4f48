//! A store that remembers every request that went through it.
//!
//! Where the number of requests is the promise, tests put it between sync and the backend and
//! count. It changes nothing.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use parking_lot::Mutex;

use super::{
    Abilities, Component, Condition, Fetched, Listed, ObjectMeta, ObjectStore, PartSource, PutOptions,
    Result, SharedStore, Taker, UploadId, UploadedPart, Version,
};
use crate::model::key::ObjectKey;

/// One request, as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method's name: `get`, `put`, `list`.
    pub operation: &'static str,
    /// The key it is about, the target of a copy, or the prefix of a listing.
    pub key: String,
    /// The range of a get, or of a copied part.
    pub range: Option<Range<u64>>,
    /// The condition of a write, delete or get, or on the source of a copied part.
    pub condition: Condition,
}

/// `put a/b (IfAbsent)`, for messages of failed tests.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.operation, self.key)?;
        if let Some(range) = &self.range {
            write!(f, " [{}..{}]", range.start, range.end)?;
        }
        match &self.condition {
            Condition::Always => Ok(()),
            condition => write!(f, " ({condition:?})"),
        }
    }
}

/// The requests that were made, shared with the streams of listings.
type Log = Arc<Mutex<Vec<Request>>>;

/// Records the requests to `inner`. Every page of a listing is a request of its own.
#[derive(Debug)]
pub struct RecordingStore {
    inner: SharedStore,
    log: Log,
}

impl RecordingStore {
    /// Returns a store that passes every request on to `inner` and remembers it.
    pub fn new(inner: SharedStore) -> Self {
        Self { inner, log: Log::default() }
    }

    /// Returns the requests so far, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        self.log.lock().clone()
    }

    /// Returns the requests so far and forgets them.
    pub fn take(&self) -> Vec<Request> {
        std::mem::take(&mut *self.log.lock())
    }

    /// Returns how many requests of this operation there were (`get`, `put`, …).
    pub fn count(&self, operation: &str) -> usize {
        self.log.lock().iter().filter(|request| request.operation == operation).count()
    }

    fn note_get(&self, key: &ObjectKey, range: Option<Range<u64>>, if_version: Option<&Version>) {
        let condition = if_version.map_or(Condition::Always, |v| Condition::IfVersion(v.clone()));
        self.log.lock().push(Request { operation: "get", key: key.to_string(), range, condition });
    }

    fn note(&self, operation: &'static str, key: &ObjectKey, condition: Condition) {
        self.log.lock().push(Request { operation, key: key.to_string(), range: None, condition });
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ObjectStore for RecordingStore {
    async fn get(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
        if_version: Option<&Version>,
    ) -> Result<Fetched> {
        self.note_get(key, range.clone(), if_version);
        self.inner.get(key, range, if_version).await
    }

    async fn get_arriving(
        &self,
        key: &ObjectKey,
        range: Range<u64>,
        version: &Version,
        taker: Taker<'_>,
    ) -> Result<()> {
        self.note_get(key, Some(range.clone()), Some(version));
        self.inner.get_arriving(key, range, version, taker).await
    }

    async fn put(&self, key: &ObjectKey, body: Bytes, options: &PutOptions) -> Result<Version> {
        self.note("put", key, options.condition.clone());
        self.inner.put(key, body, options).await
    }

    async fn begin_upload(&self, key: &ObjectKey, size: u64, options: &PutOptions) -> Result<UploadId> {
        self.note("begin_upload", key, Condition::Always);
        self.inner.begin_upload(key, size, options).await
    }

    async fn upload_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        body: Bytes,
    ) -> Result<UploadedPart> {
        self.note("upload_part", key, Condition::Always);
        self.inner.upload_part(key, upload, number, body).await
    }

    async fn copy_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        from: &PartSource,
    ) -> Result<UploadedPart> {
        let condition = Condition::IfVersion(from.version.clone());
        let range = Some(from.range.clone());
        self.log.lock().push(Request { operation: "copy_part", key: key.to_string(), range, condition });
        self.inner.copy_part(key, upload, number, from).await
    }

    async fn complete_upload(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[UploadedPart],
        options: &PutOptions,
    ) -> Result<Version> {
        self.note("complete_upload", key, options.condition.clone());
        self.inner.complete_upload(key, upload, parts, options).await
    }

    async fn abort_upload(&self, key: &ObjectKey, upload: &UploadId) -> Result<()> {
        self.note("abort_upload", key, Condition::Always);
        self.inner.abort_upload(key, upload).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>> {
        self.note("head", key, Condition::Always);
        self.inner.head(key).await
    }

    async fn delete(&self, key: &ObjectKey, condition: &Condition) -> Result<()> {
        self.note("delete", key, condition.clone());
        self.inner.delete(key, condition).await
    }

    async fn copy(
        &self,
        from: &ObjectKey,
        from_version: &Version,
        to: &ObjectKey,
        options: &PutOptions,
    ) -> Result<Version> {
        self.note("copy", to, options.condition.clone());
        self.inner.copy(from, from_version, to, options).await
    }

    async fn compose(
        &self,
        components: &[Component],
        to: &ObjectKey,
        options: &PutOptions,
    ) -> Result<Version> {
        self.note("compose", to, options.condition.clone());
        self.inner.compose(components, to, options).await
    }

    fn list(&self, prefix: &str, start_after: Option<&ObjectKey>) -> BoxStream<'_, Result<Vec<Listed>>> {
        let page = ObjectKey::new(prefix);
        self.note("list", &page, Condition::Always);
        let pages = self.inner.list(prefix, start_after).enumerate();
        pages
            .map(move |(number, answer)| {
                if number > 0 {
                    self.note("list", &page, Condition::Always);
                }
                answer
            })
            .boxed()
    }

    fn abilities(&self) -> Abilities {
        self.inner.abilities()
    }

    fn address(&self) -> String {
        self.inner.address()
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;
    use crate::store::folder::FolderStore;

    #[tokio::test]
    async fn requests_are_remembered_in_order_and_counted() {
        let scratch = tempfile::tempdir().unwrap();
        let store = RecordingStore::new(Arc::new(FolderStore::open(scratch.path()).unwrap()));
        let key = ObjectKey::new("a");
        let version = store.put(&key, Bytes::new(), &PutOptions::when(Condition::IfAbsent)).await.unwrap();
        store.get(&key, Some(0..5), Some(&version)).await.unwrap();
        let listed: Vec<_> = store.list("a", None).try_collect().await.unwrap();
        assert_eq!(listed.concat().len(), 1);
        assert_eq!((store.count("put"), store.count("get"), store.count("list")), (1, 1, 1));
        assert_eq!(store.count("head"), 0);

        let told: Vec<String> = store.take().iter().map(Request::to_string).collect();
        assert_eq!(told[0], "put a (IfAbsent)");
        assert!(told[1].starts_with("get a [0..5] (IfVersion("), "{told:?}");
        assert_eq!(told[2], "list a");
        assert!(store.requests().is_empty());
    }
}
