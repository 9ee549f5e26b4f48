//! A bucket that only reads, for files that are not on this machine yet.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use bayou::model::key::ObjectKey;
use bayou::store::{
    Abilities, Condition, ErrorKind, Fetched, Listed, ObjectMeta, ObjectStore, PutOptions, Result,
    StoreError, UploadId, UploadedPart, UserMeta, Version,
};
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use parking_lot::Mutex;

/// Objects by key, with a count of the requests for their bytes.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    objects: Mutex<BTreeMap<String, Bytes>>,
    gets: AtomicUsize,
}

impl Shelf {
    pub(crate) fn put(&self, key: &str, bytes: impl Into<Bytes>) {
        self.objects.lock().insert(key.to_owned(), bytes.into());
    }

    pub(crate) fn remove(&self, key: &str) {
        self.objects.lock().remove(key);
    }

    pub(crate) fn gets(&self) -> usize {
        self.gets.load(Ordering::SeqCst)
    }

    fn find(&self, key: &ObjectKey) -> Option<(Bytes, ObjectMeta)> {
        let body = self.objects.lock().get(key.as_str())?.clone();
        let meta = ObjectMeta {
            size: body.len() as u64,
            version: version_of(&body),
            modified: UNIX_EPOCH,
            user: UserMeta::new(),
        };
        Some((body, meta))
    }
}

/// The version of an object with these bytes.
pub(crate) fn version_of(bytes: &[u8]) -> Version {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    Version::new(&format!("{:x}", hasher.finish())).unwrap()
}

fn refused<T>(operation: &'static str, key: &ObjectKey) -> Result<T> {
    Err(StoreError::new(ErrorKind::Denied, operation, key))
}

#[async_trait]
impl ObjectStore for Shelf {
    async fn get(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
        if_version: Option<&Version>,
    ) -> Result<Fetched> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        let failed = |kind| StoreError::new(kind, "get", key);
        let (body, meta) = self.find(key).ok_or_else(|| failed(ErrorKind::NotFound))?;
        if if_version.is_some_and(|wanted| *wanted != meta.version) {
            return Err(failed(ErrorKind::Changed));
        }
        let range = range.unwrap_or(0..meta.size);
        let (start, end) = (range.start.min(meta.size) as usize, range.end.min(meta.size) as usize);
        Ok(Fetched { body: body.slice(start..end), meta })
    }

    async fn put(&self, key: &ObjectKey, _: Bytes, _: &PutOptions) -> Result<Version> {
        refused("put", key)
    }

    async fn begin_upload(&self, key: &ObjectKey, _: &PutOptions) -> Result<UploadId> {
        refused("begin_upload", key)
    }

    async fn upload_part(&self, key: &ObjectKey, _: &UploadId, _: u32, _: Bytes) -> Result<UploadedPart> {
        refused("upload_part", key)
    }

    async fn complete_upload(
        &self,
        key: &ObjectKey,
        _: &UploadId,
        _: &[UploadedPart],
        _: &PutOptions,
    ) -> Result<Version> {
        refused("complete_upload", key)
    }

    async fn abort_upload(&self, key: &ObjectKey, _: &UploadId) -> Result<()> {
        refused("abort_upload", key)
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>> {
        Ok(self.find(key).map(|(_, meta)| meta))
    }

    async fn delete(&self, key: &ObjectKey, _: &Condition) -> Result<()> {
        refused("delete", key)
    }

    async fn copy(&self, _: &ObjectKey, _: &Version, to: &ObjectKey, _: &PutOptions) -> Result<Version> {
        refused("copy", to)
    }

    fn list(&self, _: &str, _: Option<&ObjectKey>) -> BoxStream<'_, Result<Vec<Listed>>> {
        futures::stream::empty().boxed()
    }

    fn abilities(&self) -> Abilities {
        Abilities { min_part_bytes: 1, max_parts: 1, max_put_bytes: 0 }
    }

    fn address(&self) -> String {
        "shelf".to_owned()
    }
}
