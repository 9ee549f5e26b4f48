//! Bytes on their way to become an object.
//!
//! They are written to a file of their own, which nobody lists, and put on the disk. Only
//! then, under the lock, is the condition checked and the file renamed to its place. A draft
//! that is dropped leaves nothing behind.

use std::fs::File;
use std::io::{Read, Write};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, XattrFlags};
use rustix::io::Errno;

use super::Folder;
use super::failure::Request;
use super::object::{Facts, KEY_XATTR, META_XATTR, OpenObject, StoredMeta};
use super::place::{ODD, TMP, Target, odd_name, sync_folders};
use crate::os::clock::{Clock, SystemClock};
use crate::store::{Condition, ErrorKind, Nonce, PutOptions, Result, UserMeta, Version};

const NS_PER_SECOND: i64 = 1_000_000_000;
/// Steps to a later time, for filesystems whose clock is coarse.
const LATER_NS: [i64; 5] = [1, 1_000, 1_000_000, NS_PER_SECOND, 2 * NS_PER_SECOND];
/// How often a rename is tried while others change the folders above.
const RENAME_ATTEMPTS: u32 = 20;
/// A draft of this age has lost its writer.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 3600);
/// What user metadata may take as JSON: what every filesystem keeps beside a key.
const MAX_META_BYTES: usize = 2800;

/// A file that is not an object yet.
pub(super) struct Draft<'a> {
    folder: &'a Folder,
    request: &'a Request,
    file: File,
    tmp: OwnedFd,
    name: String,
    placed: bool,
}

impl<'a> Draft<'a> {
    pub(super) fn create(folder: &'a Folder, request: &'a Request) -> Result<Self> {
        let tmp = folder.machinery(TMP, request)?;
        folder.swept.call_once(|| sweep(&tmp, SystemClock.now()));
        let name = uuid::Uuid::new_v4().to_string();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&tmp, &name, flags, Mode::from_raw_mode(0o666))
            .map_err(request.failed("make a temporary file"))?;
        Ok(Self { folder, request, file: file.into(), tmp, name, placed: false })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(self.request.failed("write a temporary file"))
    }

    /// Appends a range of a file, sharing its blocks where the filesystem can.
    pub(super) fn append(&mut self, from: &File, range: Range<u64>) -> Result<()> {
        let copied = copy_bytes(from, &mut self.file, range);
        copied.map_err(self.request.failed("copy to a temporary file"))
    }

    /// Makes the draft the object of the request's key, if the condition holds.
    pub(super) fn commit(mut self, options: &PutOptions) -> Result<Version> {
        let mut meta = options.meta.clone();
        meta.insert(Nonce::META.to_owned(), options.nonce.as_str().to_owned());
        let mut facts = self.stamp(now_ns(), &meta)?;
        self.sync()?;
        let lock = self.folder.lock(self.request)?;
        let old = self.folder.find(self.request)?;
        check_condition(self.request, &options.condition, old.as_ref())?;
        if let Some(old) = old.as_ref().filter(|old| old.facts().mtime_ns >= facts.mtime_ns) {
            facts = self.stamp_after(old.facts().mtime_ns, &meta)?;
            self.sync()?;
        }
        let changed = self.place(old.as_ref())?;
        drop(lock);
        sync_folders(&changed, self.request)?;
        Ok(facts.version())
    }

    /// Keeps the draft as a file of the machinery; returns its version.
    pub(super) fn keep_as(mut self, folder: &OwnedFd, name: &str) -> Result<Version> {
        let facts = self.stamp(now_ns(), &UserMeta::new())?;
        self.sync()?;
        self.rename(folder, name).map_err(self.request.failed("rename the temporary file"))?;
        rustix::fs::fsync(folder).map_err(self.request.failed("sync a folder"))?;
        Ok(facts.version())
    }

    /// Renames the draft to its place; returns the folders that changed.
    fn place(&mut self, old: Option<&OpenObject>) -> Result<Vec<OwnedFd>> {
        let Target { parent, is_odd, mut changed, .. } = self.rename_to_target()?;
        changed.push(parent);
        if !is_odd && old.is_some_and(|old| old.is_odd) {
            let odd = self.folder.machinery(ODD, self.request)?;
            rustix::fs::unlinkat(&odd, odd_name(self.request.key.as_str()), AtFlags::empty())
                .map_err(self.request.failed("remove the old version"))?;
            changed.push(odd);
        }
        Ok(changed)
    }

    /// Tries again when somebody has just removed the empty folder, or put one in the way.
    fn rename_to_target(&mut self) -> Result<Target> {
        let mut refused = Errno::NOENT;
        for _ in 0..RENAME_ATTEMPTS {
            let Some(target) = self.folder.target(self.request)? else { continue };
            if target.is_odd {
                self.set_xattr(KEY_XATTR, self.request.key.as_str().as_bytes())?;
                self.sync()?;
            }
            match self.rename(&target.parent, &target.name) {
                Ok(()) => return Ok(target),
                Err(errno @ (Errno::NOENT | Errno::ISDIR)) => refused = errno,
                Err(errno) => return Err(self.request.failed("rename the temporary file")(errno)),
            }
        }
        Err(self.request.failed("rename the temporary file")(refused))
    }

    fn rename(&mut self, folder: &OwnedFd, name: &str) -> rustix::io::Result<()> {
        rustix::fs::renameat(&self.tmp, &self.name, folder, name)?;
        self.placed = true;
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(self.request.failed("sync a temporary file"))
    }

    fn set_xattr(&self, name: &str, value: &[u8]) -> Result<()> {
        let set = rustix::fs::fsetxattr(&self.file, name, value, XattrFlags::empty());
        set.map_err(self.request.failed("write the metadata"))
    }

    /// Sets the time and the metadata of the version that it makes.
    fn stamp(&self, mtime_ns: i64, meta: &UserMeta) -> Result<Facts> {
        let facts = self.set_time(mtime_ns)?;
        let stored = StoredMeta { version: facts.version(), meta: meta.clone() };
        let text = serde_json::to_vec(&stored).expect("metadata is text");
        if text.len() > MAX_META_BYTES {
            let detail = format!("user metadata of {} bytes is too large", text.len());
            return Err(self.request.error(ErrorKind::Invalid).detail(detail));
        }
        self.set_xattr(META_XATTR, &text)?;
        Ok(facts)
    }

    /// Stamps with a time after `old_ns`, as near as the filesystem can tell apart.
    fn stamp_after(&self, old_ns: i64, meta: &UserMeta) -> Result<Facts> {
        for step in LATER_NS {
            let facts = self.stamp(old_ns.saturating_add(step), meta)?;
            if facts.mtime_ns > old_ns {
                return Ok(facts);
            }
        }
        let detail = "the file's time is too late to be followed by another";
        Err(self.request.error(ErrorKind::Unsupported).detail(detail))
    }

    fn set_time(&self, mtime_ns: i64) -> Result<Facts> {
        let failed = || self.request.failed("set the file's time");
        let time = Timespec {
            tv_sec: mtime_ns.div_euclid(NS_PER_SECOND),
            tv_nsec: mtime_ns.rem_euclid(NS_PER_SECOND),
        };
        let untouched = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let times = Timestamps { last_access: untouched, last_modification: time };
        rustix::fs::futimens(&self.file, &times).map_err(failed())?;
        rustix::fs::fstat(&self.file).map(|stat| Facts::of(&stat)).map_err(failed())
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.placed {
            rustix::fs::unlinkat(&self.tmp, &self.name, AtFlags::empty()).ok();
        }
    }
}

/// Fails unless the condition holds for the object that is there.
pub(super) fn check_condition(
    request: &Request,
    condition: &Condition,
    found: Option<&OpenObject>,
) -> Result<()> {
    match (condition, found) {
        (Condition::Always, _) | (Condition::IfAbsent, None) => Ok(()),
        (Condition::IfAbsent, Some(_)) => Err(request.error(ErrorKind::Exists)),
        (Condition::IfVersion(wanted), Some(found)) if *wanted == found.facts().version() => Ok(()),
        (Condition::IfVersion(_), _) => Err(request.error(ErrorKind::Changed)),
    }
}

fn now_ns() -> i64 {
    let passed = SystemClock.now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(passed.as_nanos()).unwrap_or(i64::MAX)
}

/// Copies a range of `from` to the end of `to`.
fn copy_bytes(from: &File, to: &mut File, range: Range<u64>) -> std::io::Result<()> {
    let Range { start: mut offset, end } = range;
    while offset < end {
        let step = usize::try_from(end - offset).unwrap_or(usize::MAX).min(1 << 30);
        match rustix::fs::copy_file_range(from, Some(&mut offset), &*to, None, step) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => {
                return copy_by_hand(from, to, offset, end);
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn copy_by_hand(from: &File, to: &mut File, start: u64, end: u64) -> std::io::Result<()> {
    struct At<'a>(&'a File, u64);
    impl Read for At<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = self.0.read_at(buffer, self.1)?;
            self.1 += count as u64;
            Ok(count)
        }
    }
    let copied = std::io::copy(&mut At(from, start).take(end - start), to)?;
    if copied == end - start { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
}

/// Removes drafts that a killed process left behind. What cannot be removed stays.
fn sweep(tmp: &OwnedFd, now: SystemTime) {
    let Ok(names) = rustix::fs::Dir::read_from(tmp) else { return };
    for name in names.flatten() {
        let Ok(stat) = rustix::fs::statat(tmp, name.file_name(), AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let age = now.duration_since(Facts::of(&stat).modified()).unwrap_or_default();
        if age > ABANDONED_AFTER {
            rustix::fs::unlinkat(tmp, name.file_name(), AtFlags::empty()).ok();
        }
    }
}
