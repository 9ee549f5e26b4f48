//! Attributes: `getattr`, `setattr`, `statfs`.
//!
//! Reading is not timed: the time of access is what a program set, or else that of the last
//! change. Files belong to whoever mounts unless they were given to somebody else. The kernel leaves it to us to clear
//! the set-user-id and set-group-id bits of files that change or get a new owner.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo, TimeOrNow};

use super::error::Result;
use super::front::{Caller, Front};
use crate::cache::Ino;
use crate::cache::attributes::SetAttr;
use crate::cache::listing::EntryKind;
use crate::cache::tree::Attr;
use crate::model::key::MAX_NAME_BYTES;
use crate::model::special::{Device, Special};

/// Bytes of the unit in which `stat` counts a file's blocks.
const STAT_BLOCK_BYTES: u64 = 512;

/// Bytes of the unit in which `df` counts.
const DF_BLOCK_BYTES: u32 = 4096;

/// Bytes that programs are advised to read and write at a time.
const IO_BYTES: u32 = 128 << 10;

const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;
const GROUP_EXECUTES: u32 = 0o0010;

/// Returns the kernel's word for what a name is.
pub(super) fn file_type(kind: EntryKind) -> FileType {
    match kind {
        EntryKind::File => FileType::RegularFile,
        EntryKind::Folder => FileType::Directory,
        EntryKind::Symlink => FileType::Symlink,
        EntryKind::Special(Special::Fifo) => FileType::NamedPipe,
        EntryKind::Special(Special::Socket) => FileType::Socket,
        EntryKind::Special(Special::Block(_)) => FileType::BlockDevice,
        EntryKind::Special(Special::Char(_)) => FileType::CharDevice,
    }
}

fn device_number(kind: EntryKind) -> u32 {
    match kind {
        EntryKind::Special(special) => special.device().map_or(0, Device::to_kernel),
        EntryKind::File | EntryKind::Folder | EntryKind::Symlink => 0,
    }
}

/// What `statfs` tells of the mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Totals {
    /// Blocks in all.
    pub(super) blocks: u64,
    /// Blocks that can still be written before the cache is full.
    pub(super) free: u64,
    /// Files in all.
    pub(super) files: u64,
    /// Files that can still be made; a bucket has no limit.
    pub(super) free_files: u64,
    /// Bytes of a block.
    pub(super) block_bytes: u32,
    /// Most bytes of a name.
    pub(super) name_bytes: u32,
}

impl Front {
    /// Returns the mount's totals: used is what the index names, free is what the cache takes.
    pub(super) fn totals(&self) -> Totals {
        let tally = self.cache.totals();
        let free = self.cache.room() / u64::from(DF_BLOCK_BYTES);
        let free_files = u64::from(u32::MAX);
        Totals {
            blocks: tally.bytes.div_ceil(u64::from(DF_BLOCK_BYTES)) + free,
            free,
            files: tally.names + free_files,
            free_files,
            block_bytes: DF_BLOCK_BYTES,
            name_bytes: MAX_NAME_BYTES as u32,
        }
    }

    /// Returns what `stat` tells of an inode.
    pub(super) fn get_attr(&self, ino: Ino) -> Result<FileAttr> {
        self.cache.look_at(ino)?;
        Ok(self.file_attr(&self.cache.attr(ino)?))
    }

    /// Changes attributes and returns what they are then.
    pub(super) fn set_attr(&self, ino: Ino, mut set: SetAttr, caller: Caller) -> Result<FileAttr> {
        let old = self.cache.attr(ino)?;
        let changes_owner = set.uid.is_some() || set.gid.is_some();
        let changes_content = set.size.is_some() && !caller.is_root();
        if set.mode.is_none() && old.kind == EntryKind::File && (changes_owner || changes_content) {
            set.mode = without_privileges(old.mode);
        }
        if set.size == Some(old.size) && set.mtime.is_none() {
            // Not a change of the content, but of its time: `truncate` to the same size and
            // `: > file` of an empty file are used to say "new as of now".
            set.mtime = Some(self.now_nanos());
        }
        Ok(self.file_attr(&self.cache.set_attr(ino, set)?))
    }

    /// Clears the set-user-id and set-group-id bits of a file that is written.
    pub(super) fn drop_privileges(&self, ino: Ino) -> Result<()> {
        let mode = without_privileges(self.cache.attr(ino)?.mode);
        if mode.is_some() {
            self.cache.set_attr(ino, SetAttr { mode, ..SetAttr::default() })?;
        }
        Ok(())
    }

    /// Returns a time that a program asks to be set.
    pub(super) fn chosen_time(&self, time: TimeOrNow) -> i64 {
        match time {
            TimeOrNow::SpecificTime(time) => nanos(undo_fuser(time)),
            TimeOrNow::Now => self.now_nanos(),
        }
    }

    /// Converts what the cache knows into what the kernel is told.
    pub(super) fn file_attr(&self, attr: &Attr) -> FileAttr {
        let mtime = system_time(attr.mtime);
        FileAttr {
            ino: INodeNo(attr.ino),
            size: attr.size,
            blocks: attr.size.div_ceil(STAT_BLOCK_BYTES),
            atime: system_time(attr.atime),
            mtime,
            ctime: system_time(attr.ctime),
            crtime: mtime,
            kind: file_type(attr.kind),
            perm: (attr.mode & 0o7777) as u16,
            nlink: attr.links,
            uid: attr.uid.unwrap_or(self.options.uid),
            gid: attr.gid.unwrap_or(self.options.gid),
            rdev: device_number(attr.kind),
            blksize: IO_BYTES,
            flags: 0,
        }
    }

    fn now_nanos(&self) -> i64 {
        nanos(self.clock.now())
    }
}

/// Returns the mode that takes privileges away, if there are any. Without the group's right to
/// execute, set-group-id means mandatory locking and stays.
fn without_privileges(mode: u32) -> Option<u32> {
    let mut without = mode & !SET_UID;
    if mode & GROUP_EXECUTES != 0 {
        without &= !SET_GID;
    }
    (without != mode).then_some(without)
}

fn system_time(nanos: i64) -> SystemTime {
    let distance = Duration::from_nanos(nanos.unsigned_abs());
    if nanos < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}

fn nanos(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
    }
}

/// fuser 0.18 reads a time before 1970 with its nanoseconds pointing the wrong way: the
/// kernel's -2 s + 0.8 s arrives as -2.8 s.
fn undo_fuser(time: SystemTime) -> SystemTime {
    match time.duration_since(UNIX_EPOCH) {
        Ok(_) => time,
        Err(before) => {
            let distance = before.duration();
            let nanos = Duration::from_nanos(distance.subsec_nanos().into());
            UNIX_EPOCH - Duration::from_secs(distance.as_secs()) + nanos
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_survive_both_ways() {
        for value in [0, 1, -1, -1_500_000_000, 1_700_000_000_123_456_789] {
            assert_eq!(nanos(system_time(value)), value);
        }
    }

    #[test]
    fn the_wrong_way_of_nanoseconds_is_undone() {
        let read_by_fuser = UNIX_EPOCH - Duration::new(2, 800_000_000);
        assert_eq!(nanos(undo_fuser(read_by_fuser)), -1_200_000_000);
        assert_eq!(nanos(undo_fuser(UNIX_EPOCH - Duration::from_secs(2))), -2_000_000_000);
    }

    #[test]
    fn privileges_are_what_the_kernel_says_they_are() {
        assert_eq!(without_privileges(0o4755), Some(0o755));
        assert_eq!(without_privileges(0o2755), Some(0o755));
        assert_eq!(without_privileges(0o2644), None);
        assert_eq!(without_privileges(0o6644), Some(0o2644));
        assert_eq!(without_privileges(0o755), None);
    }
}
