//! A clock that a simulation turns on from one sleeper's end to the next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bayou::os::clock::{Clock, Sleep, SystemClock};
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// What the wall clock says when a simulation begins: 2026-01-01.
const BEGIN: Duration = Duration::from_secs(1_767_225_600);

/// A clock that stands still while anybody has something to do.
#[derive(Clone)]
pub(super) struct SimClock(Arc<Mutex<Hands>>);

struct Hands {
    start: Instant,
    passed: Duration,
    asleep: BTreeMap<(Duration, u64), oneshot::Sender<()>>,
    count: u64,
}

impl SimClock {
    pub(super) fn new() -> Self {
        let start = SystemClock.instant();
        let (passed, asleep) = (Duration::ZERO, BTreeMap::new());
        Self(Arc::new(Mutex::new(Hands { start, passed, asleep, count: 0 })))
    }

    /// Turns the hands on to the next sleeper's end and wakes it; `false` if nobody sleeps.
    pub(super) fn wake_next(&self) -> bool {
        let mut hands = self.0.lock();
        while let Some(((due, _), sleeper)) = hands.asleep.pop_first() {
            if sleeper.send(()).is_ok() {
                hands.passed = hands.passed.max(due);
                return true;
            }
        }
        false
    }

    /// Turns the hands on; whoever should have been woken by then is woken.
    pub(super) fn advance(&self, step: Duration) {
        let mut hands = self.0.lock();
        hands.passed += step;
        while hands.asleep.first_key_value().is_some_and(|((due, _), _)| *due <= hands.passed) {
            hands.asleep.pop_first().into_iter().for_each(|(_, sleeper)| sleeper.send(()).unwrap_or(()));
        }
    }
}

/// Waits are drawn at random by those who wait. So that a seed decides everything, short ones
/// last a full second or two here.
fn rounded(duration: Duration) -> Duration {
    match duration {
        short if short <= Duration::from_secs(1) => Duration::from_secs(1),
        short if short <= Duration::from_secs(2) => Duration::from_secs(2),
        long => long,
    }
}

impl Clock for SimClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + BEGIN + self.0.lock().passed
    }

    fn instant(&self) -> Instant {
        let hands = self.0.lock();
        hands.start + hands.passed
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let mut hands = self.0.lock();
        let (sleeper, woken) = oneshot::channel();
        let key = (hands.passed + rounded(duration), hands.count);
        hands.count += 1;
        hands.asleep.insert(key, sleeper);
        Box::pin(async move { drop(woken.await) })
    }
}
