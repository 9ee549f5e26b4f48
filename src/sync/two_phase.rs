//! A push in two steps, for callers that hold a lock of their own: uploads first, then one
//! commit under the bucket's lock.
//!
//! Preparing writes objects only: no document of the index, no lock, nothing is removed. What
//! was prepared and never committed stays dirty, and the next push of any kind names it without
//! sending it again.

use super::error::Result;
use super::push::{Busy, Keys};
use super::upload::Ready;
use super::{SyncReport, SyncService};

/// What a push has uploaded and the index is to name.
///
/// Nobody else pushes these names while it lives.
pub struct PushManifest {
    ready: Vec<Ready>,
    conflicts: Vec<String>,
}

impl PushManifest {
    /// Returns how many names the index is to take.
    pub fn len(&self) -> usize {
        self.ready.len()
    }

    /// Returns whether there was nothing to upload.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }
}

impl SyncService {
    /// Uploads everything that is not in the bucket, outside of the lock.
    pub async fn prepare_push(&self) -> Result<PushManifest> {
        let outcome = self.try_prepare().await;
        self.note_push(&outcome);
        outcome
    }

    async fn try_prepare(&self) -> Result<PushManifest> {
        if self.cache.nothing_pending() {
            return Ok(PushManifest { ready: Vec::new(), conflicts: Vec::new() });
        }
        self.check_writable()?;
        let uploads = self.upload_all(self.cache.all_pending(), Busy::Skip, &Keys::new()).await;
        match uploads.failed {
            Some(failed) => Err(failed),
            None => Ok(PushManifest { ready: uploads.ready, conflicts: uploads.conflicts }),
        }
    }

    /// Commits what was prepared, and what was removed here, under the lock; marks the cache
    /// clean if it then is. What was changed since it was prepared stays dirty.
    pub async fn commit_push(&self, manifest: PushManifest) -> Result<SyncReport> {
        let PushManifest { ready, conflicts } = manifest;
        let mut report = SyncReport { conflicts, ..SyncReport::default() };
        if ready.is_empty() && self.is_all_pushed().await? {
            report.settled = true;
            return Ok(report);
        }
        self.check_writable()?;
        let committed = self.commit_ready(ready, (None, Busy::Skip, &Keys::new()), &mut report).await;
        self.note_push(&committed);
        committed?;
        report.settled = self.finish_push().await?;
        Ok(report)
    }
}
