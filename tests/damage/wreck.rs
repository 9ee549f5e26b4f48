//! A mount that was killed with changes, and what may be broken of it.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use bayou::cache::{Cache, CacheOptions};
use bayou::os::clock::SystemClock;

use crate::bucket_view::BucketView;
use crate::daemon::{Daemon, Place, Start, text};
use crate::file_tree::{Node, Tree, read_tree};

/// A file of which only a part is read before it is changed.
pub(crate) const LARGE: usize = 3 << 20;
/// Where it is changed.
pub(crate) const CHANGED_AT: usize = (2 << 20) + 77;
pub(crate) const CHANGE: &[u8] = b"changed in the middle";

/// Changes stay on this machine for as long as a test takes.
const FLAGS: &[&str] = &["--write-back", "1h", "--refresh", "0s"];

/// What is done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    Delete,
    Truncate,
    Garble,
    /// What it was before the last that happened to it.
    OlderCopy,
}

/// What can be done to a file of which there is no older copy.
pub(crate) const ALL: [Damage; 3] = [Damage::Delete, Damage::Truncate, Damage::Garble];

impl Damage {
    pub(crate) fn hit(self, path: &Path) {
        let size = fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).len();
        match self {
            Self::OlderCopy => unreachable!("who has it puts it there"),
            Self::Delete => fs::remove_file(path).unwrap(),
            Self::Truncate => OpenOptions::new().write(true).open(path).unwrap().set_len(size / 2).unwrap(),
            Self::Garble => {
                let len = usize::try_from(size / 3).unwrap().min(4096);
                File::options()
                    .write(true)
                    .open(path)
                    .unwrap()
                    .write_all_at(&vec![0xfe; len], size / 3)
                    .unwrap();
            }
        }
    }
}

/// Where the notes of the changes are when the damage is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notes {
    InJournal,
    InDatabase,
}

/// A killed mount.
pub(crate) struct Wreck {
    pub(crate) place: Place,
    layout: Layout,
}

/// How the bucket's index is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    Monolith,
    Shards,
}

pub(crate) fn large() -> Vec<u8> {
    (0..LARGE).map(|n| (n % 251) as u8 | 1).collect()
}

/// Returns the bytes of the large file as it was changed.
pub(crate) fn large_changed() -> Vec<u8> {
    let mut bytes = large();
    bytes[CHANGED_AT..CHANGED_AT + CHANGE.len()].copy_from_slice(CHANGE);
    bytes
}

impl Wreck {
    pub(crate) fn new(notes: Notes) -> Self {
        Self::of(Layout::Monolith, notes)
    }

    /// As [`Wreck::new`], of a bucket with such an index.
    pub(crate) fn of(layout: Layout, notes: Notes) -> Self {
        let wreck = Self { place: Place::new(), layout };
        wreck.publish();
        let mut daemon = wreck.mount().unwrap();
        wreck.change();
        daemon.kill();
        if notes == Notes::InDatabase {
            let options = CacheOptions { folder: wreck.cache(), limit_bytes: u64::MAX, min_free_bytes: 0 };
            Cache::open(options, SystemClock::shared()).unwrap().fold_catalog().unwrap();
        }
        wreck
    }

    /// Fills the bucket from another machine.
    fn publish(&self) {
        let start = Start { cache: "other", flags: &[], crash_at: None };
        let daemon = Daemon::start(&self.place, &start).unwrap();
        fs::create_dir(self.path("folder")).unwrap();
        self.write("folder/other", b"never old!");
        self.write("clean", b"never changed");
        daemon.stop();
        if self.layout == Layout::Shards {
            let said = self.place.run(&["index", "migrate", "--keep-beside", text(&self.place.bucket())]);
            assert!(said.status.success(), "{said:?}");
        }
        self.keep_copies(&self.place.bucket(), "bucket");
        let daemon = Daemon::start(&self.place, &start).unwrap();
        for (name, bytes) in [("clean", &b"never changed"[..]), ("edited", b"before"), ("large", &large())] {
            self.write(name, bytes);
        }
        self.write("folder/other", b"never read");
        daemon.stop();
        let daemon = self.mount().unwrap();
        // Against the order of the names: what follows is not to be fetched ahead.
        assert_eq!(fs::read(self.path("edited")).unwrap(), b"before");
        assert_eq!(fs::read(self.path("clean")).unwrap(), b"never changed");
        // From here on there is a sidecar, and it says clean.
        self.write("from-here", b"pushed");
        daemon.stop();
        self.keep_copies(&self.cache(), "cache");
    }

    /// Keeps a copy of a folder as it is now.
    fn keep_copies(&self, of: &Path, name: &str) {
        fs::create_dir_all(self.place.path("older")).unwrap();
        let done = Command::new("cp").arg("-a").args([of, &self.place.path("older").join(name)]).status();
        assert!(done.unwrap().success());
    }

    /// Puts the copy of a file in its place that was kept before the last changes.
    pub(crate) fn put_older_copy(&self, path: &Path) {
        let older = match path.strip_prefix(self.place.bucket()) {
            Ok(below) => self.place.path("older/bucket").join(below),
            Err(_) => self.place.path("older/cache").join(path.strip_prefix(self.cache()).unwrap()),
        };
        fs::copy(&older, path).unwrap_or_else(|e| panic!("{}: {e}", older.display()));
    }

    fn change(&self) {
        self.write("new", b"made here");
        let mut edited = OpenOptions::new().append(true).open(self.path("edited")).unwrap();
        edited.write_all(b" and after").unwrap();
        let large = OpenOptions::new().write(true).open(self.path("large")).unwrap();
        large.write_all_at(CHANGE, CHANGED_AT as u64).unwrap();
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        File::create(self.path(name)).unwrap().write_all(bytes).unwrap();
    }

    /// Returns a path in the mount.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.place.mnt().join(name)
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.place.cache("cache").unwrap()
    }

    /// Returns a file of the local state.
    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.cache().join("state").join(name)
    }

    /// Returns the content file that holds exactly these bytes at this place.
    pub(crate) fn content(&self, offset: u64, bytes: &[u8]) -> PathBuf {
        let shelves = fs::read_dir(self.cache().join("content")).unwrap();
        let files = shelves.flat_map(|shelf| fs::read_dir(shelf.unwrap().path()).unwrap());
        let holds = |path: &PathBuf| {
            let mut there = vec![0; bytes.len()];
            let mut file = File::open(path).unwrap();
            file.seek(SeekFrom::Start(offset)).unwrap();
            file.read_exact(&mut there).is_ok() && there == bytes
        };
        files.map(|file| file.unwrap().path()).find(holds).unwrap()
    }

    /// Mounts again; `None` if that is refused.
    pub(crate) fn mount(&self) -> Option<Daemon> {
        let start = Start { cache: "cache", flags: FLAGS, crash_at: None };
        let daemon = Daemon::start(&self.place, &start).ok();
        let said = self.place.logs();
        assert!(!said.contains("panicked"), "{said}");
        daemon
    }

    /// Checks that this is in the logs: somebody was told.
    #[track_caller]
    pub(crate) fn was_told(&self, words: &str) {
        let said = self.place.logs();
        assert!(said.contains(words), "{words:?} is not in\n{said}");
    }

    /// Returns everything that the mount shows.
    pub(crate) fn seen(&self) -> Tree {
        let tree = read_tree(&self.place.mnt(), ".").unwrap_or_else(|e| panic!("{e}\n{}", self.place.logs()));
        tree.into_iter().map(|(path, node)| (path.trim_start_matches("./").to_owned(), node)).collect()
    }

    /// Checks that these bytes are under this name, or beside it under a name that says why.
    #[track_caller]
    pub(crate) fn is_kept(&self, seen: &Tree, name: &str, bytes: &[u8]) {
        let is_it = |(path, node): (&String, &Node)| {
            let beside = path.starts_with(&format!("{name}.recovered-"));
            (path == name || beside) && matches!(node, Node::File { bytes: there, .. } if ***there == *bytes)
        };
        assert!(seen.iter().any(is_it), "{name} is lost:\n{:?}\n{}", seen.keys(), self.place.logs());
    }

    /// Checks that all changes are there, and all that was not changed.
    #[track_caller]
    pub(crate) fn nothing_is_lost(&self) -> Tree {
        let seen = self.seen();
        self.is_kept(&seen, "new", b"made here");
        self.is_kept(&seen, "edited", b"before and after");
        self.is_kept(&seen, "clean", b"never changed");
        self.is_kept(&seen, "folder/other", b"never read");
        self.large_is_not_torn(&seen);
        seen
    }

    /// The changed bytes are there, and absent bytes are never shown as zeros under the name.
    #[track_caller]
    fn large_is_not_torn(&self, seen: &Tree) {
        let Some(Node::File { bytes, .. }) = seen.get("large") else { panic!("large is gone") };
        assert!(**bytes == large_changed() || **bytes == large(), "large is torn\n{}", self.place.logs());
        let changed = |node: &Node| matches!(node, Node::File { bytes, .. } if bytes.get(CHANGED_AT..CHANGED_AT + CHANGE.len()) == Some(CHANGE));
        assert!(seen.values().any(changed), "The change of large is lost\n{}", self.place.logs());
    }

    /// Brings everything to the bucket and checks that it is what the mount shows.
    #[track_caller]
    pub(crate) fn all_is_pushed(&self, daemon: Daemon) {
        let seen = self.seen();
        daemon.stop();
        let bucket = BucketView::of(&self.place.bucket());
        assert_eq!(bucket.faults(), Vec::<String>::new(), "{}", self.place.logs());
        let here: Vec<_> =
            seen.iter().filter_map(|(path, node)| Some((path.clone(), node.hash()?))).collect();
        let there: Vec<_> = bucket
            .objects
            .iter()
            .filter(|(path, _)| bucket.entries.contains_key(*path))
            .map(|(path, object)| (path.clone(), object.hash.clone()))
            .collect();
        assert_eq!(here, there, "{}", self.place.logs());
    }
}
