//! Large files are sent while they are still written.
//!
//! Of a file that grows at its end each part is uploaded as soon as it is complete, so that little
//! is left when the file is to be in the bucket. Nothing of that counts before a push has looked
//! at it: a part that was changed since is sent again, and an upload whose file goes another way
//! is given up. It is noted as every upload is, so that a crash leaves nothing behind.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::task::JoinHandle;

use super::SyncService;
use super::entries::put_options;
use super::error::{Result, SyncError};
use super::upload_parts::PARALLEL_PARTS;
use crate::cache::Ino;
use crate::cache::push_state::FileState;
use crate::cache::rows::{Path, Uploading};
use crate::model::key::ObjectKey;
use crate::os::crash_point::{Step, reached};
use crate::store::{Condition, PutOptions, UploadId, UploadedPart};

/// From how many complete parts on a file is sent while it is written.
const FROM_PARTS: u64 = 3;

/// The files that are sent while they are written.
#[derive(Default)]
pub(super) struct Streams {
    under_way: Mutex<HashMap<Ino, Stream>>,
    /// What was sent of files that a push works on.
    handed_over: Mutex<HashMap<Ino, Streamed>>,
}

struct Stream {
    signals: Arc<Signals>,
    task: JoinHandle<Option<Streamed>>,
}

#[derive(Default)]
struct Signals {
    /// There is more to send, or no more is to be sent.
    news: Notify,
    ended: AtomicBool,
}

/// The first parts of a file, as they were when each was read.
pub(super) struct Streamed {
    pub path: Path,
    pub id: UploadId,
    pub options: PutOptions,
    pub part_bytes: u64,
    pub parts: Vec<UploadedPart>,
    /// The hash of all these parts, so far.
    pub hash: Sha256,
}

impl SyncService {
    /// Has large files sent while they are written, by tasks of the runtime that this is called in.
    pub fn send_while_written(self: &Arc<Self>) {
        if !self.store.abilities().begins_early || self.options.read_only {
            return;
        }
        let (sync, runtime) = (Arc::downgrade(self), Handle::current());
        self.cache.tell_of_growth(self.part_limits(0).sent, move |ino| {
            sync.upgrade().into_iter().for_each(|sync| sync.grew(ino, &runtime));
        });
    }

    /// A file has grown by about a part.
    fn grew(self: &Arc<Self>, ino: Ino, runtime: &Handle) {
        let mut streams = self.streams.under_way.lock();
        if let Some(stream) = streams.get(&ino) {
            stream.signals.news.notify_one();
            return;
        }
        if self.cache.attr(ino).is_ok_and(|attr| attr.size >= FROM_PARTS * self.part_limits(0).sent) {
            let signals = Arc::new(Signals::default());
            let task = runtime.spawn(Arc::clone(self).stream(ino, Arc::clone(&signals)));
            streams.insert(ino, Stream { signals, task });
        }
    }

    /// Sends the parts of a file as they become complete, until the push of it ends this.
    async fn stream(self: Arc<Self>, ino: Ino, signals: Arc<Signals>) -> Option<Streamed> {
        let mut streamed = match self.begin_stream(ino).await {
            Ok(begun) => begun?,
            Err(failed) => {
                tracing::debug!(ino, error = %failed, "A file is not sent while it is written");
                return None;
            }
        };
        let mut sending = FuturesOrdered::new();
        let mut next = 0;
        loop {
            let ended = signals.ended.load(Ordering::Acquire);
            while !ended && sending.len() < PARALLEL_PARTS && self.is_part_complete(ino, &streamed, next) {
                sending.push_back(Arc::clone(&self).send_early(ino, streamed.ticket(next)));
                next += 1;
            }
            if ended && sending.is_empty() {
                return Some(streamed);
            }
            tokio::select! {
                biased;
                Some(sent) = sending.next() => match sent {
                    Ok((part, body, _room)) => streamed.take(part, &body),
                    Err(failed) => {
                        tracing::debug!(path = %streamed.path, error = %failed, "Its parts are sent later");
                        sending.clear();
                        self.give_up_stream(&streamed).await;
                        return None;
                    }
                },
                () = signals.news.notified() => {}
            }
        }
    }

    /// Begins the upload of a file of which all that the bucket is to have was written here.
    async fn begin_stream(&self, ino: Ino) -> Result<Option<Streamed>> {
        let Some(path) = self.cache.names_of(ino).into_iter().next() else { return Ok(None) };
        // A push of it that is under way is not waited for: it ends this, and waits for that.
        let Some(_guard) = self.keys.try_lock(&path) else { return Ok(None) };
        let state = self.cache.file_state(&path).filter(|state| state.name.ino == ino && may_be_sent(state));
        let Some(state) = state else { return Ok(None) };
        let reading = SyncError::cache(format!("Reading {path}"));
        let source = self.cache.thaw(ino).map_err(reading)?;
        let derives = source.same.as_ref().is_some_and(|same| !same.ranges.is_empty());
        if derives || source.absent_bytes(&(0..source.len)) > 0 {
            return Ok(None);
        }
        self.cache.forget_sent(ino).map_err(SyncError::cache(format!("Reading {path}")))?;
        let options = put_options(&state.inode, Condition::Always, None);
        let key = ObjectKey::new(Path::clone(&path));
        let begun = self.store.begin_upload(&key, source.len, &options).await;
        let id = begun.map_err(SyncError::store(format!("Uploading {path}")))?;
        reached(Step::EarlyUploadBegun);
        let (part_bytes, parts, hash) = (self.part_limits(0).sent, Vec::new(), Sha256::new());
        let streamed = Streamed { path, id, options, part_bytes, parts, hash };
        let (options, id) = (&streamed.options, Some(streamed.id.clone()));
        let noted = self.note_uploading(&state, source.stamp, options, id).await;
        if !matches!(noted, Ok(true)) {
            self.give_up_stream(&streamed).await;
        }
        Ok(noted?.then_some(streamed))
    }

    /// Returns whether a part can be sent: it is there, and the upload is still that of the file.
    fn is_part_complete(&self, ino: Ino, streamed: &Streamed, number: u64) -> bool {
        let state = self.cache.file_state(&streamed.path).filter(|state| state.name.ino == ino);
        state.is_some_and(|state| {
            let is_ours = state.name.uploading.is_some_and(|noted| noted.nonce == streamed.options.nonce);
            is_ours && state.inode.size >= (number + 1) * streamed.part_bytes
        })
    }

    async fn send_early(
        self: Arc<Self>,
        ino: Ino,
        ticket: Ticket,
    ) -> Result<(UploadedPart, Bytes, OwnedSemaphorePermit)> {
        let Ticket { key, id, number, range } = ticket;
        let room = self.part_room.take(range.end - range.start).await;
        let body = self.cache.read_to_send(ino, range).map_err(SyncError::cache(format!("Reading {key}")))?;
        let sent = self.store.upload_part(&key, &id, number, body.clone()).await;
        let sent = sent.map_err(SyncError::store(format!("Uploading {key}")))?;
        reached(Step::EarlyPartUploaded);
        Ok((sent, body, room))
    }

    /// Has no more of a file sent while it is written; returns what was.
    pub(super) async fn end_stream(&self, ino: Ino) -> Option<Streamed> {
        let stream = self.streams.under_way.lock().remove(&ino)?;
        stream.signals.ended.store(true, Ordering::Release);
        stream.signals.news.notify_one();
        stream.task.await.ok().flatten()
    }

    /// Ends what is sent early of a file under another name than this, or could not begin.
    pub(super) async fn end_stream_elsewhere(&self, path: &Path) {
        if self.streams.under_way.lock().is_empty() {
            return;
        }
        let Some(state) = self.cache.file_state(path) else { return };
        if let Some(streamed) = self.end_stream(state.name.ino).await {
            self.give_up_stream(&streamed).await;
        }
    }

    /// Keeps what was sent of a file for the push of it.
    pub(super) fn hand_over(&self, ino: Ino, streamed: Streamed) {
        self.streams.handed_over.lock().insert(ino, streamed);
    }

    /// Returns what was kept of a file for the push of it.
    pub(super) fn take_handed_over(&self, ino: Ino) -> Option<Streamed> {
        self.streams.handed_over.lock().remove(&ino)
    }

    /// Aborts the upload of what was sent early. What cannot be aborted now is before the next upload.
    pub(super) async fn give_up_stream(&self, streamed: &Streamed) {
        let key = ObjectKey::new(Path::clone(&streamed.path));
        let aborted = self.store.abort_upload(&key, &streamed.id).await;
        let outcome = aborted.map_err(SyncError::store("Aborting an upload")).and_then(|()| {
            let noted = self.cache.note_upload_failed(&streamed.path, &streamed.options.nonce);
            noted.map_err(SyncError::cache("Noting that an upload was given up"))
        });
        if let Err(failed) = outcome {
            tracing::debug!(%key, error = %failed, "An early upload could not be given up yet");
        }
    }
}

/// What is needed to send one part.
struct Ticket {
    key: ObjectKey,
    id: UploadId,
    number: u32,
    range: std::ops::Range<u64>,
}

impl Streamed {
    /// Returns whether it is the upload that is noted.
    pub(super) fn is(&self, path: &Path, noted: &Uploading) -> bool {
        self.path == *path && self.options.nonce == noted.nonce
    }

    fn ticket(&self, at: u64) -> Ticket {
        let (key, id) = (ObjectKey::new(Path::clone(&self.path)), self.id.clone());
        let range = at * self.part_bytes..(at + 1) * self.part_bytes;
        Ticket { key, id, number: u32::try_from(at + 1).unwrap_or(u32::MAX), range }
    }

    fn take(&mut self, part: UploadedPart, body: &Bytes) {
        self.hash.update(body);
        self.parts.push(part);
    }
}

/// The hash of a file with several names is in its metadata, which is sent first.
fn may_be_sent(state: &FileState) -> bool {
    state.dirty && state.inode.is_file() && state.inode.link.is_none() && state.name.uploading.is_none()
}
