//! Which version of an object an entry means that does not say so.
//!
//! Swamp notes sizes and hashes, no versions, and compares sizes alone. An object of the same
//! size may be a newer one that nobody here has seen: before it is replaced or deleted its
//! bytes are compared with the hash, where the entry has one.

use sha2::{Digest, Sha256};

use super::SyncService;
use super::error::{Result, SyncError};
use crate::cache::rows::Remote;
use crate::model::content_hash::ContentHash;
use crate::model::key::ObjectKey;
use crate::store::{Nonce, ObjectMeta, Version};

impl SyncService {
    /// Returns the version that the object has if it is what is known of it; `None` if it is gone
    /// or another one.
    pub(super) async fn version_of(&self, key: &ObjectKey, known: &Remote) -> Result<Option<Version>> {
        let what = format!("Asking for the version of {key}");
        let meta = self.store.head(key).await.map_err(SyncError::store(what))?;
        let is_meant = |meta: &ObjectMeta| match &known.version {
            Some(version) => meta.version == *version,
            None => meta.size == known.size,
        };
        let Some(meta) = meta.filter(is_meant) else { return Ok(None) };
        let expected = known.sha256.as_deref().and_then(ContentHash::from_hex);
        let is_same = match expected.filter(|_| known.version.is_none()) {
            Some(expected) => self.hash_of(key, &meta).await? == Some(expected),
            None => true,
        };
        Ok(is_same.then_some(meta.version))
    }

    /// Returns the version of an object that has the bytes of what is `known` and was put there
    /// anew by somebody who leaves no mark: swamp sends what it has again.
    pub(super) async fn version_of_copy(&self, key: &ObjectKey, known: &Remote) -> Result<Option<Version>> {
        let what = format!("Asking who put {key}");
        let Some(expected) = known.sha256.as_deref().and_then(ContentHash::from_hex) else { return Ok(None) };
        let meta = self.store.head(key).await.map_err(SyncError::store(what))?;
        let is_foreign = |meta: &ObjectMeta| meta.size == known.size && !meta.user.contains_key(Nonce::META);
        let Some(meta) = meta.filter(is_foreign) else { return Ok(None) };
        Ok((self.hash_of(key, &meta).await? == Some(expected)).then_some(meta.version))
    }

    /// Returns the hash of an object's bytes; `None` if it is replaced or deleted meanwhile.
    async fn hash_of(&self, key: &ObjectKey, meta: &ObjectMeta) -> Result<Option<ContentHash>> {
        let mut hash = Sha256::new();
        let mut at = 0;
        while at < meta.size {
            let end = meta.size.min(at + self.options.part_bytes.max(1));
            match self.store.get(key, Some(at..end), Some(&meta.version)).await {
                Ok(fetched) => hash.update(&fetched.body),
                Err(moved) if moved.is_not_found() || moved.is_condition_failed() => return Ok(None),
                Err(failed) => return Err(SyncError::store(format!("Comparing {key}"))(failed)),
            }
            at = end;
        }
        Ok(Some(ContentHash::from_bytes(hash.finalize().into())))
    }
}
