//! Mounting and unmounting, by ourselves.
//!
//! [`mount`] gives the FUSE device for `fuser::Session::from_fd` and a [`Mount`] that knows
//! exactly which mount it made: unmounting asks the kernel's table first, so that a stranger's
//! filesystem mounted on the same path later is never touched. Root uses `mount(2)`; everyone
//! else goes through `fusermount3`.

use std::ffi::CString;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use super::busy::{self, Holder};
use super::fusermount::{self, HelperError};
use super::mount_table::{self, FSTYPE, MountEntry};
use super::mountpoint::Mountpoint;

/// How a filesystem is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountOptions {
    /// What `mount` and `df` show as the source (`s3://bucket/prefix`).
    pub source: String,
    /// Whether the kernel refuses every change.
    pub read_only: bool,
    /// Whether users other than the one who mounts may look in.
    pub allow_other: bool,
}

/// Why a filesystem could not be mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The kernel has no FUSE here.
    #[error("No /dev/fuse on this machine; run `modprobe fuse` (in a container: pass the device in)")]
    NoDevice,
    /// We may not mount and the program that may is missing.
    #[error("Only root may mount directly; install fuse3 (`fusermount3`) or run as root")]
    NoHelper,
    /// `fusermount3` refused `--allow-other`.
    #[error("Other users may be let in only if /etc/fuse.conf has the line `user_allow_other`")]
    AllowOtherDenied,
    /// `fusermount3` refused for another reason.
    #[error("Mounting on {} was refused: {said}", path.display())]
    Refused {
        /// Where to mount.
        path: PathBuf,
        /// The helper's own words.
        said: String,
    },
    /// The system refused.
    #[error("Mounting on {} failed", path.display())]
    Io {
        /// Where to mount.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// When an unmount may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detach {
    /// Only if nothing uses the mount.
    WhenIdle,
    /// At once: the path is free, and what is open goes on until it is closed.
    Now,
}

/// How an unmount ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmounted {
    /// We unmounted it.
    Detached,
    /// It was not mounted any more.
    WasGone,
}

/// Why a filesystem could not be unmounted.
#[derive(Debug, thiserror::Error)]
pub enum UnmountError {
    /// Files are open in it, or a process stands in it.
    #[error("{} is in use", path.display())]
    Busy {
        /// The mount.
        path: PathBuf,
    },
    /// We may not unmount it.
    #[error("Not allowed to unmount {}: {said}", path.display())]
    Refused {
        /// The mount.
        path: PathBuf,
        /// Who refused, in its own words.
        said: String,
    },
    /// The system refused.
    #[error("Unmounting {} failed", path.display())]
    Io {
        /// The mount.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A mount that we made. Dropping it detaches it.
#[derive(Debug)]
pub struct Mount {
    entry: MountEntry,
    gone: Arc<AtomicBool>,
}

/// Tells a [`Mount`] that the kernel has let go of it.
#[derive(Debug)]
pub struct Gone(Arc<AtomicBool>);

impl Gone {
    /// The kernel has ended the session: the ids of the mount may be those of another now.
    pub fn tell(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Mounts on `point` and returns the device that the kernel's requests arrive on.
pub fn mount(point: &Mountpoint, options: &MountOptions) -> Result<(OwnedFd, Mount), MountError> {
    let path = point.path();
    let io_error = |source| MountError::Io { path: path.to_owned(), source };
    let device = match open_device().and_then(|device| mount_directly(device, path, options)) {
        Ok(device) => device,
        Err(Errno::PERM | Errno::ACCESS) => mount_with_helper(path, options)?,
        Err(Errno::NOENT | Errno::NODEV | Errno::NXIO) => return Err(MountError::NoDevice),
        Err(refused) => return Err(io_error(refused.into())),
    };
    let entry = mount_table::topmost_at(path).map_err(io_error)?;
    let entry = entry.ok_or_else(|| io_error(io::ErrorKind::NotFound.into()))?;
    Ok((device, Mount { entry, gone: Arc::default() }))
}

fn open_device() -> rustix::io::Result<OwnedFd> {
    rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

fn mount_directly(device: OwnedFd, path: &Path, options: &MountOptions) -> rustix::io::Result<OwnedFd> {
    let mut data = format!(
        "fd={},rootmode=40000,user_id={},group_id={},default_permissions",
        device.as_raw_fd(),
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    if options.allow_other {
        data.push_str(",allow_other");
    }
    let data = CString::new(data).map_err(|_| Errno::INVAL)?;
    let mut flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOATIME;
    flags.set(MountFlags::RDONLY, options.read_only);
    rustix::mount::mount(options.source.as_str(), path, FSTYPE, flags, data.as_c_str())?;
    Ok(device)
}

fn mount_with_helper(path: &Path, options: &MountOptions) -> Result<OwnedFd, MountError> {
    fusermount::mount(path, options).map_err(|error| match error {
        HelperError::Missing => MountError::NoHelper,
        HelperError::Refused(said) if said.contains("user_allow_other") => MountError::AllowOtherDenied,
        HelperError::Refused(said) => MountError::Refused { path: path.to_owned(), said },
        HelperError::Io(source) => MountError::Io { path: path.to_owned(), source },
    })
}

impl Mount {
    /// Returns where it is mounted.
    pub fn path(&self) -> &Path {
        &self.entry.mountpoint
    }

    /// Lets the kernel read ahead by `kib`; to be called once the session has begun, which
    /// lowers it. Only root may; without it reads are merely smaller.
    pub fn raise_read_ahead(&self, kib: u32) -> io::Result<()> {
        let knob = format!("/sys/class/bdi/{}/read_ahead_kb", self.entry.device);
        let mut file = OpenOptions::new().write(true).open(knob)?;
        io::Write::write_all(&mut file, kib.to_string().as_bytes())
    }

    /// Returns what is to be told when the kernel has ended the session.
    pub fn gone(&self) -> Gone {
        Gone(Arc::clone(&self.gone))
    }

    /// Returns whether our mount is still the one that is seen at its path.
    pub fn is_in_place(&self) -> io::Result<bool> {
        Ok(!self.gone.load(Ordering::Acquire)
            && mount_table::topmost_at(self.path())?.as_ref() == Some(&self.entry))
    }

    /// Returns who sees it although it is unmounted here: other mount namespaces.
    pub fn seen_elsewhere(&self) -> io::Result<Vec<Holder>> {
        if self.gone.load(Ordering::Acquire) {
            return Ok(Vec::new());
        }
        busy::elsewhere(&self.entry.device)
    }

    /// Unmounts it, unless somebody else did already.
    pub fn unmount(&self, detach: Detach) -> Result<Unmounted, UnmountError> {
        match self.is_in_place() {
            Ok(true) => unmount_path(self.path(), detach),
            Ok(false) => Ok(Unmounted::WasGone),
            Err(source) => Err(UnmountError::Io { path: self.path().to_owned(), source }),
        }
    }
}

impl Drop for Mount {
    /// A mount without its daemon only answers "Transport endpoint is not connected".
    fn drop(&mut self) {
        if let Err(error) = self.unmount(Detach::Now) {
            tracing::warn!(error = &error as &dyn std::error::Error, "Mount is left behind");
        }
    }
}

/// Unmounts what is seen at `path`, whoever mounted it.
pub fn unmount_path(path: &Path, detach: Detach) -> Result<Unmounted, UnmountError> {
    let mut flags = UnmountFlags::NOFOLLOW;
    flags.set(UnmountFlags::DETACH, detach == Detach::Now);
    match rustix::mount::unmount(path, flags) {
        Ok(()) => Ok(Unmounted::Detached),
        Err(Errno::INVAL) => Ok(Unmounted::WasGone),
        Err(Errno::BUSY) => Err(UnmountError::Busy { path: path.to_owned() }),
        Err(Errno::PERM) => unmount_with_helper(path, detach),
        Err(refused) => Err(UnmountError::Io { path: path.to_owned(), source: refused.into() }),
    }
}

fn unmount_with_helper(path: &Path, detach: Detach) -> Result<Unmounted, UnmountError> {
    let refused = |said: &str| UnmountError::Refused { path: path.to_owned(), said: said.to_owned() };
    match fusermount::unmount(path, detach) {
        Ok(()) => Ok(Unmounted::Detached),
        Err(HelperError::Missing) => Err(refused("only root may, and fusermount3 is not installed")),
        Err(HelperError::Refused(said)) if said.contains("busy") => {
            Err(UnmountError::Busy { path: path.to_owned() })
        }
        Err(HelperError::Refused(said)) if said.contains("not found in") => Ok(Unmounted::WasGone),
        Err(HelperError::Refused(said)) => Err(refused(&said)),
        Err(HelperError::Io(source)) => Err(UnmountError::Io { path: path.to_owned(), source }),
    }
}
