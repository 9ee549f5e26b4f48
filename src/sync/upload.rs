//! Putting one file into the bucket.
//!
//! A snapshot is frozen at a stamp, the upload is noted durably, the object is written only if
//! the key still has the version that our content derives from, and the outcome is noted. What
//! a crash left open is settled first, by the nonce that the object carries.

use bytes::Bytes;

use super::SyncService;
use super::commit::{Change, SentWhen, Was};
use super::entries::{entry_of, folder_attributes, put_options};
use super::error::{Result, SyncError};
use super::key_locks::KeyGuard;
use crate::cache::push_state::FileState;
use crate::cache::rows::{Ino, Kind, Path, Remote, Stamp, Uploaded, Uploading};
use crate::model::content_hash::ContentHash;
use crate::model::key::{DataKey, ObjectKey};
use crate::model::timestamp::Timestamp;
use crate::os::crash_point::{Step, reached};
use crate::store::{Condition, Nonce, PutOptions, StoreError, Version};

/// A change that the index is to take.
pub(super) struct Ready {
    pub path: Path,
    pub ino: Ino,
    pub stamp: Stamp,
    pub change: Change,
    pub remote: Option<Remote>,
    pub sent: u64,
    pub guard: KeyGuard,
}

/// What an upload came to.
pub(super) enum Sent {
    /// The bucket has this as the file's content at this stamp; so many bytes were sent for it.
    Done { stamp: Stamp, remote: Remote, sent: u64 },
    /// An earlier push, or somebody else, has put this there as the file's content at this stamp.
    Earlier { stamp: Stamp, remote: Remote },
    /// The bucket had this as the file's content before.
    Same { stamp: Stamp, remote: Remote },
    /// The key does not have the version that we would replace.
    Conflict,
    /// The name means something else by now.
    Gone,
}

/// What is to become of a name.
pub(super) enum Prepared {
    /// Nothing is left to do.
    Nothing,
    /// The index is to take this.
    Ready(Box<Ready>),
    /// The bucket has something else: see to the conflict.
    Conflict(KeyGuard),
}

/// Whether what the index says of a key still has to be compared with our base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    /// It has.
    NotYet,
    /// A conflict was resolved: the base is what the key has.
    Resolved,
}

impl SyncService {
    /// Brings one name's object into the bucket. Held: the key.
    pub(super) async fn prepare(&self, path: &Path, guard: KeyGuard, judged: Judged) -> Result<Prepared> {
        let early = self.resolve_uploading(path).await?;
        if early.is_none() {
            self.end_stream_elsewhere(path).await;
        }
        let ino = early.map(|(ino, streamed)| {
            self.hand_over(ino, streamed);
            ino
        });
        let prepared = self.prepare_resolved_key(path, guard, judged).await;
        // Nothing of what was sent early was of use.
        if let Some(streamed) = ino.and_then(|ino| self.take_handed_over(ino)) {
            self.give_up_stream(&streamed).await;
        }
        prepared
    }

    async fn prepare_resolved_key(&self, path: &Path, guard: KeyGuard, judged: Judged) -> Result<Prepared> {
        let Some(state) = self.cache.file_state(path).filter(|state| state.dirty) else {
            return Ok(Prepared::Nothing);
        };
        let Ok(key) = DataKey::admit(path) else { return Ok(Prepared::Nothing) };
        if state.inode.is_folder() {
            if state.name.pushed.is_none() && !state.name.record_left && !self.is_recorded(&state) {
                // The index implies it and never said more of it: there is nothing to change.
                let noted = self.cache.note_committed(path, state.name.ino, state.inode.stamp, None, None);
                return noted.map(|()| Prepared::Nothing).map_err(SyncError::cache("Noting a folder"));
            }
            let noted = self.cache.note_recording(path, state.name.ino);
            return Ok(match noted.map_err(SyncError::cache("Noting a folder"))? {
                true => Prepared::Ready(Box::new(self.prepare_folder(state, key, guard))),
                false => Prepared::Nothing,
            });
        }
        let news = self.news_so_far();
        let sent = {
            let _counted = self.uploading.one();
            self.send(&state, judged).await
        };
        // A file that was removed while it was made ready is not a failure.
        let removed = self.cache.file_state(path).is_none_or(|now| now.name.ino != state.name.ino);
        let sent =
            sent.or_else(|failed| if removed && is_ours(&failed) { Ok(Sent::Gone) } else { Err(failed) });
        let (stamp, remote, sent, when) = match sent? {
            Sent::Gone => return Ok(Prepared::Nothing),
            Sent::Conflict => return Ok(Prepared::Conflict(guard)),
            Sent::Done { stamp, remote, sent } => (stamp, remote, sent, SentWhen::Now),
            Sent::Earlier { stamp, remote } => (stamp, remote, 0, SentWhen::Earlier),
            Sent::Same { stamp, remote } => (stamp, remote, 0, SentWhen::Never),
        };
        let state = self.as_sent(state, stamp);
        let was = Was { indexed: state.name.remote, sent: when, news };
        let change = Change::Set(key, Box::new(entry_of(&state.inode, &remote)), was);
        let stamp = Stamp { content: stamp.content, meta: state.inode.stamp.meta };
        let (path, ino, remote) = (state.path, state.name.ino, Some(remote));
        Ok(Prepared::Ready(Box::new(Ready { path, ino, stamp, change, remote, sent, guard })))
    }

    /// Returns a file's attributes as they were with the content that was sent: those from
    /// before, if it was changed again since.
    fn as_sent(&self, before: FileState, sent: Stamp) -> FileState {
        let now = self.cache.file_state(&before.path);
        let now =
            now.filter(|now| now.name.ino == before.name.ino && now.inode.stamp.content == sent.content);
        now.unwrap_or(before)
    }

    /// The index records folders that are empty or that have attributes.
    fn is_recorded(&self, state: &FileState) -> bool {
        let has_attributes = !folder_attributes(&state.inode).is_default();
        !state.inode.implied && (has_attributes || self.cache.is_empty_folder(&state.path))
    }

    fn prepare_folder(&self, state: FileState, key: DataKey, guard: KeyGuard) -> Ready {
        let change = match self.is_recorded(&state) {
            true => Change::SetFolder(key, folder_attributes(&state.inode)),
            false => Change::RemoveFolder(Path::clone(&state.path)),
        };
        let (ino, stamp) = (state.name.ino, state.inode.stamp);
        Ready { path: state.path, ino, stamp, change, remote: None, sent: 0, guard }
    }

    async fn send(&self, state: &FileState, judged: Judged) -> Result<Sent> {
        let (inode, name) = (&state.inode, &state.name);
        if let Some(done) = name.uploaded.as_ref().filter(|done| done.stamp.content == inode.stamp.content) {
            let remote = self.with_hash(state, done.remote.clone()).await?;
            return self.send_no_more(state, inode.stamp, &remote).await;
        }
        let moved_on = judged == Judged::NotYet && name.has_moved_on();
        if let (Some(object), Some(base)) = (inode.equal_object(), &name.base)
            && *object.key == *state.path
            && object.remote.is_same_as(base)
            && !moved_on
        {
            let remote = self.with_hash(state, base.clone()).await?;
            return Ok(Sent::Same { stamp: inode.stamp, remote });
        }
        if moved_on {
            return Ok(Sent::Conflict);
        }
        let Some(condition) = self.condition_for(state).await? else { return Ok(Sent::Conflict) };
        self.keep_dependents(state).await?;
        if let Kind::Symlink(target) = &inode.kind {
            let body = Bytes::from(target.clone().into_bytes());
            return self.put(state, inode.stamp, body, condition).await;
        }
        if let Kind::Special(_) = inode.kind {
            return self.put(state, inode.stamp, Bytes::new(), condition).await;
        }
        if let Some(sent) = self.send_copy(state, &condition).await? {
            return Ok(sent);
        }
        self.send_content(state, condition).await
    }

    /// What was uploaded earlier needs no more than its entry, unless it was replaced since.
    async fn send_no_more(&self, state: &FileState, stamp: Stamp, uploaded: &Remote) -> Result<Sent> {
        let key = ObjectKey::new(Path::clone(&state.path));
        let what = format!("Looking for the upload of {key}");
        let meta = self.store.head(&key).await.map_err(SyncError::store(what))?;
        if meta.is_some_and(|meta| uploaded.version.as_ref() == Some(&meta.version)) {
            return Ok(Sent::Earlier { stamp, remote: uploaded.clone() });
        }
        let noted = self.cache.note_superseded(&state.path);
        noted.map_err(SyncError::cache(format!("Noting that {key} was replaced")))?;
        Ok(Sent::Conflict)
    }

    /// Keeps what files of other names still need of the object that is about to be replaced.
    async fn keep_dependents(&self, state: &FileState) -> Result<()> {
        if state.name.base.is_none() {
            return Ok(());
        }
        self.keep_what_was(&state.path).await
    }

    /// Returns the condition under which our content may replace what the key has; `None` if
    /// it is known already that it may not.
    async fn condition_for(&self, state: &FileState) -> Result<Option<Condition>> {
        let Some(base) = &state.name.base else { return Ok(Some(Condition::IfAbsent)) };
        if let Some(version) = &base.version {
            return Ok(Some(Condition::IfVersion(version.clone())));
        }
        let key = ObjectKey::new(Path::clone(&state.path));
        Ok(self.version_of(&key, base).await?.map(Condition::IfVersion))
    }

    async fn send_content(&self, state: &FileState, condition: Condition) -> Result<Sent> {
        let ino = state.name.ino;
        let what = || format!("Completing {}", state.path);
        loop {
            if let Some(sent) = self.send_append(state, &condition).await? {
                return Ok(sent);
            }
            let in_parts = self.is_sent_past_cache(ino).map_err(SyncError::cache(what()))?
                || self.is_sent_as_edit(state).map_err(SyncError::cache(what()))?;
            let sent = match in_parts {
                true => self.send_parts(state, condition.clone()).await,
                false => self.send_hydrated(state, condition.clone()).await,
            };
            match sent {
                Err(failed) if failed.is_base_gone() => return Ok(Sent::Conflict),
                // From now on nothing of it counts as unchanged, or nothing is copied at all.
                Ok(None) => {}
                Ok(Some(sent)) => return Ok(sent),
                Err(failed) => return Err(failed),
            }
        }
    }

    /// Returns whether a large file is sent although a part of it is absent: there is no room to
    /// have all of it here.
    fn is_sent_past_cache(&self, ino: Ino) -> crate::cache::Result<bool> {
        let is_large = self.cache.attr(ino)?.size > self.options.part_bytes;
        Ok(is_large && self.cache.absent_bytes(ino)? > self.cache.room())
    }

    async fn send_hydrated(&self, state: &FileState, condition: Condition) -> Result<Option<Sent>> {
        let ino = state.name.ino;
        let what = || format!("Completing {}", state.path);
        self.hydrator.hydrate(ino).await.map_err(SyncError::cache(what()))?;
        let size = self.cache.attr(ino).map_err(SyncError::cache(what()))?.size;
        if size <= self.options.part_bytes {
            if let Some(streamed) = self.take_handed_over(ino) {
                self.give_up_stream(&streamed).await;
            }
            let (stamp, body) = self.cache.snapshot(ino).map_err(SyncError::cache(what()))?;
            return self.put(state, stamp, body, condition).await.map(Some);
        }
        self.send_parts(state, condition).await
    }

    async fn put(&self, state: &FileState, stamp: Stamp, body: Bytes, condition: Condition) -> Result<Sent> {
        let hash = ContentHash::of(&body).to_string();
        let size = body.len() as u64;
        if let Some(same) = same_as_base(state, &hash, size) {
            return match &state.name.uploaded {
                Some(_) => self.send_no_more(state, stamp, &same).await,
                None => Ok(Sent::Same { stamp, remote: same }),
            };
        }
        let options = put_options(&state.inode, condition, Some(&hash));
        if !self.note_uploading(state, stamp, &options, None).await? {
            return Ok(Sent::Gone);
        }
        let key = ObjectKey::new(Path::clone(&state.path));
        if !self.check_by_hand(&key, &options.condition).await? {
            return Ok(Sent::Conflict);
        }
        match self.store.put(&key, body, &options).await {
            Ok(version) => {
                reached(Step::ObjectPut);
                let remote = self.remote(size, Some(hash), version);
                self.note_sent(state, stamp, &options.nonce, remote, size)
            }
            Err(refused) if refused.is_condition_failed() => self.refused(state, &options.nonce),
            Err(failed) => Err(self.upload_failed(state, &options.nonce, failed)),
        }
    }

    /// Notes an upload durably; uploads that begin together wait for the disk once.
    pub(super) async fn note_uploading(
        &self,
        state: &FileState,
        stamp: Stamp,
        options: &PutOptions,
        upload: Option<crate::store::UploadId>,
    ) -> Result<bool> {
        let ino = state.name.ino;
        let uploading = Uploading { ino, stamp, nonce: options.nonce.clone(), upload };
        let failed = |failed| SyncError::cache(format!("Noting the upload of {}", state.path))(failed);
        let noted = self.cache.note_uploading(&state.path, ino, uploading).map_err(failed)?;
        let Some(noted) = noted else { return Ok(false) };
        // The others that begin now are noted first.
        tokio::task::yield_now().await;
        self.cache.sync_upload(noted).map(|()| true).map_err(failed)
    }

    pub(super) fn note_sent(
        &self,
        state: &FileState,
        stamp: Stamp,
        nonce: &Nonce,
        remote: Remote,
        sent: u64,
    ) -> Result<Sent> {
        let uploaded = Uploaded { stamp, remote: remote.clone() };
        let noted = self.cache.note_uploaded(&state.path, state.name.ino, nonce, uploaded);
        noted.map_err(SyncError::cache(format!("Noting the upload of {}", state.path)))?;
        Ok(Sent::Done { stamp, remote, sent })
    }

    pub(super) fn refused(&self, state: &FileState, nonce: &Nonce) -> Result<Sent> {
        self.forget_upload(state, nonce).map(|()| Sent::Conflict)
    }

    /// Notes that nothing came, or comes, of an upload.
    pub(super) fn forget_upload(&self, state: &FileState, nonce: &Nonce) -> Result<()> {
        let noted = self.cache.note_upload_failed(&state.path, nonce);
        noted.map_err(SyncError::cache(format!("Noting the upload of {}", state.path)))
    }

    /// An upload that surely failed is noted; one whose fate is unknown is looked for later.
    pub(super) fn upload_failed(&self, state: &FileState, nonce: &Nonce, failed: StoreError) -> SyncError {
        if !failed.kind.is_transient() {
            self.cache.note_upload_failed(&state.path, nonce).ok();
        }
        SyncError::store(format!("Uploading {}", state.path))(failed)
    }

    /// Where the store ignores conditions on writes: looks whether it holds.
    pub(super) async fn check_by_hand(&self, key: &ObjectKey, condition: &Condition) -> Result<bool> {
        if self.conditions().put {
            return Ok(true);
        }
        let meta = self.store.head(key).await.map_err(SyncError::store(format!("Asking for {key}")))?;
        Ok(match (condition, meta) {
            (Condition::Always, _) | (Condition::IfAbsent, None) => true,
            (Condition::IfVersion(version), Some(meta)) => meta.version == *version,
            (Condition::IfAbsent, Some(_)) | (Condition::IfVersion(_), None) => false,
        })
    }

    pub(super) fn remote(&self, size: u64, sha256: Option<String>, version: Version) -> Remote {
        let modified = Timestamp::from(self.clock.now()).to_string();
        Remote { size, modified, sha256, version: Some(version) }
    }
}

/// Returns whether what failed was on this machine.
fn is_ours(failed: &SyncError) -> bool {
    matches!(failed, SyncError::Cache { .. })
}

/// The same bytes as the version that they derive from need not be sent again.
fn same_as_base(state: &FileState, hash: &str, size: u64) -> Option<Remote> {
    let base = state.name.base.as_ref().filter(|base| base.version.is_some())?;
    (base.size == size && base.sha256.as_deref() == Some(hash)).then(|| base.clone())
}
