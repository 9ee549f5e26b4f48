//! A store that is a part of another: every key gets a prefix.
//!
//! Everything above speaks of keys below the mount's prefix and never sees it. Errors name
//! the key as the caller knows it.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;

use super::{
    Abilities, Component, Condition, Fetched, Listed, ObjectMeta, ObjectStore, PartSource, PutOptions,
    Result, SharedStore, StoreError, Taker, UploadId, UploadedPart, Version,
};
use crate::model::key::ObjectKey;

/// The objects of `inner` whose key begins with `prefix/`, under the rest of their key.
#[derive(Debug)]
pub struct Prefixed {
    inner: SharedStore,
    /// With the `/` that follows it, or empty.
    prefix: String,
}

impl Prefixed {
    /// Returns the part of `inner` below `prefix`, which is given without a last `/`.
    /// An empty prefix is the whole store.
    pub fn new(inner: SharedStore, prefix: &str) -> Self {
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Self { inner, prefix }
    }

    fn full(&self, key: &ObjectKey) -> ObjectKey {
        if self.prefix.is_empty() { key.clone() } else { ObjectKey::new(format!("{}{key}", self.prefix)) }
    }

    fn strip(&self, mut listed: Listed) -> Option<Listed> {
        let bare = listed.key.as_str().strip_prefix(&self.prefix)?;
        // The marker of the prefix itself (`prefix/`) is not below it.
        if bare.is_empty() {
            return None;
        }
        listed.key = ObjectKey::new(bare);
        Some(listed)
    }

    fn without_prefix(&self, mut error: StoreError) -> StoreError {
        if let Some(bare) = error.key.strip_prefix(&self.prefix) {
            error.key = bare.to_owned();
        }
        error
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ObjectStore for Prefixed {
    async fn get(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
        if_version: Option<&Version>,
    ) -> Result<Fetched> {
        self.inner.get(&self.full(key), range, if_version).await.map_err(|e| self.without_prefix(e))
    }

    async fn get_arriving(
        &self,
        key: &ObjectKey,
        range: Range<u64>,
        version: &Version,
        taker: Taker<'_>,
    ) -> Result<()> {
        let handed = self.inner.get_arriving(&self.full(key), range, version, taker).await;
        handed.map_err(|e| self.without_prefix(e))
    }

    async fn put(&self, key: &ObjectKey, body: Bytes, options: &PutOptions) -> Result<Version> {
        self.inner.put(&self.full(key), body, options).await.map_err(|e| self.without_prefix(e))
    }

    async fn begin_upload(&self, key: &ObjectKey, size: u64, options: &PutOptions) -> Result<UploadId> {
        self.inner.begin_upload(&self.full(key), size, options).await.map_err(|e| self.without_prefix(e))
    }

    async fn upload_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        body: Bytes,
    ) -> Result<UploadedPart> {
        let part = self.inner.upload_part(&self.full(key), upload, number, body).await;
        part.map_err(|e| self.without_prefix(e))
    }

    async fn copy_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        from: &PartSource,
    ) -> Result<UploadedPart> {
        let from = PartSource { key: self.full(&from.key), ..from.clone() };
        let part = self.inner.copy_part(&self.full(key), upload, number, &from).await;
        part.map_err(|e| self.without_prefix(e))
    }

    async fn complete_upload(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[UploadedPart],
        options: &PutOptions,
    ) -> Result<Version> {
        let version = self.inner.complete_upload(&self.full(key), upload, parts, options).await;
        version.map_err(|e| self.without_prefix(e))
    }

    async fn abort_upload(&self, key: &ObjectKey, upload: &UploadId) -> Result<()> {
        self.inner.abort_upload(&self.full(key), upload).await.map_err(|e| self.without_prefix(e))
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>> {
        self.inner.head(&self.full(key)).await.map_err(|e| self.without_prefix(e))
    }

    async fn delete(&self, key: &ObjectKey, condition: &Condition) -> Result<()> {
        self.inner.delete(&self.full(key), condition).await.map_err(|e| self.without_prefix(e))
    }

    async fn copy(
        &self,
        from: &ObjectKey,
        from_version: &Version,
        to: &ObjectKey,
        options: &PutOptions,
    ) -> Result<Version> {
        let version = self.inner.copy(&self.full(from), from_version, &self.full(to), options).await;
        version.map_err(|e| self.without_prefix(e))
    }

    async fn compose(
        &self,
        components: &[Component],
        to: &ObjectKey,
        options: &PutOptions,
    ) -> Result<Version> {
        let full = |one: &Component| Component { key: self.full(&one.key), version: one.version.clone() };
        let components: Vec<_> = components.iter().map(full).collect();
        let version = self.inner.compose(&components, &self.full(to), options).await;
        version.map_err(|e| self.without_prefix(e))
    }

    fn list(&self, prefix: &str, start_after: Option<&ObjectKey>) -> BoxStream<'_, Result<Vec<Listed>>> {
        let start_after = start_after.map(|key| self.full(key));
        let pages = self.inner.list(&format!("{}{prefix}", self.prefix), start_after.as_ref());
        pages
            .map(|page| match page {
                Ok(page) => Ok(page.into_iter().filter_map(|listed| self.strip(listed)).collect()),
                Err(error) => Err(self.without_prefix(error)),
            })
            .boxed()
    }

    fn abilities(&self) -> Abilities {
        self.inner.abilities()
    }

    fn address(&self) -> String {
        let inner = self.inner.address();
        match self.prefix.strip_suffix('/') {
            Some(prefix) => format!("{}/{prefix}", inner.trim_end_matches('/')),
            None => inner,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use futures::TryStreamExt;

    use super::*;
    use crate::store::folder::FolderStore;

    async fn put(store: &dyn ObjectStore, key: &str) {
        let options = PutOptions::when(Condition::Always);
        store.put(&ObjectKey::new(key), Bytes::new(), &options).await.unwrap();
    }

    fn stores(folder: &Path) -> (SharedStore, Prefixed) {
        let whole: SharedStore = Arc::new(FolderStore::open(folder).unwrap());
        (Arc::clone(&whole), Prefixed::new(whole, "team/a"))
    }

    #[tokio::test]
    async fn only_what_is_below_the_prefix_is_seen_and_written() {
        let scratch = tempfile::tempdir().unwrap();
        let (whole, part) = stores(scratch.path());
        for key in ["other", "team/ab", "team/a/", "team/a/x", "team/a//y", "team/b/z"] {
            put(whole.as_ref(), key).await;
        }
        put(&part, "team/a/new").await;
        let pages: Vec<_> = part.list("", None).try_collect().await.unwrap();
        let keys: Vec<_> = pages.into_iter().flatten().map(|listed| listed.key.to_string()).collect();
        assert_eq!(keys, ["/y", "team/a/new", "x"]);
        assert!(whole.head(&ObjectKey::new("team/a/team/a/new")).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn errors_and_addresses_name_what_the_caller_knows() {
        let scratch = tempfile::tempdir().unwrap();
        let (whole, part) = stores(scratch.path());
        let absent = part.get(&ObjectKey::new("absent"), None, None).await.unwrap_err();
        assert_eq!(absent.key, "absent");
        assert_eq!(part.address(), format!("{}/team/a", whole.address()));
        assert_eq!(Prefixed::new(Arc::clone(&whole), "").address(), whole.address());
    }
}
