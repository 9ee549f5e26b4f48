//! The index in the bucket and ours: pull, push, conflicts, and the proof that both are equal.
//!
//! There is one [`SyncService`] a session. Objects are uploaded first, then the index is
//! committed (many changes at once), then removed objects are deleted. The cache is called
//! clean only on a two-sided comparison.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::cache::{Cache, hydrate::Hydrator};
use crate::model::timestamp::Timestamp;
use crate::os::clock::SharedClock;
use crate::store::probe::Conditions;
use crate::store::{SharedStore, Version};

mod appends;
pub mod capabilities;
pub mod commit;
pub mod conflict;
mod dangling;
pub mod deletion;
pub mod discover;
mod entries;
pub mod error;
pub mod guarded;
pub mod index;
pub mod key_locks;
pub mod lazy;
mod lingering;
pub mod lock;
mod objects;
mod old_monolith;
mod one_step;
mod part_copies;
mod part_plan;
mod part_room;
pub mod pull;
pub mod push;
pub mod schedule;
pub mod scope;
mod scoped;
mod set_aside;
pub mod settle;
mod streams;
pub mod two_phase;
mod under_way;
mod unresolved;
mod unversioned;
pub mod upkeep;
pub mod upload;
mod upload_copy;
mod upload_order;
pub mod upload_parts;

pub use error::{Result, SyncError};

use commit::Committer;
use guarded::Round;
use index::{Layout, RemoteIndex, Sighting};
use key_locks::KeyLocks;
use lingering::Lingering;
use lock::BucketLock;
use under_way::UnderWay;

/// What happens to a file that was changed here and elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnConflict {
    /// The bucket's version keeps the name, ours is kept beside it.
    Copy,
    /// The file stays dirty and its push fails.
    Fail,
    /// Our version replaces the bucket's.
    Ours,
    /// The bucket's version replaces ours.
    Theirs,
}

/// How a sync service works.
#[derive(Debug, Clone, Copy)]
pub struct SyncOptions {
    /// What happens to a file that was changed here and elsewhere.
    pub on_conflict: OnConflict,
    /// Nothing is written to the bucket.
    pub read_only: bool,
    /// Size of the parts of a large upload, in bytes; also the size from which it is large.
    pub part_bytes: u64,
    /// How many small files are uploaded at once; a larger one counts for several.
    pub uploads: usize,
}

impl Default for SyncOptions {
    fn default() -> Self {
        Self { on_conflict: OnConflict::Copy, read_only: false, part_bytes: 8 << 20, uploads: 64 }
    }
}

/// What a sync did, in honest numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct SyncReport {
    /// Names that a pull added or changed here.
    pub pulled: u64,
    /// Names that a pull removed here.
    pub vanished: u64,
    /// Files, links and folders that the index names since this push.
    pub pushed: u64,
    /// Bytes that were uploaded for them.
    pub pushed_bytes: u64,
    /// Names that were removed from the index by this push.
    pub deleted: u64,
    /// Names under which our version of a conflicting file is kept.
    pub conflicts: Vec<String>,
    /// Whether everything here is proven to be in the bucket.
    pub settled: bool,
}

impl SyncReport {
    /// Adds another report's numbers.
    pub fn add(&mut self, other: SyncReport) {
        self.pulled += other.pulled;
        self.vanished += other.vanished;
        self.pushed += other.pushed;
        self.pushed_bytes += other.pushed_bytes;
        self.deleted += other.deleted;
        self.conflicts.extend(other.conflicts);
        self.settled = other.settled;
    }
}

/// How the last exchanges with the bucket went.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// When the index was last seen, by this machine's clock.
    pub last_pull: Option<Timestamp>,
    /// What went wrong, until that succeeds: a panic, else a push, else a pull that failed.
    pub last_error: Option<String>,
    /// Since when the bucket has not been reached.
    pub offline_since: Option<Timestamp>,
    /// Keys of the index that cannot be files here.
    pub refused: Vec<String>,
}

/// Keeps one cache and one bucket in step.
pub struct SyncService {
    cache: Arc<Cache>,
    store: SharedStore,
    hydrator: Arc<Hydrator>,
    clock: SharedClock,
    options: SyncOptions,
    layout: Mutex<LayoutSeen>,
    conditions: Mutex<Conditions>,
    part_copies: part_copies::PartCopies,
    part_room: part_room::PartRoom,
    streams: streams::Streams,
    keys: KeyLocks,
    lock: Arc<BucketLock>,
    committer: Committer,
    /// The index as it is in the bucket as far as we know. Pulls and commits hold it.
    index: tokio::sync::Mutex<Option<RemoteIndex>>,
    health: Mutex<Health>,
    panics: guarded::Troubles,
    failures: guarded::Troubles,
    lingering: Lingering,
    /// Whether keys of the index are not shown because something stands in their way.
    shadowed: AtomicBool,
    unpublished: AtomicBool,
    /// How often the index was found to be another than the one that we knew.
    news: std::sync::atomic::AtomicU64,
    /// What is known of the old monolith, once this machine has committed to shards.
    committed_shards: Mutex<Option<MonolithSeen>>,
    started: Mutex<SyncReport>,
    uploading: UnderWay,
    /// Commits of which it is not noted yet what the index has now.
    unnoted: UnderWay,
}

impl SyncService {
    /// Returns a service for this cache and store; nothing is asked yet.
    pub fn new(
        cache: Arc<Cache>,
        store: SharedStore,
        hydrator: Arc<Hydrator>,
        lock: Arc<BucketLock>,
        conditions: Conditions,
        options: SyncOptions,
    ) -> Arc<Self> {
        let clock = Arc::clone(cache.clock());
        let now = clock.instant();
        let health = Health { refused: cache.refused_keys(), ..Health::default() };
        Arc::new(Self {
            cache,
            store,
            hydrator,
            clock,
            options,
            layout: Mutex::new(LayoutSeen::at(now)),
            conditions: Mutex::new(conditions),
            part_copies: part_copies::PartCopies::default(),
            part_room: part_room::PartRoom::default(),
            streams: streams::Streams::default(),
            keys: KeyLocks::default(),
            lock,
            committer: Committer::default(),
            index: tokio::sync::Mutex::new(None),
            health: Mutex::new(health),
            panics: guarded::Troubles::default(),
            failures: guarded::Troubles::default(),
            lingering: Lingering::default(),
            shadowed: AtomicBool::new(false),
            unpublished: AtomicBool::new(false),
            news: std::sync::atomic::AtomicU64::new(0),
            committed_shards: Mutex::new(None),
            started: Mutex::new(SyncReport::default()),
            uploading: UnderWay::default(),
            unnoted: UnderWay::default(),
        })
    }

    /// Returns the cache that is kept in step.
    pub fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// Returns the store.
    pub fn store(&self) -> &SharedStore {
        &self.store
    }

    /// Returns how the last exchanges went.
    pub fn health(&self) -> Health {
        let health = self.health.lock().clone();
        Health { last_error: self.panics.gravest().or_else(|| self.failures.gravest()), ..health }
    }

    /// Returns what the first pull of this session brought.
    pub fn last_started(&self) -> SyncReport {
        self.started.lock().clone()
    }

    /// Returns the lock of the bucket.
    pub fn lock(&self) -> &Arc<BucketLock> {
        &self.lock
    }

    /// Returns how many uploads are under way.
    pub fn uploads_under_way(&self) -> u64 {
        self.uploading.count()
    }

    /// Returns what the store does with conditions.
    fn conditions(&self) -> Conditions {
        *self.conditions.lock()
    }

    /// Fails if nothing may be written to the bucket.
    fn check_writable(&self) -> Result<()> {
        let reason = self.options.read_only.then(|| "it is mounted read-only".to_owned());
        match reason.or_else(|| self.cache.read_only_reason()) {
            Some(reason) => Err(SyncError::ReadOnly { reason }),
            None => Ok(()),
        }
    }

    fn note_outcome<T>(&self, round: Round, outcome: &Result<T>) {
        let now = Timestamp::from(self.clock.now());
        let mut health = self.health.lock();
        match outcome {
            Ok(_) => {
                self.failures.forget(round);
                health.offline_since = None;
            }
            Err(failed) => {
                let unreachable = failed.store_kind().is_some_and(crate::store::ErrorKind::is_transient);
                if unreachable {
                    health.offline_since.get_or_insert(now);
                }
                self.failures.note(round, describe(failed));
            }
        }
    }
}

/// What is remembered of how the index is laid out.
#[derive(Debug)]
struct LayoutSeen {
    layout: Layout,
    /// When the bucket was last asked for the meta document of shards, and the answer.
    meta: (Instant, Option<Version>),
    /// When the versions of all shards were last compared.
    shards: Instant,
    /// The documents that the tree is up to, if they are shards.
    applied: Option<Sighting>,
}

impl LayoutSeen {
    fn at(now: Instant) -> Self {
        Self { layout: Layout::Monolith, meta: (now, None), shards: now, applied: None }
    }
}

/// What is known of the monolith beside shards.
#[derive(Debug, Default)]
struct MonolithSeen {
    /// The state of the shards at which it was last seen to mislead nobody.
    monolith_at: Option<String>,
}

/// Returns an error with all of its causes in one line.
pub fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}

/// How long an entry or an object must be missing before anybody concludes anything from that.
const LINGER: Duration = Duration::from_secs(60);
/// How often a bucket with a monolith is asked whether it was migrated to shards.
const META_EVERY: Duration = Duration::from_secs(30);
/// How often the versions of all shards are compared although the meta document did not change.
const SHARDS_EVERY: Duration = Duration::from_secs(300);
