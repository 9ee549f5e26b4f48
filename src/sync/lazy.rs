//! Fetching content before it is read.
//!
//! A pull brings names only. What is here of each file's content is known file by file, so
//! nothing that is done with one file says anything of another, in this process or the next.

use futures::{StreamExt, stream};

use super::SyncService;
use super::error::{Result, SyncError};
use crate::cache::CacheError;
use crate::cache::push_state::FileState;
use crate::cache::rows::{Kind, Path};
use crate::store::ErrorKind;

impl SyncService {
    /// Fetches all of a file's content; returns whether there is such a file.
    pub async fn hydrate_file(&self, path: &str) -> Result<bool> {
        let Some(state) = self.cache.file_state(path).filter(|state| !state.inode.is_folder()) else {
            return Ok(false);
        };
        if self.has_content(&state)? {
            return Ok(true);
        }
        match self.hydrator.ensure(state.name.ino, 0..state.inode.size).await {
            Ok(()) => Ok(true),
            Err(CacheError::Store { source, .. }) if source.kind == ErrorKind::NotFound => Ok(false),
            Err(failed) => Err(SyncError::cache(format!("Fetching {path}"))(failed)),
        }
    }

    /// Fetches the content of all files that is not here yet; returns of how many. One whose
    /// object is gone keeps none of the others from being fetched.
    pub async fn pull_content(&self) -> Result<u64> {
        let mut lacking = Vec::new();
        for (path, _) in self.cache.known_identities() {
            if let Some(state) = self.cache.file_state(&path)
                && !self.has_content(&state)?
            {
                lacking.push(path);
            }
        }
        let fetch = |path: Path| async move { self.hydrate_file(&path).await };
        let mut fetched = stream::iter(lacking).map(fetch).buffer_unordered(self.options.uploads);
        let (mut count, mut failed) = (0, None);
        while let Some(outcome) = fetched.next().await {
            match outcome {
                Ok(there) => count += u64::from(there),
                Err(one) => failed = failed.or(Some(one)),
            }
        }
        failed.map_or(Ok(count), Err)
    }

    fn has_content(&self, state: &FileState) -> Result<bool> {
        if state.inode.kind != Kind::File || state.inode.size == 0 {
            return Ok(true);
        }
        let present = self.cache.present_bytes(state.name.ino);
        let present = present.map_err(SyncError::cache(format!("Looking at {}", state.path)))?;
        Ok(present >= state.inode.size)
    }
}
