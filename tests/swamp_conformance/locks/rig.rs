//! Clients that want the lock, and time that passes while they wait.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bayou::model::key::ObjectKey;
use bayou::model::lock_body::LockBody;
use bayou::model::timestamp::Stamp;
use bayou::os::clock::{Clock, SharedClock, SystemClock};
use bayou::store::SharedStore;
use bayou::store::recording::RecordingStore;
use bayou::sync::lock::{BucketLock, LockOptions, SeenLock, inspect, inspect_with_age};
use bayou_test_server::{Conditions, Options};

use crate::world::World;

pub(crate) const LOCK: &str = ".datastore.lock";

/// How far the clock is turned between two requests.
const STEP: Duration = Duration::from_millis(50);
/// How long something is looked for that must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns a bucket of a server that ignores conditions on writes.
pub(crate) async fn careless() -> World {
    let options = Options { conditions: Conditions::IgnoredOnWrites, ..Options::default() };
    let world = World::s3_with(options).await;
    assert!(!world.conditions.put && !world.conditions.delete);
    world
}

/// A process that wants the lock.
pub(crate) struct Client {
    pub(crate) lock: Arc<BucketLock>,
    pub(crate) store: Arc<RecordingStore>,
}

/// Returns a process that waits for nobody.
pub(crate) fn impatient(world: &World) -> Client {
    client(world, LockOptions { wait: Duration::ZERO, ..LockOptions::default() })
}

/// Returns a process that waits for longer than any test takes: time flies when a disk is slow.
pub(crate) fn patient(world: &World) -> Client {
    patient_for(world, 3600)
}

/// Returns a process that waits for so many seconds.
pub(crate) fn patient_for(world: &World, seconds: u64) -> Client {
    client(world, LockOptions { wait: Duration::from_secs(seconds), ..LockOptions::default() })
}

fn client(world: &World, options: LockOptions) -> Client {
    client_over(world, Arc::clone(&world.bucket), options)
}

/// Returns a process that asks the bucket through this store.
pub(crate) fn client_over(world: &World, store: SharedStore, options: LockOptions) -> Client {
    client_of(world, store, LOCK, options)
}

/// Returns a process that wants the lock under this key.
pub(crate) fn client_of(world: &World, store: SharedStore, key: &str, options: LockOptions) -> Client {
    let store = Arc::new(RecordingStore::new(store));
    let clock: SharedClock = Arc::new(Arc::clone(&world.clock));
    let shared: SharedStore = store.clone();
    let lock = BucketLock::new(shared, ObjectKey::new(key), clock, world.conditions, options);
    Client { lock, store }
}

/// Waits for `work` while time passes, a step with every request that the bucket answers.
pub(crate) async fn turning<T>(world: &World, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = answered(world) => world.clock.advance(STEP),
        }
    }
}

/// Waits until the bucket has answered something. Whoever asks is often stopped in the middle, and
/// a server may end a connection on which that happens again and again: that is an answer, too.
async fn answered(world: &World) {
    world.bucket.head(&ObjectKey::new("tick")).await.ok();
}

/// Returns the lock in the bucket.
pub(crate) async fn seen(world: &World) -> Option<SeenLock> {
    inspect(&*world.bucket, &ObjectKey::new(LOCK)).await.unwrap()
}

/// Returns how old the lock in the bucket is by the store's clock; fails if there is none.
pub(crate) async fn age_of(world: &World) -> Duration {
    let seen = inspect_with_age(&*world.bucket, &ObjectKey::new(LOCK)).await.unwrap();
    seen.unwrap().age.unwrap()
}

/// Returns the mark of the lock in the bucket; fails if there is none.
pub(crate) async fn nonce(world: &World) -> String {
    seen(world).await.unwrap().nonce().unwrap().to_owned()
}

/// Waits until the lock in the bucket is as it must become, while time passes.
pub(crate) async fn until(world: &World, what: &str, is_so: impl Fn(Option<&SeenLock>) -> bool) {
    let began = SystemClock.instant();
    while SystemClock.instant() - began < PATIENCE {
        if is_so(seen(world).await.as_ref()) {
            return;
        }
        world.clock.advance(STEP);
    }
    panic!("The lock never came to be {what}: {:?}", seen(world).await);
}

/// Returns the lock of another client, which says that it counts for 30 s.
pub(crate) fn foreign(nonce: Option<&str>) -> LockBody {
    LockBody {
        holder: "alice@build-3".to_owned(),
        hostname: "build-3".to_owned(),
        pid: Some(4711),
        acquired_at: Stamp::read("2026-08-01T09:31:12.500Z"),
        ttl: Duration::from_secs(30),
        nonce: nonce.map(str::to_owned),
    }
}

/// Writes another client's lock.
pub(crate) async fn put_foreign(world: &World, body: &LockBody) {
    world.put(LOCK, body.to_bytes()).await;
}

/// Makes the lock in the bucket older by the store's clock.
pub(crate) fn age(world: &World, by: Duration) {
    set_written(world, SystemClock.now() - by);
}

/// Sets when the lock in the bucket was written.
pub(crate) fn set_written(world: &World, time: SystemTime) {
    if let Some(server) = world.gcs_server() {
        return server.set_modified("bucket", LOCK, time);
    }
    match world.bucket.address().strip_prefix("file://") {
        Some(folder) => {
            let lock = std::path::Path::new(folder).join(LOCK);
            std::fs::File::open(lock).unwrap().set_modified(time).unwrap();
        }
        None => world.server().set_modified("bucket", LOCK, time),
    }
}
