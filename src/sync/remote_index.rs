//! The index in the bucket together with the fingerprint of exactly these bytes.
//!
//! The two are never paired by hand, so no later HEAD can slip in between. Only a 404 means
//! that there is no index; every other failure is an error and changes nothing anywhere.

use std::sync::Arc;

use bytes::Bytes;

use super::error::{Result, SyncError};
use crate::model::entry::{Attributes, Entry};
use crate::model::index::{INDEX_KEY, Index};
use crate::model::key::{DataKey, ObjectKey, Refusal};
use crate::model::sidecar::FingerprintKind;
use crate::model::timestamp::Timestamp;
use crate::store::{Condition, ObjectStore, PutOptions, StoreError, Version};

/// An index with the version of the object that it was read from or written to.
#[derive(Debug, Clone)]
pub struct RemoteIndex {
    index: Index,
    fingerprint: Option<Version>,
    scrubbed: Vec<String>,
    foreign: bool,
}

/// What of an index can be shown.
#[derive(Debug, Default)]
pub struct Admitted {
    /// Files and links, by key.
    pub files: Vec<(DataKey, Entry)>,
    /// Folders that are recorded, with their attributes.
    pub folders: Vec<(String, Attributes)>,
    /// Keys that cannot be files here, and why. Their entries stay in the index.
    pub refused: Vec<(String, Refusal)>,
}

impl RemoteIndex {
    /// Reads the index; `None` if the bucket has none.
    pub async fn fetch(store: &dyn ObjectStore) -> Result<Option<Self>> {
        let what = || format!("Reading the index of {}", store.address());
        let fetched = match store.get(&key(), None, None).await {
            Ok(fetched) => fetched,
            Err(absent) if absent.is_not_found() => return Ok(None),
            Err(failed) => return Err(SyncError::store(what())(failed)),
        };
        let mut index = Index::parse(&fetched.body).map_err(|damaged| SyncError::DamagedIndex {
            address: store.address(),
            source: Arc::new(damaged),
        })?;
        let scrubbed = index.scrub();
        Ok(Some(Self { index, fingerprint: Some(fetched.meta.version), scrubbed, foreign: true }))
    }

    /// Returns the version of the index in the bucket; `None` if there is none.
    pub async fn head(store: &dyn ObjectStore) -> Result<Option<Version>> {
        let what = || format!("Asking for the index of {}", store.address());
        let meta = store.head(&key()).await.map_err(|failed| SyncError::store(what())(failed))?;
        Ok(meta.map(|meta| meta.version))
    }

    /// Returns an index that is not in the bucket yet.
    pub fn unpublished(index: Index) -> Self {
        Self { index, fingerprint: None, scrubbed: Vec::new(), foreign: true }
    }

    /// Writes the index if the bucket still has the version that this one was read from (or
    /// none, if it was never published).
    pub async fn publish(
        &mut self,
        store: &dyn ObjectStore,
        now: Timestamp,
    ) -> std::result::Result<(), StoreError> {
        self.index.set_last_pulled(now);
        let condition = match &self.fingerprint {
            Some(version) => Condition::IfVersion(version.clone()),
            None => Condition::IfAbsent,
        };
        let body = Bytes::from(self.index.to_bytes());
        let version = store.put(&key(), body, &PutOptions::when(condition)).await?;
        self.fingerprint = Some(version);
        self.scrubbed.clear();
        self.foreign = false;
        Ok(())
    }

    /// Returns the entries.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Returns the entries, to change them before they are published.
    pub fn index_mut(&mut self) -> &mut Index {
        &mut self.index
    }

    /// Returns the version of the object with exactly these bytes.
    pub fn fingerprint(&self) -> Option<&Version> {
        self.fingerprint.as_ref()
    }

    /// Returns internal names that were in the document and are left out.
    pub fn scrubbed(&self) -> &[String] {
        &self.scrubbed
    }

    /// Returns whether somebody else wrote these bytes.
    pub fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// Returns what of the index can be shown.
    pub fn admitted(&self) -> Admitted {
        let mut admitted = Admitted::default();
        for (key, entry) in self.index.entries() {
            admitted.take(key, entry);
        }
        admitted.folders =
            self.index.dirs().map(|(path, attributes)| (path.to_owned(), attributes)).collect();
        admitted
    }
}

impl Admitted {
    /// Adds an entry, or notes why its key is refused.
    pub fn take(&mut self, key: &str, entry: Entry) {
        match DataKey::admit(key) {
            Ok(key) => self.files.push((key, entry)),
            Err(reason) => self.refused.push((key.to_owned(), reason)),
        }
    }
}

/// Returns whether equal versions prove equal bytes of the index.
pub fn is_usable(version: &Version) -> bool {
    FingerprintKind::Etag.is_usable(version.as_str())
}

fn key() -> ObjectKey {
    ObjectKey::new(INDEX_KEY)
}
