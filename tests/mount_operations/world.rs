//! A real kernel mount of a folder bucket, and another machine that writes into the bucket.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bayou::cache::Cache;
use bayou::cache::listing::EntryKind;
use bayou::fs::front::{CloseMode, Front, FrontOptions, FsyncMode};
use bayou::fs::invalidate::{self, InvalidationQueue};
use bayou::fs::mount::{Detach, MountOptions};
use bayou::fs::mountpoint::Mountpoint;
use bayou::fs::passthrough::Passthrough;
use bayou::fs::requests::Requests;
use bayou::fs::serve::{self, Serving, SessionEnd};
use bayou::os::clock::{Clock, SystemClock};
use bayou::store::SharedStore;
use bayou::store::folder::FolderStore;
use bayou::store::recording::RecordingStore;
use bayou::sync::SyncService;

use super::kernel_wait::an_announcement_waits;
use super::machine::{CACHE_BYTES, Machine};
use super::pace::Pace;
use super::paced_store::PacedStore;
use super::setup::{Setup, Use};

/// A step of a sync.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Push,
    Pull,
}

/// Which of two machines.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Turn {
    /// The one that has the mount.
    Here,
    There,
}

/// What the machine does first that pushes after another one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Second {
    Pushes,
    Pulls,
}

/// A file that is being read.
pub(crate) type Reading = tokio::task::JoinHandle<io::Result<Vec<u8>>>;

/// A mounted filesystem; unmounted at the end.
pub(crate) struct World {
    runtime: tokio::runtime::Runtime,
    serving: Option<(Serving, SessionEnd)>,
    queue: InvalidationQueue,
    sync: Arc<SyncService>,
    requests: Arc<RecordingStore>,
    other: Machine,
    is_deaf: Arc<AtomicBool>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) passthrough: Arc<Passthrough>,
    asked: Arc<Requests>,
    folder: tempfile::TempDir,
}

impl World {
    /// Mounts an empty bucket, as a mount without options does.
    pub(crate) fn new() -> Self {
        Self::mounted(CloseMode::Returns, FsyncMode::Remote)
    }

    /// Mounts a bucket with these files.
    pub(crate) fn with(files: &[(&str, &[u8])]) -> Self {
        let world = Self::new();
        world.publish(files);
        world
    }

    /// Mounts an empty bucket.
    pub(crate) fn mounted(close: CloseMode, fsync: FsyncMode) -> Self {
        Self::paced(close, fsync, &Pace::new())
    }

    /// Mounts an empty bucket that is asked at this pace.
    pub(crate) fn paced(close: CloseMode, fsync: FsyncMode, pace: &Arc<Pace>) -> Self {
        Self::of(Setup { close, fsync, pace: Arc::clone(pace), ..Setup::default() })
    }

    /// Mounts a bucket with these files, with a cache that keeps so many bytes.
    pub(crate) fn tight(limit_bytes: u64, files: &[(&str, &[u8])]) -> Self {
        let world = Self::of(Setup { limit_bytes, ..Setup::default() });
        world.publish(files);
        world
    }

    /// Mounts an empty bucket.
    pub(crate) fn of(setup: Setup) -> Self {
        let Setup { disk, limit_bytes, close, fsync, pace, use_of_it } = setup;
        let folder = tempfile::tempdir_in(&disk).unwrap();
        // Other users are let through to the mount.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        ["mount", "bucket"].iter().for_each(|name| std::fs::create_dir(folder.path().join(name)).unwrap());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let bucket: SharedStore = Arc::new(FolderStore::open(&folder.path().join("bucket")).unwrap());
        let paced = PacedStore::around(Arc::clone(&bucket), pace);
        let requests = Arc::new(RecordingStore::new(paced));
        let Machine { cache, hydrator, sync } =
            Machine::new(&folder.path().join("cache"), limit_bytes, requests.clone());
        let other = Machine::new(&folder.path().join("other"), 8 * CACHE_BYTES, bucket);
        let (queue, pending) = invalidate::queue();
        let (tell, is_deaf) = (queue.clone(), Arc::new(AtomicBool::new(false)));
        let hears = Arc::clone(&is_deaf);
        cache.tell_kernel_through(move |seen| {
            if !hears.load(Ordering::SeqCst) {
                tell.push(seen);
            }
        });
        let options = FrontOptions { uid: 0, gid: 0, close, fsync };
        let front = Front::new(Arc::clone(&sync), hydrator, options);
        let read_only = use_of_it == Use::Reading;
        let front = if read_only { front.for_reading_only() } else { front };
        let (passthrough, asked) = (front.passthrough(), front.requests());
        let options = MountOptions { source: "test".to_owned(), read_only, allow_other: true };
        let point = Mountpoint::prepare(&folder.path().join("mount")).unwrap();
        let serving = serve::serve(Arc::new(front), &point, &options, runtime.handle(), pending).unwrap();
        let serving = Some(serving);
        Self { runtime, serving, queue, sync, requests, other, is_deaf, cache, passthrough, asked, folder }
    }

    /// Makes another machine publish exactly these files, and returns when the kernel knows.
    pub(crate) fn publish(&self, files: &[(&str, &[u8])]) {
        self.runtime.block_on(async {
            self.other.publish(files).await;
            self.sync.pull().await.unwrap();
            self.queue.announced().await;
        });
        self.requests.take();
    }

    /// As [`World::publish`], but this machine does not look for news.
    pub(crate) fn publish_unseen(&self, files: &[(&str, &[u8])]) {
        self.runtime.block_on(self.other.publish(files));
    }

    /// From now on the kernel is told of nothing.
    pub(crate) fn deafen_kernel(&self) {
        self.is_deaf.store(true, Ordering::SeqCst);
    }

    /// Returns when the kernel was told of everything, or cannot be told the rest before a request
    /// is answered.
    pub(crate) fn announce_or_wait(&self) {
        let queue = self.queue.clone();
        let telling = self.runtime.spawn(async move { queue.announced().await });
        while !telling.is_finished() && !an_announcement_waits() {
            std::thread::yield_now();
        }
    }

    /// Reads a file, of which only so many requests are answered; returns what came of it if it
    /// is done then.
    pub(crate) fn read_for(
        &self,
        pace: &Pace,
        requests: usize,
        reading: &mut Reading,
    ) -> Option<io::Result<Vec<u8>>> {
        let done = self.runtime.block_on(pace.advance(requests, Pin::new(reading)));
        done.map(|joined| joined.unwrap())
    }

    /// Returns when every close of a file has arrived that was not lent.
    pub(crate) fn until_closed(&self, name: &str) {
        let ino = std::fs::metadata(self.path(name)).unwrap().ino();
        while !self.cache.is_lent_to_all(ino) {
            std::thread::yield_now();
        }
    }

    /// Begins to read a whole file.
    pub(crate) fn reading(&self, name: &str) -> Reading {
        let path = self.path(name);
        self.runtime.spawn_blocking(move || std::fs::read(path))
    }

    /// Returns what came of a read.
    pub(crate) fn read_ended(&self, reading: Reading) -> io::Result<Vec<u8>> {
        self.runtime.block_on(reading).unwrap()
    }

    /// Has another machine change something and push it, and returns when the kernel knows.
    pub(crate) fn elsewhere(&self, change: impl FnOnce(&Machine)) {
        self.runtime.block_on(async {
            self.other.sync.pull().await.unwrap();
            change(&self.other);
            self.other.sync.push().await.unwrap();
            self.sync.pull().await.unwrap();
            self.queue.announced().await;
        });
    }

    /// Returns the other machine.
    pub(crate) fn other(&self) -> &Machine {
        &self.other
    }

    /// Has both machines push, one after the other, and see what came of it.
    pub(crate) fn meet(&self, first: Turn, then: Second) {
        let (first, second) = match first {
            Turn::Here => (&self.sync, &self.other.sync),
            Turn::There => (&self.other.sync, &self.sync),
        };
        self.runtime.block_on(async {
            first.push().await.unwrap();
            if let Second::Pulls = then {
                second.pull().await.unwrap();
            }
            second.push().await.unwrap();
            for sync in [first, second] {
                sync.pull().await.unwrap();
            }
            self.queue.announced().await;
        });
    }

    /// Makes one step of a sync, from its beginning to its end.
    pub(crate) fn sync_now(&self, step: Step) {
        let outcome = self.runtime.block_on(async {
            match step {
                Step::Push => self.sync.push_pending().await,
                Step::Pull => self.sync.pull().await,
            }
        });
        outcome.unwrap();
    }

    /// Pushes and pulls all the time while `work` is done.
    pub(crate) fn while_it_syncs<T>(&self, work: impl FnOnce() -> T) -> T {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let sync = Arc::clone(&self.sync);
        let task = self.runtime.spawn(async move {
            while !*stopped.borrow() {
                sync.push_pending().await.unwrap();
                sync.pull().await.unwrap();
            }
        });
        let done = work();
        stop.send_replace(true);
        self.runtime.block_on(task).unwrap();
        done
    }

    /// Pushes everything; returns whether that is all there is.
    pub(crate) fn push(&self) -> bool {
        self.runtime.block_on(self.sync.push()).unwrap().settled
    }

    /// Pushes everything, and returns what the other machine then sees.
    pub(crate) fn seen_elsewhere(&self) -> BTreeMap<String, (EntryKind, u32, Vec<u8>)> {
        assert!(self.push(), "{:?}", self.cache.all_pending());
        self.published()
    }

    /// Returns what the other machine sees.
    pub(crate) fn published(&self) -> BTreeMap<String, (EntryKind, u32, Vec<u8>)> {
        self.runtime.block_on(async {
            self.other.sync.pull().await.unwrap();
            self.other.tree().await
        })
    }

    /// Returns the extended attributes that the other machine knew of when it was last asked what it sees.
    pub(crate) fn xattrs_elsewhere(&self) -> BTreeMap<String, BTreeMap<String, Vec<u8>>> {
        self.other.xattrs()
    }

    /// Returns how often the kernel asked while `work` was done, by kind; what it says without
    /// waiting for an answer aside.
    pub(crate) fn asked_for(&self, work: impl FnOnce()) -> BTreeMap<String, u64> {
        let before = self.asked.counts();
        work();
        let mut asked = self.asked.counts();
        for (kind, count) in &mut asked {
            *count -= before.get(kind).unwrap_or(&0);
        }
        asked.retain(|kind, count| *count > 0 && kind != "forget" && kind != "release");
        asked
    }

    /// Returns how often bytes of files were asked for since the last publication.
    pub(crate) fn gets(&self) -> usize {
        let requests = self.requests.requests();
        let is_file = |key: &str| !key.starts_with(['.', '_']);
        requests.iter().filter(|request| request.operation == "get" && is_file(&request.key)).count()
    }

    /// Returns how often an object was written since the last publication.
    pub(crate) fn puts(&self, key: &str) -> usize {
        let requests = self.requests.requests();
        let is_put = |operation: &str| matches!(operation, "put" | "complete_upload" | "copy");
        requests.iter().filter(|request| is_put(request.operation) && request.key == key).count()
    }

    /// Returns the ranges of an object that were asked for since the last publication.
    pub(crate) fn asked(&self, key: &str) -> Vec<Range<u64>> {
        let requests = self.requests.requests();
        let gets = requests.into_iter().filter(|request| request.operation == "get" && request.key == key);
        gets.map(|request| request.range.unwrap()).collect()
    }

    /// Returns the path of an object in the bucket.
    pub(crate) fn object(&self, key: &str) -> PathBuf {
        self.folder.path().join("bucket").join(key)
    }

    /// Writes a whole file through the mount.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        let mut file = File::create(self.path(name)).unwrap();
        file.write_all(bytes).unwrap();
    }

    /// Renames through the mount.
    #[expect(clippy::disallowed_methods, reason = "the mount's rename is what is tried")]
    pub(crate) fn rename(&self, from: &str, to: &str) -> std::io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    /// Returns the path of a name in the mount.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join("mount").join(name)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some((serving, mut end)) = self.serving.take() {
            serving.unmount(Detach::Now).unwrap();
            if !std::thread::panicking() {
                self.runtime.block_on(async {
                    tokio::select! {
                        biased;
                        ended = end.wait() => ended.unwrap(),
                        () = is_seen_elsewhere(&serving) => {}
                    }
                });
            }
        }
    }
}

/// Returns when somebody who has copied the mount into a namespace of their own goes on with it.
async fn is_seen_elsewhere(serving: &Serving) {
    while serving.seen_elsewhere().unwrap().is_empty() {
        SystemClock.sleep(Duration::from_millis(20)).await;
    }
}
