//! The adapter between fuser and [`super::front::Front`]: decodes, calls, replies; nothing else.
//!
//! What memory or the local disk can answer is answered on the thread that asks. A read of
//! absent bytes, a write into a full cache and a flush go to tokio together with their reply.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, INodeNo, IoctlFlags,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite,
    ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::adapter::{Adapter, len_of};
use super::file_io::{Opened, Span, Written};
use super::front::{Caller, Opens};
use super::negotiate::{self, FOR_EVER, GENERATION};
use super::requests::Kind;
use crate::cache::attributes::SetAttr;
use crate::cache::content::ReadOutcome;

fn caller(request: &Request) -> Caller {
    Caller { uid: request.uid(), gid: request.gid() }
}

impl Filesystem for Adapter {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        negotiate::agree(config, &self.front.passthrough);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.requests.note(Kind::Lookup);
        match self.answer("lookup", |front| front.lookup(parent.0, name)) {
            Ok(Some(attr)) => reply.entry(&FOR_EVER, &attr, GENERATION),
            Ok(None) => reply.entry(&FOR_EVER, &negotiate::NO_FILE, GENERATION),
            Err(errno) => reply.error(errno),
        }
    }

    fn forget(&self, _: &Request, ino: INodeNo, count: u64) {
        self.requests.note(Kind::Forget);
        // There is no reply that could fail.
        self.answer("forget", |front| front.forget(ino.0, count)).ok();
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.requests.note(Kind::GetAttr);
        self.attr("getattr", reply, |front| front.get_attr(ino.0));
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        self.requests.note(Kind::SetAttr);
        self.attr("setattr", reply, |front| {
            let [atime, mtime] = [atime, mtime].map(|time| time.map(|time| front.chosen_time(time)));
            front.set_attr(ino.0, SetAttr { mode, uid, gid, mtime, atime, size }, caller(request))
        });
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        self.requests.note(Kind::ReadLink);
        match self.answer("readlink", |front| front.read_link(ino.0)) {
            Ok(target) => reply.data(target.as_bytes()),
            Err(errno) => reply.error(errno),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        device: u32,
        reply: ReplyEntry,
    ) {
        self.requests.note(Kind::MakeNode);
        let what = (mode, device);
        self.entry("mknod", reply, |front| front.make_node(parent.0, name, what, caller(request)));
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        self.requests.note(Kind::MakeFolder);
        self.entry("mkdir", reply, |front| front.make_folder(parent.0, name, mode, caller(request)));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.requests.note(Kind::Unlink);
        self.empty("unlink", reply, |front| front.unlink(parent.0, name));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.requests.note(Kind::RemoveFolder);
        self.empty("rmdir", reply, |front| front.remove_folder(parent.0, name));
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        self.requests.note(Kind::Symlink);
        self.entry("symlink", reply, |front| front.make_symlink(parent.0, name, target, caller(request)));
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
        self.requests.note(Kind::Rename);
        self.empty("rename", reply, |front| front.rename((parent.0, name), (new_parent.0, new_name), flags));
    }

    fn link(&self, _: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.requests.note(Kind::Link);
        self.entry("link", reply, |front| front.link(ino.0, parent.0, name));
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        self.requests.note(Kind::Open);
        if self.front.opens == Opens::Untold {
            // The kernel opens all files without us from now on.
            return reply.error(Errno::ENOSYS);
        }
        let register = |file: &File| reply.open_backing(file);
        match self.answer("open", |front| front.open(ino.0, flags, caller(request), &register)) {
            Ok(Opened { handle, flags, backing: Some(id) }) => reply.opened_passthrough(handle, flags, &id),
            Ok(Opened { handle, flags, backing: None }) => reply.opened(handle, flags),
            Err(errno) => reply.error(errno),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        len: u32,
        _: OpenFlags,
        owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.requests.note(Kind::Read);
        if owner.is_none() && self.front.may_not_be_kept(ino.0, handle) {
            return reply.error(Errno::EINVAL);
        }
        let span = Span { offset, len };
        self.before_read(ino, span);
        match self.answer("read", |front| front.read(ino.0, span)) {
            Ok(ReadOutcome::Data(bytes)) => reply.data(&bytes),
            Ok(ReadOutcome::Missing(_)) => self.read_later(ino, span, reply),
            Err(errno) => reply.error(errno),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.requests.note(Kind::Write);
        match self.answer("write", |front| front.write(ino.0, offset, data, flags)) {
            Ok(Written::All) => reply.written(len_of(data)),
            Ok(Written::NoRoom) => self.write_later(ino, offset, data.to_vec(), reply),
            Err(errno) => reply.error(errno),
        }
    }

    fn flush(&self, _: &Request, ino: INodeNo, handle: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        self.requests.note(Kind::Flush);
        if self.front.opens == Opens::Untold {
            return reply.error(Errno::ENOSYS);
        }
        if self.front.close_waits(handle) {
            self.empty_later("flush", reply, |front| async move { front.flush(ino.0).await });
        } else {
            reply.ok();
        }
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.requests.note(Kind::Release);
        self.released(ino, handle, reply);
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.requests.note(Kind::Fsync);
        self.empty_later("fsync", reply, |front| async move { front.fsync(ino.0).await });
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.requests.note(Kind::OpenFolder);
        // The kernel takes this for "needs no opening", keeps listings, and does not ask again.
        reply.error(Errno::ENOSYS);
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, after: u64, mut reply: ReplyDirectory) {
        self.requests.note(Kind::ReadFolder);
        match self.answer("readdir", |front| front.read_folder(ino.0, after, &mut reply)) {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn readdirplus(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        after: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        self.requests.note(Kind::ReadFolderPlus);
        match self.answer("readdirplus", |front| front.read_folder_plus(ino.0, after, &mut reply)) {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.requests.note(Kind::FsyncFolder);
        self.empty_later("fsyncdir", reply, |front| async move { front.fsync_folder(ino.0).await });
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        self.requests.note(Kind::StatFs);
        self.totals(reply);
    }

    fn setxattr(
        &self,
        _: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        self.requests.note(Kind::SetXattr);
        self.empty("setxattr", reply, |front| front.set_xattr(ino.0, name, value, flags));
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, room: u32, reply: ReplyXattr) {
        self.requests.note(Kind::GetXattr);
        self.xattr("getxattr", reply, |front| front.get_xattr(ino.0, name, room));
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, room: u32, reply: ReplyXattr) {
        self.requests.note(Kind::ListXattr);
        self.xattr("listxattr", reply, |front| front.list_xattrs(ino.0, room));
    }

    fn removexattr(&self, _: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.requests.note(Kind::RemoveXattr);
        self.empty("removexattr", reply, |front| front.remove_xattr(ino.0, name));
    }

    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        self.requests.note(Kind::Access);
        // The kernel checks permissions itself and does not ask again.
        reply.error(Errno::ENOSYS);
    }

    /// No file here is a device; programs that ask whether it is a terminal hear that.
    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _command: u32,
        _input: &[u8],
        _room: u32,
        reply: ReplyIoctl,
    ) {
        self.requests.note(Kind::Ioctl);
        reply.error(Errno::ENOTTY);
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        len: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        self.requests.note(Kind::Fallocate);
        let span = (offset, len);
        match self.answer("fallocate", |front| front.fallocate(ino.0, span, mode)) {
            Ok(Written::All) => reply.ok(),
            Ok(Written::NoRoom) => self.empty_later("fallocate", reply, move |front| async move {
                front.fallocate_after_push(ino.0, span, mode).await
            }),
            Err(errno) => reply.error(errno),
        }
    }

    fn lseek(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        self.requests.note(Kind::Seek);
        match self.answer("lseek", |front| front.seek(ino.0, offset, whence)) {
            Ok(offset) => reply.offset(offset),
            Err(errno) => reply.error(errno),
        }
    }

    fn copy_file_range(
        &self,
        _: &Request,
        from: INodeNo,
        _: FileHandle,
        from_offset: u64,
        to: INodeNo,
        _: FileHandle,
        to_offset: u64,
        len: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        self.requests.note(Kind::Copy);
        let (from, to) = ((from.0, from_offset), (to.0, to_offset));
        match self.answer("copy_file_range", |front| front.copy(from, to, len)) {
            Ok(copied) => reply.written(copied),
            Err(errno) => reply.error(errno),
        }
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        self.requests.note(Kind::Create);
        let how = (mode, OpenFlags(flags));
        let register = |file: &File| reply.open_backing(file);
        match self.answer("create", |front| front.create(parent.0, name, how, caller(request), &register)) {
            Ok((attr, Opened { handle, flags, backing: Some(id) })) => {
                reply.created_passthrough(&FOR_EVER, &attr, GENERATION, handle, flags, &id);
            }
            Ok((attr, opened)) => reply.created(&FOR_EVER, &attr, GENERATION, opened.handle, opened.flags),
            Err(errno) => reply.error(errno),
        }
    }
}
