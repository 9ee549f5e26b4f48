//! Our machines: what people do on them at random, and how their requests go through a gate.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bayou::sync::{Result, SyncReport, describe};

use crate::dice::Dice;
use crate::ledger::Ledger;
use crate::pace::Pace;
use crate::paced_store::PacedStore;
use crate::peer::{Peer, PeerOptions};
use crate::world::World;

/// Where people work: swamp's files, names beside them, and a tree that swamp has no shards for.
pub(crate) const PATHS: [&str; 16] = [
    "data/t/m/n/1/raw",
    "data/t/m/n/1/metadata.yaml",
    "data/t/m/n/2/raw",
    "data/t/m/n/3/raw",
    "data/t/m/n/latest",
    "data/t/k/n/1/raw",
    "data/t/k/n/latest",
    "outputs/t/m/run-1.yaml",
    "workflows-evaluated/w.yaml",
    "audit/a",
    "audit/b",
    "audit/c",
    "README.md",
    "src/main.rs",
    "src/lib.rs",
    "notes/today",
];

/// How long a machine may seem to do nothing before somebody else gets on.
const PATIENCE: Duration = Duration::from_millis(20);

/// One of our machines.
pub(crate) struct Ours {
    name: usize,
    world: Arc<World>,
    pace: Arc<Pace>,
    peer: Option<Peer>,
    home: Option<tempfile::TempDir>,
}

/// What a machine does at the bucket.
pub(crate) type Errand<'a> = Pin<Box<dyn Future<Output = Result<String>> + 'a>>;

impl Ours {
    pub(crate) async fn new(name: usize, world: &Arc<World>) -> Self {
        let mut machine = Self { name, world: Arc::clone(world), pace: Pace::new(), peer: None, home: None };
        machine.start(PeerOptions::default()).await;
        machine
    }

    async fn start(&mut self, options: PeerOptions) {
        let store = PacedStore::around(Arc::clone(&self.world.bucket), Arc::clone(&self.pace));
        let clock = Arc::new(Arc::clone(&self.world.clock));
        let options = PeerOptions { lock_clock: clock.clone(), ..options };
        let peer = Peer::open(store, self.world.conditions, clock, options);
        // What goes wrong at the start is tried again by the next pull.
        drop(peer.sync.start().await);
        self.peer = Some(peer);
    }

    pub(crate) fn peer(&self) -> &Peer {
        self.peer.as_ref().unwrap()
    }

    /// Ends the process and starts another on the same cache.
    pub(crate) async fn restart(&mut self, ledger: &mut Ledger) {
        ledger.note(format!("{} starts again", self.name));
        let (folder, home) = self.peer.take().unwrap().stop();
        self.home = self.home.take().or(home);
        self.start(PeerOptions { folder: Some(folder), ..PeerOptions::default() }).await;
    }

    /// Reads a file; nothing if it is not there, an error if it cannot be read just now.
    async fn seen(&self, path: &str) -> std::result::Result<Option<String>, ()> {
        match self.peer().find(path) {
            Err(_) => Ok(None),
            Ok(_) => {
                let read = self.peer().try_read(path).await.map_err(drop)?;
                Ok(Some(String::from_utf8(read).unwrap()))
            }
        }
    }

    /// Reads every file.
    pub(crate) async fn read_all(&self) {
        for path in self.peer().files() {
            drop(self.seen(&path).await);
        }
    }

    /// Changes a file.
    pub(crate) async fn change(&self, dice: &mut Dice, ledger: &mut Ledger) {
        let path = PATHS[dice.below(PATHS.len())];
        let Ok(before) = self.seen(path).await else { return };
        let name = self.name;
        match dice.below(10) {
            6 | 7 if before.is_some() => {
                ledger.note(format!("{name} removes {path} {before:?}"));
                ledger.give_up(before.as_deref());
                self.peer().remove(path);
            }
            8 if before.is_some() => {
                let to = PATHS[dice.below(PATHS.len())];
                let Ok(displaced) = self.seen(to).await else { return };
                if to != path {
                    ledger.note(format!("{name} renames {path} {before:?} to {to} {displaced:?}"));
                    ledger.give_up(displaced.as_deref());
                    self.peer().rename(path, to);
                }
            }
            9 if before.is_some() => {
                ledger.note(format!("{name} chmods {path}"));
                self.peer().chmod(path, 0o600 + u32::try_from(dice.below(8)).unwrap());
            }
            _ => {
                let text = ledger.ours(dice.below(2), format!("{name} wrote {path} over {before:?}"));
                ledger.give_up(before.as_deref());
                self.peer().write(path, &text);
            }
        }
    }

    /// Returns something that a machine does at the bucket, and its name.
    pub(crate) fn errand(&self, dice: &mut Dice) -> (String, Errand<'_>) {
        let peer = self.peer();
        let told =
            |report: SyncReport| format!("-{} +{} {:?}", report.deleted, report.pushed, report.conflicts);
        match dice.below(8) {
            0..=2 => ("pulls".to_owned(), Box::pin(async move { peer.sync.pull().await.map(told) })),
            3 => ("pushes".to_owned(), Box::pin(async move { peer.sync.push().await.map(told) })),
            _ => {
                let pending = peer.pending();
                let path = dice.pick(&pending).cloned().unwrap_or_else(|| PATHS[0].to_owned());
                let errand = async move {
                    match peer.find(&path) {
                        Ok(ino) => peer.sync.flush_file(ino).await.map(|()| path),
                        // It was removed: the folder that it was in is synced.
                        Err(_) => peer.sync.flush_folder(bayou::cache::ROOT).await.map(|()| path),
                    }
                };
                ("syncs a file".to_owned(), Box::pin(errand))
            }
        }
    }

    /// Returns what was written to the bucket since the last look.
    pub(crate) fn writes(&self) -> Vec<String> {
        let seen = self.peer().store.take();
        let is_write = |operation: &str| !["get", "head", "list"].contains(&operation);
        seen.iter().filter(|one| is_write(one.operation)).map(ToString::to_string).collect()
    }

    pub(crate) fn name(&self) -> usize {
        self.name
    }

    /// Lets an errand make some requests; returns what came of it if it is done.
    pub(crate) async fn advance(&self, requests: usize, errand: &mut Errand<'_>) -> Option<String> {
        let advanced = self.pace.advance(requests, errand.as_mut());
        // Who waits for the clock, or for a lock, does not get stuck at the gate.
        let advanced = tokio::time::timeout(PATIENCE, advanced).await.ok().flatten();
        let outcome = match advanced {
            Some(outcome) => outcome,
            // Nobody else may be at the bucket while a request is on its way.
            None => self.pace.stand_still(errand.as_mut()).await?,
        };
        self.pace.open();
        Some(outcome.unwrap_or_else(|failed| describe(&failed)))
    }
}
