//! Real kernel mounts of a tiny filesystem: mounting, unmounting, dead and busy mounts.

#![expect(clippy::unwrap_used, reason = "a check that cannot be made has failed")]

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use bayou::cache::Seen;
use bayou::fs::busy::{self, Hold, Holder};
use bayou::fs::invalidate;
use bayou::fs::mount::{self, Detach, Mount, MountOptions, UnmountError, Unmounted};
use bayou::fs::mount_table;
use bayou::fs::mountpoint::{self, Mountpoint, MountpointError, Note};
use bayou::fs::notify::KernelLine;
use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo, LockOwner, OpenFlags, ReplyAttr,
    ReplyData, ReplyEntry, Request, SessionACL,
};

#[path = "support/kernel_wait.rs"]
mod kernel_wait;

use kernel_wait::an_announcement_waits;

/// One file, `counter`, whose text is how often it was read from the daemon.
#[derive(Clone, Default)]
struct OneFile {
    reads: Arc<AtomicU64>,
    permissions: Arc<AtomicU16>,
    /// Where the first lookup waits, twice, when its answer is made and before it is sent.
    hold: Arc<Mutex<Option<Arc<Barrier>>>>,
}

impl OneFile {
    fn attributes(&self) -> FileAttr {
        FileAttr { perm: self.permissions.load(Ordering::SeqCst), ..attributes(2) }
    }
}

const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);

fn attributes(ino: u64) -> FileAttr {
    let kind = if ino == 1 { FileType::Directory } else { FileType::RegularFile };
    FileAttr {
        ino: INodeNo(ino),
        size: 2,
        blocks: 1,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm: 0o755,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl Filesystem for OneFile {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match name.to_str() {
            Some("counter") => {
                let attributes = self.attributes();
                let hold = self.hold.lock().unwrap().take();
                for hold in hold.iter().flat_map(|hold| [hold, hold]) {
                    hold.wait();
                }
                reply.entry(&FOR_EVER, &attributes, Generation(0));
            }
            _ => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let attributes = if ino.0 == 2 { self.attributes() } else { attributes(ino.0) };
        reply.attr(&FOR_EVER, &attributes);
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: fuser::ReplyOpen) {
        reply.opened(FileHandle(0), fuser::FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let count = self.reads.fetch_add(1, Ordering::SeqCst) + 1;
        reply.data(format!("{count}\n").as_bytes());
    }
}

/// A directory to mount on; whatever is mounted there is detached at the end.
struct Scratch {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Scratch {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("a mount");
        std::fs::create_dir(&path).unwrap();
        Self { _folder: folder, path }
    }

    fn mount(&self) -> (OwnedFd, Mount) {
        let options =
            MountOptions { source: "file:///a,b c".to_owned(), read_only: true, allow_other: false };
        mount::mount(&Mountpoint::prepare(&self.path).unwrap(), &options).unwrap()
    }

    fn serve(&self) -> Served {
        let permissions = Arc::new(AtomicU16::new(0o755));
        self.serve_this(OneFile { permissions, ..OneFile::default() })
    }

    fn serve_this(&self, filesystem: OneFile) -> Served {
        let (device, mount) = self.mount();
        let line = KernelLine::over(device.try_clone().unwrap());
        let config = fuser::Config::default();
        let session = fuser::Session::from_fd(filesystem, device, SessionACL::All, config).unwrap();
        Served { mount: Some(mount), line, session: session.spawn().unwrap() }
    }

    /// Leaves the mount of a daemon that has died.
    fn leave_a_dead_mount(&self) {
        let (device, mount) = self.mount();
        std::mem::forget(mount);
        drop(device);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        while mount_table::topmost_at(&self.path).unwrap().is_some() {
            rustix::mount::unmount(&self.path, rustix::mount::UnmountFlags::DETACH).unwrap();
        }
    }
}

struct Served {
    mount: Option<Mount>,
    line: KernelLine,
    session: fuser::BackgroundSession,
}

impl Served {
    fn mount(&self) -> &Mount {
        self.mount.as_ref().unwrap()
    }

    fn end(mut self) {
        drop(self.mount.take());
        self.session.join().unwrap();
    }
}

fn text_of(path: &Path) -> String {
    let mut text = String::new();
    File::open(path).unwrap().read_to_string(&mut text).unwrap();
    text
}

fn mount_tmpfs(path: &Path) {
    rustix::mount::mount("foreign", path, "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
}

#[test]
fn a_mount_shows_its_type_and_source_and_can_be_read() {
    let scratch = Scratch::new();
    let served = scratch.serve();
    let entry = mount_table::topmost_at(&scratch.path).unwrap().unwrap();
    assert_eq!(entry.fstype, "fuse.bayou");
    assert_eq!(entry.source, "file:///a,b c");
    assert_eq!(text_of(&scratch.path.join("counter")), "1\n");
    let refused = File::create(scratch.path.join("new")).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    served.end();
}

#[test]
fn an_unmount_frees_the_directory_and_ends_the_session() {
    let scratch = Scratch::new();
    let served = scratch.serve();
    assert_eq!(served.mount().unmount(Detach::WhenIdle).unwrap(), Unmounted::Detached);
    assert_eq!(served.mount().unmount(Detach::WhenIdle).unwrap(), Unmounted::WasGone);
    assert_eq!(mount_table::topmost_at(&scratch.path).unwrap(), None);
    served.end();
}

#[test]
fn a_busy_mount_stays_and_the_holder_is_named() {
    let scratch = Scratch::new();
    let served = scratch.serve();
    let path = scratch.path.join("counter");
    let file = File::open(&path).unwrap();
    let refused = served.mount().unmount(Detach::WhenIdle).unwrap_err();
    assert!(matches!(refused, UnmountError::Busy { .. }), "{refused:?}");
    assert!(served.mount().is_in_place().unwrap());
    let ours = busy::holders(&scratch.path)
        .unwrap()
        .into_iter()
        .find(|holder| matches!(holder, Holder::Process { pid, .. } if *pid == std::process::id()));
    let Some(Holder::Process { hold, path: held, .. }) = ours else { panic!("{ours:?}") };
    assert_eq!((hold, held), (Hold::OpenFile, path));
    drop(file);
    served.end();
}

#[test]
fn a_detached_mount_serves_what_is_open_until_it_is_closed() {
    let scratch = Scratch::new();
    let served = scratch.serve();
    let mut file = File::open(scratch.path.join("counter")).unwrap();
    served.mount().unmount(Detach::Now).unwrap();
    assert_eq!(std::fs::read_dir(&scratch.path).unwrap().count(), 0);
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "1\n");
    drop(file);
    served.end();
}

#[test]
fn a_strangers_mount_on_the_same_path_is_never_unmounted() {
    let scratch = Scratch::new();
    let served = scratch.serve();
    mount::unmount_path(&scratch.path, Detach::WhenIdle).unwrap();
    mount_tmpfs(&scratch.path);
    assert_eq!(served.mount().unmount(Detach::Now).unwrap(), Unmounted::WasGone);
    served.end();
    assert_eq!(mount_table::topmost_at(&scratch.path).unwrap().unwrap().fstype, "tmpfs");
}

#[test]
fn a_mount_that_got_the_ids_of_ours_is_never_unmounted() {
    let scratch = Scratch::new();
    let Served { mount, session, .. } = scratch.serve();
    let ended = mount.as_ref().unwrap().gone();
    mount::unmount_path(&scratch.path, Detach::WhenIdle).unwrap();
    session.join().unwrap();
    ended.tell();
    let another = scratch.serve();
    assert_eq!(mount.as_ref().unwrap().unmount(Detach::Now).unwrap(), Unmounted::WasGone);
    drop(mount);
    assert!(another.mount().is_in_place().unwrap());
    another.end();
}

#[test]
fn a_second_mount_on_the_same_directory_is_refused() {
    let scratch = Scratch::new();
    let served = scratch.serve();
    let refused = Mountpoint::prepare(&scratch.path).unwrap_err();
    assert!(matches!(refused, MountpointError::AlreadyMounted { .. }), "{refused:?}");
    assert!(refused.to_string().starts_with("file:///a,b c is already mounted"), "{refused}");
    served.end();
}

#[test]
fn dead_mounts_are_recognised_and_cleaned_however_many_are_stacked() {
    let scratch = Scratch::new();
    scratch.leave_a_dead_mount();
    assert!(mountpoint::is_stale(&scratch.path));
    let point = Mountpoint::prepare(&scratch.path).unwrap();
    assert_eq!(point.notes(), &[Note::StaleDetached(scratch.path.clone())]);
    assert_eq!(mount_table::topmost_at(&scratch.path).unwrap(), None);
    assert!(!mountpoint::is_stale(&scratch.path));
}

#[test]
fn a_dead_mount_whose_attributes_the_kernel_remembers_is_recognised() {
    let scratch = Scratch::new();
    let served = scratch.serve();
    assert!(std::fs::metadata(&scratch.path).unwrap().is_dir());
    abort_connection(&scratch.path);
    assert!(mountpoint::is_stale(&scratch.path));
    let Served { mount, session, .. } = served;
    std::mem::forget(mount);
    session.join().ok();
    Mountpoint::prepare(&scratch.path).unwrap();
    assert_eq!(mount_table::topmost_at(&scratch.path).unwrap(), None);
}

/// Cuts the kernel off from the daemon, as the daemon's death does: a forced unmount of a
/// mount that is in use does just that.
fn abort_connection(path: &Path) {
    let _in_use = File::open(path.join("counter")).unwrap();
    let refused = rustix::mount::unmount(path, rustix::mount::UnmountFlags::FORCE);
    assert_eq!(refused, Err(rustix::io::Errno::BUSY));
}

#[test]
fn read_ahead_is_raised_once_the_session_has_begun() {
    let scratch = Scratch::new();
    let served = scratch.serve();
    served.mount().raise_read_ahead(1024).unwrap();
    let device = mount_table::topmost_at(&scratch.path).unwrap().unwrap().device;
    assert_eq!(text_of(Path::new(&format!("/sys/class/bdi/{device}/read_ahead_kb"))), "1024\n");
    served.end();
}

#[tokio::test]
async fn content_that_changed_is_read_again_and_only_then() {
    let scratch = Scratch::new();
    let Served { mut mount, line, session } = scratch.serve();
    let (queue, pending) = invalidate::queue();
    let thread = pending.start(line).unwrap();
    let path = scratch.path.join("counter");
    assert_eq!(text_of(&path), "1\n");
    assert_eq!(text_of(&path), "1\n");
    queue.push(attributes_of_the_file());
    queue.announced().await;
    assert_eq!(text_of(&path), "1\n");
    queue.push(Seen::Content { ino: 2, names: Vec::new() });
    queue.push(Seen::Entry { parent: 1, name: "never seen".to_owned() });
    queue.announced().await;
    assert_eq!(text_of(&path), "2\n");
    drop(mount.take());
    session.join().unwrap();
    thread.stop();
}

fn attributes_of_the_file() -> Seen {
    Seen::Attributes { ino: 2, names: vec![(1, "counter".to_owned())] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_change_that_is_announced_while_a_lookup_is_answered_is_seen() {
    let scratch = Scratch::new();
    let (hold, filesystem) = (Arc::new(Barrier::new(2)), OneFile::default());
    let permissions = Arc::clone(&filesystem.permissions);
    permissions.store(0o755, Ordering::SeqCst);
    *filesystem.hold.lock().unwrap() = Some(Arc::clone(&hold));
    let Served { mut mount, line, session } = scratch.serve_this(filesystem);
    let (queue, pending) = invalidate::queue();
    let thread = pending.start(line).unwrap();
    let path = scratch.path.join("counter");
    let mode = move || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    let looking = tokio::task::spawn_blocking(mode.clone());
    // The reply is made, of the file as it was, and is not sent.
    hold.wait();
    permissions.store(0o700, Ordering::SeqCst);
    queue.push(attributes_of_the_file());
    let announcing = tokio::spawn(async move { queue.announced().await });
    while !announcing.is_finished() && !an_announcement_waits() {
        tokio::task::yield_now().await;
    }
    hold.wait();
    assert_eq!(looking.await.unwrap(), 0o755);
    announcing.await.unwrap();
    assert_eq!(mode(), 0o700, "the kernel keeps what it was told too late");
    drop(mount.take());
    session.join().unwrap();
    thread.stop();
}

#[test]
fn without_the_right_to_mount_the_helper_mounts_and_unmounts() {
    let scratch = Scratch::new();
    give_up_the_right_to_mount();
    let served = scratch.serve();
    let entry = mount_table::topmost_at(&scratch.path).unwrap().unwrap();
    assert_eq!(entry.fstype, "fuse.bayou");
    assert_eq!(entry.source, "file:///a,b c");
    let file = File::open(scratch.path.join("counter")).unwrap();
    let refused = served.mount().unmount(Detach::WhenIdle).unwrap_err();
    assert!(matches!(refused, UnmountError::Busy { .. }), "{refused:?}");
    drop(file);
    assert_eq!(served.mount().unmount(Detach::WhenIdle).unwrap(), Unmounted::Detached);
    served.end();
    assert_eq!(mount_table::topmost_at(&scratch.path).unwrap(), None);
}

/// Takes from this thread what `mount(2)` asks for; programs that it starts get it back.
fn give_up_the_right_to_mount() {
    let mut sets = rustix::thread::capabilities(None).unwrap();
    sets.effective.remove(rustix::thread::CapabilitySet::SYS_ADMIN);
    rustix::thread::set_capabilities(None, sets).unwrap();
}
