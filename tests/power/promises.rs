//! What a program was promised when fsync returned, and whether it was kept.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

const PAGE: usize = 4096;

/// What a file may hold, in order.
type Bytes = Arc<Vec<u8>>;

/// Where fsynced bytes are safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Safe {
    /// In the bucket, at once.
    InBucket,
    /// On the disk: in the bucket after the next start.
    OnDisk,
}

/// What was done to a file since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Since {
    Nothing,
    Appended,
    Overwritten,
}

/// Bytes that were fsynced.
#[derive(Debug, Clone)]
pub(crate) struct Promise {
    /// The names that they may have.
    paths: BTreeSet<String>,
    /// The bytes, and what the file held afterwards.
    versions: Vec<Bytes>,
    since: Since,
}

/// All that was promised and not taken back.
#[derive(Debug, Clone, Default)]
pub(crate) struct Promises {
    made: Vec<Promise>,
}

impl Promises {
    /// Notes that fsync of a file returned.
    pub(crate) fn make(&mut self, path: &str, bytes: &Bytes) {
        self.drop_of(path);
        let paths = BTreeSet::from([path.to_owned()]);
        self.made.push(Promise { paths, versions: vec![Arc::clone(bytes)], since: Since::Nothing });
    }

    /// Notes that bytes from `offset` on are about to change.
    pub(crate) fn changes(&mut self, path: &str, offset: usize, after: &Bytes) {
        for promise in self.made.iter_mut().filter(|promise| promise.paths.contains(path)) {
            let is_tail = offset >= promise.versions[0].len();
            promise.since = promise.since.max(if is_tail { Since::Appended } else { Since::Overwritten });
            promise.versions.push(Arc::clone(after));
        }
    }

    /// Notes that a file is about to get another name.
    pub(crate) fn renames(&mut self, from: &str, to: &str) {
        self.drop_of(to);
        for promise in self.made.iter_mut().filter(|promise| promise.paths.contains(from)) {
            promise.paths.insert(to.to_owned());
        }
    }

    /// Notes that a file is about to go.
    pub(crate) fn drop_of(&mut self, path: &str) {
        self.made.retain(|promise| !promise.paths.contains(path));
    }

    pub(crate) fn len(&self) -> usize {
        self.made.len()
    }

    /// Returns the promises that a bucket does not keep. `before` is the bucket when the power
    /// failed: a name that goes back goes back to what it was there.
    pub(crate) fn broken(&self, bucket: &Path, safe: Safe, before: &Path) -> Vec<String> {
        self.made.iter().filter_map(|promise| promise.fault(bucket, safe, before)).collect()
    }
}

impl Promise {
    fn fault(&self, bucket: &Path, safe: Safe, before: &Path) -> Option<String> {
        let objects: Vec<_> = self.paths.iter().filter_map(|path| fs::read(bucket.join(path)).ok()).collect();
        if objects.iter().any(|object| self.is_kept_by(object)) {
            return None;
        }
        let what = format!("{:?}: {} bytes, {:?} since", self.paths, self.versions[0].len(), self.since);
        if safe == Safe::InBucket || self.since == Since::Nothing {
            let sizes: Vec<_> = objects.iter().map(Vec::len).collect();
            return Some(format!("{what}: no name has them, but {sizes:?} bytes"));
        }
        if !self.paths.iter().any(|path| self.is_beside(bucket, path)) {
            return Some(format!("{what}: they are not kept beside the name either"));
        }
        // Of a file that was renamed the bucket's version may have any of its names.
        let went_back = |path: &String| fs::read(bucket.join(path)).ok() == fs::read(before.join(path)).ok();
        let odd: Vec<_> = self.paths.iter().filter(|path| !went_back(path)).collect();
        (!odd.is_empty() && self.paths.len() == 1)
            .then(|| format!("{what}: {odd:?} did not go back to the bucket's version"))
    }

    /// Returns whether an object is what was promised, or what the file held later.
    fn is_kept_by(&self, object: &[u8]) -> bool {
        match self.since {
            Since::Nothing => *object == **self.versions[0],
            Since::Appended => object.starts_with(&self.versions[0]),
            Since::Overwritten => {
                self.versions.iter().any(|version| *object == ***version)
                    || self.versions.windows(2).any(|pair| is_between(&pair[0], &pair[1], object))
            }
        }
    }

    /// Returns whether a file beside the name holds the bytes, as far as they were not overwritten.
    fn is_beside(&self, bucket: &Path, path: &str) -> bool {
        let full = bucket.join(path);
        let (folder, name) = (full.parent().unwrap(), full.file_name().unwrap().to_str().unwrap());
        let beside = format!("{name}.recovered-");
        let Ok(files) = fs::read_dir(folder) else { return false };
        let files = files.map(|file| file.unwrap());
        let is_beside = |file: &fs::DirEntry| file.file_name().to_str().unwrap().starts_with(&beside);
        files.filter(is_beside).any(|file| self.is_plausible(&fs::read(file.path()).unwrap()))
    }

    fn is_plausible(&self, kept: &[u8]) -> bool {
        if self.since == Since::Appended {
            return kept.starts_with(&self.versions[0]);
        }
        let shortest = self.versions.iter().map(|version| version.len()).min().unwrap_or(0);
        let is_known = |(at, byte): (usize, &u8)| {
            let was = self.versions.iter().any(|version| version.get(at) == Some(byte));
            // What was cut off, or never there, may be zeros.
            was || (*byte == 0 && at >= shortest)
        };
        kept.len() >= shortest && kept.iter().enumerate().all(is_known)
    }
}

/// The kernel may cut a write in two where a page ends, and a push may come between them.
fn is_between(old: &[u8], new: &[u8], object: &[u8]) -> bool {
    (PAGE..new.len()).step_by(PAGE).any(|cut| {
        let rest = old.get(cut..).unwrap_or_default();
        object.len() == cut + rest.len() && object[..cut] == new[..cut] && object[cut..] == *rest
    })
}
