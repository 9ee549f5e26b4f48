//! `flush`, `fsync` of files and folders: when a program is told that its bytes are safe.

use std::sync::Arc;

use fuser::FileHandle;

use super::error::Result;
use super::file_io::is_for_writing;
use super::front::{CloseMode, Front, FsyncMode};
use crate::cache::{Cache, CacheError, Ino};
use crate::sync::guarded::Round;

impl Front {
    /// Returns whether the close of this handle waits for the bucket.
    pub(super) fn close_waits(&self, handle: FileHandle) -> bool {
        is_for_writing(handle) && self.options.close == CloseMode::Flushes
    }

    /// Returns when a file's changes are as safe as the mount was asked to make them.
    pub(super) async fn fsync(&self, ino: Ino) -> Result<()> {
        match self.options.fsync {
            FsyncMode::Remote => self.flush(ino).await,
            FsyncMode::Local => self.on_local_disk(ino).await,
        }
    }

    /// Returns when a file is in the bucket: its close waits for that.
    pub(super) async fn flush(&self, ino: Ino) -> Result<()> {
        Ok(self.sync.guarded(Round::Flush, self.sync.flush_file(ino)).await?)
    }

    /// Returns when the names made and removed in a folder are as safe.
    pub(super) async fn fsync_folder(&self, folder: Ino) -> Result<()> {
        match self.options.fsync {
            FsyncMode::Remote => Ok(self.sync.guarded(Round::Flush, self.sync.flush_folder(folder)).await?),
            FsyncMode::Local => self.on_local_disk(folder).await,
        }
    }

    /// The local disk may take its time, so it is not waited for on a thread of the runtime.
    async fn on_local_disk(&self, ino: Ino) -> Result<()> {
        let cache: Arc<Cache> = Arc::clone(&self.cache);
        let written = tokio::task::spawn_blocking(move || cache.make_durable(ino)).await;
        Ok(written.unwrap_or(Err(CacheError::Gone(ino)))?)
    }
}
