//! A machine of a simulation: what is on its disk, its process, and what that is doing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bayou::cache::Ino;
use bayou::cache::content::ReadOutcome;
use bayou::store::SharedStore;
use bayou::store::probe::Conditions;
use bayou::store::retry::{RetryPolicy, RetryingStore};
use bayou::sync::{SyncOptions, describe};
use futures::FutureExt;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
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
    process: Option<Process>,
}

/// A process: all that it does by itself ends with its runtime.
struct Process {
    runtime: Runtime,
    parked: Arc<Notify>,
    peer: Arc<Peer>,
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
    Arc::new(Door { machine, network: Arc::clone(network) })
}

impl Machine {
    pub(super) fn start(number: usize, folder: &Path, network: &Arc<Network>, clock: &SimClock) -> Self {
        let mut machine = Self { number, tasks: Vec::new(), folder: folder.to_owned(), process: None };
        machine.restart(network, clock);
        machine
    }

    /// Starts a process on what is on the disk.
    pub(super) fn restart(&mut self, network: &Arc<Network>, clock: &SimClock) {
        let parked = Arc::new(Notify::new());
        let tell = Arc::clone(&parked);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .on_thread_park(move || tell.notify_one())
            .build()
            .unwrap();
        let within = runtime.enter();
        let door = door(self.number, network);
        let store = Arc::new(RetryingStore::new(door, Arc::new(clock.clone()), PATIENCE));
        let sync = SyncOptions { part_bytes: PART_BYTES as u64, ..SyncOptions::default() };
        let lock_clock = Arc::new(clock.clone());
        let folder = Some(self.folder.clone());
        let options = PeerOptions { sync, folder, lock_clock, ..PeerOptions::default() };
        let peer = Arc::new(Peer::open(store, CONDITIONS, Arc::new(clock.clone()), options));
        peer.sync.send_while_written();
        drop(within);
        self.process = Some(Process { runtime, parked, peer });
    }

    /// Kills the process.
    pub(super) fn kill(&mut self) {
        self.tasks.clear();
        self.process = None;
    }

    /// Lets the process go on until all of it waits for somebody else.
    pub(super) fn run(&self) {
        let Process { runtime, parked, .. } = self.process();
        runtime.block_on(async {
            parked.notified().now_or_never();
            parked.notified().await;
        });
    }

    /// Has the process do something.
    pub(super) fn begin(&mut self, task: impl FnOnce(Arc<Peer>) -> Task) {
        let process = self.process();
        let _within = process.runtime.enter();
        let task = task(Arc::clone(&process.peer));
        self.tasks.push(task);
    }

    fn process(&self) -> &Process {
        self.process.as_ref().unwrap()
    }

    pub(super) fn peer(&self) -> &Peer {
        &self.process().peer
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
