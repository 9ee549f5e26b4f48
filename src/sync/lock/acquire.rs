//! Getting the lock: created where there is none, waited for where there is one, taken from
//! the dead.
//!
//! Every unclear answer is settled by reading the lock and looking for our own mark. A dead
//! lock is removed, and only after a pause is ours created, so that of several who found it
//! dead one wins and none removes the winner's. One that we left behind ourselves is written over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::lease::{Lease, PAUSE};
use super::seen::{SeenLock, inspect, inspect_with_age};
use super::{Held, Place, UNNAMED};
use crate::os::crash_point::{Step, reached};
use crate::store::{self, Condition, ErrorKind, Nonce, PutOptions, StoreError, Version};
use crate::sync::error::Result;

/// First and longest wait between two looks at another's lock.
const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// After how long a wait the holder is named in the log.
const SAY_AFTER: Duration = Duration::from_secs(2);
/// How many locks one attempt may remove: more are no accident.
const MOST_REMOVED: u32 = 3;

/// One attempt to get the lock.
pub(super) struct Attempt {
    place: Arc<Place>,
    nonce: String,
    began: Instant,
    next_wait: Duration,
    removed: u32,
    said: bool,
    /// The version that is waited for, and since when it is the same.
    watched: Option<(Version, Instant)>,
}

/// What an attempt found in the bucket.
enum Found {
    Nothing,
    /// A write of ours whose answer was lost.
    Ours(Version),
    /// One whose holder let it lapse.
    Dead(SeenLock),
    /// One of our own that nobody here holds.
    Left(SeenLock),
    Living,
}

impl Attempt {
    /// Returns an attempt that began to wait at `began`.
    pub(super) fn new(place: &Arc<Place>, began: Instant) -> Self {
        Self {
            place: Arc::clone(place),
            nonce: uuid::Uuid::new_v4().to_string(),
            began,
            next_wait: WAITS.0,
            removed: 0,
            said: false,
            watched: None,
        }
    }

    /// Tries until the lock is ours, the time is up or nobody waits for `answer` (`None`).
    pub(super) async fn run(mut self, answer: &oneshot::Sender<Result<Held>>) -> Option<Result<Lease>> {
        self.place.remember(&self.nonce);
        // Where conditions are ignored, nothing is created over what was not looked for.
        let mut seems_free = self.place.conditions.put;
        loop {
            if answer.is_closed() {
                return None;
            }
            match self.step(seems_free).await {
                Ok(Found::Ours(version)) => {
                    reached(Step::LockTaken);
                    self.place.memory.lock().holder = None;
                    let lease = Lease::new(self.place, self.nonce, version);
                    return Some(Ok(lease));
                }
                Ok(Found::Nothing) => seems_free = true,
                Ok(Found::Dead(_) | Found::Left(_)) => {
                    self.place.clock.sleep(jitter(PAUSE)).await;
                    seems_free = self.place.conditions.put;
                }
                Ok(Found::Living) => {
                    seems_free = false;
                    if self.is_over() {
                        return Some(Err(self.place.held_by_other(self.began)));
                    }
                    self.wait().await;
                }
                Err(failed) => return Some(Err(self.place.failed("Taking")(failed))),
            }
        }
    }

    /// Creates the lock if it seems free, else looks at it; removes a dead one.
    async fn step(&mut self, seems_free: bool) -> store::Result<Found> {
        if seems_free && let Some(version) = self.create().await? {
            return Ok(Found::Ours(version));
        }
        let found = self.look().await?;
        match found {
            Found::Left(seen) if self.place.conditions.put => self.take_over(&seen).await,
            Found::Dead(seen) | Found::Left(seen) if self.removed < MOST_REMOVED => {
                self.removed += 1;
                Ok(if self.remove(&seen).await? { Found::Dead(seen) } else { Found::Living })
            }
            Found::Dead(_) | Found::Left(_) => Ok(Found::Living),
            // Free again and again, and never ours: no reason to ask without a pause.
            Found::Nothing if seems_free => Ok(Found::Living),
            other => Ok(other),
        }
    }

    /// Writes our lock if there is none; returns its version if it is in the bucket.
    async fn create(&self) -> store::Result<Option<Version>> {
        let written = match self.write(Condition::IfAbsent).await {
            Err(refused) if !self.place.conditions.put && is_unknown_to_store(&refused) => {
                self.write(Condition::Always).await
            }
            outcome => outcome,
        };
        let unclear = match written {
            Ok(version) if self.place.conditions.put => return Ok(Some(version)),
            Ok(_) => None,
            Err(refused) if refused.is_condition_failed() => return Ok(None),
            Err(unheard) if unheard.kind.is_transient() => Some(unheard),
            Err(failed) => return Err(failed),
        };
        if !self.place.conditions.put {
            // Somebody may have done the same at the same time; the last one has it.
            self.place.clock.sleep(jitter(PAUSE)).await;
        }
        self.settle(unclear).await
    }

    /// Decides by what is in the bucket about a write that may or may not have been done.
    async fn settle(&self, unheard: Option<StoreError>) -> store::Result<Option<Version>> {
        let failed = match (self.read().await, unheard) {
            (Ok(Some(seen)), _) if seen.carries(&self.nonce) => return Ok(Some(seen.version)),
            (Ok(_), None) => return Ok(None),
            (_, Some(unheard)) => unheard,
            (Err(failed), None) => failed,
        };
        // It may land yet, and then it is nobody's.
        self.place.memory.lock().abandoned.push(self.nonce.clone());
        Err(failed)
    }

    async fn write(&self, condition: Condition) -> store::Result<Version> {
        let body = Bytes::from(self.place.body(&self.nonce).to_bytes());
        let options = PutOptions { nonce: Nonce::from_text(&*self.nonce), ..PutOptions::when(condition) };
        self.place.store.put(&self.place.key, body, &options).await
    }

    async fn read(&self) -> store::Result<Option<SeenLock>> {
        inspect(&*self.place.store, &self.place.key).await
    }

    async fn look(&mut self) -> store::Result<Found> {
        let seen = inspect_with_age(&*self.place.store, &self.place.key).await?;
        let Some(seen) = seen else { return Ok(Found::Nothing) };
        if seen.carries(&self.nonce) {
            return Ok(Found::Ours(seen.version));
        }
        let is_abandoned = {
            let mut memory = self.place.memory.lock();
            memory.holder.clone_from(&seen.body);
            memory.abandoned.iter().any(|nonce| seen.carries(nonce))
        };
        if is_abandoned {
            return Ok(Found::Left(seen));
        }
        let is_dead = seen.is_dead_at(self.age(&seen));
        Ok(if is_dead { Found::Dead(seen) } else { Found::Living })
    }

    /// Makes a lock that we left behind this attempt's.
    async fn take_over(&self, seen: &SeenLock) -> store::Result<Found> {
        let taken = match self.write(Condition::IfVersion(seen.version.clone())).await {
            Ok(version) => Some(version),
            Err(moved) if moved.is_condition_failed() || moved.is_not_found() => None,
            Err(unheard) if unheard.kind.is_transient() => self.settle(Some(unheard)).await?,
            Err(failed) => return Err(failed),
        };
        let Some(version) = taken else { return Ok(Found::Living) };
        self.forget(seen);
        Ok(Found::Ours(version))
    }

    /// Notes that one of our own is not in the bucket any more.
    fn forget(&self, seen: &SeenLock) {
        self.place.memory.lock().abandoned.retain(|nonce| !seen.carries(nonce));
    }

    /// Returns how old a lock is: by the store's clock, or where the store does not say, for
    /// how long we have seen it unchanged.
    fn age(&mut self, seen: &SeenLock) -> Duration {
        let now = self.place.clock.instant();
        let since = match &self.watched {
            Some((version, since)) if *version == seen.version => *since,
            Some(_) | None => {
                self.watched = Some((seen.version.clone(), now));
                now
            }
        };
        seen.age.unwrap_or_else(|| now.duration_since(since))
    }

    /// Removes a dead lock; returns whether it was still the same.
    async fn remove(&self, seen: &SeenLock) -> store::Result<bool> {
        let Place { store, key, conditions, .. } = &*self.place;
        let condition = if conditions.delete {
            Condition::IfVersion(seen.version.clone())
        } else {
            let is_same = self.read().await?.is_some_and(|now| now.version == seen.version);
            if !is_same {
                return Ok(false);
            }
            Condition::Always
        };
        tracing::warn!(%key, holder = self.holder(seen), "The lock of the bucket has lapsed and is taken over");
        match store.delete(key, &condition).await {
            Ok(()) => {
                self.forget(seen);
                Ok(true)
            }
            Err(moved) if moved.is_condition_failed() => Ok(false),
            Err(failed) => Err(failed),
        }
    }

    fn holder(&self, seen: &SeenLock) -> String {
        seen.body.as_ref().map_or_else(|| UNNAMED.to_owned(), ToString::to_string)
    }

    fn is_over(&self) -> bool {
        self.place.clock.instant().duration_since(self.began) >= self.place.options.wait
    }

    /// Waits before the next look, and says once for whom.
    async fn wait(&mut self) {
        let passed = self.place.clock.instant().duration_since(self.began);
        if passed >= SAY_AFTER && !std::mem::replace(&mut self.said, true) {
            let holder = self.place.memory.lock().holder.as_ref().map(ToString::to_string);
            let (key, holder) = (&self.place.key, holder.unwrap_or_else(|| UNNAMED.to_owned()));
            tracing::warn!(%key, holder, "Waiting for the lock of the bucket");
        }
        let left = self.place.options.wait.saturating_sub(passed);
        let wait = jitter((self.next_wait / 2, self.next_wait)).min(left);
        self.next_wait = (self.next_wait * 2).min(WAITS.1);
        self.place.clock.sleep(wait).await;
    }
}

/// Returns whether a condition was refused as something that the store does not know.
fn is_unknown_to_store(error: &StoreError) -> bool {
    matches!(error.kind, ErrorKind::Unsupported | ErrorKind::Invalid)
}

/// Returns a time between these two.
pub(super) fn jitter((shortest, longest): (Duration, Duration)) -> Duration {
    rand::random_range(shortest..=longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::key::ObjectKey;
    use crate::model::lock_body::LockBody;
    use crate::os::clock::{Clock, ManualClock};
    use crate::store::folder::FolderStore;
    use crate::store::probe::Conditions;
    use crate::sync::lock::{BucketLock, LockOptions};

    const TTL: Duration = Duration::from_secs(30);

    #[test]
    fn what_a_process_left_is_remembered_though_the_next_one_dies_before_it_finds_that() {
        let scratch = tempfile::tempdir().unwrap();
        let store = Arc::new(FolderStore::open(scratch.path()).unwrap());
        let clock = Arc::new(ManualClock::at(std::time::SystemTime::UNIX_EPOCH));
        let note = scratch.path().join("lock-nonce");
        let next = || {
            let how = (Conditions::none(), LockOptions::default());
            BucketLock::remembered(store.clone(), ObjectKey::new("l"), clock.clone(), how, Some(note.clone()))
        };
        let marks = || next().place.memory.lock().abandoned.clone();
        next().place.remember("first");
        next().place.remember("second");
        assert_eq!(marks(), ["second", "first"]);
        (0..100).for_each(|n| next().place.remember(&n.to_string()));
        assert_eq!(marks().len(), crate::sync::lock::MOST_MARKS);
        assert_eq!(marks()[0], "99");
    }

    /// Some proxies take the date out of answers.
    #[tokio::test]
    async fn where_the_store_names_no_time_a_lock_must_be_watched_until_it_is_dead() {
        let scratch = tempfile::tempdir().unwrap();
        let store = Arc::new(FolderStore::open(scratch.path()).unwrap());
        let clock = ManualClock::at(std::time::SystemTime::UNIX_EPOCH);
        let shared = Arc::new(Arc::clone(&clock));
        let options = LockOptions::default();
        let lock = BucketLock::new(store, ObjectKey::new("l"), shared, Conditions::none(), options);
        let mut attempt = Attempt::new(&lock.place, Arc::clone(&clock).instant());
        let body = LockBody { ttl: TTL, ..lock.place.body("theirs") };
        let version = |text| Version::new(text).unwrap();
        let mut seen = SeenLock { body: Some(body), version: version("1"), modified: None, age: None };
        assert!(!seen.is_dead());
        assert_eq!(attempt.age(&seen), Duration::ZERO);
        clock.advance(TTL);
        assert!(!seen.is_dead_at(attempt.age(&seen)));
        seen.version = version("2");
        assert_eq!(attempt.age(&seen), Duration::ZERO, "it was renewed meanwhile");
        clock.advance(TTL * 2);
        assert!(seen.is_dead_at(attempt.age(&seen)));
        seen.body = None;
        assert!(!seen.is_dead_at(attempt.age(&seen)), "nobody knows when it ends");
    }
}
