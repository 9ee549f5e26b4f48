//! What is agreed with the kernel when a session begins.
//!
//! Each choice is measured or has cost somebody a day; the reason stands beside it.
//!
//! A mount that is read-only answers the first `open` with "not implemented", and the kernel opens
//! all files itself from then on: small files, of which most reading is, are opened and read again
//! at the speed of a local disk instead of at a quarter of it. The price is passthrough: a large
//! file is read again from the kernel's own pages, at half that speed. Where files are written
//! each open must be known, and large files are passed through.

use std::time::{Duration, UNIX_EPOCH};

use fuser::{Config, FileAttr, FileType, Generation, INodeNo, InitFlags, KernelConfig};

use super::passthrough::Passthrough;

/// How long the kernel may keep names, "no such file", and attributes: for ever. Whatever
/// changes behind its back is announced by [`super::invalidate`].
pub(super) const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);

/// Inode numbers are never given out twice, so one generation is enough.
pub(super) const GENERATION: Generation = Generation(0);

/// The answer "no file has this name", which the kernel keeps as it keeps a name.
pub(super) const NO_FILE: FileAttr = FileAttr {
    ino: INodeNo(0),
    size: 0,
    blocks: 0,
    atime: UNIX_EPOCH,
    mtime: UNIX_EPOCH,
    ctime: UNIX_EPOCH,
    crtime: UNIX_EPOCH,
    kind: FileType::RegularFile,
    perm: 0,
    nlink: 0,
    uid: 0,
    gid: 0,
    rdev: 0,
    blksize: 0,
    flags: 0,
};

/// Bytes of one write request.
const MAX_WRITE_BYTES: u32 = 1 << 20;

/// Requests for read-ahead that may wait at a time.
const MAX_BACKGROUND: u16 = 64;

/// What we ask for if the kernel has it. Not asked for: the writeback cache (it makes size and
/// times the kernel's and delays writes beyond the note that the file is dirty), locks
/// (without them the kernel keeps locks itself, as for a local disk), emptying a file by its
/// opening (`open(O_RDONLY|O_TRUNC)` of a program that runs would empty it and then be refused)
/// and what fuser 0.18 accepts but does not carry out.
const WANTED: InitFlags = InitFlags::FUSE_PARALLEL_DIROPS
    .union(InitFlags::FUSE_DO_READDIRPLUS)
    .union(InitFlags::FUSE_READDIRPLUS_AUTO)
    .union(InitFlags::FUSE_CACHE_SYMLINKS)
    // Content is dropped when we say so, not when attributes look different.
    .union(InitFlags::FUSE_EXPLICIT_INVAL_DATA)
    // `opendir` is answered "not implemented" once and never asked again.
    .union(InitFlags::FUSE_NO_OPENDIR_SUPPORT)
    .union(InitFlags::FUSE_ASYNC_DIO)
    // Without it every write asks for `security.capability` first. In return we clear the
    // set-user-id and set-group-id bits (see `attributes` and `file_io`).
    .union(InitFlags::FUSE_HANDLE_KILLPRIV_V2);

/// How deep the filesystems below a content file may be stacked: not at all. With more, ours could
/// not be a layer of an overlay.
const BACKING_DEPTH: u32 = 1;

/// Asks the kernel for what we want of what it has, and whether content files can be lent to it.
pub(super) fn agree(config: &mut KernelConfig, passthrough: &Passthrough) {
    let mut wanted = WANTED;
    if passthrough.is_on() && config.set_max_stack_depth(BACKING_DEPTH).is_ok() {
        wanted |= InitFlags::FUSE_PASSTHROUGH;
    }
    let granted = wanted & config.capabilities();
    if !granted.contains(InitFlags::FUSE_PASSTHROUGH) {
        passthrough.turn_off("the kernel does not have it");
    }
    // A limit that is refused leaves the kernel's own in place.
    config.add_capabilities(granted).ok();
    config.set_max_write(MAX_WRITE_BYTES).ok();
    config.set_max_background(MAX_BACKGROUND).ok();
}

/// Returns how fuser runs the session: a few threads, because one that waits for an idle
/// processor costs more than the request. On two processors two were fastest, and a device of its
/// own for each (`clone_fd`) changed nothing. Where there are more, who reads needs half of them.
pub(super) fn session_config() -> Config {
    let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let mut config = Config::default();
    config.n_threads = Some((processors / 2).clamp(2, 8));
    config
}
