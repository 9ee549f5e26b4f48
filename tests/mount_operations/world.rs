//! A real kernel mount of a cache, with whatever the test puts in its bucket.

use std::fs::{File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bayou::cache::hydrate::Hydrator;
use bayou::cache::{Cache, CacheOptions};
use bayou::fs::front::{CloseMode, Front, FrontOptions, FsyncMode};
use bayou::fs::invalidate::{self, InvalidationQueue};
use bayou::fs::mount::{Detach, MountOptions};
use bayou::fs::mountpoint::Mountpoint;
use bayou::fs::serve::{self, Serving};
use bayou::model::entry::Entry;
use bayou::model::key::DataKey;
use bayou::os::clock::SystemClock;
use bayou::store::SharedStore;

use super::shelf::{self, Shelf};

/// A mounted filesystem; unmounted at the end.
pub(crate) struct World {
    runtime: tokio::runtime::Runtime,
    serving: Option<Serving>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) shelf: Arc<Shelf>,
    queue: InvalidationQueue,
    folder: tempfile::TempDir,
}

/// Most bytes of content that the cache of these tests keeps.
pub(crate) const CACHE_BYTES: u64 = 64 << 20;

impl World {
    /// Mounts an empty bucket.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Other users are let through to the mount.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let mountpoint = folder.path().join("mount");
        std::fs::create_dir(&mountpoint).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let options =
            CacheOptions { folder: folder.path().join("cache"), limit_bytes: CACHE_BYTES, min_free_bytes: 0 };
        let cache = Cache::open(options, SystemClock::shared()).unwrap();
        let shelf = Arc::new(Shelf::default());
        let store: SharedStore = shelf.clone();
        let hydrator = Arc::new(Hydrator::new(Arc::clone(&cache), store, Duration::from_secs(10)));
        let (queue, pending) = invalidate::queue();
        let tell = queue.clone();
        cache.tell_kernel_through(move |seen| tell.push(seen));
        let front = Front::new(Arc::clone(&cache), hydrator, front_options());
        let options = MountOptions { source: "test".to_owned(), read_only: false, allow_other: true };
        let point = Mountpoint::prepare(&mountpoint).unwrap();
        let serving = serve::serve(Arc::new(front), &point, &options, runtime.handle(), pending).unwrap();
        Self { runtime, serving: Some(serving), cache, shelf, queue, folder }
    }

    /// Mounts a bucket with these objects, all of them named by the index.
    pub(crate) fn with(objects: &[(&str, &[u8])]) -> Self {
        let world = Self::new();
        world.publish(objects);
        world
    }

    /// Makes the bucket hold exactly these objects, as another machine would, and returns when
    /// the kernel knows.
    pub(crate) fn publish(&self, objects: &[(&str, &[u8])]) {
        let entries: Vec<_> =
            objects.iter().map(|(key, bytes)| (DataKey::admit(key).unwrap(), entry(bytes))).collect();
        objects.iter().for_each(|(key, bytes)| self.shelf.put(key, bytes.to_vec()));
        let pulled = self.cache.apply_index(&entries, &[]).unwrap();
        for path in pulled.vanished {
            self.shelf.remove(&path);
            self.cache.apply_vanished(&path).unwrap();
        }
        self.runtime.block_on(self.queue.announced());
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

fn entry(bytes: &[u8]) -> Entry {
    Entry { size: Some(bytes.len() as u64), version: Some(shelf::version_of(bytes)), ..Entry::default() }
}

fn front_options() -> FrontOptions {
    FrontOptions { uid: 0, gid: 0, close: CloseMode::Returns, fsync: FsyncMode::Local }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut serving) = self.serving.take() {
            serving.unmount(Detach::Now).unwrap();
            if !std::thread::panicking() {
                self.runtime.block_on(serving.ended()).unwrap();
            }
        }
    }
}
