//! A machine without a mount: a cache, and the sync that keeps it in step with a bucket.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bayou::cache::file::Access;
use bayou::cache::hydrate::Hydrator;
use bayou::cache::listing::EntryKind;
use bayou::cache::tree::NewNode;
use bayou::cache::{Cache, CacheOptions, Ino, ROOT};
use bayou::model::lock_name::LockName;
use bayou::os::clock::SystemClock;
use bayou::store::SharedStore;
use bayou::store::probe::Conditions;
use bayou::sync::lock::{BucketLock, LockOptions};
use bayou::sync::{SyncOptions, SyncService};

/// Most bytes of content that the mounted machine keeps.
pub(crate) const CACHE_BYTES: u64 = 64 << 20;

/// What a folder bucket does with conditions.
const CONDITIONS: Conditions = Conditions { put: true, complete: true, copy: true, delete: true, get: true };

pub(crate) struct Machine {
    pub(crate) cache: Arc<Cache>,
    pub(crate) hydrator: Arc<Hydrator>,
    pub(crate) sync: Arc<SyncService>,
}

impl Machine {
    /// Returns a machine whose cache is in `folder` and keeps `limit_bytes` of content.
    pub(crate) fn new(folder: &Path, limit_bytes: u64, store: SharedStore) -> Self {
        let options = CacheOptions { folder: folder.to_owned(), limit_bytes, min_free_bytes: 0 };
        let cache = Cache::open(options, SystemClock::shared()).unwrap();
        let timeout = Duration::from_secs(10);
        let hydrator = Arc::new(Hydrator::new(Arc::clone(&cache), Arc::clone(&store), timeout));
        let options = SyncOptions::default();
        let key = LockName::of_bucket(None).key();
        let lock_options = LockOptions::default();
        let lock = BucketLock::new(Arc::clone(&store), key, SystemClock::shared(), CONDITIONS, lock_options);
        let sync =
            SyncService::new(Arc::clone(&cache), store, Arc::clone(&hydrator), lock, CONDITIONS, options);
        Self { cache, hydrator, sync }
    }

    /// Makes these the only files, and pushes that.
    pub(crate) async fn publish(&self, files: &[(&str, &[u8])]) {
        self.sync.pull().await.unwrap();
        let (held, _) = self.cache.known_identities().into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
        for path in held.iter().filter(|path| files.iter().all(|(kept, _)| **kept != ***path)) {
            let (folder, name) = self.folder_of(path);
            self.cache.unlink(folder, name).unwrap();
        }
        files.iter().for_each(|(path, bytes)| self.write(path, bytes));
        self.sync.push().await.unwrap();
    }

    /// Returns everything that this machine sees, by path: what it is, and its bytes.
    pub(crate) async fn tree(&self) -> BTreeMap<String, (EntryKind, u32, Vec<u8>)> {
        let mut seen = BTreeMap::new();
        let mut folders = vec![(ROOT, String::new())];
        while let Some((folder, prefix)) = folders.pop() {
            for entry in self.cache.read_folder(folder, 0, usize::MAX).unwrap() {
                let path = format!("{prefix}{}", entry.name);
                let attr = self.cache.attr(entry.ino).unwrap();
                let bytes = match entry.kind {
                    EntryKind::File => self.hydrator.read(entry.ino, 0, attr.size).await.unwrap(),
                    EntryKind::Symlink => self.cache.read_link(entry.ino).unwrap().into_bytes(),
                    EntryKind::Folder => {
                        folders.push((entry.ino, format!("{path}/")));
                        Vec::new()
                    }
                    EntryKind::Special(_) => Vec::new(),
                };
                seen.insert(path, (entry.kind, attr.mode, bytes));
            }
        }
        seen
    }

    /// Returns the extended attributes of what has any, by path.
    pub(crate) fn xattrs(&self) -> BTreeMap<String, BTreeMap<String, Vec<u8>>> {
        let mut seen = BTreeMap::new();
        let mut folders = vec![(ROOT, String::new())];
        while let Some((folder, prefix)) = folders.pop() {
            for entry in self.cache.read_folder(folder, 0, usize::MAX).unwrap() {
                let path = format!("{prefix}{}", entry.name);
                let names = self.cache.xattr_names(entry.ino).unwrap();
                if !names.is_empty() {
                    let value = |name: String| (name.clone(), self.cache.xattr(entry.ino, &name).unwrap());
                    seen.insert(path.clone(), names.into_iter().map(value).collect());
                }
                if entry.kind == EntryKind::Folder {
                    folders.push((entry.ino, format!("{path}/")));
                }
            }
        }
        seen
    }

    /// Gives a file another name.
    pub(crate) fn link(&self, from: &str, to: &str) {
        let ((from, name), to) = (self.folder_of(from), self.folder_of(to));
        let ino = self.cache.lookup(from, name).unwrap().ino;
        self.cache.link(ino, to.0, to.1).unwrap();
    }

    /// Removes a file.
    pub(crate) fn remove(&self, path: &str) {
        let (folder, name) = self.folder_of(path);
        self.cache.unlink(folder, name).unwrap();
    }

    /// Writes a whole file.
    pub(crate) fn write(&self, path: &str, bytes: &[u8]) {
        let (folder, name) = self.folder_of(path);
        let node = NewNode { mode: 0o644, uid: None, gid: None };
        let file =
            self.cache.lookup(folder, name).or_else(|_| self.cache.create(folder, name, node)).unwrap();
        self.cache.open_file(file.ino, Access::Write).unwrap();
        self.cache.truncate(file.ino, 0).unwrap();
        self.cache.write(file.ino, 0, bytes).unwrap();
        self.cache.release(file.ino);
    }

    /// Returns the folder of a path, made if it is not there, and the name in it.
    fn folder_of<'a>(&self, path: &'a str) -> (Ino, &'a str) {
        let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
        let node = NewNode { mode: 0o755, uid: None, gid: None };
        let folder = folders.split('/').filter(|part| !part.is_empty()).fold(ROOT, |folder, part| {
            let found = self.cache.lookup(folder, part);
            found.or_else(|_| self.cache.make_folder(folder, part, node)).unwrap().ino
        });
        (folder, name)
    }
}
