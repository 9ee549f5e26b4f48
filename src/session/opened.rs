//! One cache, one bucket and everything between them, for a mount or a single sync.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::bucket::{self, Bucket, Writes};
use super::failures;
use super::folders::Folders;
use super::options::{MinFree, SessionOptions};
use crate::cache::hydrate::Hydrator;
use crate::cache::{Cache, CacheError, CacheOptions};
use crate::control::client::{Client, Patience};
use crate::control::{Amount, Failure, MountState, Request, place};
use crate::model::lock_name::LockName;
use crate::os::clock::SharedClock;
use crate::os::durable_file;
use crate::os::folder_lock::LockError;
use crate::os::open_files;
use crate::store::probe::Conditions;
use crate::sync::capabilities;
use crate::sync::guarded::Round;
use crate::sync::lock::{BucketLock, LockOptions};
use crate::sync::scope::SyncContext;
use crate::sync::{SyncOptions, SyncService};

/// Most that is cached unless people say otherwise.
const MOST_CACHED: u64 = 10 << 30;
/// The file, in the cache, that remembers the mark of our last lock.
const LOCK_NOTE: &str = "lock-nonce";
/// How long the process waits to give the bucket's lock back.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// How often a cache that is being handed over is asked for.
const HAND_OVER_BEAT: Duration = Duration::from_millis(100);
/// How many times.
const HAND_OVER_BEATS: u32 = 100;

/// Everything that a session is made of.
pub(super) struct Opened {
    pub cache: Arc<Cache>,
    pub hydrator: Arc<Hydrator>,
    pub sync: Arc<SyncService>,
    pub bucket: Bucket,
    /// What it was opened for.
    pub context: SyncContext,
}

/// Opens cache and bucket and brings the tree, or what is `wanted` of it, up to date.
///
/// If the bucket is not reached and this machine knows the tree from before, it opens offline.
pub(super) async fn open(
    options: &SessionOptions,
    folders: &Folders,
    wanted: &SyncContext,
    clock: &SharedClock,
) -> Result<Opened, Failure> {
    let bucket = bucket::connect(options, clock).await?;
    let folder = cache_folder(options, folders);
    let cache = open_cache(&folder, options, folders, clock).await?;
    cache.keep_room_for_prefix(bucket.prefix_bytes);
    if let Some(under) = &options.under {
        cache.keep_within(under.as_str()).map_err(|error| failures::of_cache(&error))?;
    }
    let known = cache.has_pulled();
    let writes =
        if options.read_only { Writes::Unknown } else { bucket::learn_writes(&bucket, &folder).await? };
    let conditions = match writes {
        Writes::Allowed(conditions) => conditions,
        Writes::Denied => {
            cache.make_read_only("the credentials may only read the bucket; what is dirty here is kept");
            tracing::warn!("The credentials may only read: changes are refused");
            Conditions::none()
        }
        Writes::Unknown => Conditions::none(),
    };
    let hydrator = Hydrator::new(Arc::clone(&cache), Arc::clone(&bucket.store), options.access.timeout);
    let hydrator = Arc::new(match &bucket.namespace {
        Some(_) => hydrator.with_root(Arc::clone(&bucket.root)),
        None => hydrator,
    });
    let sync_options = SyncOptions {
        on_conflict: options.on_conflict,
        read_only: options.read_only,
        ..SyncOptions::default()
    };
    let lock_options = LockOptions { wait: options.access.timeout, ..LockOptions::default() };
    let lock = BucketLock::remembered(
        Arc::clone(&bucket.root),
        LockName::of_bucket(bucket.namespace.as_ref()).key(),
        Arc::clone(clock),
        (conditions, lock_options),
        Some(folder.join("state").join(LOCK_NOTE)),
    );
    let sync = SyncService::new(
        Arc::clone(&cache),
        Arc::clone(&bucket.store),
        Arc::clone(&hydrator),
        lock,
        conditions,
        sync_options,
    );
    let said: Result<_, Infallible> = Ok(Some(sync.capabilities()));
    let context = capabilities::agree(wanted, said);
    match sync.start_within(&context.scope()).await {
        Ok(_) => {}
        Err(lost) if known && lost.store_kind().is_some_and(crate::store::ErrorKind::is_transient) => {
            tracing::warn!(
                error = crate::sync::describe(&lost),
                "The bucket is not reached: working offline"
            );
        }
        Err(failed) => return Err(failures::of_sync(&bucket.store.address(), &failed)),
    }
    Ok(Opened { cache, hydrator, sync, bucket, context })
}

/// Returns the folder that caches the bucket.
pub(super) fn cache_folder(options: &SessionOptions, folders: &Folders) -> PathBuf {
    folders.cache_of(options)
}

async fn open_cache(
    folder: &Path,
    options: &SessionOptions,
    folders: &Folders,
    clock: &SharedClock,
) -> Result<Arc<Cache>, Failure> {
    open_files::raise_limit();
    durable_file::make_folder(folder)
        .map_err(|error| failures::of_cache(&CacheError::io("Making", folder)(error)))?;
    let cache_options = size_options(folder, options);
    for beat in 0..HAND_OVER_BEATS {
        match Cache::open(cache_options.clone(), Arc::clone(clock)) {
            Err(CacheError::Locked(LockError::Held { path, owner })) => {
                if beat + 1 == HAND_OVER_BEATS || !is_handed_over(folder, folders).await {
                    let held = CacheError::Locked(LockError::Held { path, owner });
                    return Err(failures::of_cache(&held));
                }
                clock.sleep(HAND_OVER_BEAT).await;
            }
            opened => return opened.map_err(|error| failures::of_cache(&error)),
        }
    }
    unreachable!("the last round returns")
}

/// Asks whoever owns the cache to give it up, which only a process does that drains a mount
/// that is gone. Returns whether it is worth waiting.
async fn is_handed_over(folder: &Path, folders: &Folders) -> bool {
    let (folder, folders) = (folder.to_owned(), folders.clone());
    let asked = tokio::task::spawn_blocking(move || {
        let found =
            place::running(&folders).ok()?.into_iter().rfind(|found| found.record.cache_dir == folder);
        // Nobody listens any more: the owner is about to end.
        let Some(found) = found else { return Some(true) };
        let mut client = Client::new(found).ok()?;
        let status = client.ask(&Request::Status { paths: Vec::new() }, |_| Patience::Wait).ok()?;
        let crate::control::Answer::Status(status) = status else { return None };
        (status.state == MountState::Draining)
            .then(|| client.ask(&Request::HandOver, |_| Patience::Wait).is_ok())
    });
    asked.await.ok().flatten().unwrap_or(false)
}

fn size_options(folder: &Path, options: &SessionOptions) -> CacheOptions {
    let disk = rustix::fs::statvfs(folder).ok();
    let total = disk.as_ref().map_or(u64::MAX, |disk| disk.f_blocks.saturating_mul(disk.f_frsize));
    let free = disk.map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    let min_free_bytes = match options.cache_min_free {
        MinFree::Bytes(bytes) => bytes,
        MinFree::Percent(percent) => total / 100 * u64::from(percent),
    };
    let limit_bytes = options.cache_size.unwrap_or_else(|| MOST_CACHED.min(free / 10 * 8));
    CacheOptions { folder: folder.to_owned(), limit_bytes, min_free_bytes }
}

/// Does what is to be done when all is pushed and nothing follows, unless that takes too long.
pub(super) async fn rest(opened: &Opened, clock: &SharedClock) {
    if !opened.cache.nothing_pending() {
        return;
    }
    let rest = opened.sync.guarded(Round::Flush, opened.sync.bring_up_monolith());
    let rest = tokio::select! {
        rest = rest => rest.map_err(|failed| crate::sync::describe(&failed)),
        () = clock.sleep(LOCK_PATIENCE) => Err("it took too long".to_owned()),
    };
    if let Err(error) = rest {
        tracing::warn!(error, "The old monolith of the bucket is not what the shards say");
    }
}

/// Returns when the bucket's lock is given back, or when that takes too long: it is dead by
/// itself soon then.
pub(super) async fn leave_lock(opened: &Opened, clock: &SharedClock) {
    tokio::select! {
        () = opened.sync.lock().idle() => {}
        () = clock.sleep(LOCK_PATIENCE) => {
            tracing::warn!("The lock of the bucket could not be given back in time: others wait until it expires");
        }
    }
}

/// Returns what is dirty.
pub(super) fn dirty(cache: &Cache) -> Amount {
    let tally = cache.pending_tally();
    Amount { files: tally.names, bytes: tally.bytes }
}
