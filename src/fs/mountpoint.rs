//! Whether a directory can be mounted on, before anything is mounted.
//!
//! A dead daemon leaves its mount behind: every access then answers "Transport endpoint is
//! not connected". Such a mount is recognised and detached here. What does not need the
//! mount's daemon does not ask it, because a daemon may be alive and not answer.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;

use super::mount::{self, Detach};
use super::mount_table::{self, MountEntry};

/// How long a living daemon may take to be known as living.
const PATIENCE: Duration = Duration::from_secs(2);

/// A directory that was found fit to be mounted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mountpoint {
    path: PathBuf,
    notes: Vec<Note>,
}

/// What the one who mounts may want to know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Note {
    /// Files in the directory will be hidden by the mount.
    #[error("{} is not empty; its files are hidden while the bucket is mounted", .0.display())]
    NotEmpty(PathBuf),
    /// The mount of a dead daemon was there and has been detached.
    #[error("{} was left behind by a daemon that died; it has been cleaned up", .0.display())]
    StaleDetached(PathBuf),
}

/// Why a directory cannot be mounted on.
#[derive(Debug, thiserror::Error)]
pub enum MountpointError {
    /// It does not exist.
    #[error("Mountpoint {} does not exist; create it with `mkdir -p {}`", .0.display(), .0.display())]
    Missing(PathBuf),
    /// It is a file.
    #[error("Mountpoint {} is not a directory; name an empty directory instead", .0.display())]
    NotADirectory(PathBuf),
    /// A living bayou is mounted there.
    #[error("{} is already mounted on {}; unmount it first with `bayou umount {}`", what.display(), path.display(), path.display())]
    AlreadyMounted {
        /// The directory.
        path: PathBuf,
        /// What is mounted there.
        what: OsString,
    },
    /// The dead mount of another program is there.
    #[error("A dead {fstype} mount is in the way on {}; clean it up with `umount -l {}`", path.display(), path.display())]
    ForeignStale {
        /// The directory.
        path: PathBuf,
        /// The type of the filesystem.
        fstype: String,
    },
    /// A dead mount of ours is there and cannot be detached.
    #[error("A dead mount on {} cannot be cleaned up; try `umount -l {}` as root", path.display(), path.display())]
    StaleKept {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: mount::UnmountError,
    },
    /// It cannot be looked at.
    #[error("Mountpoint {} cannot be used", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Mountpoint {
    /// Checks a directory, detaching what dead daemons of ours left on it.
    pub fn prepare(path: &Path) -> Result<Self, MountpointError> {
        let path = resolve(path)?;
        let mut notes = Vec::new();
        // Dead mounts can lie on top of each other, one for each daemon that died.
        while let Some(entry) = at(&path)? {
            if is_stale(&path) {
                detach_stale(&entry)?;
                notes.push(Note::StaleDetached(path.clone()));
            } else if entry.is_ours() {
                return Err(MountpointError::AlreadyMounted { path, what: entry.source });
            } else {
                break;
            }
        }
        if !is_empty_directory(&path)? {
            notes.push(Note::NotEmpty(path.clone()));
        }
        Ok(Self { path, notes })
    }

    /// Returns the directory, without symlinks.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns what was noticed.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }
}

/// Returns whether the daemon of the mount at `path` is dead.
///
/// Asks for the filesystem's totals, which is the one question that the kernel never answers
/// from its cache. A daemon that lives but hangs is not waited for: it is not dead.
pub fn is_stale(path: &Path) -> bool {
    let path = path.to_owned();
    let (tell, told) = std::sync::mpsc::channel();
    let ask = move || {
        // Nobody listens any more if it took too long.
        tell.send(is_dead(rustix::fs::statvfs(&path).map(|_| ()))).ok();
    };
    match std::thread::Builder::new().name("is-stale".to_owned()).spawn(ask) {
        Ok(_) => told.recv_timeout(PATIENCE).unwrap_or(false),
        Err(_) => false,
    }
}

/// After the daemon's death the kernel says one or the other, depending on how far it is.
fn is_dead(answer: rustix::io::Result<()>) -> bool {
    matches!(answer, Err(Errno::NOTCONN | Errno::CONNABORTED))
}

/// Returns the path without symlinks. A mount at exactly this path is not asked: its daemon
/// may be dead, or hang.
pub fn resolve(path: &Path) -> Result<PathBuf, MountpointError> {
    match mounted_at(path) {
        Some(mountpoint) => Ok(mountpoint),
        None => std::fs::canonicalize(path).map_err(|error| refusal(path, error)),
    }
}

/// Returns the path without symlinks if something is mounted there.
fn mounted_at(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    let place = std::fs::canonicalize(path.parent()?).ok()?.join(path.file_name()?);
    mount_table::topmost_at(&place).ok()??;
    Some(place)
}

fn refusal(path: &Path, source: io::Error) -> MountpointError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => MountpointError::Missing(path),
        io::ErrorKind::NotADirectory => MountpointError::NotADirectory(path),
        _ => MountpointError::Io { path, source },
    }
}

fn at(path: &Path) -> Result<Option<MountEntry>, MountpointError> {
    mount_table::topmost_at(path).map_err(|error| refusal(path, error))
}

fn detach_stale(entry: &MountEntry) -> Result<(), MountpointError> {
    let path = entry.mountpoint.clone();
    if !entry.is_ours() {
        return Err(MountpointError::ForeignStale { path, fstype: entry.fstype.clone() });
    }
    match mount::unmount_path(&path, Detach::Now) {
        Ok(_) => Ok(()),
        Err(source) => Err(MountpointError::StaleKept { path, source }),
    }
}

fn is_empty_directory(path: &Path) -> Result<bool, MountpointError> {
    let mut entries = std::fs::read_dir(path).map_err(|error| refusal(path, error))?;
    Ok(entries.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_directory_is_fit_and_needs_no_word() {
        let folder = tempfile::tempdir().unwrap();
        let point = Mountpoint::prepare(folder.path()).unwrap();
        assert_eq!(point.path(), std::fs::canonicalize(folder.path()).unwrap());
        assert_eq!(point.notes(), &[]);
    }

    #[test]
    fn a_directory_with_files_is_fit_but_is_spoken_of() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("x")).unwrap();
        let point = Mountpoint::prepare(folder.path()).unwrap();
        assert_eq!(point.notes(), &[Note::NotEmpty(point.path().to_owned())]);
    }

    #[test]
    fn a_missing_directory_is_refused_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let refused = Mountpoint::prepare(&folder.path().join("absent")).unwrap_err();
        assert!(matches!(refused, MountpointError::Missing(_)));
        assert!(refused.to_string().contains("mkdir -p"), "{refused}");
    }

    #[test]
    fn a_file_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let refused = Mountpoint::prepare(file.path()).unwrap_err();
        assert!(matches!(refused, MountpointError::NotADirectory(_)), "{refused:?}");
    }

    #[test]
    fn a_symlink_to_a_directory_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real");
        let link = folder.path().join("link");
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert_eq!(Mountpoint::prepare(&link).unwrap().path(), std::fs::canonicalize(&real).unwrap());
    }
}
