//! How swamp finds out with one request that there is nothing to do, or believes so.

use super::index::INDEX;
use super::machine::ms_of;
use super::names::is_usable;
use super::{Process, Result};

impl Process {
    /// Whether a pull has nothing to bring. A dirty cache is as good as a clean one here.
    pub(super) async fn is_pulled(&mut self) -> Result<bool> {
        if self.is_at_commit_seq().await? {
            return Ok(true);
        }
        let verified_at = self.state.sidecar().and_then(|sidecar| ms_of(&sidecar.last_verified_at));
        let is_older = match (self.machine.index_written(), verified_at) {
            (Some(written), Some(verified_at)) => written < verified_at,
            _ => false,
        };
        Ok(is_older && self.is_at_fingerprint().await)
    }

    /// Whether a push has nothing to send.
    pub(super) async fn is_pushed(&mut self) -> Result<bool> {
        if self.state.sidecar().is_none_or(|sidecar| sidecar.local_dirty) {
            return Ok(false);
        }
        Ok(self.is_at_commit_seq().await? || self.is_at_fingerprint().await)
    }

    async fn is_at_commit_seq(&mut self) -> Result<bool> {
        let Some(ours) = self.state.sidecar().and_then(|sidecar| sidecar.commit_seq) else {
            return Ok(false);
        };
        Ok(self.read_meta().await?.and_then(|meta| meta.commit_seq()) == Some(ours))
    }

    async fn is_at_fingerprint(&mut self) -> bool {
        let ours = self.state.sidecar().map(|sidecar| sidecar.fingerprint.clone());
        let Some(ours) = ours.filter(|ours| is_usable(ours)) else { return false };
        // Whatever goes wrong here is only a slow path.
        let theirs = self.bucket.head(INDEX).await.ok().flatten();
        theirs.is_some_and(|(theirs, _)| is_usable(&theirs) && theirs == ours)
    }
}
