//! Writes of one object, no faster than the service takes them.
//!
//! Google Cloud Storage documents one write a second of the same name, and refuses the rest.
//! Each write waits for its turn; writes of other objects do not.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use crate::os::clock::SharedClock;

/// When an object was last written; whoever writes it holds this.
type LastWrite = Arc<tokio::sync::Mutex<Option<Instant>>>;

/// When each object may be written again.
pub(super) struct Pace {
    clock: SharedClock,
    interval: Duration,
    last: Mutex<HashMap<String, LastWrite>>,
}

/// The turn to write one object; it ends when this is dropped.
pub(super) struct Turn {
    clock: SharedClock,
    last: OwnedMutexGuard<Option<Instant>>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        *self.last = Some(self.clock.instant());
    }
}

impl Pace {
    pub(super) fn new(clock: SharedClock, interval: Duration) -> Self {
        Self { clock, interval, last: Mutex::default() }
    }

    /// Returns the least time between two writes of one object.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// Waits until the object may be written; nobody else writes it through us while the turn lasts.
    pub(super) async fn turn(&self, key: &str) -> Option<Turn> {
        if self.interval.is_zero() {
            return None;
        }
        let last = self.last_of(key).lock_owned().await;
        let passed = last.map_or(self.interval, |last| self.clock.instant().duration_since(last));
        if passed < self.interval {
            self.clock.sleep(self.interval - passed).await;
        }
        Some(Turn { clock: Arc::clone(&self.clock), last })
    }

    fn last_of(&self, key: &str) -> LastWrite {
        let now = self.clock.instant();
        let is_over = |last: &LastWrite| {
            let last = last.try_lock();
            last.is_ok_and(|last| last.is_none_or(|last| now.duration_since(last) >= self.interval))
        };
        let mut known = self.last.lock();
        known.retain(|name, last| name == key || Arc::strong_count(last) > 1 || !is_over(last));
        Arc::clone(known.entry(key.to_owned()).or_default())
    }
}

impl std::fmt::Debug for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pace").field(&self.interval).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use futures::FutureExt;

    use super::*;
    use crate::os::clock::ManualClock;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn writes_of_one_object_take_turns_and_others_do_not_wait() {
        let clock = ManualClock::at(SystemTime::UNIX_EPOCH);
        let pace = Pace::new(Arc::new(Arc::clone(&clock)), SECOND);
        let first = pace.turn("a").await;
        let mut second = Box::pin(pace.turn("a"));
        assert!(second.as_mut().now_or_never().is_none());
        drop(pace.turn("b").await);
        clock.advance(SECOND);
        assert!(second.as_mut().now_or_never().is_none(), "the first is not done yet");
        drop(first);
        assert!(second.as_mut().now_or_never().is_none());
        clock.advance(SECOND);
        drop(second.await);
        clock.advance(SECOND);
        drop(pace.turn("c").await);
        assert_eq!(pace.last.lock().len(), 1, "what is long past is forgotten");
    }
}
