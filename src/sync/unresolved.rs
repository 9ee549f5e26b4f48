//! Uploads that were begun and of which nothing more is noted: by a process that died, or early, of
//! a file that is still written.

use super::SyncService;
use super::error::{Result, SyncError};
use super::streams::Streamed;
use crate::cache::Ino;
use crate::cache::rows::{Path, Remote, Uploaded};
use crate::model::key::ObjectKey;

impl SyncService {
    /// Settles an upload whose outcome was never noted: its object carries our nonce, or not. One
    /// that began early, and is that of the file still, is ended and returned.
    pub(super) async fn resolve_uploading(&self, path: &Path) -> Result<Option<(Ino, Streamed)>> {
        let name =
            self.cache.file_state(path).and_then(|state| Some((state.name.ino, state.name.uploading?)));
        let tombstone = || self.cache.tombstone(path).and_then(|t| Some((0, t.uploading?)));
        let Some((ino, uploading)) = name.or_else(tombstone) else { return Ok(None) };
        let early = self.end_stream(uploading.ino).await;
        if let Some(streamed) = early.filter(|early| early.is(path, &uploading)) {
            if ino == uploading.ino {
                return Ok(Some((ino, streamed)));
            }
            self.give_up_stream(&streamed).await;
        }
        let key = ObjectKey::new(Path::clone(path));
        let what = || format!("Looking for an earlier upload of {path}");
        let meta = self.store.head(&key).await.map_err(|e| SyncError::store(what())(e))?;
        match meta {
            Some(meta) if meta.carries(&uploading.nonce) => {
                let uploaded = Uploaded { stamp: uploading.stamp, remote: Remote::of_object(&meta) };
                self.cache.note_uploaded(path, ino, &uploading.nonce, uploaded)
            }
            other => {
                if other.is_some() && self.cache.file_state(path).is_none() {
                    // Removed here, and what is there may be of an earlier upload that came late.
                    self.note_left(path);
                }
                if let Some(upload) = &uploading.upload {
                    self.store.abort_upload(&key, upload).await.map_err(|e| SyncError::store(what())(e))?;
                }
                self.cache.note_upload_failed(path, &uploading.nonce)
            }
        }
        .map_err(SyncError::cache(what()))
        .map(|()| None)
    }
}
