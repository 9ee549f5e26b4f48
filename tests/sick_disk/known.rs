//! A mount whose cache is on a disk of its own, and what must be in it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use bayou::model::content_hash::ContentHash;

use crate::bucket_view::BucketView;
use crate::daemon::{Daemon, Place, Start};

/// Changes stay on this machine for as long as a test takes, whatever the disk has free.
const FLAGS: &[&str] =
    &["--write-back", "1h", "--refresh", "0s", "--cache-size", "1GiB", "--cache-min-free", "0B"];

/// A place, and the files that must be there.
pub(crate) struct Known {
    pub(crate) place: Place,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

/// Returns bytes that differ from file to file and from place to place.
pub(crate) fn bytes_of(name: &str, len: usize) -> Vec<u8> {
    let seed = name.bytes().fold(7_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    (0..len).map(|at| seed.wrapping_add((at % 241) as u8) | 1).collect()
}

impl Known {
    /// Returns a place whose bucket has these files, of so many bytes, put there by another
    /// machine.
    pub(crate) fn with(sizes: &[(String, usize)]) -> Self {
        let mut known = Self { place: Place::new(), files: BTreeMap::new() };
        let daemon = Daemon::start(&known.place, &known.start("other")).unwrap();
        for (name, len) in sizes {
            let bytes = bytes_of(name, *len);
            File::create(known.path(name)).unwrap().write_all(&bytes).unwrap();
            known.files.insert(name.clone(), bytes);
        }
        daemon.stop();
        known
    }

    fn start<'a>(&self, cache: &'a str) -> Start<'a> {
        Start { cache, flags: FLAGS, crash_at: None }
    }

    /// Mounts with the cache that is on the disk; `None` if that is refused.
    pub(crate) fn try_mount(&self) -> Option<Daemon> {
        let daemon = Daemon::start(&self.place, &self.start("cache")).ok();
        self.nobody_panicked();
        daemon
    }

    #[track_caller]
    pub(crate) fn mount(&self) -> Daemon {
        self.try_mount().unwrap_or_else(|| panic!("{}", self.place.logs()))
    }

    #[track_caller]
    pub(crate) fn nobody_panicked(&self) {
        let said = self.place.logs();
        assert!(!said.contains("panicked"), "{said}");
    }

    /// Returns a path in the mount.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.place.mnt().join(name)
    }

    /// Checks that exactly these files are shown, with exactly these bytes.
    #[track_caller]
    pub(crate) fn is_shown(&self) {
        let mut names: Vec<String> = fs::read_dir(self.place.mnt())
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_type().unwrap().is_file())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        assert_eq!(names, self.files.keys().cloned().collect::<Vec<_>>());
        names.iter().for_each(|name| self.is_there(name));
    }

    /// Checks that a file is shown with exactly its bytes.
    #[track_caller]
    pub(crate) fn is_there(&self, name: &str) {
        let there =
            fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}\n{}", self.place.logs()));
        let expected = &self.files[name];
        let differs = there.iter().zip(expected).position(|(there, wanted)| there != wanted);
        assert!(there == *expected, "{name}: {} of {} bytes, {differs:?}", there.len(), expected.len());
    }

    /// Unmounts and checks that exactly these files are in the bucket.
    #[track_caller]
    pub(crate) fn is_pushed(&self, daemon: Daemon) {
        daemon.stop();
        self.nobody_panicked();
        let bucket = BucketView::of(&self.place.bucket());
        assert_eq!(bucket.faults(), Vec::<String>::new());
        let there: BTreeMap<_, _> =
            bucket.entries.keys().map(|key| (key.clone(), bucket.objects[key].hash.clone())).collect();
        let expected =
            self.files.iter().map(|(key, bytes)| (key.clone(), ContentHash::of(bytes).to_string()));
        assert_eq!(there, expected.collect::<BTreeMap<_, _>>());
    }
}
