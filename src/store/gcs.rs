//! A bucket on Google Cloud Storage.
//!
//! One method, one request (a copy that the service does step by step is several). Bytes go
//! over HTTP, everything else over gRPC, both through the official crate. Nothing is retried
//! here but inside the session of a large upload, nothing waits for ever. The version of an
//! object is its generation.

use std::borrow::Cow;
use std::ops::Range;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use google_cloud_gax::error::Error;
use google_cloud_storage::model::Object;

use super::gcs_clock::ServerClock;
use super::gcs_error::{self, Asked};
use super::gcs_name::name_of;
use super::gcs_options::{Clients, GcsOptions};
use super::gcs_session::Sessions;
use super::pace::Pace;
use super::patience::Patience;
use super::{
    Abilities, Component, Condition, ErrorKind, Fetched, Listed, ObjectMeta, ObjectStore, PartSource,
    PutOptions, Result, StoreError, Taker, UploadId, UploadedPart, Version,
};
use crate::model::key::ObjectKey;
use crate::os::clock::SharedClock;

/// The size of the largest object there is.
const LARGEST: u64 = 5 << 40;

/// How many bytes the name of an object has at most.
const LONGEST_NAME: usize = 1024;

/// How many objects one request puts together.
const MOST_COMPONENTS: usize = 32;

/// A bucket on Google Cloud Storage.
#[derive(Debug)]
pub struct GcsStore {
    pub(super) clients: Clients,
    /// The bucket as requests name it.
    pub(super) bucket: String,
    pub(super) patience: Patience,
    pub(super) time: ServerClock,
    pub(super) pace: Pace,
    pub(super) sessions: Sessions,
    address: String,
    is_other_server: bool,
}

impl GcsStore {
    /// Returns the bucket, ready for requests; sends none to it.
    ///
    /// Fails with `Invalid` if the endpoint is not a URL, with `Unauthenticated` if the
    /// credentials cannot be used.
    pub async fn connect(bucket: &str, options: &GcsOptions, clock: SharedClock) -> Result<Self> {
        let patience = Patience::new(SharedClock::clone(&clock), options.silence());
        let is_other_server = options.endpoint().is_some();
        let (condition, now) = (&Condition::Always, clock.now());
        let connecting = Asked { operation: "connect", key: bucket, condition, is_other_server, now };
        let clients =
            patience.wait(options.clients(bucket)).await.map_err(|s| connecting.unanswered(s))??;
        Ok(Self {
            clients,
            bucket: format!("projects/_/buckets/{bucket}"),
            patience,
            time: ServerClock::new(SharedClock::clone(&clock)),
            pace: Pace::new(clock, options.interval()),
            sessions: Sessions::default(),
            address: format!("gs://{bucket}"),
            is_other_server,
        })
    }

    /// Returns the words for what is about to be asked, for errors.
    pub(super) fn asked<'a>(
        &self,
        operation: &'static str,
        key: &'a str,
        condition: &'a Condition,
    ) -> Asked<'a> {
        let (is_other_server, now) = (self.is_other_server, self.patience.clock().now());
        Asked { operation, key, condition, is_other_server, now }
    }

    /// Returns whether somebody named a server other than Google's.
    pub(super) fn is_other_server(&self) -> bool {
        self.is_other_server
    }

    /// Returns the name of the object with this key, if one can have it.
    pub(super) fn name<'k>(&self, asked: &Asked<'_>, key: &'k ObjectKey) -> Result<Cow<'k, str>> {
        let name = name_of(key.as_str());
        if name.len() > LONGEST_NAME {
            let detail = format!("the name has {} bytes, and {LONGEST_NAME} are the most", name.len());
            return Err(asked.error(ErrorKind::Unsupported).detail(detail));
        }
        Ok(name)
    }

    /// Returns the failure that the crate reports, and hears what time it was there.
    pub(super) fn failed(&self, asked: &Asked<'_>, error: Error) -> StoreError {
        if let Some(date) = gcs_error::date(&error) {
            self.time.hear(date);
        }
        asked.failed(error)
    }

    /// Returns the version of what was just written, and hears what time it was there.
    pub(super) fn written(&self, asked: &Asked<'_>, object: &Object) -> Result<Version> {
        if let Some(written) = modified(object) {
            self.time.hear(written);
        }
        version(asked, object.generation)
    }
}

/// Returns the version that an answer names.
pub(super) fn version(asked: &Asked<'_>, generation: i64) -> Result<Version> {
    Version::new(&generation.to_string())
        .filter(|_| generation > 0)
        .ok_or_else(|| asked.corrupt("the answer has no generation"))
}

/// Returns the generation that a version names; one that no object has if it names none.
pub(super) fn generation(version: &Version) -> i64 {
    version.as_str().parse().ok().filter(|generation| *generation > 0).unwrap_or(i64::MAX)
}

/// Returns the generation that an object must have; 0 means that there is none.
pub(super) fn must_match(condition: &Condition) -> Option<i64> {
    match condition {
        Condition::Always => None,
        Condition::IfAbsent => Some(0),
        Condition::IfVersion(version) => Some(generation(version)),
    }
}

/// Returns when an object was written.
pub(super) fn modified(object: &Object) -> Option<SystemTime> {
    SystemTime::try_from(object.update_time.or(object.create_time)?).ok()
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ObjectStore for GcsStore {
    async fn get(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
        if_version: Option<&Version>,
    ) -> Result<Fetched> {
        self.read_object(key, range, if_version).await
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
        self.write_object(key, body, options).await
    }

    async fn begin_upload(&self, key: &ObjectKey, size: u64, options: &PutOptions) -> Result<UploadId> {
        self.open_session(key, size, options).await
    }

    async fn upload_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        body: Bytes,
    ) -> Result<UploadedPart> {
        self.feed_session(key, upload, number, body).await
    }

    async fn copy_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        from: &PartSource,
    ) -> Result<UploadedPart> {
        let _ = (upload, number, from);
        let detail = "a resumable upload takes no bytes from other objects";
        Err(StoreError::new(ErrorKind::Unsupported, "copy part", key).detail(detail))
    }

    async fn complete_upload(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[UploadedPart],
        options: &PutOptions,
    ) -> Result<Version> {
        self.finish_session(key, upload, parts, options).await
    }

    async fn abort_upload(&self, _key: &ObjectKey, upload: &UploadId) -> Result<()> {
        self.sessions.forget(upload);
        Ok(())
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>> {
        self.describe_object(key).await
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
        self.rewrite_object(from, from_version, to, options).await
    }

    async fn compose(
        &self,
        components: &[Component],
        to: &ObjectKey,
        options: &PutOptions,
    ) -> Result<Version> {
        self.compose_object(components, to, options).await
    }

    fn list(&self, prefix: &str, start_after: Option<&ObjectKey>) -> BoxStream<'_, Result<Vec<Listed>>> {
        self.list_objects(prefix, start_after)
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            min_part_bytes: 1,
            max_parts: u32::MAX,
            max_put_bytes: LARGEST,
            parts_show: false,
            parts_in_order: true,
            begins_early: false,
            copies_parts: false,
            most_components: MOST_COMPONENTS,
            write_interval: self.pace.interval(),
        }
    }

    fn address(&self) -> String {
        self.address.clone()
    }
}
