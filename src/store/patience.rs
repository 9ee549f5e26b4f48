//! How long to wait for a server: as long as bytes are moving.
//!
//! No request may hang for ever, and a slow one that gets on must not be cut off. So what is
//! bounded is not a request's length but its silence: the time in which no byte of an upload
//! was taken, no byte of a body arrived and no answer came.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::os::clock::SharedClock;

/// How much of an upload is handed to the connection at once.
const STEP_BYTES: usize = 64 * 1024;

/// The server was silent for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no answer and no byte for {} s", .0.as_secs_f32())]
pub(super) struct Silent(pub(super) Duration);

/// How long one attempt may be silent.
#[derive(Clone)]
pub(super) struct Patience {
    clock: SharedClock,
    silence: Duration,
}

impl std::fmt::Debug for Patience {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Patience").field(&self.silence).finish()
    }
}

impl Patience {
    pub(super) fn new(clock: SharedClock, silence: Duration) -> Self {
        Self { clock, silence }
    }

    pub(super) fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// Returns the patience for requests that make the server itself work: copies and the
    /// completion of uploads.
    pub(super) fn while_the_server_works(&self) -> Self {
        Self { clock: Arc::clone(&self.clock), silence: self.silence.saturating_mul(15) }
    }

    /// Returns the patience for a stream that mends itself: its own repair comes first.
    #[cfg(feature = "gcs")]
    pub(super) fn while_a_session_resumes(&self) -> Self {
        Self { clock: Arc::clone(&self.clock), silence: self.silence.saturating_mul(4) }
    }

    /// Waits for `work`, at most as long as silence may last.
    pub(super) async fn wait<T>(&self, work: impl Future<Output = T>) -> Result<T, Silent> {
        self.watch(&Progress::default(), work).await
    }

    /// Waits for `work` as long as `progress` grows.
    pub(super) async fn watch<T>(
        &self,
        progress: &Progress,
        work: impl Future<Output = T>,
    ) -> Result<T, Silent> {
        tokio::pin!(work);
        let mut seen = progress.bytes();
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = self.clock.sleep(self.silence) => {
                    let now = progress.bytes();
                    if now == seen {
                        return Err(Silent(self.silence));
                    }
                    seen = now;
                }
            }
        }
    }
}

/// How many bytes of an upload the connection has taken.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress(Arc<AtomicU64>);

impl Progress {
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns the next piece of `rest` for the connection, and counts it; `None` at the end.
    pub(super) fn step(&self, rest: &mut Bytes) -> Option<Bytes> {
        if rest.is_empty() {
            return None;
        }
        let step = rest.len().min(STEP_BYTES);
        self.0.fetch_add(step as u64, Ordering::Relaxed);
        Some(rest.split_to(step))
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::os::clock::ManualClock;

    const SILENCE: Duration = Duration::from_secs(20);

    fn patience() -> (Arc<ManualClock>, Patience) {
        let clock = ManualClock::at(SystemTime::UNIX_EPOCH);
        (Arc::clone(&clock), Patience::new(Arc::new(clock), SILENCE))
    }

    /// Turns the clock on by `step` whenever `work` waits.
    async fn turning<T>(
        clock: &ManualClock,
        step: Duration,
        mut also: impl FnMut(),
        work: impl Future<Output = T>,
    ) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::task::yield_now() => { also(); clock.advance(step); }
            }
        }
    }

    #[tokio::test]
    async fn what_never_answers_is_given_up() {
        let (clock, patience) = patience();
        let start = crate::os::clock::Clock::instant(&clock);
        let outcome = turning(&clock, SILENCE / 4, || {}, patience.wait(std::future::pending::<()>())).await;
        assert_eq!(outcome, Err(Silent(SILENCE)));
        assert_eq!(crate::os::clock::Clock::instant(&clock) - start, SILENCE);
    }

    #[tokio::test]
    async fn an_upload_that_moves_is_not_given_up_however_long_it_takes() {
        let (clock, patience) = patience();
        let progress = Progress::default();
        let (done, wait_until_done) = tokio::sync::oneshot::channel();
        let mut done = Some(done);
        let mut turns = 0;
        let moving = || {
            turns += 1;
            progress.0.fetch_add(1, Ordering::Relaxed);
            if turns == 100 {
                let _sent = done.take().map(|done| done.send(()));
            }
        };
        let outcome = turning(&clock, SILENCE / 2, moving, patience.watch(&progress, wait_until_done)).await;
        assert_eq!(outcome, Ok(Ok(())));
    }
}
