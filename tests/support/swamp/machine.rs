//! A machine's disk: swamp's cache of files, the time of its copy of the index, its sidecar.
//!
//! It outlives processes. Its clock never shows the same millisecond twice, as if work took time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bayou::model::timestamp::Timestamp;
use bayou::os::clock::SharedClock;
use bytes::Bytes;
use parking_lot::Mutex;

use super::{Failed, Result};

/// The disk of one machine.
pub(crate) struct Machine {
    clock: SharedClock,
    disk: Mutex<Disk>,
}

#[derive(Default)]
struct Disk {
    files: BTreeMap<String, File>,
    /// Names that a walk meets and that are not there when they are looked at.
    dangling: BTreeSet<String>,
    index_written: Option<i64>,
    sidecar: Option<Vec<u8>>,
    last_ms: i64,
}

#[derive(Clone)]
struct File {
    bytes: Bytes,
    mtime_ms: i64,
}

/// What a look at a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) size: u64,
    pub(super) mtime: String,
}

impl Machine {
    /// Returns a machine with an empty disk.
    pub(crate) fn new(clock: SharedClock) -> Arc<Self> {
        Arc::new(Self { clock, disk: Mutex::default() })
    }

    pub(super) fn now_ms(&self) -> i64 {
        let now = Timestamp::from(self.clock.now()).as_unix_ms();
        let mut disk = self.disk.lock();
        disk.last_ms = now.max(disk.last_ms + 1);
        disk.last_ms
    }

    pub(super) fn now(&self) -> String {
        text_of(self.now_ms())
    }

    /// Writes a file, as a program does that forgets to say so.
    pub(crate) fn write(&self, path: &str, bytes: impl Into<Bytes>) -> Result<()> {
        let mtime_ms = self.now_ms();
        let mut disk = self.disk.lock();
        let above = path.match_indices('/').map(|(at, _)| &path[..at]);
        if above.into_iter().any(|folder| disk.files.contains_key(folder)) {
            return Err(Failed::new(format!("{path}: Not a directory")));
        }
        if path.ends_with('/') || disk.has_below(path) {
            return Err(Failed::new(format!("{path}: Is a directory")));
        }
        disk.dangling.remove(path);
        disk.files.insert(path.to_owned(), File { bytes: bytes.into(), mtime_ms });
        Ok(())
    }

    /// Removes a file, or a folder with all that is in it.
    pub(crate) fn remove(&self, path: &str) {
        let mut disk = self.disk.lock();
        let below = format!("{path}/");
        disk.files.retain(|name, _| name != path && !name.starts_with(&below));
        disk.dangling.retain(|name| name != path && !name.starts_with(&below));
    }

    /// Makes a link to nowhere: a name that a walk meets and that cannot be looked at.
    pub(crate) fn dangle(&self, path: &str) {
        self.disk.lock().dangling.insert(path.to_owned());
    }

    /// Returns a file's bytes.
    pub(crate) fn read(&self, path: &str) -> Option<Bytes> {
        self.disk.lock().files.get(path).map(|file| file.bytes.clone())
    }

    /// Returns the paths of all files, in order.
    pub(crate) fn files(&self) -> Vec<String> {
        self.disk.lock().files.keys().cloned().collect()
    }

    pub(super) fn stat(&self, path: &str) -> Option<Stat> {
        let disk = self.disk.lock();
        let file = disk.files.get(path)?;
        Some(Stat { size: file.bytes.len() as u64, mtime: text_of(file.mtime_ms) })
    }

    pub(super) fn is_folder(&self, path: &str) -> bool {
        self.disk.lock().has_below(path)
    }

    /// Returns what a walk of a folder meets, dangling names among it; everything for an empty path.
    pub(super) fn walk(&self, folder: &str) -> Vec<String> {
        let disk = self.disk.lock();
        let below = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let names: BTreeSet<&String> = disk.files.keys().chain(&disk.dangling).collect();
        names.into_iter().filter(|name| name.starts_with(&below)).cloned().collect()
    }

    /// Notes that the local copy of the index was written.
    pub(super) fn write_index(&self) {
        let now = self.now_ms();
        self.disk.lock().index_written = Some(now);
    }

    pub(super) fn index_written(&self) -> Option<i64> {
        self.disk.lock().index_written
    }

    /// Returns the sidecar's bytes.
    pub(crate) fn sidecar(&self) -> Option<Vec<u8>> {
        self.disk.lock().sidecar.clone()
    }

    pub(super) fn write_sidecar(&self, bytes: Vec<u8>) {
        self.disk.lock().sidecar = Some(bytes);
    }
}

impl Disk {
    fn has_below(&self, folder: &str) -> bool {
        let below = format!("{folder}/");
        let first = |name: Option<&String>| name.is_some_and(|name| name.starts_with(&below));
        first(self.files.range(below.clone()..).next().map(|(name, _)| name))
            || first(self.dangling.range(below.clone()..).next())
    }
}

fn text_of(ms: i64) -> String {
    Timestamp::from_unix_ms(ms).to_string()
}

pub(super) fn later_than(written: Option<i64>, now_ms: i64) -> String {
    text_of(written.map_or(now_ms, |written| now_ms.max(written + 1)))
}

pub(super) fn ms_of(text: &str) -> Option<i64> {
    Timestamp::parse(text).map(Timestamp::as_unix_ms)
}
