//! Where the sockets of running mounts are, and whose they are.
//!
//! Each mount has a socket and, beside it, a note that says what it is the socket of. The
//! note is written after the socket listens and removed before it ends, so a note whose
//! socket nobody answers was left behind by a process that died: whoever meets it removes it.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::os::durable_file;
use crate::session::folders::Folders;

/// How long a mount may take to make room for a connection.
const ROOM: Duration = Duration::from_secs(1);

/// What a running mount is, as the note beside its socket says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountRecord {
    /// The process behind the mount.
    pub pid: u32,
    /// The bucket's address.
    pub source: String,
    /// The part of the bucket that is shown, if it is one with an index of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Where it is mounted, without symlinks.
    pub mountpoint: PathBuf,
    /// The folder that caches the bucket.
    pub cache_dir: PathBuf,
}

/// A running mount.
#[derive(Debug)]
pub struct Found {
    /// What it is.
    pub record: MountRecord,
    /// The connection to it; `None` if it takes none, as when its process hangs.
    pub stream: Option<UnixStream>,
}

/// A place at which this process listens; dropping it removes socket and note.
#[derive(Debug)]
pub struct Seat {
    socket: PathBuf,
    note: PathBuf,
}

/// Why a mount could not listen.
#[derive(Debug, thiserror::Error)]
#[error("Control socket cannot be made in {}", tried.join(" or "))]
pub struct NoSeat {
    tried: Vec<String>,
    source: io::Error,
}

/// Takes a place in the first runtime folder that has one and begins to listen.
pub fn take_seat(folders: &Folders, record: &MountRecord) -> Result<(Seat, UnixListener), NoSeat> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for folder in &folders.runtime {
        match take_seat_in(folder, record) {
            Ok(taken) => return Ok(taken),
            Err(error) => last = error,
        }
    }
    let tried = folders.runtime.iter().map(|folder| folder.display().to_string()).collect();
    Err(NoSeat { tried, source: last })
}

fn take_seat_in(folder: &Path, record: &MountRecord) -> io::Result<(Seat, UnixListener)> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let name = seat_name(record);
    let seat =
        Seat { socket: folder.join(format!("{name}.sock")), note: folder.join(format!("{name}.json")) };
    // The name holds our pid: what is there already was left by a dead process.
    remove(&seat.note)?;
    remove(&seat.socket)?;
    let listener = UnixListener::bind(&seat.socket)?;
    durable_file::replace(&seat.note, &serde_json::to_vec(record)?)?;
    Ok((seat, listener))
}

fn seat_name(record: &MountRecord) -> String {
    use std::os::unix::ffi::OsStrExt;
    let hash = Sha256::digest(record.mountpoint.as_os_str().as_bytes());
    format!("{}-{}", &hex::encode(hash)[..16], record.pid)
}

impl Drop for Seat {
    fn drop(&mut self) {
        for path in [&self.note, &self.socket] {
            if let Err(error) = remove(path) {
                tracing::debug!(path = %path.display(), %error, "Control socket is left behind");
            }
        }
    }
}

/// Returns all running mounts of this user, the newest last.
pub fn running(folders: &Folders) -> io::Result<Vec<Found>> {
    let mut notes = Vec::new();
    for folder in &folders.runtime {
        notes.extend(notes_in(folder)?);
    }
    notes.sort_by_key(|(written, _)| *written);
    Ok(notes.iter().filter_map(|(_, note)| answering(note)).collect())
}

/// Returns the running mounts at exactly this mountpoint, the newest last: more than one if
/// earlier ones are still bringing their data to the bucket.
pub fn running_at(folders: &Folders, mountpoint: &Path) -> io::Result<Vec<Found>> {
    let mut all = running(folders)?;
    all.retain(|found| found.record.mountpoint == mountpoint);
    Ok(all)
}

fn notes_in(folder: &Path) -> io::Result<Vec<(SystemTime, PathBuf)>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut notes = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "json")
            && let Ok(written) = std::fs::metadata(&path).and_then(|meta| meta.modified())
        {
            notes.push((written, path));
        }
    }
    Ok(notes)
}

/// Returns the mount that a note speaks of, or removes what a dead one left.
fn answering(note: &Path) -> Option<Found> {
    let record = serde_json::from_slice(&std::fs::read(note).ok()?).ok()?;
    let socket = note.with_extension("sock");
    match connect(&socket) {
        Ok(stream) => Some(Found { record, stream: Some(stream) }),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(Found { record, stream: None }),
        Err(error) if is_nobody(&error) => {
            tracing::debug!(note = %note.display(), "Removing the socket of a dead mount");
            drop(Seat { socket, note: note.to_owned() });
            None
        }
        Err(error) => {
            tracing::debug!(note = %note.display(), %error, "Mount cannot be asked");
            None
        }
    }
}

/// Connects, or fails soon if nobody takes the connections that wait already.
fn connect(socket: &Path) -> io::Result<UnixStream> {
    use rustix::net::sockopt::{Timeout, set_socket_timeout};
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
    let stream = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    // Connecting to a socket of this kind waits only where there is no room, and as sending does.
    set_socket_timeout(&stream, Timeout::Send, Some(ROOM))?;
    rustix::net::connect(&stream, &SocketAddrUnix::new(socket)?)?;
    Ok(UnixStream::from(stream))
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(folder: &Path) -> Folders {
        Folders { state: folder.join("state"), runtime: vec![folder.join("run")] }
    }

    fn record(mountpoint: &str, pid: u32) -> MountRecord {
        let cache_dir = "/c".into();
        let source = "s3://b/p".to_owned();
        MountRecord { pid, source, namespace: None, mountpoint: mountpoint.into(), cache_dir }
    }

    #[test]
    fn a_mount_that_listens_is_found_by_its_mountpoint_only() {
        let scratch = tempfile::tempdir().unwrap();
        let folders = folders(scratch.path());
        let _seat = take_seat(&folders, &record("/mnt/a", 7)).unwrap();
        let found = running_at(&folders, Path::new("/mnt/a")).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].record, record("/mnt/a", 7));
        assert!(running_at(&folders, Path::new("/mnt/ab")).unwrap().is_empty());
    }

    #[test]
    fn two_processes_of_one_mountpoint_are_found_in_their_order() {
        let scratch = tempfile::tempdir().unwrap();
        let folders = folders(scratch.path());
        let draining = take_seat(&folders, &record("/mnt/a", 9)).unwrap();
        let past = SystemTime::UNIX_EPOCH;
        std::fs::File::open(&draining.0.note).unwrap().set_modified(past).unwrap();
        let _mounted = take_seat(&folders, &record("/mnt/a", 8)).unwrap();
        let pids: Vec<u32> = running(&folders).unwrap().iter().map(|found| found.record.pid).collect();
        assert_eq!(pids, [9, 8]);
    }

    #[test]
    fn what_a_dead_process_left_is_removed_when_it_is_met() {
        let scratch = tempfile::tempdir().unwrap();
        let folders = folders(scratch.path());
        let (seat, listener) = take_seat(&folders, &record("/mnt/a", 7)).unwrap();
        drop(listener);
        std::mem::forget(seat);
        assert!(running(&folders).unwrap().is_empty());
        assert_eq!(std::fs::read_dir(&folders.runtime[0]).unwrap().count(), 0);
    }

    #[test]
    fn a_mount_that_takes_no_connection_holds_nobody_who_looks_for_mounts() {
        let scratch = tempfile::tempdir().unwrap();
        let folders = folders(scratch.path());
        let (_seat, listener) = take_seat(&folders, &record("/mnt/a", 7)).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        // As long as the kernel lets connections wait, it looks as if the mount was about to answer.
        let mut waiting: Vec<Found> = Vec::new();
        while waiting.last().is_none_or(|found| found.stream.is_some()) {
            assert!(waiting.len() < 10, "{waiting:?}");
            waiting.extend(running(&folders).unwrap());
        }
        let found = running_at(&folders, Path::new("/mnt/a")).unwrap().pop().unwrap();
        assert_eq!(found.record, record("/mnt/a", 7));
        let silent = crate::control::client::Client::new(found).unwrap_err();
        assert_eq!(
            silent.to_string(),
            "The mount on /mnt/a does not answer (process 7); if it stays so, end it with `kill 7`"
        );
    }

    #[test]
    fn a_seat_that_is_given_up_leaves_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let folders = folders(scratch.path());
        drop(take_seat(&folders, &record("/mnt/a", 7)).unwrap());
        assert_eq!(std::fs::read_dir(&folders.runtime[0]).unwrap().count(), 0);
    }

    #[test]
    fn the_next_folder_is_used_when_the_first_cannot_be() {
        let scratch = tempfile::tempdir().unwrap();
        let mut folders = folders(scratch.path());
        folders.runtime.insert(0, "/proc/nowhere".into());
        let _seat = take_seat(&folders, &record("/mnt/a", 7)).unwrap();
        assert_eq!(running(&folders).unwrap().len(), 1);
        folders.runtime.truncate(1);
        let refused = take_seat(&folders, &record("/mnt/a", 7)).unwrap_err();
        assert_eq!(refused.to_string(), "Control socket cannot be made in /proc/nowhere");
    }

    #[test]
    fn only_the_user_may_enter_the_folder_of_the_sockets() {
        use std::os::unix::fs::PermissionsExt;
        let scratch = tempfile::tempdir().unwrap();
        let folders = folders(scratch.path());
        let _seat = take_seat(&folders, &record("/mnt/a", 7)).unwrap();
        let mode = std::fs::metadata(&folders.runtime[0]).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
