//! How often the kernel asked, by kind: what it keeps itself it does not ask for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! kinds {
    ($($name:ident = $word:literal,)*) => {
        /// A kind of request, as FUSE calls it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Kind { $($name,)* }

        const WORDS: &[&str] = &[$($word,)*];
    };
}

kinds! {
    Lookup = "lookup",
    Forget = "forget",
    GetAttr = "getattr",
    SetAttr = "setattr",
    ReadLink = "readlink",
    MakeNode = "mknod",
    MakeFolder = "mkdir",
    Unlink = "unlink",
    RemoveFolder = "rmdir",
    Symlink = "symlink",
    Rename = "rename",
    Link = "link",
    Open = "open",
    Read = "read",
    Write = "write",
    Flush = "flush",
    Release = "release",
    Fsync = "fsync",
    OpenFolder = "opendir",
    ReadFolder = "readdir",
    ReadFolderPlus = "readdirplus",
    FsyncFolder = "fsyncdir",
    StatFs = "statfs",
    SetXattr = "setxattr",
    GetXattr = "getxattr",
    ListXattr = "listxattr",
    RemoveXattr = "removexattr",
    Access = "access",
    Create = "create",
    Ioctl = "ioctl",
    Fallocate = "fallocate",
    Seek = "lseek",
    Copy = "copy_file_range",
}

/// The counts of a mount.
#[derive(Debug)]
pub struct Requests([AtomicU64; WORDS.len()]);

impl Default for Requests {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Requests {
    pub(super) fn note(&self, kind: Kind) {
        self.0[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how often each kind came that came at all.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        let named = WORDS.iter().map(|word| (*word).to_owned()).zip(counts);
        named.filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_is_counted_under_its_word() {
        let requests = Requests::default();
        [Kind::Lookup, Kind::Seek, Kind::Seek].into_iter().for_each(|kind| requests.note(kind));
        assert_eq!(requests.counts(), BTreeMap::from([("lookup".to_owned(), 1), ("lseek".to_owned(), 2)]));
    }
}
