//! Objects that are ahead of their entries.
//!
//! A writer that put an object and has not committed its entry yet, or died before it could,
//! leaves an object that is not the version that the index names. Who reads it goes on with the
//! object as it is, if nothing of the older one was read; the next commit says so.

use std::time::SystemTime;

use super::error::{CacheError, Result};
use super::hydrate::{Hydrator, failed_at};
use super::rows::{Ino, Path, Remote, Source};
use crate::model::key::ObjectKey;
use crate::model::timestamp::Timestamp;
use crate::store::{ErrorKind, Fetched, FetchedMeta, StoreError, Version};

impl Hydrator {
    /// The object is not the version that the entry names: go on with the object's own, if
    /// nothing of the older one was read.
    pub(super) async fn object_moved(
        &self,
        ino: Ino,
        path: &Path,
        source: &Source,
        failed: StoreError,
    ) -> Result<()> {
        if self.cache.source_of(ino)?.1 != *source {
            // What the file comes from was set aside, or named, meanwhile.
            return Ok(());
        }
        let stale = || CacheError::Stale { path: path.to_string() };
        if *source.key != **path {
            return Err(stale());
        }
        let key = ObjectKey::new(Path::clone(&source.key));
        let meta = self.store.head(&key).await.map_err(|e| failed_at(path, e))?;
        let Some(meta) = meta else {
            self.cache.note_name_missing(path);
            return Err(failed_at(path, failed));
        };
        if self.cache.take_own_upload(ino, path, &meta)? {
            return Ok(());
        }
        self.adopt_as(ino, path, meta.size, meta.version, meta.modified)
    }

    pub(super) async fn adopt(
        &self,
        ino: Ino,
        path: &Path,
        source: &Source,
        fetched: &Fetched,
    ) -> Result<()> {
        let FetchedMeta { size, version, modified, .. } = &fetched.meta;
        let Some(modified) = *modified else {
            let moved = StoreError::new(ErrorKind::Changed, "get", &ObjectKey::new(Path::clone(&source.key)));
            return self.object_moved(ino, path, source, moved).await;
        };
        self.adopt_as(ino, path, *size, version.clone(), modified)
    }

    fn adopt_as(
        &self,
        ino: Ino,
        path: &Path,
        size: u64,
        version: Version,
        modified: SystemTime,
    ) -> Result<()> {
        tracing::info!(%path, "The object is ahead of its entry: it is taken as it is");
        let modified = Timestamp::from(modified).to_string();
        let remote = Remote { size, modified, sha256: None, version: Some(version) };
        match self.cache.adopt_object(ino, remote)? {
            true => Ok(()),
            false => Err(CacheError::Stale { path: path.to_string() }),
        }
    }
}
