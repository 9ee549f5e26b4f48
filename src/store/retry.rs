//! The only place where a request is tried again.
//!
//! Transient failures are retried with growing, jittered waits that honour `Retry-After`,
//! within bounds of number and time; everything else is passed on at once. A body that broke
//! off is asked for from where it broke. When an answer was lost and the repetition of a
//! conditional write is refused, the object is looked at: if it carries the write's nonce, the
//! write had succeeded.

use std::future::Future;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};

use super::held::{Held, PROGRESS_BYTES};
use super::{
    Abilities, Component, Condition, ErrorKind, Fetched, Listed, ObjectMeta, ObjectStore, PartSource,
    PutOptions, Result, SharedStore, StoreError, Taker, UploadId, UploadedPart, Version,
};
use crate::model::key::ObjectKey;
use crate::os::clock::SharedClock;

/// How long to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Largest number of attempts that bring nothing, the first included.
    pub attempts: u32,
    /// No attempt begins when this much time has passed since the first failure.
    pub total: Duration,
    /// The wait after the first failure; it doubles with each further one.
    pub first_wait: Duration,
    /// The longest wait, unless the server asks for more.
    pub longest_wait: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 8,
            total: Duration::from_secs(60),
            first_wait: Duration::from_millis(100),
            longest_wait: Duration::from_secs(5),
        }
    }
}

impl RetryPolicy {
    /// Returns the usual policy, but giving up about when a server was silent for `timeout`:
    /// half of it is left for the silence of the first attempt and of the last.
    pub fn within(timeout: Duration) -> Self {
        Self { total: timeout / 2, ..Self::default() }
    }
}

/// Retries the requests to `inner`.
pub struct RetryingStore {
    inner: SharedStore,
    clock: SharedClock,
    policy: RetryPolicy,
    attempts: AtomicU64,
    uploaded_bytes: AtomicU64,
}

impl std::fmt::Debug for RetryingStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RetryingStore").field("inner", &self.inner).field("policy", &self.policy).finish()
    }
}

/// The failures of one request so far.
struct Effort<'a> {
    store: &'a RetryingStore,
    failures: u32,
    first_failure: Option<Instant>,
}

impl Effort<'_> {
    /// Waits before the next attempt, or returns the error if there must not be one.
    async fn pause_after(&mut self, error: StoreError) -> Result<()> {
        let RetryingStore { clock, policy, attempts, .. } = self.store;
        self.failures += 1;
        if !error.kind.is_transient() || self.failures >= policy.attempts {
            return Err(error);
        }
        let now = clock.instant();
        let first = *self.first_failure.get_or_insert(now);
        let wait = policy.wait_after(self.failures).max(error.retry_after.unwrap_or_default());
        if now.duration_since(first) + wait > policy.total {
            return Err(error);
        }
        tracing::debug!(%error, ?wait, attempt = self.failures, "Request failed, trying again");
        clock.sleep(wait).await;
        attempts.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Forgets the failures: the last attempt brought something.
    fn made_progress(&mut self) {
        self.failures = 0;
        self.first_failure = None;
    }
}

impl RetryPolicy {
    pub(super) fn wait_after(&self, failures: u32) -> Duration {
        let doubled = self.first_wait.saturating_mul(1 << (failures - 1).min(20));
        doubled.min(self.longest_wait).mul_f64(rand::random_range(0.5..=1.0))
    }
}

impl RetryingStore {
    /// Returns a store that retries the requests to `inner`, waiting by `clock`.
    pub fn new(inner: SharedStore, clock: SharedClock, policy: RetryPolicy) -> Self {
        Self { inner, clock, policy, attempts: AtomicU64::new(0), uploaded_bytes: AtomicU64::new(0) }
    }

    /// Returns how many requests were made so far, the repeated ones included.
    pub fn attempts(&self) -> u64 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// Returns how many bytes of objects and parts the store has taken so far.
    pub fn uploaded_bytes(&self) -> u64 {
        self.uploaded_bytes.load(Ordering::Relaxed)
    }

    /// Counts the body of an upload that went well.
    fn count_upload<T>(&self, body: &Bytes, outcome: Result<T>) -> Result<T> {
        if outcome.is_ok() {
            self.uploaded_bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
        }
        outcome
    }

    fn effort(&self) -> Effort<'_> {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        Effort { store: self, failures: 0, first_failure: None }
    }

    /// Repeats `attempt` while it fails transiently. The flag says whether it was repeated,
    /// so that an earlier attempt may have succeeded unheard.
    async fn persist<T, F>(&self, mut attempt: impl FnMut() -> F + Send) -> (Result<T>, bool)
    where
        F: Future<Output = Result<T>> + Send,
        T: Send,
    {
        let mut effort = self.effort();
        loop {
            let repeated = effort.failures > 0;
            match attempt().await {
                Ok(answer) => return (Ok(answer), repeated),
                Err(error) => {
                    if let Err(last) = effort.pause_after(error).await {
                        return (Err(last), repeated);
                    }
                }
            }
        }
    }

    /// Decides about a write that was refused when it was repeated: if the object carries the
    /// write's nonce, an earlier attempt had written it.
    async fn recognise(&self, key: &ObjectKey, options: &PutOptions, refused: StoreError) -> Result<Version> {
        match self.head(key).await? {
            Some(meta) if meta.carries(&options.nonce) => {
                tracing::debug!(%key, "Recognised our own write, whose answer was lost");
                Ok(meta.version)
            }
            Some(_) | None => Err(refused),
        }
    }
}

/// Returns whether a refusal may mean that an earlier attempt of ours was the cause.
fn may_be_our_own(error: &StoreError) -> bool {
    error.is_condition_failed() || error.is_not_found()
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ObjectStore for RetryingStore {
    async fn get(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
        if_version: Option<&Version>,
    ) -> Result<Fetched> {
        let mut effort = self.effort();
        let mut held = Held::nothing(range, if_version);
        loop {
            match self.inner.get(key, held.missing(), held.version()).await {
                Ok(rest) => return Ok(held.followed_by(rest)),
                Err(error) if error.kind == ErrorKind::Changed && held.is_unasked() => {
                    held.forget();
                    effort.pause_after(changed_meanwhile(key)).await?;
                }
                Err(mut error) => {
                    if error.partial.take().is_some_and(|part| held.keep(*part)) {
                        effort.made_progress();
                    }
                    effort.pause_after(error).await?;
                }
            }
        }
    }

    async fn get_arriving(
        &self,
        key: &ObjectKey,
        range: Range<u64>,
        version: &Version,
        taker: Taker<'_>,
    ) -> Result<()> {
        let mut effort = self.effort();
        let mut at = range.start;
        loop {
            let begun = at;
            let mut counted = |piece: &[u8]| {
                at += piece.len() as u64;
                taker(piece)
            };
            let handed = self.inner.get_arriving(key, begun..range.end, version, &mut counted).await;
            let Err(error) = handed else { return Ok(()) };
            if at == range.end {
                return Err(error);
            }
            if at - begun >= PROGRESS_BYTES as u64 {
                effort.made_progress();
            }
            effort.pause_after(error).await?;
        }
    }

    async fn put(&self, key: &ObjectKey, body: Bytes, options: &PutOptions) -> Result<Version> {
        let outcome = match self.persist(|| self.inner.put(key, body.clone(), options)).await {
            (Err(refused), true) if may_be_our_own(&refused) => self.recognise(key, options, refused).await,
            (outcome, _) => outcome,
        };
        self.count_upload(&body, outcome)
    }

    async fn begin_upload(&self, key: &ObjectKey, size: u64, options: &PutOptions) -> Result<UploadId> {
        self.persist(|| self.inner.begin_upload(key, size, options)).await.0
    }

    async fn upload_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        body: Bytes,
    ) -> Result<UploadedPart> {
        let sent = self.persist(|| self.inner.upload_part(key, upload, number, body.clone())).await.0;
        self.count_upload(&body, sent)
    }

    async fn copy_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        from: &PartSource,
    ) -> Result<UploadedPart> {
        self.persist(|| self.inner.copy_part(key, upload, number, from)).await.0
    }

    async fn complete_upload(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[UploadedPart],
        options: &PutOptions,
    ) -> Result<Version> {
        match self.persist(|| self.inner.complete_upload(key, upload, parts, options)).await {
            (Err(refused), true) if may_be_our_own(&refused) => self.recognise(key, options, refused).await,
            (outcome, _) => outcome,
        }
    }

    async fn abort_upload(&self, key: &ObjectKey, upload: &UploadId) -> Result<()> {
        self.persist(|| self.inner.abort_upload(key, upload)).await.0
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>> {
        self.persist(|| self.inner.head(key)).await.0
    }

    async fn delete(&self, key: &ObjectKey, condition: &Condition) -> Result<()> {
        // An earlier attempt that was heard too late leaves nothing to delete: a success.
        self.persist(|| self.inner.delete(key, condition)).await.0
    }

    async fn copy(
        &self,
        from: &ObjectKey,
        from_version: &Version,
        to: &ObjectKey,
        options: &PutOptions,
    ) -> Result<Version> {
        match self.persist(|| self.inner.copy(from, from_version, to, options)).await {
            (Err(refused), true) if may_be_our_own(&refused) => self.recognise(to, options, refused).await,
            (outcome, _) => outcome,
        }
    }

    async fn compose(
        &self,
        components: &[Component],
        to: &ObjectKey,
        options: &PutOptions,
    ) -> Result<Version> {
        match self.persist(|| self.inner.compose(components, to, options)).await {
            (Err(refused), true) if may_be_our_own(&refused) => self.recognise(to, options, refused).await,
            (outcome, _) => outcome,
        }
    }

    fn list(&self, prefix: &str, start_after: Option<&ObjectKey>) -> BoxStream<'_, Result<Vec<Listed>>> {
        let listing = Listing {
            store: self,
            prefix: prefix.to_owned(),
            reached: start_after.cloned(),
            pages: None,
            effort: self.effort(),
        };
        stream::unfold(Some(listing), async |listing| {
            let mut listing = listing?;
            match listing.next_page().await {
                Ok(Some(page)) => Some((Ok(page), Some(listing))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    fn abilities(&self) -> Abilities {
        self.inner.abilities()
    }

    fn address(&self) -> String {
        self.inner.address()
    }
}

/// A listing that goes on behind the last key it has seen.
struct Listing<'a> {
    store: &'a RetryingStore,
    prefix: String,
    reached: Option<ObjectKey>,
    pages: Option<BoxStream<'a, Result<Vec<Listed>>>>,
    effort: Effort<'a>,
}

impl Listing<'_> {
    async fn next_page(&mut self) -> Result<Option<Vec<Listed>>> {
        loop {
            let pages =
                self.pages.get_or_insert_with(|| self.store.inner.list(&self.prefix, self.reached.as_ref()));
            match pages.next().await {
                None => return Ok(None),
                Some(Ok(page)) => {
                    self.effort.made_progress();
                    if let Some(last) = page.last() {
                        self.reached = Some(last.key.clone());
                    }
                    return Ok(Some(page));
                }
                Some(Err(error)) => {
                    self.pages = None;
                    self.effort.pause_after(error).await?;
                }
            }
        }
    }
}

fn changed_meanwhile(key: &ObjectKey) -> StoreError {
    StoreError::new(ErrorKind::Corrupt, "get", key).detail("the object changed while it was read")
}
