//! The disk as the kernel mounts it.
//!
//! Nothing is held back: what a program writes is in the record before its call returns, and a
//! sync is in the record before anybody may rely on it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bayou::os::clock::{Clock, SystemClock};
use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow,
    WriteFlags,
};
use parking_lot::Mutex;

use crate::disk::{Change, Disk, Node, Number, Place};

/// A disk that is mounted, and whoever looks at its record.
pub(crate) type SharedDisk = Arc<Mutex<Disk>>;

/// Only the kernel changes the disk.
const FOR_EVER: Duration = Duration::from_secs(3600);
const GENERATION: Generation = Generation(0);
const HANDLE: FileHandle = FileHandle(0);
const PAGE: u64 = 4096;
const PAGES: u64 = 1 << 20;

/// A mounted disk; dropped, it is unmounted.
pub(crate) struct Mounted {
    at: PathBuf,
    session: Option<BackgroundSession>,
}

impl Mounted {
    pub(crate) fn new(disk: &SharedDisk, at: &Path) -> Self {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("recorder".to_owned())];
        let session = fuser::spawn_mount(Served(Arc::clone(disk)), at, &config).unwrap();
        Self { at: at.to_owned(), session: Some(session) }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.at).stderr(Stdio::null()).status());
        if let Some(session) = self.session.take() {
            session.join().ok();
        }
    }
}

struct Served(SharedDisk);

fn place(parent: INodeNo, name: &OsStr) -> Place {
    (parent.0, name.to_str().unwrap().to_owned())
}

fn now() -> SystemTime {
    SystemClock.now()
}

fn kind(node: &Node) -> FileType {
    if node.is_folder { FileType::Directory } else { FileType::RegularFile }
}

fn attr(number: Number, node: &Node) -> FileAttr {
    let size = node.bytes.len() as u64;
    FileAttr {
        ino: INodeNo(number),
        size,
        blocks: size.div_ceil(512),
        atime: node.time,
        mtime: node.time,
        ctime: node.time,
        crtime: node.time,
        kind: kind(node),
        perm: u16::try_from(node.mode & 0o7777).unwrap(),
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl Served {
    fn attr(&self, number: Number) -> Option<FileAttr> {
        self.0.lock().content.nodes.get(&number).map(|node| attr(number, node))
    }

    fn make(&self, at: Place, is_folder: bool, mode: u32) -> FileAttr {
        let number = self.0.lock().make(at, is_folder, mode);
        self.attr(number).unwrap()
    }

    fn change(&self, change: Change, reply: ReplyEmpty) {
        self.0.lock().change(change);
        reply.ok();
    }
}

impl Filesystem for Served {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.0.lock().content.find(&place(parent, name));
        match found.and_then(|number| self.attr(number)) {
            Some(attr) => reply.entry(&FOR_EVER, &attr, GENERATION),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attr(ino.0) {
            Some(attr) => reply.attr(&FOR_EVER, &attr),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let number = ino.0;
        {
            let mut disk = self.0.lock();
            if let Some(size) = size {
                let size = usize::try_from(size).unwrap();
                disk.change(Change::Resize { number, size, time: now() });
            }
            if let Some(mode) = mode {
                disk.change(Change::Mode { number, mode });
            }
            if let Some(time) = mtime {
                let time = match time {
                    TimeOrNow::SpecificTime(time) => time,
                    TimeOrNow::Now => now(),
                };
                disk.change(Change::Time { number, time });
            }
        }
        reply.attr(&FOR_EVER, &self.attr(number).unwrap());
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        reply.entry(&FOR_EVER, &self.make(place(parent, name), true, mode), GENERATION);
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let attr = self.make(place(parent, name), false, mode);
        reply.created(&FOR_EVER, &attr, GENERATION, HANDLE, FopenFlags::empty());
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.change(Change::Remove { at: place(parent, name) }, reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let at = place(parent, name);
        let mut disk = self.0.lock();
        let folder = disk.content.find(&at).and_then(|number| disk.content.nodes.get(&number));
        if folder.is_some_and(|folder| !folder.names.is_empty()) {
            return reply.error(Errno::ENOTEMPTY);
        }
        disk.change(Change::Remove { at });
        reply.ok();
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !flags.is_empty() {
            return reply.error(Errno::EINVAL);
        }
        self.change(Change::Move { from: place(parent, name), to: place(new_parent, new_name) }, reply);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let disk = self.0.lock();
        let bytes = &disk.content.nodes[&ino.0].bytes;
        let start = usize::try_from(offset).unwrap().min(bytes.len());
        let end = (start + size as usize).min(bytes.len());
        reply.data(&bytes[start..end]);
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let (offset, bytes) = (usize::try_from(offset).unwrap(), Arc::new(data.to_vec()));
        self.0.lock().change(Change::Write { number: ino.0, offset, bytes, time: now() });
        reply.written(u32::try_from(data.len()).unwrap());
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, only_data: bool, reply: ReplyEmpty) {
        self.change(Change::Sync { number: ino.0, only_data }, reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.change(Change::Sync { number: ino.0, only_data: false }, reply);
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let disk = self.0.lock();
        let nodes = &disk.content.nodes;
        let skipped = usize::try_from(offset).unwrap();
        for (at, (name, number)) in nodes[&ino.0].names.iter().enumerate().skip(skipped) {
            if reply.add(INodeNo(*number), at as u64 + 1, kind(&nodes[number]), name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let page = u32::try_from(PAGE).unwrap();
        reply.statfs(PAGES, PAGES, PAGES, PAGES, PAGES, page, 255, page);
    }

    fn setxattr(
        &self,
        _: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        _: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        let (name, value) = (name.to_str().unwrap().to_owned(), Some(value.to_vec()));
        self.change(Change::Attribute { number: ino.0, name, value }, reply);
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let disk = self.0.lock();
        match disk.content.nodes[&ino.0].attributes.get(name.to_str().unwrap()) {
            None => reply.error(Errno::ENODATA),
            Some(value) if size == 0 => reply.size(u32::try_from(value.len()).unwrap()),
            Some(value) if value.len() > size as usize => reply.error(Errno::ERANGE),
            Some(value) => reply.data(value),
        }
    }

    fn removexattr(&self, _: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.to_str().unwrap().to_owned();
        if !self.0.lock().content.nodes[&ino.0].attributes.contains_key(&name) {
            return reply.error(Errno::ENODATA);
        }
        self.change(Change::Attribute { number: ino.0, name, value: None }, reply);
    }
}
