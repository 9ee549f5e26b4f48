//! A store whose requests, and pieces of answers, wait at a gate, so that a test can stop a machine
//! in the middle.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bayou::model::key::ObjectKey;
use bayou::store::{
    Abilities, Component, Condition, Fetched, Listed, ObjectMeta, ObjectStore, PartSource, PutOptions,
    Result, SharedStore, Taker, UploadId, UploadedPart, Version,
};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;

use crate::pace::Pace;

/// How much of a body passes at once.
const PIECE_BYTES: usize = 1 << 20;

/// Lets requests to `inner`, and the pieces of large answers, pass at a pace.
#[derive(Debug)]
pub(crate) struct PacedStore {
    inner: SharedStore,
    pace: Arc<Pace>,
}

impl PacedStore {
    pub(crate) fn around(inner: SharedStore, pace: Arc<Pace>) -> SharedStore {
        Arc::new(Self { inner, pace })
    }
}

#[async_trait]
impl ObjectStore for PacedStore {
    async fn get(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
        if_version: Option<&Version>,
    ) -> Result<Fetched> {
        let _passed = self.pace.pass().await;
        self.inner.get(key, range, if_version).await
    }

    async fn get_arriving(
        &self,
        key: &ObjectKey,
        range: Range<u64>,
        version: &Version,
        taker: Taker<'_>,
    ) -> Result<()> {
        let fetched = self.get(key, Some(range), Some(version)).await?;
        for (nth, piece) in fetched.body.chunks(PIECE_BYTES).enumerate() {
            let _passed = if nth > 0 { Some(self.pace.pass().await) } else { None };
            if taker(piece).is_break() {
                break;
            }
        }
        Ok(())
    }

    async fn put(&self, key: &ObjectKey, body: Bytes, options: &PutOptions) -> Result<Version> {
        let _passed = self.pace.pass().await;
        self.inner.put(key, body, options).await
    }

    async fn begin_upload(&self, key: &ObjectKey, size: u64, options: &PutOptions) -> Result<UploadId> {
        let _passed = self.pace.pass().await;
        self.inner.begin_upload(key, size, options).await
    }

    async fn upload_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        body: Bytes,
    ) -> Result<UploadedPart> {
        let _passed = self.pace.pass().await;
        self.inner.upload_part(key, upload, number, body).await
    }

    async fn copy_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        from: &PartSource,
    ) -> Result<UploadedPart> {
        let _passed = self.pace.pass().await;
        self.inner.copy_part(key, upload, number, from).await
    }

    async fn complete_upload(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[UploadedPart],
        options: &PutOptions,
    ) -> Result<Version> {
        let _passed = self.pace.pass().await;
        self.inner.complete_upload(key, upload, parts, options).await
    }

    async fn abort_upload(&self, key: &ObjectKey, upload: &UploadId) -> Result<()> {
        let _passed = self.pace.pass().await;
        self.inner.abort_upload(key, upload).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>> {
        let _passed = self.pace.pass().await;
        self.inner.head(key).await
    }

    async fn delete(&self, key: &ObjectKey, condition: &Condition) -> Result<()> {
        let _passed = self.pace.pass().await;
        self.inner.delete(key, condition).await
    }

    async fn copy(
        &self,
        from: &ObjectKey,
        from_version: &Version,
        to: &ObjectKey,
        options: &PutOptions,
    ) -> Result<Version> {
        let _passed = self.pace.pass().await;
        self.inner.copy(from, from_version, to, options).await
    }

    async fn compose(
        &self,
        components: &[Component],
        to: &ObjectKey,
        options: &PutOptions,
    ) -> Result<Version> {
        let _passed = self.pace.pass().await;
        self.inner.compose(components, to, options).await
    }

    fn list(&self, prefix: &str, start_after: Option<&ObjectKey>) -> BoxStream<'_, Result<Vec<Listed>>> {
        let (prefix, start_after) = (prefix.to_owned(), start_after.cloned());
        let listing = async move {
            let _passed = self.pace.pass().await;
            let pages: Vec<_> = self.inner.list(&prefix, start_after.as_ref()).collect().await;
            futures::stream::iter(pages)
        };
        futures::stream::once(listing).flatten().boxed()
    }

    fn abilities(&self) -> Abilities {
        self.inner.abilities()
    }

    fn address(&self) -> String {
        self.inner.address()
    }
}
