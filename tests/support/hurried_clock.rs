//! A clock on which nobody waits.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bayou::os::clock::{Clock, ManualClock, Sleep, SystemClock};
use parking_lot::Mutex;

/// A clock on which every sleep is over at once; it remembers how long they were to be.
#[derive(Clone)]
pub(crate) struct HurriedClock {
    hands: Arc<ManualClock>,
    sleeps: Arc<Mutex<Vec<Duration>>>,
    /// What happens elsewhere during each sleep.
    meanwhile: Arc<dyn Fn() + Send + Sync>,
}

impl HurriedClock {
    pub(crate) fn new(meanwhile: impl Fn() + Send + Sync + 'static) -> Self {
        let hands = ManualClock::at(SystemClock.now());
        Self { hands, sleeps: Arc::default(), meanwhile: Arc::new(meanwhile) }
    }

    pub(crate) fn sleeps(&self) -> Vec<Duration> {
        self.sleeps.lock().clone()
    }
}

impl Clock for HurriedClock {
    fn now(&self) -> SystemTime {
        self.hands.now()
    }

    fn instant(&self) -> Instant {
        self.hands.instant()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        self.sleeps.lock().push(duration);
        self.hands.advance(duration);
        (self.meanwhile)();
        Box::pin(std::future::ready(()))
    }
}
