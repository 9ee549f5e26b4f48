//! Mounting without being root, through the set-uid program `fusermount3`.
//!
//! The program opens the device, mounts, and sends the device back over a socket. It is
//! given the socket as its standard input, so that no descriptor has to be inherited.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::mount::{Detach, MountOptions};

const PROGRAM: &str = "fusermount3";

/// Why the helper did not do it.
#[derive(Debug)]
pub(super) enum HelperError {
    /// It is not installed.
    Missing,
    /// It said no, in these words.
    Refused(String),
    /// It could not be talked to.
    Io(io::Error),
}

impl From<io::Error> for HelperError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound { Self::Missing } else { Self::Io(error) }
    }
}

/// Mounts on `path` and returns the device.
pub(super) fn mount(path: &Path, options: &MountOptions) -> Result<OwnedFd, HelperError> {
    let (ours, theirs) = UnixStream::pair()?;
    let child = Command::new(PROGRAM)
        .args(["-o", &option_list(options), "--"])
        .arg(path)
        .env("_FUSE_COMMFD", "0")
        .env("LC_ALL", "C")
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let device = receive_device(&ours);
    let output = child.wait_with_output()?;
    match device? {
        Some(device) if output.status.success() => Ok(device),
        _ => Err(HelperError::Refused(said(&output))),
    }
}

/// Unmounts `path`.
pub(super) fn unmount(path: &Path, detach: Detach) -> Result<(), HelperError> {
    let mut command = Command::new(PROGRAM);
    command.arg("-u").env("LC_ALL", "C").stdin(Stdio::null());
    if detach == Detach::Now {
        command.arg("-z");
    }
    let output = command.arg("--").arg(path).output()?;
    if output.status.success() { Ok(()) } else { Err(HelperError::Refused(said(&output))) }
}

/// Returns the descriptor that arrives on `socket`, or `None` if the other end is closed first.
fn receive_device(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0u8];
    let mut buffers = [IoSliceMut::new(&mut byte)];
    rustix::io::retry_on_intr(|| recvmsg(socket, &mut buffers, &mut control, RecvFlags::CMSG_CLOEXEC))?;
    let device = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(device)
}

fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.trim().strip_prefix("fusermount3: ").unwrap_or(text.trim()).to_owned()
}

fn option_list(options: &MountOptions) -> String {
    let mut list =
        format!("fsname={},subtype=bayou,default_permissions,nosuid,nodev,noatime", escape(&options.source));
    if options.read_only {
        list.push_str(",ro");
    }
    if options.allow_other {
        list.push_str(",allow_other");
    }
    list
}

/// A comma would end the option and a backslash begin an escape.
fn escape(source: &str) -> String {
    source.replace('\\', "\\\\").replace(',', "\\,")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::mount_table::FSTYPE;

    fn options(source: &str) -> MountOptions {
        MountOptions { source: source.to_owned(), read_only: false, allow_other: false }
    }

    #[test]
    fn a_source_with_commas_stays_one_option() {
        let list = option_list(&options("s3://b/a,b\\c"));
        assert!(list.starts_with("fsname=s3://b/a\\,b\\\\c,subtype=bayou,"), "{list}");
    }

    #[test]
    fn the_subtype_gives_the_same_type_as_a_direct_mount() {
        let list = option_list(&options("x"));
        assert!(list.contains(&format!("subtype={}", FSTYPE.strip_prefix("fuse.").unwrap())), "{list}");
    }

    #[test]
    fn a_helper_that_closes_the_socket_sent_no_device() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        assert!(receive_device(&ours).unwrap().is_none());
    }
}
