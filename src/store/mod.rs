//! Requests to a bucket: the [`ObjectStore`] trait, its backends and the wrappers around them.
//!
//! A backend knows requests, never sync. What differs between backends is an ability that it
//! declares. Everything above speaks of keys below the mount's prefix; [`prefix::Prefixed`]
//! adds the prefix.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::model::key::ObjectKey;

pub mod abilities;
pub mod access;
#[cfg(any(feature = "s3", feature = "gcs"))]
mod body;
#[cfg(any(feature = "s3", feature = "gcs"))]
mod causes;
pub mod error;
pub mod folder;
#[cfg(feature = "gcs")]
pub mod gcs;
#[cfg(feature = "gcs")]
mod gcs_answer;
#[cfg(feature = "gcs")]
mod gcs_clock;
#[cfg(feature = "gcs")]
mod gcs_error;
#[cfg(feature = "gcs")]
mod gcs_name;
#[cfg(feature = "gcs")]
pub mod gcs_options;
#[cfg(feature = "gcs")]
mod gcs_read;
#[cfg(feature = "gcs")]
mod gcs_session;
#[cfg(feature = "gcs")]
mod gcs_source;
#[cfg(feature = "gcs")]
mod gcs_write;
mod held;
#[cfg(any(feature = "s3", feature = "gcs"))]
mod http_date;
#[cfg(any(feature = "s3", feature = "gcs"))]
mod meta_text;
#[cfg(feature = "gcs")]
mod pace;
#[cfg(any(feature = "s3", feature = "gcs"))]
mod patience;
pub mod prefix;
pub mod probe;
pub mod recording;
pub mod retry;
#[cfg(feature = "s3")]
pub mod s3;
#[cfg(feature = "s3")]
mod s3_answer;
#[cfg(feature = "s3")]
mod s3_blank_key;
#[cfg(feature = "s3")]
mod s3_copy;
#[cfg(feature = "s3")]
mod s3_date;
#[cfg(feature = "s3")]
pub mod s3_error;
#[cfg(feature = "s3")]
pub mod s3_options;
#[cfg(feature = "s3")]
mod s3_read;
#[cfg(feature = "s3")]
mod s3_text;
#[cfg(feature = "s3")]
mod s3_upload_body;
#[cfg(feature = "s3")]
mod s3_write;
pub mod url;

pub use abilities::Abilities;
pub use error::{ErrorKind, StoreError};

pub use crate::model::version::Version;

/// The outcome of a request.
pub type Result<T> = std::result::Result<T, StoreError>;

/// A store that is shared.
pub type SharedStore = Arc<dyn ObjectStore>;

/// What must be true of a key for a write or delete to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Always,
    /// No object has the key.
    IfAbsent,
    /// The object has this version.
    IfVersion(Version),
}

/// A unique mark in an object's user metadata, by which a writer recognises its own write
/// when the answer was lost.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Nonce(String);

impl Nonce {
    /// The name of the user metadata that holds the nonce.
    pub const META: &str = "bayou-nonce";

    /// Returns a nonce that was never used before.
    pub fn fresh() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }

    /// Returns the nonce with this text.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the nonce's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// User metadata of an object; names are lower case ASCII. Values are any UTF-8 text:
/// a backend encodes what its protocol cannot carry.
pub type UserMeta = BTreeMap<String, String>;

/// How an object is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutOptions {
    /// What must be true for the write to happen.
    pub condition: Condition,
    /// The mark by which the writer recognises its own write; stored as [`Nonce::META`].
    pub nonce: Nonce,
    /// Other user metadata.
    pub meta: UserMeta,
}

impl PutOptions {
    /// Returns options with a fresh nonce and no other metadata.
    pub fn when(condition: Condition) -> Self {
        Self { condition, nonce: Nonce::fresh(), meta: UserMeta::new() }
    }
}

/// What a bucket knows of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Size in bytes.
    pub size: u64,
    /// Its version.
    pub version: Version,
    /// When it was written, by the server's clock.
    pub modified: SystemTime,
    /// What time it was by the same clock when the store answered, if it says so.
    pub answered: Option<SystemTime>,
    /// User metadata, the nonce included.
    pub user: UserMeta,
}

impl ObjectMeta {
    /// Returns whether the object carries this nonce.
    pub fn carries(&self, nonce: &Nonce) -> bool {
        self.user.get(Nonce::META).is_some_and(|text| text == nonce.as_str())
    }

    /// Returns how long ago the object was written, by the store's own clock; `None` where the
    /// store does not say what is needed to know.
    pub fn age(&self) -> Option<Duration> {
        let answered = self.answered.filter(|_| self.modified != SystemTime::UNIX_EPOCH)?;
        Some(answered.duration_since(self.modified).unwrap_or_default())
    }
}

/// What an answer that carries bytes says of the whole object. Not all protocols say more than
/// size and version there; who needs the rest asks with [`ObjectStore::head`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedMeta {
    /// Size in bytes.
    pub size: u64,
    /// Its version.
    pub version: Version,
    /// When it was written, by the server's clock, if the answer says so.
    pub modified: Option<SystemTime>,
    /// How long ago that was, by the same clock, if the answer says so.
    pub age: Option<Duration>,
}

impl From<ObjectMeta> for FetchedMeta {
    fn from(meta: ObjectMeta) -> Self {
        let age = meta.age();
        let modified = (meta.modified != SystemTime::UNIX_EPOCH).then_some(meta.modified);
        Self { size: meta.size, version: meta.version, modified, age }
    }
}

/// Bytes of an object, with what the same answer said of the whole object.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Exactly the bytes asked for (cut at the object's end).
    pub body: Bytes,
    /// The whole object.
    pub meta: FetchedMeta,
}

/// Takes a body in its pieces, each once and in their order, and says whether to go on.
pub type Taker<'a> = &'a mut (dyn FnMut(&[u8]) -> ControlFlow<()> + Send);

/// One object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The object's key.
    pub key: ObjectKey,
    /// Size in bytes.
    pub size: u64,
    /// When it was written, by the server's clock.
    pub modified: SystemTime,
    /// Its version, where listings say it.
    pub version: Option<Version>,
}

/// A multipart upload that has begun.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct UploadId(pub String);

/// A part that was uploaded, as the backend wants to see it again when the upload completes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadedPart {
    /// From 1.
    pub number: u32,
    /// The part's tag (S3: its ETag).
    pub tag: String,
}

/// Bytes of one version of an object, from which the server makes a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartSource {
    /// The object's key.
    pub key: ObjectKey,
    /// Its version.
    pub version: Version,
    /// Which of its bytes; none of them beyond its end.
    pub range: Range<u64>,
}

/// One version of an object, all of which becomes a piece of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// The object's key.
    pub key: ObjectKey,
    /// Its version.
    pub version: Version,
}

/// A bucket, or a folder used as one.
///
/// Every method fails with [`ErrorKind::Unreachable`] after a bounded time rather than hang.
/// `get`, `head` and `delete` of an absent key are told apart from every other failure.
#[async_trait]
pub trait ObjectStore: Send + Sync + fmt::Debug + 'static {
    /// Returns the bytes of `range` (`None`: all), cut at the object's end; a range that
    /// starts at or beyond the end of the object gives no bytes.
    ///
    /// Fails with `NotFound`, or with `Changed` if `if_version` is given and does not match.
    async fn get(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
        if_version: Option<&Version>,
    ) -> Result<Fetched>;

    /// Hands the bytes of `range`, cut at the object's end, to `taker` as they arrive; returns when
    /// it has them all, or wants no more. What was handed over before a failure is good: it is of
    /// this version, and what the service itself can only judge as a whole comes as a whole.
    ///
    /// Fails as [`ObjectStore::get`] does.
    async fn get_arriving(
        &self,
        key: &ObjectKey,
        range: Range<u64>,
        version: &Version,
        taker: Taker<'_>,
    ) -> Result<()> {
        let fetched = self.get(key, Some(range), Some(version)).await?;
        // After the last piece it is the same whether more is wanted.
        match taker(&fetched.body) {
            ControlFlow::Continue(()) | ControlFlow::Break(()) => Ok(()),
        }
    }

    /// Writes an object in one piece and returns its new version.
    ///
    /// Fails with `Exists` (`IfAbsent`) or `Changed` (`IfVersion`, also if the key is gone).
    async fn put(&self, key: &ObjectKey, body: Bytes, options: &PutOptions) -> Result<Version>;

    /// Begins an upload in parts that have `size` bytes in all, or more if it begins early
    /// ([`Abilities::begins_early`]). The condition in `options` is
    /// judged by [`ObjectStore::complete_upload`], which is told the same options again.
    async fn begin_upload(&self, key: &ObjectKey, size: u64, options: &PutOptions) -> Result<UploadId>;

    /// Uploads part `number` (from 1). Where parts come in order ([`Abilities::parts_in_order`])
    /// it returns no sooner than the ones before it.
    async fn upload_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        body: Bytes,
    ) -> Result<UploadedPart>;

    /// Makes part `number` (from 1) of bytes that are in the bucket: none passes through here.
    ///
    /// Fails with `NotFound` or `Changed` for the source, with `NotFound` if there is no such
    /// upload, and with `Unsupported` where parts cannot be copied ([`Abilities::copies_parts`]).
    async fn copy_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        from: &PartSource,
    ) -> Result<UploadedPart>;

    /// Makes the parts, in this order, the object's content.
    async fn complete_upload(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[UploadedPart],
        options: &PutOptions,
    ) -> Result<Version>;

    /// Gives an upload up; succeeds if there is none.
    async fn abort_upload(&self, key: &ObjectKey, upload: &UploadId) -> Result<()>;

    /// Returns what the bucket knows of an object; `None` if there is none.
    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>>;

    /// Deletes an object; succeeds if there is none. Fails with `Changed` if `condition` is
    /// `IfVersion` and the object has another version.
    async fn delete(&self, key: &ObjectKey, condition: &Condition) -> Result<()>;

    /// Copies version `from_version` of `from` to `to` on the server. The new object carries
    /// the metadata in `options`, not the source's.
    ///
    /// Fails with `NotFound` or `Changed` for the source, `Exists` or `Changed` for the target.
    async fn copy(
        &self,
        from: &ObjectKey,
        from_version: &Version,
        to: &ObjectKey,
        options: &PutOptions,
    ) -> Result<Version>;

    /// Makes an object of others, one after the other; none of their bytes passes through here, and
    /// they stay. The new object carries the metadata in `options`; it may replace one of them.
    ///
    /// Fails with `NotFound` for a component that is not this version, with `Exists` or `Changed` for
    /// the target, and with `Unsupported` for more than [`Abilities::most_components`].
    async fn compose(
        &self,
        components: &[Component],
        to: &ObjectKey,
        options: &PutOptions,
    ) -> Result<Version>;

    /// Returns all objects whose key begins with `prefix`, ordered by the bytes of the name that
    /// the bucket has for them, in pages: that is the key, but for the few keys that a service
    /// cannot name as they are. With `start_after`, only those behind it in this order.
    fn list(&self, prefix: &str, start_after: Option<&ObjectKey>) -> BoxStream<'_, Result<Vec<Listed>>>;

    /// Returns what the backend declares that it can do.
    fn abilities(&self) -> Abilities;

    /// Returns the store's address, for messages (`s3://bucket/prefix`, `file:///dir`).
    fn address(&self) -> String;
}
