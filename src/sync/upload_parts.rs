//! Putting one large file into the bucket, in parts side by side.
//!
//! The parts are read from the live content. If it changed before all were sent they are sent
//! again; after that a copy of one moment is sent, which cannot change. What is absent, because
//! there is no room for it, is fetched part by part.

use std::ops::Range;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};

use super::SyncService;
use super::entries::put_options;
use super::error::{Result, SyncError};
use super::upload::Sent;
use crate::cache::freeze::UploadSource;
use crate::cache::push_state::FileState;
use crate::cache::rows::Path;
use crate::model::content_hash::ContentHash;
use crate::model::key::ObjectKey;
use crate::os::crash_point::{Step, reached};
use crate::store::{Condition, PutOptions, UploadId, UploadedPart};

/// How often a large file that changes while it is uploaded is sent again.
const MOST_SENDS: usize = 3;
/// How many parts of one upload are under way at once.
const PARALLEL_PARTS: usize = 4;

/// All parts, and the hash of their bytes.
struct AllParts {
    parts: Vec<UploadedPart>,
    hash: ContentHash,
}

impl SyncService {
    /// Uploads a large file in parts.
    pub(super) async fn send_parts(&self, state: &FileState, condition: Condition) -> Result<Sent> {
        for attempt in 1..=MOST_SENDS {
            let ino = state.name.ino;
            let frozen = attempt == MOST_SENDS;
            let source = if frozen { self.cache.freeze(ino) } else { self.cache.thaw(ino) };
            let source = source.map_err(SyncError::cache(format!("Reading {}", state.path)))?;
            let hash = self.hash_ahead(state, &source).await?;
            let options = put_options(&state.inode, condition.clone(), hash.as_deref());
            let key = ObjectKey::new(Path::clone(&state.path));
            let begun = self.store.begin_upload(&key, source.len, &options).await;
            let upload = begun.map_err(|failed| self.upload_failed(state, &options.nonce, failed))?;
            reached(Step::UploadBegun);
            if !self.note_uploading(state, source.stamp, &options, Some(upload.clone()))? {
                self.give_up(state, &key, &upload, &options).await;
                return Ok(Sent::Gone);
            }
            let sent = self.send_all(&source, &key, &upload).await;
            let unchanged =
                frozen || self.cache.stamp_of(ino).is_ok_and(|now| now.content == source.stamp.content);
            match sent {
                Ok(all) if unchanged => return self.complete(state, &source, &upload, all, &options).await,
                Err(failed) if unchanged => {
                    self.give_up(state, &key, &upload, &options).await;
                    return Err(failed);
                }
                Ok(_) | Err(_) => self.give_up(state, &key, &upload, &options).await,
            }
        }
        Err(SyncError::KeepsChanging { path: state.path.to_string() })
    }

    /// Returns the hash of what is about to be sent, where the object's metadata is to say it.
    async fn hash_ahead(&self, state: &FileState, source: &UploadSource) -> Result<Option<String>> {
        if state.inode.link.is_none() {
            return Ok(None);
        }
        let failed = SyncError::cache(format!("Reading {}", state.path));
        self.hydrator.hash_source(source).await.map(|hash| Some(hash.to_string())).map_err(failed)
    }

    async fn send_all(&self, source: &UploadSource, key: &ObjectKey, upload: &UploadId) -> Result<AllParts> {
        let ranges = part_ranges(source.len, self.part_bytes(source.len));
        let mut sending = stream::iter(ranges.into_iter().enumerate())
            .map(|(at, range)| self.send_part(source, key, upload, at, range))
            .buffered(PARALLEL_PARTS);
        let (mut parts, mut hash) = (Vec::new(), Sha256::new());
        while let Some((part, body)) = sending.try_next().await? {
            hash.update(&body);
            parts.push(part);
            reached(Step::PartUploaded);
        }
        let hash = ContentHash::from_bytes(hash.finalize().into());
        Ok(AllParts { parts, hash })
    }

    async fn send_part(
        &self,
        source: &UploadSource,
        key: &ObjectKey,
        upload: &UploadId,
        at: usize,
        range: Range<u64>,
    ) -> Result<(UploadedPart, Bytes)> {
        let body = self
            .hydrator
            .read_source(source, range)
            .await
            .map_err(SyncError::cache(format!("Reading {key}")))?;
        let number = u32::try_from(at + 1).unwrap_or(u32::MAX);
        let sent = self.store.upload_part(key, upload, number, body.clone()).await;
        Ok((sent.map_err(SyncError::store(format!("Uploading {key}")))?, body))
    }

    async fn complete(
        &self,
        state: &FileState,
        source: &UploadSource,
        upload: &UploadId,
        all: AllParts,
        options: &PutOptions,
    ) -> Result<Sent> {
        reached(Step::BeforeComplete);
        let key = ObjectKey::new(Path::clone(&state.path));
        if !self.check_by_hand(&key, &options.condition).await? {
            self.give_up(state, &key, upload, options).await;
            return Ok(Sent::Conflict);
        }
        match self.store.complete_upload(&key, upload, &all.parts, options).await {
            Ok(version) => {
                reached(Step::ObjectPut);
                let remote = self.remote(source.len, Some(all.hash.to_string()), version);
                self.note_sent(state, source.stamp, &options.nonce, remote, source.len)
            }
            Err(refused) if refused.is_condition_failed() => {
                self.give_up(state, &key, upload, options).await;
                Ok(Sent::Conflict)
            }
            Err(failed) => Err(self.upload_failed(state, &options.nonce, failed)),
        }
    }

    /// Aborts an upload. What cannot be aborted now is aborted before the next upload.
    async fn give_up(&self, state: &FileState, key: &ObjectKey, upload: &UploadId, options: &PutOptions) {
        match self.store.abort_upload(key, upload).await {
            Ok(()) => {
                if let Err(failed) = self.cache.note_upload_failed(&state.path, &options.nonce) {
                    tracing::warn!(%key, error = %failed, "That an upload was given up could not be noted");
                }
            }
            Err(failed) => tracing::debug!(%key, error = %failed, "An upload could not be aborted yet"),
        }
    }

    fn part_bytes(&self, size: u64) -> u64 {
        let abilities = self.store.abilities();
        let least = size.div_ceil(u64::from(abilities.max_parts)).max(abilities.min_part_bytes);
        self.options.part_bytes.max(least)
    }
}

fn part_ranges(size: u64, part: u64) -> Vec<Range<u64>> {
    (0..size.div_ceil(part)).map(|n| n * part..((n + 1) * part).min(size)).collect()
}
