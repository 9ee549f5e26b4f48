//! One machine's cache with files in it, all of them here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bayou::cache::content::ReadOutcome;
use bayou::cache::file::Access;
use bayou::cache::listing::DirEntry;
use bayou::cache::tree::{Attr, NewNode};
use bayou::cache::{Cache, CacheOptions, Ino, ROOT};
use bayou::os::clock::SystemClock;
use rustix::process::{Resource, getrlimit, setrlimit};

const FILE: NewNode = NewNode { mode: 0o644, uid: None, gid: None };
const FOLDER: NewNode = NewNode { mode: 0o755, uid: None, gid: None };
/// Files in one folder.
const IN_A_FOLDER: usize = 1000;
/// Names asked for at a time, as the kernel's adapter does.
const BATCH: usize = 256;
const ROOMY: u64 = 4 << 30;

/// A file and where it is.
struct Place {
    folder: Ino,
    name: String,
    ino: Ino,
}

/// A cache in a folder that goes with it.
pub struct Machine {
    cache: Arc<Cache>,
    places: Vec<Place>,
    next: AtomicU64,
    _home: tempfile::TempDir,
}

impl Machine {
    /// Returns a machine with so many files of `size` bytes, in folders.
    pub fn with_files(count: usize, size: usize) -> Self {
        open_many_files();
        let home = tempfile::tempdir().unwrap();
        let options = CacheOptions { folder: home.path().to_owned(), limit_bytes: ROOMY, min_free_bytes: 0 };
        let cache = Cache::open_in_boot(options, SystemClock::shared(), "the only boot").unwrap();
        let mut machine = Self { cache, places: Vec::new(), next: AtomicU64::new(0), _home: home };
        let body = vec![7; size];
        let mut folder = ROOT;
        for number in 0..count {
            if number % IN_A_FOLDER == 0 {
                let name = format!("folder-{:04}", number / IN_A_FOLDER);
                folder = machine.cache.make_folder(ROOT, &name, FOLDER).unwrap().ino;
            }
            let name = format!("file-{number:07}.txt");
            let ino = machine.make(folder, &name, &body);
            machine.places.push(Place { folder, name, ino });
        }
        machine
    }

    fn make(&self, folder: Ino, name: &str, body: &[u8]) -> Ino {
        let ino = self.cache.create(folder, name, FILE).unwrap().ino;
        self.cache.open_file(ino, Access::Write).unwrap();
        if !body.is_empty() {
            self.cache.write(ino, 0, body).unwrap();
        }
        self.cache.release(ino);
        ino
    }

    fn place(&self, number: usize) -> &Place {
        &self.places[number % self.places.len()]
    }

    /// Finds a file by its name, as the kernel does when it has forgotten it, and forgets it.
    pub fn lookup(&self, number: usize) -> Attr {
        let place = self.place(number);
        let found = self.cache.lookup(place.folder, &place.name).unwrap();
        self.cache.forget(found.ino, 1);
        found
    }

    /// Returns a file's attributes.
    pub fn attributes(&self, number: usize) -> Attr {
        self.cache.attr(self.place(number).ino).unwrap()
    }

    /// Reads the beginning of a file.
    pub fn read(&self, number: usize, len: u64) -> ReadOutcome {
        self.cache.read(self.place(number).ino, 0, len).unwrap()
    }

    /// Lists the folder that a file is in; returns how many names that are.
    pub fn list(&self, number: usize) -> usize {
        let (folder, mut after, mut listed) = (self.place(number).folder, 0, 0);
        loop {
            let some: Vec<DirEntry> = self.cache.read_folder(folder, after, BATCH).unwrap();
            listed += some.len();
            match some.last() {
                Some(last) if some.len() == BATCH => after = last.ino,
                _ => return listed,
            }
        }
    }

    /// Makes a file in the root that was not there before, with these bytes, and closes it;
    /// returns its name.
    pub fn create(&self, body: &[u8]) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("new-{number:09}");
        let ino = self.make(ROOT, &name, body);
        self.cache.forget(ino, 1);
        name
    }

    /// Removes a file that [`Machine::create`] made.
    pub fn remove(&self, name: &str) {
        self.cache.unlink(ROOT, name).unwrap();
    }

    /// Writes over the beginning of a file.
    pub fn overwrite(&self, number: usize, body: &[u8]) {
        self.cache.write(self.place(number).ino, 0, body).unwrap();
    }
}

/// A cache keeps its content files open; as many as the machine allows may be.
fn open_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}
