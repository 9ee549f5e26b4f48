//! What time it is where the bucket is.
//!
//! Only some answers of Google Cloud Storage tell it: refusals have a `Date`, and a write says
//! when it was made. From the latest of these our own clock goes on. What comes out is never
//! later than the truth, so nothing is taken for older than it is.

use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use crate::os::clock::SharedClock;

/// How far the two clocks of this machine may part before it must have slept, or been set.
const LARGEST_DRIFT: Duration = Duration::from_secs(2);

/// The server's clock, as far as it was heard.
pub(super) struct ServerClock {
    ours: SharedClock,
    heard: Mutex<Option<Heard>>,
}

/// What the server said, and what both of our clocks said then.
#[derive(Clone, Copy)]
struct Heard {
    theirs: SystemTime,
    instant: Instant,
    time: SystemTime,
}

impl ServerClock {
    pub(super) fn new(ours: SharedClock) -> Self {
        Self { ours, heard: Mutex::new(None) }
    }

    /// Notes that an answer which just came in names this time.
    pub(super) fn hear(&self, theirs: SystemTime) {
        let (instant, time) = (self.ours.instant(), self.ours.now());
        *self.heard.lock() = Some(Heard { theirs, instant, time });
    }

    /// Returns the time there; `None` if it was not heard since this machine began or slept.
    pub(super) fn now(&self) -> Option<SystemTime> {
        let heard = (*self.heard.lock())?;
        let passed = self.ours.instant().duration_since(heard.instant);
        let by_time = self.ours.now().duration_since(heard.time).ok()?;
        (by_time.abs_diff(passed) <= LARGEST_DRIFT).then(|| heard.theirs + passed)
    }
}

impl std::fmt::Debug for ServerClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ServerClock").field(&self.now()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::os::clock::{Clock, ManualClock, Sleep};

    #[test]
    fn the_clock_of_the_server_goes_on_from_what_was_heard_last() {
        let ours = ManualClock::at(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000));
        let clock = ServerClock::new(Arc::new(Arc::clone(&ours)));
        assert_eq!(clock.now(), None);
        let theirs = SystemTime::UNIX_EPOCH + Duration::from_secs(5);
        clock.hear(theirs);
        ours.advance(Duration::from_secs(60));
        assert_eq!(clock.now(), Some(theirs + Duration::from_secs(60)));
        clock.hear(theirs);
        assert_eq!(clock.now(), Some(theirs));
    }

    /// A machine on which the time of day goes its own way.
    struct Odd(Arc<ManualClock>, Mutex<Duration>);

    impl Clock for Odd {
        fn now(&self) -> SystemTime {
            Clock::now(&self.0) + *self.1.lock()
        }

        fn instant(&self) -> Instant {
            Clock::instant(&self.0)
        }

        fn sleep(&self, duration: Duration) -> Sleep {
            Clock::sleep(&self.0, duration)
        }
    }

    #[test]
    fn a_machine_that_slept_does_not_know_the_time_until_it_hears_it_again() {
        let odd = Arc::new(Odd(ManualClock::at(SystemTime::UNIX_EPOCH), Mutex::default()));
        let clock = ServerClock::new(odd.clone());
        clock.hear(SystemTime::UNIX_EPOCH);
        *odd.1.lock() += Duration::from_secs(60);
        assert_eq!(clock.now(), None);
        clock.hear(SystemTime::UNIX_EPOCH);
        assert_eq!(clock.now(), Some(SystemTime::UNIX_EPOCH));
    }
}
