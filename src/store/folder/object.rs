//! An object as an open file: its version, its metadata, its bytes.
//!
//! The version is the file's modification time and size. Each put sets a time that the key
//! never had, so a version survives restarts and `cp -a`, and changes when another program
//! edits the file.

use std::fs::File;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rustix::fs::{FileType, OFlags, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::Folder;
use super::failure::Request;
use super::place::{odd_path, plain_path};
use crate::os::clock::{Clock, SystemClock};
use crate::store::{ErrorKind, Fetched, ObjectMeta, Result, UserMeta, Version};

/// Extended attribute that holds an object's user metadata.
pub(super) const META_XATTR: &str = "user.bayou.meta";
/// Extended attribute that holds the key, where the path does not.
pub(super) const KEY_XATTR: &str = "user.bayou.key";

/// How often a read is begun again when another program edits the file meanwhile.
const READ_ATTEMPTS: u32 = 5;
const NS_PER_SECOND: i64 = 1_000_000_000;

/// What a file's attributes say of the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) size: u64,
    pub(super) mtime_ns: i64,
}

impl Facts {
    pub(super) fn of(stat: &Stat) -> Self {
        let ns = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
        let mtime_ns = stat.st_mtime.saturating_mul(NS_PER_SECOND).saturating_add(ns);
        Self { size: u64::try_from(stat.st_size).unwrap_or(0), mtime_ns }
    }

    /// Never looks like a multipart upload's ETag, which would be no fingerprint.
    pub(super) fn version(self) -> Version {
        let text = format!("{:x}.{:x}", self.mtime_ns, self.size);
        Version::new(&text).expect("the text has a dot")
    }

    pub(super) fn modified(self) -> SystemTime {
        let distance = Duration::from_nanos(self.mtime_ns.unsigned_abs());
        if self.mtime_ns < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
    }
}

/// User metadata as it is stored. It counts only for the version it was written with, so that
/// a file edited by another program does not carry our marks.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredMeta {
    pub(super) version: Version,
    pub(super) meta: UserMeta,
}

/// An object whose file is open.
pub(super) struct OpenObject {
    file: File,
    facts: Facts,
    /// Whether it is kept aside because its key is no path.
    pub(super) is_odd: bool,
}

impl OpenObject {
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn size(&self) -> u64 {
        self.facts.size
    }

    pub(super) fn facts(&self) -> Facts {
        self.facts
    }

    pub(super) fn meta(&self, request: &Request) -> Result<ObjectMeta> {
        let version = self.facts.version();
        let stored = xattr(&self.file, META_XATTR).map_err(request.failed("read the metadata"))?;
        let stored: Option<StoredMeta> = stored.and_then(|text| serde_json::from_slice(&text).ok());
        let user = stored.filter(|stored| stored.version == version).map(|stored| stored.meta);
        Ok(ObjectMeta {
            size: self.facts.size,
            version,
            modified: self.facts.modified(),
            answered: Some(SystemClock.now()),
            user: user.unwrap_or_default(),
        })
    }

    fn is_unchanged(&self, request: &Request) -> Result<bool> {
        let stat = rustix::fs::fstat(&self.file).map_err(request.failed("look at the file"))?;
        Ok(Facts::of(&stat) == self.facts)
    }

    /// Fails with `Changed` if another program has edited the file since it was opened.
    pub(super) fn check_unchanged(&self, request: &Request) -> Result<()> {
        if self.is_unchanged(request)? { Ok(()) } else { Err(request.error(ErrorKind::Changed)) }
    }

    /// Returns the bytes of the range, cut at the end; `None` if the file changed meanwhile.
    fn bytes(&self, request: &Request, range: Option<Range<u64>>) -> Result<Option<Bytes>> {
        let range = range.unwrap_or(0..self.facts.size);
        let start = range.start.min(self.facts.size);
        let wanted = range.end.min(self.facts.size).saturating_sub(start);
        let wanted = usize::try_from(wanted).map_err(|_| request.error(ErrorKind::Invalid))?;
        let mut body = vec![0; wanted];
        match self.file.read_exact_at(&mut body, start) {
            Ok(()) => Ok(self.is_unchanged(request)?.then_some(body.into())),
            Err(cut) if cut.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(request.failed("read the file")(error)),
        }
    }
}

impl Folder {
    /// Opens the object of the request's key; the odd place counts first.
    pub(super) fn find(&self, request: &Request) -> Result<Option<OpenObject>> {
        let key = request.key.as_str();
        if let Some(odd) = self.open_object(&odd_path(key), true, request)? {
            return Ok(Some(odd));
        }
        match plain_path(key) {
            Some(path) => self.open_object(path, false, request),
            None => Ok(None),
        }
    }

    /// Opens the object, which must be there and have the version, if one is given.
    pub(super) fn find_version(&self, request: &Request, version: Option<&Version>) -> Result<OpenObject> {
        let Some(object) = self.find(request)? else {
            self.check_root(request)?;
            return Err(request.error(ErrorKind::NotFound));
        };
        match version {
            Some(wanted) if *wanted != object.facts.version() => Err(request.error(ErrorKind::Changed)),
            _ => Ok(object),
        }
    }

    fn open_object(&self, path: &str, is_odd: bool, request: &Request) -> Result<Option<OpenObject>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = match self.open_beneath(path, flags) {
            Ok(file) => File::from(file),
            Err(
                Errno::NOENT
                | Errno::NOTDIR
                | Errno::LOOP
                | Errno::NXIO
                | Errno::NAMETOOLONG
                | Errno::ILSEQ
                | Errno::INVAL,
            ) => return Ok(None),
            Err(errno) => return Err(request.failed("open the file")(errno)),
        };
        let stat = rustix::fs::fstat(&file).map_err(request.failed("look at the file"))?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        Ok(is_file.then(|| OpenObject { file, facts: Facts::of(&stat), is_odd }))
    }

    /// Returns the bytes of one version; begins again if the file is edited meanwhile.
    pub(super) fn read(
        &self,
        request: &Request,
        range: Option<Range<u64>>,
        if_version: Option<&Version>,
    ) -> Result<Fetched> {
        for _ in 0..READ_ATTEMPTS {
            let object = self.find_version(request, if_version)?;
            let meta = object.meta(request)?;
            if let Some(body) = object.bytes(request, range.clone())? {
                return Ok(Fetched { body, meta: meta.into() });
            }
        }
        Err(request.error(ErrorKind::Unreachable).detail("another program keeps changing the file"))
    }
}

/// Returns an extended attribute, if the file has it.
///
/// One that is longer than any of ours was written by somebody else and counts as none.
pub(super) fn xattr(file: impl AsFd, name: &str) -> rustix::io::Result<Option<Vec<u8>>> {
    let mut buffer = [MaybeUninit::uninit(); 8192];
    match rustix::fs::fgetxattr(file, name, &mut buffer) {
        Ok((value, _)) => Ok(Some(value.to_vec())),
        Err(Errno::NODATA | Errno::RANGE) => Ok(None),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_usable_as_a_fingerprint_whatever_the_size() {
        use crate::model::sidecar::FingerprintKind;
        for size in [0, 1, 9, 0x1234_5678] {
            let version = Facts { size, mtime_ns: 1_785_576_672_500_000_001 }.version();
            assert!(FingerprintKind::Etag.is_usable(version.as_str()), "{version}");
        }
    }

    #[test]
    fn times_before_1970_are_times() {
        let facts = Facts { size: 1, mtime_ns: -1 };
        assert_eq!(facts.modified(), UNIX_EPOCH - Duration::from_nanos(1));
        assert_ne!(facts.version(), Facts { size: 1, mtime_ns: 1 }.version());
    }
}
