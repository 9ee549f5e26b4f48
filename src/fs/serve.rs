//! A filesystem at work: mounted, with its session and its invalidations running.
//!
//! The session ends when the kernel says so: after our unmount or anybody else's, once the
//! last open file is closed. `umount` never waits for us, so whoever owns this waits for the
//! end and drains what is unsynced then.

use std::io;
use std::path::Path;
use std::sync::Arc;

use fuser::SessionACL;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::adapter::Adapter;
use super::busy::Holder;
use super::front::Front;
use super::invalidate::{InvalidationThread, PendingInvalidations};
use super::mount::{self, Detach, Mount, MountError, MountOptions, UnmountError, Unmounted};
use super::mountpoint::Mountpoint;
use super::negotiate;
use super::notify::KernelLine;

/// How far the kernel reads ahead, in KiB: one read request.
const READ_AHEAD_KIB: u32 = 1024;

/// A mounted filesystem that answers.
#[derive(Debug)]
pub struct Serving {
    mount: Mount,
    _invalidations: InvalidationThread,
}

/// Tells when the kernel's session is over.
#[derive(Debug)]
pub struct SessionEnd(Option<oneshot::Receiver<io::Result<()>>>);

/// Mounts on `point` and answers the kernel's requests from `front`.
///
/// What must wait for the network runs on `runtime`; `invalidations` are announced from now on.
pub fn serve(
    front: Arc<Front>,
    point: &Mountpoint,
    options: &MountOptions,
    runtime: &Handle,
    invalidations: PendingInvalidations,
) -> Result<(Serving, SessionEnd), MountError> {
    let failed = |source| MountError::Io { path: point.path().to_owned(), source };
    let (device, mount) = mount::mount(point, options)?;
    let line = KernelLine::over(device.try_clone().map_err(failed)?);
    let adapter = Adapter::new(front, runtime.clone());
    // Who may look in is decided by the kernel (`allow_other`), not once more by fuser.
    let session = fuser::Session::from_fd(adapter, device, SessionACL::All, negotiate::session_config())
        .map_err(failed)?;
    let invalidations = invalidations.start(line).map_err(failed)?;
    let (end, ended) = oneshot::channel();
    let gone = mount.gone();
    std::thread::Builder::new()
        .name("bayou-session".to_owned())
        .spawn(move || {
            let outcome = session.run();
            // After an error the dead mount is still there, to be taken down.
            if outcome.is_ok() {
                gone.tell();
            }
            end.send(outcome)
        })
        .map_err(failed)?;
    if let Err(error) = mount.raise_read_ahead(READ_AHEAD_KIB) {
        tracing::debug!(%error, "The kernel's read-ahead stays as it is");
    }
    Ok((Serving { mount, _invalidations: invalidations }, SessionEnd(Some(ended))))
}

impl Serving {
    /// Returns where it is mounted.
    pub fn path(&self) -> &Path {
        self.mount.path()
    }

    /// Returns whether it is still the mount that is seen there.
    pub fn is_in_place(&self) -> io::Result<bool> {
        self.mount.is_in_place()
    }

    /// Returns who sees it although it is unmounted here: other mount namespaces.
    pub fn seen_elsewhere(&self) -> io::Result<Vec<Holder>> {
        self.mount.seen_elsewhere()
    }

    /// Unmounts it; what is open goes on until it is closed.
    pub fn unmount(&self, detach: Detach) -> Result<Unmounted, UnmountError> {
        self.mount.unmount(detach)
    }
}

impl SessionEnd {
    /// Waits for the end of the session, whoever unmounted; returns at once after the end.
    pub async fn wait(&mut self) -> io::Result<()> {
        let Some(ended) = &mut self.0 else { return Ok(()) };
        let result = ended.await;
        self.0 = None;
        result.unwrap_or_else(|_| Err(io::Error::other("The thread of the FUSE session has panicked")))
    }
}
