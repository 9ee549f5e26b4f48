//! The lock of the bucket: swamp's own, so that its clients and we take turns.
//!
//! Everybody in this process who needs it shares one holding, which is renewed while it lasts
//! and given back in the background when the last of them is done. A holding can be lost, to
//! somebody who took us for dead; so whoever holds it asks before each write that matters.
//! Whether another's lock is dead is judged by the store's clock alone.

use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::error::{Result, SyncError};
use crate::model::key::ObjectKey;
use crate::model::lock_body::LockBody;
use crate::model::timestamp::{Stamp, Timestamp};
use crate::os::clock::SharedClock;
use crate::os::durable_file;
use crate::os::host;
use crate::store::SharedStore;
use crate::store::probe::Conditions;

mod acquire;
mod breaking;
mod lease;
mod seen;
mod tally;

pub use breaking::{Broken, force_release};
pub use seen::{SeenLock, inspect, inspect_with_age};

use acquire::{Attempt, jitter};
use lease::Lease;
use tally::{Tally, Ticket};

/// How long a holding is shared: a process that always has something to write must not keep
/// the others out.
const LONGEST_SHARED: Duration = Duration::from_secs(20);
/// How long the end of such a holding is waited for.
const LONGEST_END: Duration = Duration::from_secs(2);
/// How long such a process then waits before it tries again: swamp looks every second.
const TURN_OF_OTHERS: (Duration, Duration) = (Duration::from_millis(1100), Duration::from_millis(1500));

/// How long a holding is kept for the next who needs it, and how soon one must follow another to
/// be kept: writing and removing the lock takes longer than most things that are done under it.
const LINGER: Duration = Duration::from_millis(200);

/// How many of our marks are remembered: one of a process that dies again and again before it has
/// found what the one before it left.
const MOST_MARKS: usize = 16;

/// How a lock is held and waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockOptions {
    /// How long our lock counts after it was last renewed.
    pub ttl: Duration,
    /// How long to wait for another holder.
    pub wait: Duration,
}

impl Default for LockOptions {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(30), wait: Duration::from_secs(60) }
    }
}

/// The lock under one key, for all of this process.
pub struct BucketLock {
    place: Arc<Place>,
    /// The holding that is shared, while anybody has it.
    current: Mutex<Weak<Tenure>>,
    /// Whose turn it is to try to get the lock.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Attempts, holdings and releases that have not ended.
    busy: Tally,
    releases: Tally,
    /// Who waits until nothing is held.
    leaving: Tally,
    /// When the last holding ended.
    last_end: Mutex<Option<Instant>>,
}

/// Whether to wait before the lock is tried for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    None,
    /// So that others have a turn.
    WhileOthersLook,
}

/// Where the lock is, and what everything that handles it needs.
struct Place {
    store: SharedStore,
    key: ObjectKey,
    clock: SharedClock,
    conditions: Conditions,
    options: LockOptions,
    /// Where our mark is remembered beyond this process.
    note: Option<PathBuf>,
    memory: Mutex<Memory>,
}

/// What is remembered from one attempt to the next.
#[derive(Default)]
struct Memory {
    /// Who was last seen to hold the lock.
    holder: Option<LockBody>,
    /// Nonces of ours that may be in the bucket although nobody here holds them.
    abandoned: Vec<String>,
}

/// One holding, shared by all who have it; the last one ends it.
struct Tenure {
    lease: Arc<Lease>,
    began: Instant,
    /// Whether somebody has shared it lately.
    is_used: AtomicBool,
    lock: Arc<BucketLock>,
    runtime: tokio::runtime::Handle,
    _busy: Ticket,
}

/// Proof that this process holds the lock, as far as it knows. Dropping it never blocks.
pub struct Held {
    tenure: Arc<Tenure>,
}

impl BucketLock {
    /// Returns the lock under `key`; asks for nothing yet.
    pub fn new(
        store: SharedStore,
        key: ObjectKey,
        clock: SharedClock,
        conditions: Conditions,
        options: LockOptions,
    ) -> Arc<Self> {
        Self::remembered(store, key, clock, (conditions, options), None)
    }

    /// As [`BucketLock::new`], with a file of the cache, which one process has at a time, that
    /// remembers our mark: a lock that our last process left behind need not expire first.
    pub fn remembered(
        store: SharedStore,
        key: ObjectKey,
        clock: SharedClock,
        (conditions, options): (Conditions, LockOptions),
        note: Option<PathBuf>,
    ) -> Arc<Self> {
        let left = note.as_ref().and_then(|note| std::fs::read_to_string(note).ok());
        let abandoned = left.iter().flat_map(|left| left.lines()).map(str::to_owned).collect();
        let memory = Memory { holder: None, abandoned };
        let place = Place { store, key, clock, conditions, options, note, memory: Mutex::new(memory) };
        Arc::new(Self {
            place: Arc::new(place),
            current: Mutex::new(Weak::new()),
            turn: Arc::default(),
            busy: Tally::default(),
            releases: Tally::default(),
            leaving: Tally::default(),
            last_end: Mutex::new(None),
        })
    }

    /// Returns when this process holds the lock.
    ///
    /// Fails with `LockHeld` if another holds it for longer than we may wait.
    pub async fn hold(self: &Arc<Self>) -> Result<Held> {
        let began = self.place.clock.instant();
        let mut rest = Rest::None;
        if let Some(held) = self.share() {
            if self.lasted(&held) < LONGEST_SHARED {
                return Ok(held);
            }
            rest = match self.end_of(held).await {
                Some(held) => return Ok(held),
                None => Rest::WhileOthersLook,
            };
        }
        let turn = tokio::select! {
            biased;
            turn = Arc::clone(&self.turn).lock_owned() => turn,
            () = self.place.clock.sleep(self.place.options.wait) => return Err(self.place.held_by_other(began)),
        };
        if let Some(held) = self.share() {
            return Ok(held);
        }
        let (answer, outcome) = oneshot::channel();
        let lock = Arc::clone(self);
        let busy = self.busy.enter();
        // A task of its own: whoever gives up waiting must not leave a lock behind.
        tokio::spawn(async move {
            let acquired = lock.acquire(Attempt::new(&lock.place, began), rest, busy, &answer).await;
            drop(turn);
            if let Some(outcome) = acquired {
                // If nobody waits any more, this gives the lock back.
                drop(answer.send(outcome));
            }
        });
        outcome.await.unwrap_or_else(|_gone| Err(self.place.held_by_other(began)))
    }

    /// Returns when nothing is held, tried for or being given back. Nothing is kept for the next
    /// meanwhile.
    pub async fn idle(&self) {
        let _leaving = self.leaving.enter();
        self.busy.ended().await;
        self.releases.ended().await;
    }

    fn share(&self) -> Option<Held> {
        let tenure = self.current.lock().upgrade()?;
        tenure.is_used.store(true, Ordering::Relaxed);
        (!tenure.lease.is_lost()).then_some(Held { tenure })
    }

    /// Returns how long the current holding has lasted.
    fn lasted(&self, held: &Held) -> Duration {
        self.place.clock.instant().duration_since(held.tenure.began)
    }

    /// Waits for a holding to end; returns it if it does not, because whoever asks may be why.
    async fn end_of(&self, held: Held) -> Option<Held> {
        let lease = Arc::clone(&held.tenure.lease);
        drop(held);
        tokio::select! {
            biased;
            () = lease.releasing() => None,
            () = self.place.clock.sleep(LONGEST_END) => self.share(),
        }
    }

    /// Gets the lock; `None` if nobody waits for it any more.
    async fn acquire(
        self: &Arc<Self>,
        attempt: Attempt,
        rest: Rest,
        busy: Ticket,
        answer: &oneshot::Sender<Result<Held>>,
    ) -> Option<Result<Held>> {
        // What this process held before must be gone first.
        self.releases.ended().await;
        if rest == Rest::WhileOthersLook {
            self.place.clock.sleep(jitter(TURN_OF_OTHERS)).await;
        }
        let lease = match attempt.run(answer).await? {
            Ok(lease) => Arc::new(lease),
            Err(failed) => return Some(Err(failed)),
        };
        tokio::spawn(Arc::clone(&lease).keep_alive());
        let runtime = tokio::runtime::Handle::current();
        let began = self.place.clock.instant();
        let is_used = AtomicBool::new(true);
        let tenure = Arc::new(Tenure { lease, began, is_used, lock: Arc::clone(self), runtime, _busy: busy });
        *self.current.lock() = Arc::downgrade(&tenure);
        self.keep_for_the_next(&tenure);
        Some(Ok(Held { tenure }))
    }
}

impl BucketLock {
    /// Keeps a holding until nobody has shared it for a while: whoever comes at once then need not
    /// wait for it to be given back and made anew.
    fn keep_for_the_next(self: &Arc<Self>, tenure: &Arc<Tenure>) {
        let interval = self.place.store.abilities().write_interval;
        let linger = if self.follows_another(tenure) { LINGER } else { Duration::ZERO };
        if interval.max(linger).is_zero() {
            return;
        }
        let (lock, tenure) = (Arc::clone(self), Arc::clone(tenure));
        tokio::spawn(async move {
            let clock = &lock.place.clock;
            let is_wanted =
                || Arc::strong_count(&tenure) > 1 || tenure.is_used.swap(false, Ordering::Relaxed);
            let is_fresh = || clock.instant().duration_since(tenure.began) < LONGEST_SHARED;
            while is_wanted() && is_fresh() && !tenure.lease.is_lost() {
                if interval.is_zero() {
                    tokio::select! {
                        biased;
                        () = lock.leaving.begun() => return,
                        () = clock.sleep(linger) => {}
                    }
                } else {
                    // Sooner the store would refuse to remove it.
                    clock.sleep(interval).await;
                }
            }
        });
    }

    /// Returns whether a holding began soon after another ended: then a third will follow.
    fn follows_another(&self, tenure: &Tenure) -> bool {
        let last_end = *self.last_end.lock();
        last_end.is_some_and(|end| tenure.began.saturating_duration_since(end) < LINGER)
    }
}

impl Held {
    /// Fails unless the lock in the bucket is still this holding; one request.
    ///
    /// After `LockLost` nothing may be written that needs the lock.
    pub async fn check(&self) -> Result<()> {
        self.tenure.lease.check().await
    }

    /// Returns whether it is known that the lock was lost; asks nobody.
    pub fn is_lost(&self) -> bool {
        self.tenure.lease.is_lost()
    }

    /// Returns the mark by which the holding is known in the bucket.
    pub fn nonce(&self) -> &str {
        self.tenure.lease.nonce()
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Held").field(&self.nonce()).finish()
    }
}

impl Drop for Tenure {
    fn drop(&mut self) {
        *self.lock.last_end.lock() = Some(self.lock.place.clock.instant());
        self.lease.begin_release();
        let lease = Arc::clone(&self.lease);
        let ticket = self.lock.releases.enter();
        self.runtime.spawn(async move {
            lease.release().await;
            drop(ticket);
        });
    }
}

impl Place {
    /// Returns what our lock says when it is taken now.
    fn body(&self, nonce: &str) -> LockBody {
        let hostname = host::host_name();
        LockBody {
            holder: format!("{}@{hostname}", host::user_name()),
            hostname,
            pid: Some(u64::from(std::process::id())),
            acquired_at: Stamp::from(Timestamp::from(self.clock.now())),
            ttl: self.options.ttl,
            nonce: Some(nonce.to_owned()),
        }
    }

    /// Remembers a mark before the bucket may have it, beside those that it may still have. If that
    /// fails, or is lost with the power, a lock that we leave behind expires like any other.
    fn remember(&self, nonce: &str) {
        let Some(note) = &self.note else { return };
        let left = self.memory.lock().abandoned.clone();
        let marks: Vec<&str> =
            std::iter::once(nonce).chain(left.iter().map(String::as_str)).take(MOST_MARKS).collect();
        let draft = note.with_extension("new");
        let written = File::create(&draft).and_then(|mut file| file.write_all(marks.join("\n").as_bytes()));
        if let Err(error) = written.and_then(|()| durable_file::rename_unsynced(&draft, note)) {
            tracing::debug!(%error, note = %note.display(), "The mark of the lock is not remembered");
        }
    }

    fn held_by_other(&self, began: Instant) -> SyncError {
        let holder = self.memory.lock().holder.clone();
        SyncError::LockHeld {
            address: self.store.address(),
            key: self.key.to_string(),
            holder: holder.as_ref().map_or_else(|| UNNAMED.to_owned(), ToString::to_string),
            waited: self.clock.instant().duration_since(began),
        }
    }

    fn failed(&self, doing: &str) -> impl FnOnce(crate::store::StoreError) -> SyncError + use<> {
        SyncError::store(format!("{doing} the lock {:?} of {}", self.key.as_str(), self.store.address()))
    }
}

/// Who holds a lock that names nobody.
const UNNAMED: &str = "somebody who left no name";
