//! Copies that the bucket makes: of renamed files, and of files with several names.

use super::SyncService;
use super::entries::put_options;
use super::error::{Result, SyncError};
use super::upload::Sent;
use crate::cache::push_state::FileState;
use crate::cache::rows::{Path, Remote};
use crate::model::key::ObjectKey;
use crate::os::crash_point::{Step, reached};
use crate::store::Condition;

/// Renamed files up to this size are uploaded if they are here; larger ones are copied there.
pub(super) const COPY_ABOVE_BYTES: u64 = 1 << 20;

impl SyncService {
    /// Copies a renamed file on the server, if that is better than sending it, and what was sent
    /// already for another name of the file.
    pub(super) async fn send_copy(&self, state: &FileState, condition: &Condition) -> Result<Option<Sent>> {
        let inode = &state.inode;
        let linked = self.cache.linked_object(&state.path).filter(|object| object.at == inode.stamp.content);
        let is_linked = linked.is_some();
        let renamed = || inode.equal_object().filter(|object| *object.key != *state.path).cloned();
        let Some(object) = linked.or_else(renamed) else { return Ok(None) };
        let Some(version) = &object.remote.version else { return Ok(None) };
        let here = self.cache.is_complete(state.name.ino).unwrap_or(false);
        if (here && inode.size <= COPY_ABOVE_BYTES && !is_linked) || !self.conditions().copy {
            return Ok(None);
        }
        let source = self.with_hash(state, object.remote.clone()).await?;
        let options = put_options(inode, condition.clone(), source.sha256.as_deref());
        if !self.note_uploading(state, inode.stamp, &options, None).await? {
            return Ok(Some(Sent::Gone));
        }
        let (from, to) = (ObjectKey::new(Path::clone(&object.key)), ObjectKey::new(Path::clone(&state.path)));
        match self.store.copy(&from, version, &to, &options).await {
            Ok(copied) => {
                reached(Step::CopyMade);
                let remote = self.remote(inode.size, source.sha256, copied);
                self.note_sent(state, inode.stamp, &options.nonce, remote, 0).map(Some)
            }
            Err(failed) if failed.is_condition_failed() || failed.is_not_found() => {
                // Either side may have moved on: the plain way finds out which.
                let noted = self.cache.note_upload_failed(&state.path, &options.nonce);
                noted.map_err(SyncError::cache("Noting a copy that was refused")).map(|()| None)
            }
            Err(failed) => Err(self.upload_failed(state, &options.nonce, failed)),
        }
    }

    /// Returns what is known of an object, with its hash where a file has several names: by that
    /// other machines know that they have the same bytes. It is not found out for a large file
    /// that would have to be fetched.
    pub(super) async fn with_hash(&self, state: &FileState, object: Remote) -> Result<Remote> {
        if state.inode.link.is_none() || object.sha256.is_some() || !state.inode.is_file() {
            return Ok(object);
        }
        if state.inode.size <= self.options.part_bytes
            && let Err(failed) = self.hydrator.hydrate(state.name.ino).await
        {
            tracing::debug!(path = %state.path, error = %failed, "It goes without a hash");
        }
        if !self.cache.is_complete(state.name.ino).unwrap_or(false) {
            return Ok(object);
        }
        let (stamp, hash) = self.our_hash(state).await?;
        let sha256 = (stamp.content == state.inode.stamp.content).then(|| hash.to_string());
        Ok(Remote { sha256, ..object })
    }
}
