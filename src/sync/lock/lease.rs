//! One holding of the lock: renewed, asked about, given back, or lost.
//!
//! Writes to it take turns, so the version that is known is the one that was written last.
//! Where the store judges conditions, nothing of ours can land on what is another's; where it
//! does not, it is read and compared right before.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::acquire::jitter;
use super::seen::{SeenLock, inspect};
use super::{Place, UNNAMED};
use crate::model::timestamp::Timestamp;
use crate::os::clock::SharedClock;
use crate::os::crash_point::{Step, reached};
use crate::store::{self, Condition, PutOptions, Version};
use crate::sync::error::{Result, SyncError};

/// How often the lock is renewed in the time that it counts.
const BEATS: u32 = 3;
/// How often a renewal or a release is made again because the version was not the known one.
const MOST_ATTEMPTS: usize = 3;

/// One holding.
pub(super) struct Lease {
    place: Arc<Place>,
    nonce: String,
    /// What was written last; whoever writes holds it.
    written: tokio::sync::Mutex<Written>,
    /// Set before anything else of a release, so that no renewal begins after it.
    releasing: CancellationToken,
    loss: Mutex<Option<SyncError>>,
}

struct Written {
    version: Version,
    /// Whether the answer to a write was lost, so that it may land yet.
    is_unsure: bool,
    /// When it was, by both clocks of this machine: only one of them goes on while it sleeps.
    at: (Instant, SystemTime),
}

impl Written {
    fn now(version: Version, clock: &SharedClock) -> Self {
        Self { version, is_unsure: false, at: (clock.instant(), clock.now()) }
    }

    /// Returns how long ago it was, at most.
    fn age(&self, clock: &SharedClock) -> Duration {
        let (instant, time) = self.at;
        let by_time = clock.now().duration_since(time).unwrap_or_default();
        clock.instant().duration_since(instant).max(by_time)
    }
}

impl Lease {
    pub(super) fn new(place: Arc<Place>, nonce: String, version: Version) -> Self {
        let written = tokio::sync::Mutex::new(Written::now(version, &place.clock));
        Self { place, nonce, written, releasing: CancellationToken::new(), loss: Mutex::new(None) }
    }

    pub(super) fn nonce(&self) -> &str {
        &self.nonce
    }

    pub(super) fn is_lost(&self) -> bool {
        self.loss.lock().is_some()
    }

    /// Fails unless the lock in the bucket is this holding.
    pub(super) async fn check(&self) -> Result<()> {
        if let Some(lost) = self.loss.lock().clone() {
            return Err(lost);
        }
        let seen = self.look().await.map_err(self.place.failed("Checking"))?;
        let seen = match seen {
            Some(seen) if seen.carries(&self.nonce) => seen,
            other => return Err(self.lose(other)),
        };
        // Nobody may take a lock that was renewed lately; this one was forgotten, perhaps
        // because the machine slept.
        let beat = self.place.options.ttl / BEATS;
        let age = seen.age.or_else(|| self.age_of_last_write());
        if age.is_some_and(|age| age > beat * 2) { self.renew().await } else { Ok(()) }
    }

    /// Returns how long ago the lock was written; `None` while it is.
    fn age_of_last_write(&self) -> Option<Duration> {
        Some(self.written.try_lock().ok()?.age(&self.place.clock))
    }

    /// Renews the lock until it is given back or lost.
    pub(super) async fn keep_alive(self: Arc<Self>) {
        loop {
            tokio::select! {
                biased;
                () = self.releasing() => return,
                () = self.place.clock.sleep(self.place.options.ttl / BEATS) => {}
            }
            match self.renew().await {
                Ok(()) => {}
                Err(_) if self.is_lost() => return,
                Err(failed) => {
                    let (key, error) = (&self.place.key, crate::sync::describe(&failed));
                    tracing::warn!(%key, error, "The lock of the bucket could not be renewed");
                }
            }
        }
    }

    /// Writes the lock anew, if it is still ours.
    async fn renew(&self) -> Result<()> {
        let mut written = self.written.lock().await;
        for _ in 0..MOST_ATTEMPTS {
            if self.releasing.is_cancelled() {
                return Ok(());
            }
            let condition = if self.place.conditions.put {
                Condition::IfVersion(written.version.clone())
            } else {
                self.ours().await?;
                Condition::Always
            };
            if self.releasing.is_cancelled() {
                return Ok(());
            }
            match self.write(&condition).await {
                Ok(version) => {
                    *written = Written::now(version, &self.place.clock);
                    return Ok(());
                }
                // An earlier write of ours, whose answer was lost, or a thief.
                Err(moved) if moved.is_condition_failed() || moved.is_not_found() => {
                    written.version = self.ours().await?.version;
                }
                Err(failed) => {
                    written.is_unsure = true;
                    return Err(self.place.failed("Renewing")(failed));
                }
            }
        }
        Ok(())
    }

    async fn write(&self, condition: &Condition) -> store::Result<Version> {
        let now = Timestamp::from(self.place.clock.now());
        let body = Bytes::from(self.place.body(&self.nonce).renewed(now).to_bytes());
        self.place.store.put(&self.place.key, body, &PutOptions::when(condition.clone())).await
    }

    async fn look(&self) -> store::Result<Option<SeenLock>> {
        inspect(&*self.place.store, &self.place.key).await
    }

    /// Returns the lock in the bucket if it is ours; else it is lost.
    async fn ours(&self) -> Result<SeenLock> {
        match self.look().await.map_err(self.place.failed("Renewing"))? {
            Some(seen) if seen.carries(&self.nonce) => Ok(seen),
            other => Err(self.lose(other)),
        }
    }

    /// Notes that the lock is lost to whoever has it now.
    fn lose(&self, thief: Option<SeenLock>) -> SyncError {
        let by = match &thief {
            Some(SeenLock { body: Some(body), .. }) => body.to_string(),
            Some(_) => UNNAMED.to_owned(),
            None => "somebody who removed it".to_owned(),
        };
        let (address, key) = (self.place.store.address(), self.place.key.to_string());
        let lost = SyncError::LockLost { address, key, by };
        if self.loss.lock().replace(lost.clone()).is_none() {
            tracing::warn!("{lost}");
        }
        lost
    }

    /// Returns when the release has begun: to who waited first, first.
    pub(super) async fn releasing(&self) {
        self.releasing.cancelled().await;
    }

    /// Lets no renewal begin any more.
    pub(super) fn begin_release(&self) {
        self.releasing.cancel();
    }

    /// Removes the lock from the bucket if it is ours.
    pub(super) async fn release(&self) {
        // A renewal that is under way ends first.
        let written = self.written.lock().await;
        if self.is_lost() {
            return;
        }
        let mut pause = RELEASE_PAUSES.0;
        let key = &self.place.key;
        for attempt in 1..=MOST_RELEASES {
            match self.remove(&written).await {
                Ok(()) => return reached(Step::LockLeft),
                Err(error) if attempt == MOST_RELEASES || !error.kind.is_transient() => {
                    tracing::warn!(%key, %error, "The lock of the bucket could not be given back: it lapses by itself");
                    break;
                }
                Err(error) => tracing::debug!(%key, %error, "The lock is not given back yet"),
            }
            self.place.clock.sleep(jitter((pause / 2, pause))).await;
            pause = (pause * 2).min(RELEASE_PAUSES.1);
        }
        self.place.memory.lock().abandoned.push(self.nonce.clone());
    }

    async fn remove(&self, written: &Written) -> store::Result<()> {
        let Place { store, key, conditions, .. } = &*self.place;
        if conditions.delete {
            match store.delete(key, &Condition::IfVersion(written.version.clone())).await {
                Err(moved) if moved.is_condition_failed() => {}
                outcome => return outcome,
            }
        }
        self.remove_what_is_ours().await?;
        if written.is_unsure && !conditions.put {
            // A renewal that lands after all would stand for as long as it counts.
            self.place.clock.sleep(jitter(PAUSE)).await;
            self.remove_what_is_ours().await?;
        }
        Ok(())
    }

    async fn remove_what_is_ours(&self) -> store::Result<()> {
        let Place { store, key, conditions, options, .. } = &*self.place;
        for _ in 0..MOST_ATTEMPTS {
            let Some(seen) = self.look().await?.filter(|seen| seen.carries(&self.nonce)) else {
                return Ok(());
            };
            let condition = if conditions.delete {
                Condition::IfVersion(seen.version)
            } else if seen.age.is_some_and(|age| age > options.ttl) {
                // Somebody may be taking it at this moment: a delete could hit the successor's.
                return Ok(());
            } else {
                Condition::Always
            };
            match store.delete(key, &condition).await {
                Err(moved) if moved.is_condition_failed() => {}
                outcome => return outcome,
            }
        }
        Ok(())
    }
}

/// How often a release is tried, and the first and longest pause between: others wait for it.
const MOST_RELEASES: u32 = 20;
const RELEASE_PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How long it takes until one may rely on what others did at the same time.
pub(super) const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(500));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::clock::{Clock, Sleep, SystemClock};

    /// A machine that has slept: only the time of day went on.
    struct Slept(Instant, SystemTime);

    impl Clock for Slept {
        fn now(&self) -> SystemTime {
            self.1
        }

        fn instant(&self) -> Instant {
            self.0
        }

        fn sleep(&self, _: Duration) -> Sleep {
            Box::pin(std::future::pending())
        }
    }

    #[test]
    fn a_machine_that_slept_knows_how_long_ago_it_wrote_the_lock() {
        let (instant, time) = (SystemClock.instant(), SystemClock.now());
        let at = |passed, by_time| -> SharedClock { Arc::new(Slept(instant + passed, time + by_time)) };
        let version = Version::new("1").unwrap();
        let written = Written::now(version, &at(Duration::ZERO, Duration::ZERO));
        let (little, long) = (Duration::from_secs(1), Duration::from_secs(25));
        assert_eq!(written.age(&at(little, long)), long);
        assert_eq!(written.age(&at(long, little)), long, "the time of day was set back");
    }
}
