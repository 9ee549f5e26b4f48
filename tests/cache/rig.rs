//! One machine's cache over a folder bucket, and short words for what is done to it.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bayou::cache::file::Access;
use bayou::cache::hydrate::Hydrator;
use bayou::cache::listing::EntryKind;
use bayou::cache::tree::{Attr, NewNode};
use bayou::cache::{Cache, CacheError, CacheOptions, Ino, ROOT};
use bayou::model::compare::compare;
use bayou::model::identity::Identity;
use bayou::model::key::ObjectKey;
use bayou::model::lock_name::LockName;
use bayou::os::clock::SystemClock;
use bayou::os::durable_file;
use bayou::store::SharedStore;
use bayou::store::folder::FolderStore;
use bayou::store::probe::Conditions;
use bayou::sync::lock::{BucketLock, LockOptions};
use bayou::sync::{SyncOptions, SyncService};

pub(crate) const FILE: NewNode = NewNode { mode: 0o644, uid: None, gid: None };
pub(crate) const FOLDER: NewNode = NewNode { mode: 0o755, uid: None, gid: None };
/// The boot in which a rig's cache is opened, unless a test says otherwise.
pub(crate) const BOOT: &str = "first boot";
const CONDITIONS: Conditions = Conditions { put: true, complete: true, copy: true, delete: true, get: true };
const ROOMY: u64 = 1 << 30;

/// A cache, what it is in step with, and where all of it is.
pub(crate) struct Rig {
    machine: Option<Machine>,
    runtime: tokio::runtime::Runtime,
    root: PathBuf,
    limit_bytes: u64,
    _kept: Option<tempfile::TempDir>,
}

struct Machine {
    cache: Arc<Cache>,
    hydrator: Arc<Hydrator>,
    sync: Arc<SyncService>,
    store: SharedStore,
}

impl Rig {
    /// Returns a rig with an empty bucket and a new cache.
    pub(crate) fn new() -> Self {
        Self::limited(ROOMY)
    }

    /// Returns a rig whose cache keeps so many bytes.
    pub(crate) fn limited(limit_bytes: u64) -> Self {
        let kept = tempfile::tempdir().unwrap();
        let mut rig = Self::at(kept.path(), limit_bytes);
        rig._kept = Some(kept);
        rig
    }

    /// Returns a rig whose bucket and cache are in `root`, as they were left there.
    pub(crate) fn at(root: &Path, limit_bytes: u64) -> Self {
        std::fs::create_dir_all(root.join("bucket")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut rig = Self { machine: None, runtime, root: root.to_owned(), limit_bytes, _kept: None };
        rig.open_in(BOOT);
        rig
    }

    /// Drops the cache without any ceremony.
    pub(crate) fn close(&mut self) {
        self.machine = None;
    }

    /// Drops the cache as if the process had died and opens it again.
    pub(crate) fn reopen(&mut self) {
        self.open_in(BOOT);
    }

    /// Drops the cache and opens it in a boot of the machine with this id.
    pub(crate) fn open_in(&mut self, boot: &str) {
        self.close();
        let folder = self.root.join("cache");
        let options = CacheOptions { folder, limit_bytes: self.limit_bytes, min_free_bytes: 0 };
        let cache = Cache::open_in_boot(options, SystemClock::shared(), boot).unwrap();
        let store: SharedStore = Arc::new(FolderStore::open(&self.root.join("bucket")).unwrap());
        let timeout = Duration::from_secs(10);
        let hydrator = Arc::new(Hydrator::new(Arc::clone(&cache), Arc::clone(&store), timeout));
        let options = SyncOptions::default();
        let lock = BucketLock::remembered(
            store.clone(),
            LockName::of_bucket(None).key(),
            SystemClock::shared(),
            (CONDITIONS, LockOptions::default()),
            Some(self.state("lock-nonce")),
        );
        let sync = SyncService::new(
            Arc::clone(&cache),
            store.clone(),
            Arc::clone(&hydrator),
            lock,
            CONDITIONS,
            options,
        );
        self.machine = Some(Machine { cache, hydrator, sync, store });
    }

    pub(crate) fn cache(&self) -> &Arc<Cache> {
        &self.machine.as_ref().unwrap().cache
    }

    /// Returns the path of something in the cache folder.
    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.root.join("cache/state").join(name)
    }

    /// Returns an object's bytes; `None` if there is none.
    pub(crate) fn object(&self, key: &str) -> Option<Vec<u8>> {
        let key = ObjectKey::new(key);
        let fetched = self.runtime.block_on(self.machine.as_ref().unwrap().store.get(&key, None, None));
        fetched.ok().map(|fetched| fetched.body.to_vec())
    }

    /// Puts an object into the bucket, as another client does.
    pub(crate) fn put_object(&self, key: &str, bytes: &[u8]) {
        let path = self.root.join("bucket").join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        durable_file::replace(&path, bytes).unwrap();
    }

    pub(crate) fn pull(&self) {
        self.runtime.block_on(self.machine.as_ref().unwrap().sync.pull()).unwrap();
    }

    /// Pushes everything; returns whether the cache is proven clean.
    pub(crate) fn push(&self) -> bool {
        self.runtime.block_on(self.machine.as_ref().unwrap().sync.push()).unwrap().settled
    }

    /// Calls the cache clean without a bucket: what a test of the watermark begins with.
    pub(crate) fn settle(&self) {
        let nothing: [(&str, Identity); 0] = [];
        let proof = compare(nothing.clone(), nothing).proof().unwrap();
        let watermark = self.cache().watermark();
        watermark.mark_synced(watermark.begin_sync(), proof, "f1").unwrap();
        assert!(watermark.is_clean_at("f1"));
    }

    /// Returns the inode of a path.
    pub(crate) fn ino(&self, path: &str) -> Ino {
        self.find(path).unwrap().ino
    }

    /// Finds a path as the kernel does: name by name.
    pub(crate) fn find(&self, path: &str) -> Result<Attr, CacheError> {
        let mut found = self.cache().attr(ROOT)?;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            found = self.cache().lookup(found.ino, name)?;
            self.cache().forget(found.ino, 1);
        }
        Ok(found)
    }

    /// Returns the folder of a path and the name in it.
    pub(crate) fn place<'a>(&self, path: &'a str) -> Result<(Ino, &'a str), CacheError> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let found = self.find(folder)?;
        match found.kind {
            EntryKind::Folder => Ok((found.ino, name)),
            EntryKind::File | EntryKind::Symlink | EntryKind::Special(_) => {
                Err(CacheError::NotAFolder(folder.to_owned()))
            }
        }
    }

    /// Makes a file with these bytes.
    pub(crate) fn make(&self, path: &str, bytes: &[u8]) -> Ino {
        let (folder, name) = self.place(path).unwrap();
        let ino = self.cache().create(folder, name, FILE).unwrap().ino;
        self.cache().forget(ino, 1);
        self.cache().write(ino, 0, bytes).unwrap();
        ino
    }

    pub(crate) fn make_folder(&self, path: &str) -> Ino {
        let (folder, name) = self.place(path).unwrap();
        let ino = self.cache().make_folder(folder, name, FOLDER).unwrap().ino;
        self.cache().forget(ino, 1);
        ino
    }

    pub(crate) fn unlink(&self, path: &str) {
        let (folder, name) = self.place(path).unwrap();
        self.cache().unlink(folder, name).unwrap();
    }

    pub(crate) fn rename(&self, from: &str, to: &str) {
        let (from, to) = (self.place(from).unwrap(), self.place(to).unwrap());
        self.cache().rename(from, to, bayou::cache::rename::Replace::Yes).unwrap();
    }

    /// Writes to a path at an offset.
    pub(crate) fn write(&self, path: &str, offset: u64, bytes: &[u8]) {
        self.cache().write(self.ino(path), offset, bytes).unwrap();
    }

    /// Reads a whole file, fetching what is absent.
    pub(crate) fn read(&self, path: &str) -> Vec<u8> {
        self.read_ino(self.ino(path))
    }

    pub(crate) fn read_ino(&self, ino: Ino) -> Vec<u8> {
        self.cache().open_file(ino, Access::Read).unwrap();
        let size = self.cache().attr(ino).unwrap().size;
        let hydrator = &self.machine.as_ref().unwrap().hydrator;
        let bytes = self.runtime.block_on(hydrator.read(ino, 0, size)).unwrap();
        self.cache().release(ino);
        bytes
    }

    /// Fetches a range of a file.
    pub(crate) fn fetch(&self, path: &str, range: std::ops::Range<u64>) {
        let hydrator = &self.machine.as_ref().unwrap().hydrator;
        self.runtime.block_on(hydrator.ensure(self.ino(path), range)).unwrap();
    }

    /// Returns the names in a folder, read a few at a time.
    pub(crate) fn list(&self, folder: Ino) -> Vec<String> {
        let (mut names, mut after) = (Vec::new(), 0);
        loop {
            let some = self.cache().read_folder(folder, after, 2).unwrap();
            let Some(last) = some.last() else { break };
            after = last.ino;
            names.extend(some.into_iter().map(|entry| entry.name));
        }
        names.sort();
        names
    }

    /// Returns the unpushed names.
    pub(crate) fn pending(&self) -> Vec<String> {
        self.cache().all_pending().iter().map(ToString::to_string).collect()
    }

    /// Returns the names in the root that begin like this.
    pub(crate) fn beside(&self, start: &str) -> Vec<String> {
        self.list(ROOT).into_iter().filter(|name| name.starts_with(start)).collect()
    }

    /// Returns the content file of a path.
    pub(crate) fn content_file(&self, path: &str) -> PathBuf {
        self.cache().content_of(self.ino(path)).unwrap().path().to_owned()
    }

    /// Returns everything in the cache folder, by path, but the sidecar.
    pub(crate) fn on_disk(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        collect(&self.root.join("cache"), &mut found);
        found.retain(|path, _| !path.to_string_lossy().contains(".datastore-sync-state.json"));
        found
    }

    /// Keeps a copy of the cache folder as it is, marks and times included.
    pub(crate) fn keep_cache(&self) {
        copy(&self.root.join("cache"), &self.root.join("kept"));
    }

    /// Puts the copy in the place of the cache folder.
    pub(crate) fn restore_cache(&self) {
        std::fs::remove_dir_all(self.root.join("cache")).unwrap();
        copy(&self.root.join("kept"), &self.root.join("cache"));
    }

    /// Returns the sidecar's text.
    pub(crate) fn sidecar(&self) -> String {
        std::fs::read_to_string(self.state(".datastore-sync-state.json")).unwrap_or_default()
    }
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

fn collect(folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else {
            let mut seen = std::fs::read(&path).unwrap();
            let mut mark = vec![0; 4096];
            let length = rustix::fs::getxattr(&path, "user.bayou.origin", &mut mark).unwrap_or(0);
            seen.extend_from_slice(&mark[..length]);
            seen.extend_from_slice(path.as_os_str().as_bytes());
            found.insert(path, seen);
        }
    }
}
