//! One machine that works on a bucket, without a kernel: its cache, its sync, its requests.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bayou::cache::attributes::SetAttr;
use bayou::cache::file::Access;
use bayou::cache::hydrate::Hydrator;
use bayou::cache::listing::EntryKind;
use bayou::cache::rename::Replace;
use bayou::cache::tree::NewNode;
use bayou::cache::{self, Cache, CacheError, CacheOptions, Ino, ROOT};
use bayou::model::lock_name::LockName;
use bayou::os::clock::{Clock, SharedClock, SystemClock};
use bayou::store::SharedStore;
use bayou::store::prefix::Prefixed;
use bayou::store::probe::Conditions;
use bayou::store::recording::{RecordingStore, Request};
use bayou::sync::lock::{BucketLock, LockOptions};
use bayou::sync::{Result, SyncError, SyncOptions, SyncReport, SyncService};
use bayou_test_server::KeyPair;

/// How a machine works.
#[derive(Clone)]
pub(crate) struct PeerOptions {
    /// Its sync.
    pub(crate) sync: SyncOptions,
    /// Its keys; the server's own if `None`.
    pub(crate) keys: Option<KeyPair>,
    /// How long a request may be silent.
    pub(crate) timeout: Duration,
    /// The namespace that it works in; the whole bucket if `None`.
    pub(crate) namespace: Option<&'static str>,
    /// The part of the tree that it holds; all of it if `None`.
    pub(crate) under: Option<&'static str>,
    /// Its cache folder; a new one if `None`.
    pub(crate) folder: Option<PathBuf>,
    /// By what it waits for the lock: real time, also where the test stops the clock.
    pub(crate) lock_clock: SharedClock,
}

impl Default for PeerOptions {
    fn default() -> Self {
        let timeout = Duration::from_secs(30);
        let lock_clock = SystemClock::shared();
        let sync = SyncOptions::default();
        Self { sync, keys: None, timeout, namespace: None, under: None, folder: None, lock_clock }
    }
}

/// One machine.
pub(crate) struct Peer {
    pub(crate) cache: Arc<Cache>,
    pub(crate) hydrator: Arc<Hydrator>,
    pub(crate) sync: Arc<SyncService>,
    pub(crate) store: Arc<RecordingStore>,
    /// Its cache folder.
    pub(crate) folder: PathBuf,
    _home: Option<tempfile::TempDir>,
}

/// The key of the bucket's lock.
pub(crate) const LOCK: &str = ".datastore.lock";
/// How long another machine's lock is waited for; one that was just used is kept for a moment.
const LOCK_WAIT: Duration = Duration::from_secs(30);
pub(crate) const FILE: NewNode = NewNode { mode: 0o644, uid: None, gid: None };
const FOLDER: NewNode = NewNode { mode: 0o755, uid: None, gid: None };

/// Returns whether a key is that of a lock: the bucket's, or a namespace's.
fn is_lock(key: &str) -> bool {
    key == LOCK || key.starts_with(".locks/")
}

impl Peer {
    pub(super) fn open(
        store: SharedStore,
        conditions: Conditions,
        clock: SharedClock,
        options: PeerOptions,
    ) -> Self {
        let home = options.folder.is_none().then(|| tempfile::tempdir().unwrap());
        let own = home.as_ref().map(|home| home.path().join("cache"));
        let folder = options.folder.or(own).unwrap();
        let cache_options = CacheOptions { folder: folder.clone(), limit_bytes: 1 << 30, min_free_bytes: 0 };
        let cache = Cache::open(cache_options, clock).unwrap();
        options.under.iter().for_each(|under| cache.keep_within(under).unwrap());
        let recording = Arc::new(RecordingStore::new(store));
        let root: SharedStore = recording.clone();
        let shared: SharedStore = match options.namespace {
            Some(namespace) => Arc::new(Prefixed::new(Arc::clone(&root), namespace)),
            None => Arc::clone(&root),
        };
        let hydrator = Hydrator::new(Arc::clone(&cache), Arc::clone(&shared), Duration::from_secs(60));
        let hydrator = Arc::new(match options.namespace {
            Some(_) => hydrator.with_root(Arc::clone(&root)),
            None => hydrator,
        });
        let lock = BucketLock::remembered(
            root,
            LockName::of_bucket(options.namespace.map(|name| name.parse().unwrap()).as_ref()).key(),
            options.lock_clock,
            (conditions, LockOptions { wait: LOCK_WAIT, ..LockOptions::default() }),
            Some(folder.join("state/lock-nonce")),
        );
        let sync = SyncService::new(
            Arc::clone(&cache),
            shared,
            Arc::clone(&hydrator),
            lock,
            conditions,
            options.sync,
        );
        Self { cache, hydrator, sync, store: recording, folder, _home: home }
    }

    /// Stops this machine's process and returns what must live on for another on its cache.
    pub(crate) fn stop(self) -> (PathBuf, Option<tempfile::TempDir>) {
        (self.folder, self._home)
    }

    /// Returns the inode of a path, found as the kernel finds it; fails if there is none.
    pub(crate) fn find(&self, path: &str) -> cache::Result<Ino> {
        let mut at = ROOT;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            at = self.cache.lookup(at, part)?.ino;
            self.cache.forget(at, 1);
        }
        Ok(at)
    }

    /// Returns the inode of a path that is there.
    pub(crate) fn ino(&self, path: &str) -> Ino {
        self.find(path).unwrap()
    }

    /// Returns whether there is such a name.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.find(path).is_ok()
    }

    /// Returns the folder of a path, made if it is missing, and the name in it.
    fn place<'a>(&self, path: &'a str) -> (Ino, &'a str) {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut at = ROOT;
        for part in folder.split('/').filter(|part| !part.is_empty()) {
            at = match self.cache.lookup(at, part) {
                Ok(found) => found.ino,
                Err(CacheError::NotFound(_)) => self.cache.make_folder(at, part, FOLDER).unwrap().ino,
                Err(failed) => panic!("{part} of {path}: {failed}"),
            };
            self.cache.forget(at, 1);
        }
        (at, name)
    }

    /// Writes a whole file, as `>` in a shell does.
    pub(crate) fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let (folder, name) = self.place(path);
        let ino = match self.find(path) {
            Ok(ino) => ino,
            Err(_) => {
                let made = self.cache.create(folder, name, FILE).unwrap();
                self.cache.forget(made.ino, 1);
                made.ino
            }
        };
        self.cache.open_file(ino, Access::Write).unwrap();
        self.cache.truncate(ino, 0).unwrap();
        self.cache.write(ino, 0, bytes.as_ref()).unwrap();
        self.cache.release(ino);
    }

    /// Writes into a file that is there.
    pub(crate) fn write_at(&self, path: &str, offset: u64, bytes: impl AsRef<[u8]>) {
        self.cache.write(self.ino(path), offset, bytes.as_ref()).unwrap();
    }

    /// Reads a whole file, fetching what is absent.
    pub(crate) async fn try_read(&self, path: &str) -> cache::Result<Vec<u8>> {
        // More than it has: its size may turn out to be another one on the way.
        self.hydrator.read(self.find(path)?, 0, 1 << 30).await
    }

    /// Reads a whole file that can be read.
    pub(crate) async fn read(&self, path: &str) -> Vec<u8> {
        self.try_read(path).await.unwrap_or_else(|failed| panic!("{path}: {failed}"))
    }

    /// Reads a whole file of text.
    pub(crate) async fn text(&self, path: &str) -> String {
        String::from_utf8(self.read(path).await).unwrap()
    }

    /// Removes a file.
    pub(crate) fn remove(&self, path: &str) {
        let (folder, name) = self.place(path);
        self.cache.unlink(folder, name).unwrap();
    }

    /// Makes a folder.
    pub(crate) fn mkdir(&self, path: &str) {
        let (folder, name) = self.place(path);
        let made = self.cache.make_folder(folder, name, FOLDER).unwrap();
        self.cache.forget(made.ino, 1);
    }

    /// Removes an empty folder.
    pub(crate) fn rmdir(&self, path: &str) {
        let (folder, name) = self.place(path);
        self.cache.remove_folder(folder, name).unwrap();
    }

    /// Makes a symbolic link.
    pub(crate) fn symlink(&self, path: &str, target: &str) {
        let (folder, name) = self.place(path);
        let made = self.cache.make_symlink(folder, name, FILE, target).unwrap();
        self.cache.forget(made.ino, 1);
    }

    /// Gives a file another name.
    pub(crate) fn link(&self, path: &str, new: &str) {
        let (folder, name) = self.place(new);
        let linked = self.cache.link(self.ino(path), folder, name).unwrap();
        self.cache.forget(linked.ino, 1);
    }

    /// Renames a file or folder over whatever has the new name.
    pub(crate) fn rename(&self, from: &str, to: &str) {
        let (from, to) = (self.place(from), self.place(to));
        self.cache.rename(from, to, Replace::Yes).unwrap();
    }

    /// Exchanges two names.
    pub(crate) fn exchange(&self, one: &str, other: &str) {
        self.cache.exchange(self.place(one), self.place(other)).unwrap();
    }

    /// Sets permission bits.
    pub(crate) fn chmod(&self, path: &str, mode: u32) {
        self.cache.set_attr(self.ino(path), SetAttr { mode: Some(mode), ..SetAttr::default() }).unwrap();
    }

    /// Returns the paths of all files and links, and of folders with a slash behind them, in order.
    pub(crate) fn tree(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![(ROOT, String::new())];
        while let Some((ino, path)) = folders.pop() {
            for entry in self.cache.read_folder(ino, 0, usize::MAX).unwrap() {
                let child = format!("{path}{}", entry.name);
                if entry.kind == EntryKind::Folder {
                    folders.push((entry.ino, format!("{child}/")));
                    found.push(format!("{child}/"));
                } else {
                    found.push(child);
                }
            }
        }
        found.sort_unstable();
        found
    }

    /// Returns the paths of all files and links, in order.
    pub(crate) fn files(&self) -> Vec<String> {
        self.tree().into_iter().filter(|path| !path.ends_with('/')).collect()
    }

    /// Returns the only conflict copy that is here.
    pub(crate) fn conflict_copy(&self) -> String {
        let copies = self.conflict_copies();
        assert_eq!(copies.len(), 1, "{:?}", self.files());
        copies[0].clone()
    }

    /// Returns the paths of all conflict copies, in order.
    pub(crate) fn conflict_copies(&self) -> Vec<String> {
        self.files().into_iter().filter(|path| path.contains(".conflict-")).collect()
    }

    /// Returns the paths of all unpushed names, in order.
    pub(crate) fn pending(&self) -> Vec<String> {
        self.cache.all_pending().iter().map(ToString::to_string).collect()
    }

    /// Pulls, which must succeed.
    pub(crate) async fn pull(&self) -> SyncReport {
        self.sync.pull().await.unwrap_or_else(|failed| panic!("{}", bayou::sync::describe(&failed)))
    }

    /// Pushes everything, which must succeed.
    pub(crate) async fn push(&self) -> SyncReport {
        let pushed = self.sync.push().await;
        self.lock_is_back().await;
        pushed.unwrap_or_else(|failed| panic!("{}", bayou::sync::describe(&failed)))
    }

    /// Pushes everything, which must fail.
    pub(crate) async fn push_fails(&self) -> SyncError {
        let failed = self.sync.push().await.expect_err("the push must fail");
        self.lock_is_back().await;
        failed
    }

    /// Returns when the bucket's lock is given back, or cannot be for a while.
    async fn lock_is_back(&self) {
        tokio::select! {
            () = self.sync.lock().idle() => {}
            () = SystemClock.sleep(Duration::from_secs(3)) => {}
        }
    }

    /// Does what fsync of a file does.
    pub(crate) async fn fsync(&self, path: &str) -> Result<()> {
        self.sync.flush_file(self.ino(path)).await
    }

    /// Returns the requests since the last look, as `operation key`, and forgets them. Those
    /// about the lock are left out: they go beside the others, in no order with them.
    pub(crate) fn requests(&self) -> Vec<String> {
        let (_, others) = self.split_requests();
        others
    }

    /// Returns what was asked about the lock since the last look, when all of it is asked, and
    /// forgets all requests.
    pub(crate) async fn lock_requests(&self) -> Vec<String> {
        self.sync.lock().idle().await;
        let (lock, _) = self.split_requests();
        lock.iter().map(|asked| asked.replace(&format!(" {LOCK}"), "")).collect()
    }

    fn split_requests(&self) -> (Vec<String>, Vec<String>) {
        let (lock, others): (Vec<_>, Vec<_>) =
            self.store.take().into_iter().partition(|one| is_lock(&one.key));
        let say = |seen: Vec<Request>| {
            seen.into_iter().map(|one| format!("{} {}", one.operation, one.key)).collect()
        };
        (say(lock), say(others))
    }

    /// Returns how many requests of a kind there were since the last look, those about the lock
    /// left out.
    pub(crate) fn count(&self, operation: &str) -> usize {
        let about = |one: &&Request| one.operation == operation && !is_lock(&one.key);
        self.store.requests().iter().filter(about).count()
    }

    /// Forgets the requests so far.
    pub(crate) fn forget_requests(&self) {
        drop(self.store.take());
    }

    /// Returns whether the watermark says clean.
    pub(crate) fn is_clean(&self) -> bool {
        !self.cache.watermark().is_dirty()
    }
}
