//! One process owns a folder.
//!
//! The lock is an advisory `flock` on a file in the folder, so the kernel drops it when the
//! owner dies, however it dies. The file holds the owner's pid for people to read.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Proof that this process owns a folder; dropping it gives the folder up.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

/// Why a folder could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process owns it.
    #[error("Folder {} is in use by process {}", path.display(), owner.map_or("(unknown)".to_owned(), |pid| pid.to_string()))]
    Held {
        /// The lock file.
        path: PathBuf,
        /// The owner, as it wrote itself down.
        owner: Option<u32>,
    },
    /// The lock file cannot be made or read.
    #[error("Lock file {} cannot be used", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl FolderLock {
    /// Takes the lock whose file is `path`, without waiting.
    pub fn acquire(path: &Path) -> Result<Self, LockError> {
        let io = |source| LockError::Io { path: path.to_owned(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(io)?;
        if let Err(refused) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if refused == rustix::io::Errno::WOULDBLOCK {
                return Err(LockError::Held { path: path.to_owned(), owner: read_pid(&mut file) });
            }
            return Err(io(refused.into()));
        }
        write_pid(&mut file).map_err(io)?;
        Ok(Self { _file: file })
    }
}

/// Returns the pid that the holder of a lock file wrote down, if it can be read.
pub fn owner_of(path: &Path) -> Option<u32> {
    read_pid(&mut File::open(path).ok()?)
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_refused_and_told_the_pid() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let _first = FolderLock::acquire(&path).unwrap();
        match FolderLock::acquire(&path) {
            Err(LockError::Held { owner, .. }) => assert_eq!(owner, Some(std::process::id())),
            other => panic!("expected Held, got {other:?}"),
        }
    }

    #[test]
    fn a_dropped_lock_can_be_taken_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        drop(FolderLock::acquire(&path).unwrap());
        FolderLock::acquire(&path).unwrap();
    }
}
