//! What was appended to a large file is all that is sent of it, where the bucket puts objects
//! together but copies no parts.
//!
//! The new bytes become objects of their own below the prefix that belongs to bayou, noted before
//! they are made. The bucket puts them behind the object that the file derives from. Like all that
//! is set aside there, they are removed when nothing needs them, also after a crash.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::SyncService;
use super::entries::put_options;
use super::error::{Result, SyncError};
use super::part_plan::cut_evenly;
use super::set_aside::place_aside;
use super::upload::Sent;
use super::upload_parts::{MOST_SENDS, PARALLEL_PARTS};
use crate::cache::freeze::UploadSource;
use crate::cache::push_state::FileState;
use crate::cache::rows::{Path, Stamp};
use crate::model::content_hash::ContentHash;
use crate::model::key::ObjectKey;
use crate::os::crash_point::{Step, reached};
use crate::store::{Component, Condition, ErrorKind, PutOptions, StoreError};

/// An object, and what comes behind it.
struct Append {
    base: Component,
    pieces: Vec<Piece>,
}

/// What a file is put together of, as it was at one moment.
struct Whole {
    components: Vec<Component>,
    len: u64,
    sent: u64,
    hash: Option<ContentHash>,
    stamp: Stamp,
}

/// Bytes that become an object of their own.
#[derive(Clone)]
struct Piece {
    key: Path,
    range: std::ops::Range<u64>,
    options: PutOptions,
}

impl SyncService {
    /// Uploads a large file of which only what was appended is new; `None` if all of it is to be
    /// sent.
    pub(super) async fn send_append(&self, state: &FileState, condition: &Condition) -> Result<Option<Sent>> {
        let is_large = self.cache.attr(state.name.ino).is_ok_and(|attr| attr.size > self.options.part_bytes);
        if !is_large || !self.may_compose() {
            return Ok(None);
        }
        for attempt in 1..=MOST_SENDS {
            let source = self.source_of_attempt(state, attempt)?;
            let Some(append) = self.append_of(state, &source) else { return Ok(None) };
            let options = put_options(&state.inode, condition.clone(), None);
            if !self.note_uploading(state, source.stamp, &options, None).await? {
                return Ok(Some(Sent::Gone));
            }
            let _making: Vec<_> =
                append.pieces.iter().map(|piece| self.cache.temporary_in_the_making(&piece.key)).collect();
            // Both read the file before it is known whether it changed meanwhile.
            let (pieces, hash) =
                tokio::join!(self.put_pieces(&source, &append.pieces), self.hash_if_here(&source));
            let pieces = match pieces {
                Ok(pieces) if self.is_one_moment(&source, attempt) => pieces,
                Ok(_) => {
                    self.forget_upload(state, &options.nonce)?;
                    continue;
                }
                Err(failed) => {
                    self.forget_upload(state, &options.nonce)?;
                    return Err(failed);
                }
            };
            let sent = append.pieces.iter().map(|piece| piece.range.end - piece.range.start).sum();
            let components: Vec<Component> = std::iter::once(append.base).chain(pieces).collect();
            let whole = Whole { components, len: source.len, sent, hash, stamp: source.stamp };
            return self.put_behind(state, whole, &options).await;
        }
        Ok(None)
    }

    fn may_compose(&self) -> bool {
        self.store.abilities().most_components > 1 && self.conditions().copy && !self.copies_are_useless()
    }

    /// Returns of what a file is put together, if that is an object and what comes behind it.
    fn append_of(&self, state: &FileState, source: &UploadSource) -> Option<Append> {
        let same = source.same.as_ref().filter(|_| state.inode.link.is_none())?;
        let (key, size) = (ObjectKey::new(Path::clone(&same.object.key)), same.object.remote.size);
        let version = same.object.remote.version.clone()?;
        let tail = size..source.len;
        let is_behind = size > 0 && size < source.len && same.ranges.covers(0..size);
        // Where little is saved all of it is sent: that is one request, and leaves nothing to remove.
        if !is_behind || size < source.len / 4 || source.absent_bytes(&tail) > 0 {
            return None;
        }
        let pieces: Vec<Piece> = cut_evenly(tail.end - tail.start, self.options.part_bytes)
            .into_iter()
            .map(|part| Piece::new(tail.start + part.range.start..tail.start + part.range.end))
            .collect();
        let fits = pieces.len() < self.store.abilities().most_components;
        fits.then_some(Append { base: Component { key, version }, pieces })
    }

    /// Makes objects of what was appended; nobody removes them meanwhile.
    async fn put_pieces(&self, source: &UploadSource, pieces: &[Piece]) -> Result<Vec<Component>> {
        for piece in pieces {
            let noted = self.cache.note_temporary(&piece.key);
            noted.map_err(SyncError::cache("Noting what is set aside"))?;
        }
        let putting = stream::iter(pieces.to_vec()).map(|piece| self.put_piece(source, piece));
        putting.buffered(PARALLEL_PARTS).try_collect().await
    }

    async fn put_piece(&self, source: &UploadSource, piece: Piece) -> Result<Component> {
        let Piece { key, range, options } = piece;
        let _room = self.part_room.take(range.end - range.start).await;
        let body: Bytes = self
            .hydrator
            .read_source(source, range.clone())
            .await
            .map_err(SyncError::cache(format!("Reading {key}")))?;
        let key = ObjectKey::new(key);
        let put = self.store.put(&key, body, &options).await;
        let version = put.map_err(SyncError::store(format!("Uploading {key}")))?;
        reached(Step::TemporaryCopied);
        Ok(Component { key, version })
    }

    async fn put_behind(
        &self,
        state: &FileState,
        Whole { components, len, sent, hash, stamp }: Whole,
        options: &PutOptions,
    ) -> Result<Option<Sent>> {
        let key = ObjectKey::new(Path::clone(&state.path));
        if !self.check_by_hand(&key, &options.condition).await? {
            return self.refused(state, &options.nonce).map(Some);
        }
        match self.store.compose(&components, &key, options).await {
            Ok(version) => {
                reached(Step::ObjectPut);
                let remote = self.remote(len, hash.map(|hash| hash.to_string()), version);
                self.note_sent(state, stamp, &options.nonce, remote, sent).map(Some)
            }
            Err(failed) if failed.is_not_found() || is_no_way(&failed) => {
                self.not_composed(state, options, &failed).map(|()| None)
            }
            Err(refused) if refused.is_condition_failed() => match self.lacks(&key, &components).await {
                true => self.not_composed(state, options, &refused).map(|()| None),
                false => self.refused(state, &options.nonce).map(Some),
            },
            Err(failed) => Err(self.upload_failed(state, &options.nonce, failed)),
        }
    }

    /// Returns whether the object that comes first is under another key and not that version any
    /// more: a bucket may refuse this in the words in which it refuses the target.
    async fn lacks(&self, target: &ObjectKey, components: &[Component]) -> bool {
        let Some(base) = components.first().filter(|base| base.key != *target) else { return false };
        let now = self.store.head(&base.key).await;
        now.is_ok_and(|now| now.is_none_or(|now| now.version != base.version))
    }

    /// What was to be put together is not there any more, or the bucket does not do that.
    fn not_composed(&self, state: &FileState, options: &PutOptions, failed: &StoreError) -> Result<()> {
        if is_no_way(failed) {
            self.never_again(&failed.to_string());
        }
        self.forget_upload(state, &options.nonce)?;
        let forgotten = self.cache.forget_unchanged(state.name.ino);
        forgotten.map_err(SyncError::cache(format!("Noting that all of {} is sent", state.path)))
    }
}

/// Returns whether the bucket does not put objects together.
fn is_no_way(failed: &StoreError) -> bool {
    matches!(failed.kind, ErrorKind::Unsupported | ErrorKind::Invalid)
}

impl Piece {
    fn new(range: std::ops::Range<u64>) -> Self {
        let (key, options) = place_aside();
        Self { key, range, options }
    }
}
