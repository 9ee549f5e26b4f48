//! A machine of a simulation: what is on its disk, its process, and what that is doing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bayou::cache::Ino;
use bayou::cache::content::ReadOutcome;
use bayou::store::SharedStore;
use bayou::store::probe::Conditions;
use bayou::store::retry::{RetryPolicy, RetryingStore};
use bayou::sync::{SyncOptions, describe};
use futures::FutureExt;
use tokio::task::JoinHandle;

use super::super::peer::{Peer, PeerOptions};
use super::clock::SimClock;
use super::network::{Door, Network};

/// From this size on a file is sent in parts, in bytes.
pub(super) const PART_BYTES: usize = 64;

const CONDITIONS: Conditions = Conditions { put: true, complete: true, copy: true, delete: true, get: true };

/// Few attempts, so that requests also fail for good; the waits never reach the longest.
const PATIENCE: RetryPolicy = RetryPolicy {
    attempts: 4,
    total: Duration::from_secs(60),
    first_wait: Duration::from_millis(100),
    longest_wait: Duration::from_secs(60),
};

pub(super) struct Machine {
    pub(super) number: usize,
    pub(super) tasks: Vec<Task>,
    folder: PathBuf,
    process: Option<(Arc<Peer>, Arc<AtomicBool>)>,
}

/// Something that a process is doing.
pub(super) struct Task {
    pub(super) what: String,
    /// What is in the bucket when this ends well.
    pub(super) fsynced: Option<String>,
    work: JoinHandle<Result<String, String>>,
}

/// Returns a way to the bucket.
pub(super) fn door(machine: usize, network: &Arc<Network>) -> SharedStore {
    Arc::new(Door { machine, network: Arc::clone(network), is_dead: Arc::default() })
}

impl Machine {
    pub(super) fn start(number: usize, folder: &Path, network: &Arc<Network>, clock: &SimClock) -> Self {
        let mut machine = Self { number, tasks: Vec::new(), folder: folder.to_owned(), process: None };
        machine.restart(network, clock);
        machine
    }

    /// Starts a process on what is on the disk.
    pub(super) fn restart(&mut self, network: &Arc<Network>, clock: &SimClock) {
        let is_dead = Arc::new(AtomicBool::new(false));
        let door = Door { machine: self.number, network: Arc::clone(network), is_dead: Arc::clone(&is_dead) };
        let store = Arc::new(RetryingStore::new(Arc::new(door), Arc::new(clock.clone()), PATIENCE));
        let sync = SyncOptions { part_bytes: PART_BYTES as u64, ..SyncOptions::default() };
        let lock_clock = Arc::new(clock.clone());
        let folder = Some(self.folder.clone());
        let options = PeerOptions { sync, folder, lock_clock, ..PeerOptions::default() };
        let peer = Peer::open(store, CONDITIONS, Arc::new(clock.clone()), options);
        self.process = Some((Arc::new(peer), is_dead));
    }

    /// Kills the process. It is gone when its tasks have been let go of.
    pub(super) fn kill(&mut self) {
        self.tasks.drain(..).for_each(|task| task.work.abort());
        if let Some((_peer, is_dead)) = self.process.take() {
            is_dead.store(true, Ordering::SeqCst);
        }
    }

    pub(super) fn peer(&self) -> &Peer {
        &self.process.as_ref().unwrap().0
    }

    pub(super) fn shared(&self) -> Arc<Peer> {
        Arc::clone(&self.process.as_ref().unwrap().0)
    }

    pub(super) fn take_ended(&mut self) -> Vec<Task> {
        self.tasks.extract_if(.., |task| task.work.is_finished()).collect()
    }

    /// Returns what is under a path, or that nothing is; `None` if the bucket must be asked.
    pub(super) fn held(&self, path: &str) -> Option<Option<String>> {
        let peer = self.peer();
        let Ok(ino) = peer.find(path) else { return Some(None) };
        let size = peer.cache.attr(ino).unwrap().size;
        match peer.cache.read(ino, 0, size).unwrap() {
            ReadOutcome::Data(bytes) => Some(Some(String::from_utf8(bytes).unwrap())),
            ReadOutcome::Missing(_) => None,
        }
    }
}

impl Task {
    fn new(what: String, work: impl Future<Output = Result<String, String>> + Send + 'static) -> Self {
        Self { what, fsynced: None, work: tokio::spawn(work) }
    }

    pub(super) fn start(peer: Arc<Peer>) -> Self {
        Self::new("a start".to_owned(), async move { told(peer.sync.start().await) })
    }

    pub(super) fn pull(peer: Arc<Peer>) -> Self {
        Self::new("a pull".to_owned(), async move { told(peer.sync.pull().await) })
    }

    pub(super) fn push(peer: Arc<Peer>) -> Self {
        Self::new("a push".to_owned(), async move { told(peer.sync.push().await) })
    }

    pub(super) fn fsync(peer: Arc<Peer>, path: &str, ino: Ino, fsynced: Option<String>) -> Self {
        let what = format!("an fsync of {path} {fsynced:?}");
        let task = Self::new(what, async move { told(peer.sync.flush_file(ino).await) });
        Self { fsynced, ..task }
    }

    pub(super) fn read(peer: Arc<Peer>, path: &str) -> Self {
        let (what, path) = (format!("a read of {path}"), path.to_owned());
        Self::new(what, async move {
            peer.try_read(&path).await.map(|_| String::new()).map_err(|failed| failed.to_string())
        })
    }

    /// Returns what came of a task that has ended.
    pub(super) fn outcome(&mut self) -> Result<String, String> {
        (&mut self.work).now_or_never().unwrap().unwrap()
    }
}

fn told<T: std::fmt::Debug>(outcome: bayou::sync::Result<T>) -> Result<String, String> {
    outcome.map(|done| format!("{done:?}")).map_err(|failed| describe(&failed))
}
