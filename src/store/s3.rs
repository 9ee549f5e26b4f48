//! A bucket on S3, or on a store that speaks its protocol.
//!
//! One method, one request (a copy of a very large object is several). Nothing is retried
//! here, nothing waits for ever. What the protocol leaves to chance is checked: lengths,
//! versions, the order and the escapes of listings.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use bytes::Bytes;
use futures::stream::BoxStream;

use super::patience::Patience;
use super::s3_error::Asked;
use super::s3_options::S3Options;
use super::{
    Abilities, Component, Condition, ErrorKind, Fetched, Listed, ObjectMeta, ObjectStore, PartSource,
    PutOptions, Result, StoreError, Taker, UploadId, UploadedPart, Version,
};
use crate::model::key::ObjectKey;
use crate::os::clock::SharedClock;

const MIB: u64 = 1024 * 1024;

/// What S3 can do; the stores that imitate it can do the same.
const ABILITIES: Abilities = Abilities {
    min_part_bytes: 5 * MIB,
    max_parts: 10_000,
    max_put_bytes: 5 * 1024 * MIB,
    parts_show: true,
    parts_in_order: false,
    begins_early: true,
    copies_parts: true,
    most_components: 0,
    write_interval: Duration::ZERO,
};

/// A bucket on S3.
#[derive(Debug)]
pub struct S3Store {
    pub(super) client: Client,
    pub(super) bucket: String,
    pub(super) patience: Patience,
    /// Whether the bytes of parts are signed.
    pub(super) signs_parts: bool,
    profile: Option<String>,
}

impl S3Store {
    /// Returns the bucket, ready for requests; sends none to it.
    ///
    /// Fails with `Invalid` if the endpoint is not a URL.
    pub async fn connect(bucket: &str, options: &S3Options, clock: SharedClock) -> Result<Self> {
        if let Some(url) = &options.endpoint_url
            && !(url.starts_with("http://") || url.starts_with("https://"))
        {
            let detail = format!("the endpoint {url:?} is not a URL: it must begin with http:// or https://");
            return Err(StoreError::at(ErrorKind::Invalid, "connect", bucket).detail(detail));
        }
        Ok(Self {
            client: options.client().await,
            bucket: bucket.to_owned(),
            patience: Patience::new(clock, options.silence()),
            signs_parts: options.signs_parts().await,
            profile: options.profile_in_use(),
        })
    }

    /// Returns the words for what is about to be asked, for errors.
    pub(super) fn asked<'a>(
        &'a self,
        operation: &'static str,
        key: &'a str,
        condition: &'a Condition,
    ) -> Asked<'a> {
        let now = self.patience.clock().now();
        Asked { operation, key, condition, profile: self.profile.as_deref(), now }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ObjectStore for S3Store {
    async fn get(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
        if_version: Option<&Version>,
    ) -> Result<Fetched> {
        self.get_object(key, range, if_version).await
    }

    async fn get_arriving(
        &self,
        key: &ObjectKey,
        range: Range<u64>,
        version: &Version,
        taker: Taker<'_>,
    ) -> Result<()> {
        self.hand_over_object(key, range, version, taker).await
    }

    async fn put(&self, key: &ObjectKey, body: Bytes, options: &PutOptions) -> Result<Version> {
        self.put_object(key, body, options).await
    }

    async fn begin_upload(&self, key: &ObjectKey, _size: u64, options: &PutOptions) -> Result<UploadId> {
        self.create_multipart_upload(key, options).await
    }

    async fn upload_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        body: Bytes,
    ) -> Result<UploadedPart> {
        self.put_part(key, upload, number, body).await
    }

    async fn copy_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        from: &PartSource,
    ) -> Result<UploadedPart> {
        self.put_part_copy(key, upload, number, from).await
    }

    async fn complete_upload(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[UploadedPart],
        options: &PutOptions,
    ) -> Result<Version> {
        self.complete_multipart_upload(key, upload, parts, options).await
    }

    async fn abort_upload(&self, key: &ObjectKey, upload: &UploadId) -> Result<()> {
        self.abort_multipart_upload(key, upload).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>> {
        self.head_object(key).await
    }

    async fn delete(&self, key: &ObjectKey, condition: &Condition) -> Result<()> {
        self.delete_object(key, condition).await
    }

    async fn copy(
        &self,
        from: &ObjectKey,
        from_version: &Version,
        to: &ObjectKey,
        options: &PutOptions,
    ) -> Result<Version> {
        self.copy_object(from, from_version, to, options).await
    }

    async fn compose(
        &self,
        components: &[Component],
        to: &ObjectKey,
        options: &PutOptions,
    ) -> Result<Version> {
        let _ = (components, options);
        Err(StoreError::new(ErrorKind::Unsupported, "compose", to)
            .detail("S3 puts objects together in parts only"))
    }

    fn list(&self, prefix: &str, start_after: Option<&ObjectKey>) -> BoxStream<'_, Result<Vec<Listed>>> {
        self.list_objects(prefix, start_after)
    }

    fn abilities(&self) -> Abilities {
        ABILITIES
    }

    fn address(&self) -> String {
        format!("s3://{}", self.bucket)
    }
}
