//! Where the bytes of a session come from, and how long it goes on.
//!
//! The session sends one stream, whose last bytes make the object, so they wait for the word
//! that completes the upload. When the stream breaks, the service says how much it has kept and the
//! stream goes on from there, so the last bytes that were sent are held until newer ones push
//! them out. If the service kept less than that, the session fails and the upload begins anew:
//! slower, never wrong.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use google_cloud_gax::backoff_policy::BackoffPolicy;
use google_cloud_gax::error::Error;
use google_cloud_gax::retry_policy::RetryPolicy;
use google_cloud_gax::retry_result::RetryResult;
use google_cloud_gax::retry_state::RetryState;
use google_cloud_gax::retry_throttler::RetryThrottler;
use google_cloud_storage::streaming_source::{Seek, SizeHint, StreamingSource};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use super::gcs_error::is_transient;
use super::patience::Progress;
use super::retry;

/// How many bytes that were sent are held.
const HELD_BYTES: usize = 32 * 1024 * 1024;

/// How many bytes wait for the word that completes the upload.
const LAST_BYTES: usize = 1;

/// What a session is fed with.
#[derive(Debug)]
pub(super) enum Feed {
    /// The next part.
    Part(Bytes),
    /// All parts were fed, and the object is to be.
    Complete,
}

/// Why a session has no more bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Dry {
    #[error("the upload was given up")]
    GivenUp,
    #[error("the service lost bytes that it had taken")]
    TooFarBack,
    #[error("the parts have another size than the upload was begun with")]
    WrongSize,
}

/// What is known of a session from the outside.
#[derive(Debug, Clone, Default)]
pub(super) struct Signs {
    /// Moves with every piece that the connection takes.
    pub(super) progress: Progress,
    /// How many bytes were fed, and their CRC-32C.
    pub(super) fed: Arc<Mutex<(u64, u32)>>,
    /// How many bytes the service has said that it keeps.
    kept: Arc<AtomicU64>,
    /// Whether it was begun anew after a failure.
    resumed: Arc<AtomicBool>,
}

impl Signs {
    /// Returns whether an earlier answer may have been lost.
    pub(super) fn was_resumed(&self) -> bool {
        self.resumed.load(Ordering::Relaxed)
    }
}

/// The parts of an upload as one stream of a known size.
pub(super) struct Parts {
    size: u64,
    feed: mpsc::Receiver<Feed>,
    signs: Signs,
    /// Says that the session is open.
    opened: watch::Sender<bool>,
    held: VecDeque<Bytes>,
    /// Where the held bytes begin and end, and which is to be sent next.
    start: u64,
    end: u64,
    next: u64,
    is_complete: bool,
}

impl Parts {
    pub(super) fn new(
        size: u64,
        feed: mpsc::Receiver<Feed>,
        signs: Signs,
        opened: watch::Sender<bool>,
    ) -> Self {
        let held = VecDeque::new();
        Self { size, feed, signs, opened, held, start: 0, end: 0, next: 0, is_complete: false }
    }

    /// Takes what is fed next.
    async fn eat(&mut self) -> std::result::Result<(), Dry> {
        match self.feed.recv().await {
            Some(Feed::Part(part)) if self.end + part.len() as u64 <= self.size => self.hold(part),
            Some(Feed::Complete) if self.end == self.size => self.is_complete = true,
            Some(_) => return Err(Dry::WrongSize),
            None => return Err(Dry::GivenUp),
        }
        Ok(())
    }

    /// Returns the next piece; the last byte only when the upload is to be completed.
    async fn piece(&mut self) -> std::result::Result<Option<Bytes>, Dry> {
        loop {
            let mut rest = self.rest();
            if !self.is_complete && self.next + rest.len() as u64 == self.size {
                rest.truncate(rest.len().saturating_sub(LAST_BYTES));
            }
            match self.signs.progress.step(&mut rest) {
                None if self.next < self.size => self.eat().await?,
                piece => return Ok(piece),
            }
        }
    }

    fn hold(&mut self, part: Bytes) {
        let mut fed = self.signs.fed.lock();
        *fed = (fed.0 + part.len() as u64, crc32c::crc32c_append(fed.1, &part));
        self.end += part.len() as u64;
        self.held.push_back(part);
        while let Some(first) = self.held.front()
            && self.end - self.start - first.len() as u64 >= HELD_BYTES as u64
            && self.start + first.len() as u64 <= self.next
        {
            self.start += first.len() as u64;
            self.held.pop_front();
        }
    }

    /// Returns what is held from the next byte on, at most to the end of its part.
    fn rest(&self) -> Bytes {
        let mut at = self.start;
        for part in &self.held {
            let end = at + part.len() as u64;
            if self.next < end {
                return part.slice(usize::try_from(self.next - at).unwrap_or(usize::MAX)..);
            }
            at = end;
        }
        Bytes::new()
    }
}

impl StreamingSource for Parts {
    type Error = Dry;

    async fn next(&mut self) -> Option<std::result::Result<Bytes, Dry>> {
        let piece = self.piece().await.transpose()?;
        self.next += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Some(piece)
    }

    async fn size_hint(&self) -> std::result::Result<SizeHint, Dry> {
        Ok(SizeHint::with_exact(self.size))
    }
}

impl Seek for Parts {
    type Error = Dry;

    async fn seek(&mut self, offset: u64) -> std::result::Result<(), Dry> {
        self.opened.send_replace(true);
        self.signs.kept.store(offset, Ordering::Relaxed);
        if offset < self.start || offset > self.end {
            return Err(Dry::TooFarBack);
        }
        self.next = offset;
        while self.size == 0 && !self.is_complete {
            // An empty object is there as soon as the request is.
            self.eat().await?;
        }
        Ok(())
    }
}

/// How long a session is begun anew: as long as the service keeps more each time, or the
/// failures are few.
#[derive(Debug, Clone)]
pub(super) struct Persistence {
    policy: retry::RetryPolicy,
    signs: Signs,
    opened: watch::Receiver<bool>,
    /// How often it failed in a row, and what was kept then.
    failures: Arc<Mutex<(u32, u64)>>,
}

impl Persistence {
    pub(super) fn new(signs: Signs, opened: watch::Receiver<bool>) -> Self {
        Self { policy: retry::RetryPolicy::default(), signs, opened, failures: Arc::default() }
    }

    /// Returns whether to go on after a failure.
    fn goes_on(&self) -> bool {
        let kept = self.signs.kept.load(Ordering::Relaxed);
        let mut failures = self.failures.lock();
        *failures = if kept > failures.1 { (1, kept) } else { (failures.0 + 1, kept) };
        failures.0 < self.policy.attempts
    }
}

impl RetryPolicy for Persistence {
    fn on_error(&self, state: &RetryState, error: Error) -> RetryResult {
        // Until it is open, it is opened again by whoever asked for it.
        if !*self.opened.borrow() || !is_transient(&error) {
            return RetryResult::Permanent(error);
        }
        if !self.goes_on() {
            return RetryResult::Exhausted(error);
        }
        tracing::debug!(%error, attempt = state.attempt_count, "An upload broke off and goes on");
        self.signs.resumed.store(true, Ordering::Relaxed);
        RetryResult::Continue(error)
    }
}

/// Whether to go on is the policy's business alone.
impl RetryThrottler for Persistence {
    fn throttle_retry_attempt(&self) -> bool {
        false
    }

    fn on_retry_failure(&mut self, _flow: &RetryResult) {}

    fn on_success(&mut self) {}
}

impl BackoffPolicy for Persistence {
    fn on_failure(&self, _state: &RetryState) -> Duration {
        self.policy.wait_after(self.failures.lock().0.max(1))
    }
}
