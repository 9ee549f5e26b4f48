//! Large uploads to Google Cloud Storage: one session, one stream, parts in their order.
//!
//! The service has no parts that arrive side by side and become one object. Its two ways are a
//! resumable session, which is one stream, and temporary objects that are composed into one.
//! Composing costs more than it looks: buckets keep deleted objects for a week unless told not
//! to, cold storage classes charge a month for each of them, a bucket with a retention policy
//! refuses to delete them at all, and a crash leaves them behind. A session leaves nothing but
//! a name that lapses by itself, and its condition is judged when it ends. So an upload is a
//! task that streams what it is fed, in the order of the parts, and that resumes by itself; the
//! last byte, which makes the object, is sent when the upload is completed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use google_cloud_gax::error::Error;
use google_cloud_storage::error::WriteError;
use google_cloud_storage::model::Object;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use super::gcs::{GcsStore, must_match};
use super::gcs_error::{Asked, find};
use super::gcs_source::{Dry, Feed, Parts, Persistence, Signs};
use super::gcs_write::CONTENT_TYPE;
use super::meta_text::encode_meta;
use super::{Condition, ErrorKind, PutOptions, Result, StoreError, UploadId, UploadedPart, Version};
use crate::model::key::ObjectKey;

/// The uploads that are under way.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<String, Arc<Session>>>);

/// One upload that is under way. Dropping it gives it up.
#[derive(Debug)]
struct Session {
    signs: Signs,
    /// The number of the part that is to come.
    next: watch::Sender<u32>,
    feed: mpsc::Sender<Feed>,
    /// Whether it was told that no more parts come.
    is_fed: AtomicBool,
    outcome: watch::Receiver<Option<Outcome>>,
    task: AbortHandle,
}

/// What a session came to: the object, or why there is none.
type Outcome = std::result::Result<Arc<Object>, Failure>;

/// Why a session ended without an object.
#[derive(Debug, Clone)]
struct Failure {
    kind: ErrorKind,
    detail: Box<str>,
    hint: Option<Box<str>>,
}

impl Failure {
    fn error(self, asked: &Asked<'_>) -> StoreError {
        StoreError { hint: self.hint, ..asked.error(self.kind).detail(self.detail) }
    }

    fn is_condition_failed(&self) -> bool {
        matches!(self.kind, ErrorKind::Changed | ErrorKind::Exists)
    }
}

impl Sessions {
    /// Gives an upload up, if it is under way. What the service keeps of it lapses by itself.
    pub(super) fn forget(&self, upload: &UploadId) {
        self.0.lock().remove(&upload.0);
    }

    fn find(&self, upload: &UploadId, asked: &Asked<'_>) -> Result<Arc<Session>> {
        let found = self.0.lock().get(&upload.0).cloned();
        found.ok_or_else(|| asked.error(ErrorKind::NotFound).detail("there is no such upload"))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Session {
    async fn wait_for_end(&self) -> Outcome {
        let mut outcome = self.outcome.clone();
        let gone =
            Failure { kind: ErrorKind::Unreachable, detail: "the upload was stopped".into(), hint: None };
        match outcome.wait_for(Option::is_some).await {
            Ok(ended) => ended.clone().unwrap_or(Err(gone)),
            Err(_stopped) => Err(gone),
        }
    }

    /// Hands over the next part when it is its turn; returns how the session has failed, if so.
    async fn take(&self, number: u32, body: Bytes) -> Option<Failure> {
        let mut next = self.next.subscribe();
        next.wait_for(|next| *next >= number).await.ok();
        if *next.borrow() > number {
            return None;
        }
        let permit = tokio::select! {
            permit = self.feed.reserve() => permit.ok(),
            ended = self.wait_for_end() => {
                return self.skip(number, ended.err());
            }
        };
        match permit {
            Some(permit) => permit.send(Feed::Part(body)),
            None => return self.skip(number, self.wait_for_end().await.err()),
        }
        self.next.send_replace(number + 1);
        None
    }

    /// Says that no more parts come, and returns what that comes to.
    async fn end(&self) -> Outcome {
        if !self.is_fed.load(Ordering::Relaxed) {
            tokio::select! {
                permit = self.feed.reserve() => if let Ok(permit) = permit {
                    self.is_fed.store(true, Ordering::Relaxed);
                    permit.send(Feed::Complete);
                },
                ended = self.wait_for_end() => return ended,
            }
        }
        self.wait_for_end().await
    }

    /// What a refused condition means is said when the upload completes, and not before.
    fn skip(&self, number: u32, failure: Option<Failure>) -> Option<Failure> {
        let failure = failure.filter(|failure| !failure.is_condition_failed());
        if failure.is_none() {
            self.next.send_replace(number + 1);
        }
        failure
    }
}

impl GcsStore {
    pub(super) async fn open_session(
        &self,
        key: &ObjectKey,
        size: u64,
        options: &PutOptions,
    ) -> Result<UploadId> {
        let asked = self.asked("begin upload", key.as_str(), &options.condition);
        let name = self.name(&asked, key)?.into_owned();
        let (session, mut opened) = self.begin((key, name), size, options);
        let open = async {
            // A session that was refused has ended without ever being open.
            let is_open = opened.wait_for(|opened| *opened).await.is_ok();
            if is_open { None } else { session.wait_for_end().await.err() }
        };
        match self.patience.wait(open).await.map_err(|s| asked.unanswered(s))? {
            Some(failure) if !failure.is_condition_failed() => Err(failure.error(&asked)),
            _ => {
                let upload = UploadId(uuid::Uuid::new_v4().to_string());
                self.sessions.0.lock().insert(upload.0.clone(), Arc::new(session));
                Ok(upload)
            }
        }
    }

    /// Begins the task that streams; returns it, and what tells that the service knows of it.
    fn begin(
        &self,
        (key, name): (&ObjectKey, String),
        size: u64,
        options: &PutOptions,
    ) -> (Session, watch::Receiver<bool>) {
        let (signs, (feed, parts)) = (Signs::default(), mpsc::channel(1));
        let (opening, opened) = watch::channel(false);
        let (ending, outcome) = watch::channel(None);
        let source = Parts::new(size, parts, signs.clone(), opening);
        let persistence = Persistence::new(signs.clone(), opened.clone());
        let mut request = self
            .clients
            .storage
            .write_object(&self.bucket, name, source)
            .with_resumable_upload_threshold(0_usize)
            .with_checksum_precomputation(false)
            .with_retry_policy(persistence.clone())
            .with_retry_throttler(persistence.clone())
            .with_backoff_policy(persistence)
            .set_content_type(CONTENT_TYPE)
            .set_metadata(encode_meta(options));
        if let Some(generation) = must_match(&options.condition) {
            request = request.set_if_generation_match(generation);
        }
        let asked = OwnedAsked {
            key: key.clone(),
            condition: options.condition.clone(),
            is_other_server: self.is_other_server(),
            now: self.patience.clock().now(),
        };
        let task = tokio::spawn(async move {
            let sent = request.send_unbuffered().await;
            ending.send_replace(Some(asked.outcome(sent)));
        });
        let session = Session {
            signs,
            next: watch::Sender::new(1),
            feed,
            is_fed: AtomicBool::new(false),
            outcome,
            task: task.abort_handle(),
        };
        (session, opened)
    }

    pub(super) async fn feed_session(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        body: Bytes,
    ) -> Result<UploadedPart> {
        let asked = self.asked("upload part", key.as_str(), &Condition::Always);
        let session = self.sessions.find(upload, &asked)?;
        let patience = self.patience.while_a_session_resumes();
        let taken = patience.watch(&session.signs.progress, session.take(number, body)).await;
        match taken.map_err(|s| asked.unanswered(s))? {
            Some(failure) => Err(failure.error(&asked)),
            None => Ok(UploadedPart { number, tag: String::new() }),
        }
    }

    pub(super) async fn finish_session(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[UploadedPart],
        options: &PutOptions,
    ) -> Result<Version> {
        let asked = self.asked("complete upload", key.as_str(), &options.condition);
        let session = self.sessions.find(upload, &asked)?;
        if !parts.iter().map(|part| part.number).eq(1..*session.next.borrow()) {
            return Err(asked.error(ErrorKind::Invalid).detail("these are not the parts that were uploaded"));
        }
        let _turn = self.pace.turn(key.as_str()).await;
        let patience = self.patience.while_the_server_works();
        let ended = patience.watch(&session.signs.progress, session.end()).await;
        match ended.map_err(|s| asked.unanswered(s))? {
            Ok(object) => {
                self.sessions.forget(upload);
                self.whole(&asked, key, &session.signs, &object).await
            }
            Err(refused) if refused.is_condition_failed() && session.signs.was_resumed() => {
                self.own_write(&asked, key, options, refused).await
            }
            Err(failure) => Err(failure.error(&asked)),
        }
    }

    /// Returns the version of what a session wrote, if it is what was fed.
    async fn whole(
        &self,
        asked: &Asked<'_>,
        key: &ObjectKey,
        signs: &Signs,
        object: &Object,
    ) -> Result<Version> {
        let version = self.written(asked, object)?;
        let (size, checksum) = *signs.fed.lock();
        let said = object.checksums.as_ref().and_then(|sums| sums.crc32c);
        if object.size == i64::try_from(size).unwrap_or(i64::MAX) && said.is_none_or(|said| said == checksum)
        {
            return Ok(version);
        }
        // Nobody may take it for what it should be.
        self.delete_object(key, &Condition::IfVersion(version)).await?;
        Err(asked.corrupt("the service has other bytes than were sent, and they were removed"))
    }

    /// Decides about a refusal after the session was resumed: an answer may have been lost.
    async fn own_write(
        &self,
        asked: &Asked<'_>,
        key: &ObjectKey,
        options: &PutOptions,
        refused: Failure,
    ) -> Result<Version> {
        match self.describe_object(key).await? {
            Some(meta) if meta.carries(&options.nonce) => Ok(meta.version),
            Some(_) | None => Err(refused.error(asked)),
        }
    }
}

/// The words of a request that outlives whoever asked for it.
struct OwnedAsked {
    key: ObjectKey,
    condition: Condition,
    is_other_server: bool,
    now: std::time::SystemTime,
}

impl OwnedAsked {
    fn outcome(&self, sent: std::result::Result<Object, Error>) -> Outcome {
        match sent {
            Ok(object) => Ok(Arc::new(object)),
            Err(error) => match find::<WriteError>(&error) {
                // It was written all the same: whoever completes the upload compares again.
                Some(WriteError::ChecksumMismatch { object, .. }) => Ok(Arc::new(Object::clone(object))),
                _ => Err(self.failure(error)),
            },
        }
    }

    fn failure(&self, error: Error) -> Failure {
        let asked = Asked {
            operation: "complete upload",
            key: self.key.as_str(),
            condition: &self.condition,
            is_other_server: self.is_other_server,
            now: self.now,
        };
        let is_too_far_back = find::<Dry>(&error) == Some(&Dry::TooFarBack);
        let failed = asked.failed(error);
        // It may be begun anew; whether it had written the object, only a look can tell.
        let may_pass = failed.is_not_found() || is_too_far_back;
        let kind = if may_pass { ErrorKind::Unreachable } else { failed.kind };
        Failure { kind, detail: failed.detail, hint: failed.hint }
    }
}
