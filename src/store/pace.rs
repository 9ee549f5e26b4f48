//! Writes of one object, no faster than the service takes them.
//!
//! Google Cloud Storage documents one write a second of the same name, and refuses the rest.
//! Each write waits for its turn; writes of other objects do not.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::os::clock::SharedClock;

/// When each object may be written again.
pub(super) struct Pace {
    clock: SharedClock,
    interval: Duration,
    free: Mutex<HashMap<String, Instant>>,
}

impl Pace {
    pub(super) fn new(clock: SharedClock, interval: Duration) -> Self {
        Self { clock, interval, free: Mutex::default() }
    }

    /// Returns the least time between two writes of one object.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// Waits until the object may be written.
    pub(super) async fn turn(&self, key: &str) {
        if self.interval.is_zero() {
            return;
        }
        let now = self.clock.instant();
        let wait = {
            let mut free = self.free.lock();
            free.retain(|_, free| *free > now);
            let turn = free.get(key).copied().unwrap_or(now);
            free.insert(key.to_owned(), turn + self.interval);
            turn.duration_since(now)
        };
        if !wait.is_zero() {
            self.clock.sleep(wait).await;
        }
    }
}

impl std::fmt::Debug for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pace").field(&self.interval).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use futures::FutureExt;

    use super::*;
    use crate::os::clock::ManualClock;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn writes_of_one_object_take_turns_and_others_do_not_wait() {
        let clock = ManualClock::at(SystemTime::UNIX_EPOCH);
        let pace = Pace::new(Arc::new(Arc::clone(&clock)), SECOND);
        pace.turn("a").await;
        let mut second = Box::pin(pace.turn("a"));
        let mut third = Box::pin(pace.turn("a"));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        pace.turn("b").await;
        clock.advance(SECOND);
        second.await;
        assert!(third.as_mut().now_or_never().is_none());
        clock.advance(SECOND);
        third.await;
        clock.advance(SECOND);
        pace.turn("a").await;
        assert_eq!(pace.free.lock().len(), 1, "what is long past is forgotten");
    }
}
