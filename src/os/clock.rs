//! The only door to time.
//!
//! Everything that asks for the time, or waits, is handed a [`Clock`], so that a test can
//! turn the hands itself and no test ever sleeps.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// A future that is done when a duration has passed.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tells the time and waits for it to pass.
pub trait Clock: Send + Sync + 'static {
    /// Returns the wall clock's time (UTC).
    fn now(&self) -> SystemTime;
    /// Returns a reading that never goes backwards.
    fn instant(&self) -> Instant;
    /// Returns a future that is done when `duration` has passed.
    fn sleep(&self, duration: Duration) -> Sleep;
}

/// A clock that is shared.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's own clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl SystemClock {
    /// Returns the machine's clock, ready to be shared.
    pub fn shared() -> SharedClock {
        Arc::new(SystemClock)
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one door to time")]
impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn instant(&self) -> Instant {
        Instant::now()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock whose hands the test turns.
#[derive(Debug)]
pub struct ManualClock {
    hands: Mutex<Hands>,
    moved: Arc<Notify>,
}

#[derive(Debug)]
struct Hands {
    start: Instant,
    wall_start: SystemTime,
    passed: Duration,
}

impl ManualClock {
    /// Returns a clock that stands still at `wall`.
    pub fn at(wall: SystemTime) -> Arc<Self> {
        let start = SystemClock.instant();
        let hands = Hands { start, wall_start: wall, passed: Duration::ZERO };
        Arc::new(Self { hands: Mutex::new(hands), moved: Arc::new(Notify::new()) })
    }

    /// Turns the hands on by `step` and wakes whoever was waiting for it.
    pub fn advance(&self, step: Duration) {
        self.hands.lock().passed += step;
        self.moved.notify_waiters();
    }

    fn passed(&self) -> Duration {
        self.hands.lock().passed
    }
}

/// A manual clock, shared, so that its sleeps can outlive the borrow.
impl Clock for Arc<ManualClock> {
    fn now(&self) -> SystemTime {
        let hands = self.hands.lock();
        hands.wall_start + hands.passed
    }

    fn instant(&self) -> Instant {
        let hands = self.hands.lock();
        hands.start + hands.passed
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let clock = Arc::clone(self);
        let due = clock.passed() + duration;
        Box::pin(async move {
            loop {
                let moved = clock.moved.notified();
                tokio::pin!(moved);
                moved.as_mut().enable();
                if clock.passed() >= due {
                    return;
                }
                moved.await;
            }
        })
    }
}
