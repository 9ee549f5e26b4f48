//! Putting one large file into the bucket, in parts side by side.
//!
//! The parts are read from the live content. If it changed before all were sent they are sent
//! again; after that a copy of one moment is sent, which cannot change. What is absent, because
//! there is no room for it, is fetched part by part. What the bucket has already it copies.

use std::collections::HashMap;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use tokio::sync::OwnedSemaphorePermit;

use super::SyncService;
use super::entries::put_options;
use super::error::{Result, SyncError};
use super::part_copies::NotCopied;
use super::part_plan::{From, Part, cut_evenly};
use super::streams::Streamed;
use super::upload::Sent;
use crate::cache::freeze::UploadSource;
use crate::cache::push_state::FileState;
use crate::cache::rows::Path;
use crate::model::content_hash::ContentHash;
use crate::model::key::ObjectKey;
use crate::os::crash_point::{Step, reached};
use crate::store::{Condition, ErrorKind, PutOptions, UploadId, UploadedPart};

/// How often a large file that changes while it is uploaded is sent again.
pub(super) const MOST_SENDS: usize = 3;
/// How many parts of one upload are under way at once.
pub(super) const PARALLEL_PARTS: usize = 8;

/// All parts, and the hash of their bytes if it is known.
struct AllParts {
    parts: Vec<UploadedPart>,
    hash: Option<ContentHash>,
    sent: u64,
}

/// An upload that has begun.
struct Begun {
    options: PutOptions,
    id: UploadId,
    parts: Vec<Part>,
    early: HashMap<u32, UploadedPart>,
    /// The hash of what was sent early, if what is sent from now on follows it.
    hash: Option<Sha256>,
}

/// What of a part passed through here, with the room that it takes.
#[derive(Default)]
struct Sending {
    sent: u64,
    body: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// One upload in parts.
struct Upload<'a> {
    state: &'a FileState,
    source: &'a UploadSource,
    key: &'a ObjectKey,
    id: &'a UploadId,
    options: &'a PutOptions,
    parts: &'a [Part],
    /// What of them was sent before, by their number.
    early: &'a HashMap<u32, UploadedPart>,
}

impl Upload<'_> {
    fn copies(&self) -> bool {
        self.parts.iter().any(|part| part.from == From::Object)
    }
}

impl SyncService {
    /// Uploads a large file in parts; `None` if the bucket does not copy what it was to copy.
    pub(super) async fn send_parts(&self, state: &FileState, condition: Condition) -> Result<Option<Sent>> {
        for attempt in 1..=MOST_SENDS {
            let source = self.source_of_attempt(state, attempt)?;
            let key = ObjectKey::new(Path::clone(&state.path));
            let Begun { options, id, parts, early, hash } =
                self.begin_or_go_on(state, &source, condition.clone()).await?;
            let (key, id, options, parts, early) = (&key, &id, &options, &parts[..], &early);
            let upload = Upload { state, source: &source, key, id, options, parts, early };
            if !self.note_uploading(state, source.stamp, options, Some(id.clone())).await? {
                self.give_up(&upload).await;
                return Ok(Some(Sent::Gone));
            }
            let sent = self.send_all(&upload, hash).await;
            let unchanged = self.is_one_moment(&source, attempt);
            match sent {
                Ok(all) if unchanged => return self.complete(&upload, all).await,
                Err(NotCopied::Failed(failed)) if unchanged => {
                    self.give_up(&upload).await;
                    return Err(failed);
                }
                Err(NotCopied::Refused) => {
                    self.give_up(&upload).await;
                    return Ok(None);
                }
                Ok(_) | Err(_) => self.give_up(&upload).await,
            }
        }
        Err(SyncError::KeepsChanging { path: state.path.to_string() })
    }

    /// Returns what an attempt to send a file reads: the live content, at last a copy of one moment.
    pub(super) fn source_of_attempt(&self, state: &FileState, attempt: usize) -> Result<UploadSource> {
        let ino = state.name.ino;
        let source = if attempt == MOST_SENDS { self.cache.freeze(ino) } else { self.cache.thaw(ino) };
        source.map_err(SyncError::cache(format!("Reading {}", state.path)))
    }

    /// Returns whether all that was read in an attempt until now is of one moment.
    pub(super) fn is_one_moment(&self, source: &UploadSource, attempt: usize) -> bool {
        let now = || self.cache.stamp_of(source.ino());
        attempt == MOST_SENDS || now().is_ok_and(|now| now.content == source.stamp.content)
    }

    /// Returns the hash of what is about to be sent, where the object's metadata is to say it.
    async fn hash_ahead(&self, state: &FileState, source: &UploadSource) -> Result<Option<String>> {
        if state.inode.link.is_none() {
            return Ok(None);
        }
        let failed = SyncError::cache(format!("Reading {}", state.path));
        self.hydrator.hash_source(source).await.map(|hash| Some(hash.to_string())).map_err(failed)
    }

    /// Begins an upload, or goes on with one that began while the file was written.
    async fn begin_or_go_on(
        &self,
        state: &FileState,
        source: &UploadSource,
        condition: Condition,
    ) -> Result<Begun> {
        if let Some(streamed) = self.take_handed_over(state.name.ino) {
            // The hash that goes with each name of a linked file is to be in its metadata.
            let going_on = match state.inode.link {
                Some(_) => Err(Box::new(streamed)),
                None => self.go_on(streamed, source, condition.clone()),
            };
            match going_on {
                Ok(begun) => return Ok(begun),
                Err(streamed) => self.give_up_stream(&streamed).await,
            }
        }
        let hash = self.hash_ahead(state, source).await?;
        let options = put_options(&state.inode, condition, hash.as_deref());
        let key = ObjectKey::new(Path::clone(&state.path));
        let begun = self.store.begin_upload(&key, source.len, &options).await;
        let id = begun.map_err(|failed| self.upload_failed(state, &options.nonce, failed))?;
        reached(Step::UploadBegun);
        let parts = self.parts_of(state, source);
        let copies = parts.iter().any(|part| part.from == From::Object);
        let hash = (!copies).then(Sha256::new);
        Ok(Begun { options, id, parts, early: HashMap::new(), hash })
    }

    /// Goes on with an upload, unless the file has become something else.
    fn go_on(
        &self,
        streamed: Streamed,
        source: &UploadSource,
        condition: Condition,
    ) -> std::result::Result<Begun, Box<Streamed>> {
        let Streamed { part_bytes, .. } = streamed;
        let parts = cut_evenly(source.len, part_bytes);
        let fits = parts.len() as u64 <= u64::from(self.store.abilities().max_parts);
        if parts.is_empty() || !fits || source.absent_bytes(&(0..source.len)) > 0 {
            return Err(Box::new(streamed));
        }
        let sent = streamed.parts.len();
        // A part that the file was cut in is shorter now than what was sent of it.
        let is_same =
            |at: &Part| at.range.end - at.range.start == part_bytes && source.sent.covers(at.range.clone());
        let same = streamed.parts.iter().zip(&parts).filter(|(_, at)| is_same(at));
        let early: HashMap<u32, UploadedPart> = same.map(|(part, _)| (part.number, part.clone())).collect();
        // The hash is that of all that was sent early, in its order.
        let hash = (early.len() == sent).then_some(streamed.hash);
        let options = PutOptions { condition, ..streamed.options };
        Ok(Begun { options, id: streamed.id, parts, early, hash })
    }

    async fn send_all(
        &self,
        upload: &Upload<'_>,
        hash: Option<Sha256>,
    ) -> std::result::Result<AllParts, NotCopied> {
        if hash.is_some() {
            return self.put_together(upload, hash).await;
        }
        if upload.copies() {
            self.try_part_copies(upload.source, upload.key, upload.id).await?;
        }
        let (all, hash) = tokio::join!(self.put_together(upload, None), self.hash_if_here(upload.source));
        Ok(AllParts { hash, ..all? })
    }

    /// Returns the hash of a file of which nothing needs to be fetched for it.
    pub(super) async fn hash_if_here(&self, source: &UploadSource) -> Option<ContentHash> {
        match source.absent_bytes(&(0..source.len)) {
            0 => self.hydrator.hash_source(source).await.ok(),
            _ => None,
        }
    }

    /// Uploads all parts; the hash is that of what is sent, so that all of it must be.
    async fn put_together(
        &self,
        upload: &Upload<'_>,
        mut hash: Option<Sha256>,
    ) -> std::result::Result<AllParts, NotCopied> {
        let mut sending = stream::iter((1..).zip(upload.parts.to_vec()))
            .map(|(number, part)| self.make_part(upload, number, part))
            .buffered(PARALLEL_PARTS);
        let (mut parts, mut sent) = (Vec::new(), 0);
        while let Some((part, Sending { body, sent: bytes, .. })) = sending.try_next().await? {
            hash.iter_mut().for_each(|hash| hash.update(&body));
            sent += bytes;
            parts.push(part);
        }
        let hash = hash.map(|hash| ContentHash::from_bytes(hash.finalize().into()));
        Ok(AllParts { parts, hash, sent })
    }

    /// Uploads one part; returns what of it passed through here.
    async fn make_part(
        &self,
        upload: &Upload<'_>,
        number: u32,
        part: Part,
    ) -> std::result::Result<(UploadedPart, Sending), NotCopied> {
        if let Some(early) = upload.early.get(&number) {
            let sent = part.range.end - part.range.start;
            return Ok((early.clone(), Sending { sent, ..Sending::default() }));
        }
        match part.from {
            From::Here => self.send_part(upload, number, part).await.map_err(NotCopied::Failed),
            From::Object => {
                let copied =
                    self.copy_one_part(upload.source, (upload.key, upload.id), (number, &part)).await;
                copied.map(|part| (part, Sending::default()))
            }
        }
    }

    async fn send_part(
        &self,
        upload: &Upload<'_>,
        number: u32,
        part: Part,
    ) -> Result<(UploadedPart, Sending)> {
        let Upload { source, key, id, .. } = upload;
        let room = self.part_room.take(part.range.end - part.range.start).await;
        let body = self.hydrator.read_source(source, part.range).await;
        let body = body.map_err(SyncError::cache(format!("Reading {key}")))?;
        let sent = self.store.upload_part(key, id, number, body.clone()).await;
        let sent = sent.map_err(SyncError::store(format!("Uploading {key}")))?;
        reached(Step::PartUploaded);
        Ok((sent, Sending { sent: body.len() as u64, body, _room: Some(room) }))
    }

    async fn complete(&self, upload: &Upload<'_>, all: AllParts) -> Result<Option<Sent>> {
        let Upload { state, source, key, id, options, .. } = *upload;
        reached(Step::BeforeComplete);
        if !self.check_by_hand(key, &options.condition).await? {
            self.give_up(upload).await;
            return Ok(Some(Sent::Conflict));
        }
        match self.store.complete_upload(key, id, &all.parts, options).await {
            Ok(version) => {
                reached(Step::ObjectPut);
                let remote = self.remote(source.len, all.hash.map(|hash| hash.to_string()), version);
                self.note_sent(state, source.stamp, &options.nonce, remote, all.sent).map(Some)
            }
            Err(refused) if refused.is_condition_failed() => {
                self.give_up(upload).await;
                Ok(Some(Sent::Conflict))
            }
            // Some stores want all parts to be of one size.
            Err(refused) if upload.copies() && refused.kind == ErrorKind::Invalid => {
                self.never_again(&refused.to_string());
                self.give_up(upload).await;
                Ok(None)
            }
            Err(failed) => Err(self.upload_failed(state, &options.nonce, failed)),
        }
    }

    /// Aborts an upload. What cannot be aborted now is aborted before the next upload.
    async fn give_up(&self, upload: &Upload<'_>) {
        let Upload { state, key, id, options, .. } = *upload;
        match self.store.abort_upload(key, id).await {
            Ok(()) => {
                if let Err(failed) = self.cache.note_upload_failed(&state.path, &options.nonce) {
                    tracing::warn!(%key, error = %failed, "That an upload was given up could not be noted");
                }
            }
            Err(failed) => tracing::debug!(%key, error = %failed, "An upload could not be aborted yet"),
        }
    }
}
