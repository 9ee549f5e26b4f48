//! Files whose objects a request did not find although the index names them.
//!
//! That may be a writer who is about to put or to unname the object, or a server that lags. Only
//! what is missing for a while is worth another look; nothing is remembered beyond the process.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Cache;
use super::rows::{Path, Remote};

/// What is missing: since when, and what the index said of it.
#[derive(Debug, Default)]
pub(super) struct Missing(Mutex<BTreeMap<Path, (Instant, Remote)>>);

impl Cache {
    /// Notes that a key's object is missing although the index names it so.
    pub fn note_missing(&self, path: &Path, indexed: Remote) {
        let now = self.now();
        let mut missing = self.missing.0.lock();
        match missing.get_mut(path) {
            Some((_, known)) if known.is_same_as(&indexed) => {}
            _ => drop(missing.insert(Path::clone(path), (now, indexed))),
        }
    }

    /// Returns what is missing for at least this long, with what the index said of it.
    pub fn missing_for(&self, rest: Duration) -> Vec<(Path, Remote)> {
        let now = self.now();
        let missing = self.missing.0.lock();
        let is_due =
            |(_, (since, _)): &(&Path, &(Instant, Remote))| now.saturating_duration_since(*since) >= rest;
        let due = missing.iter().filter(is_due);
        due.map(|(path, (_, indexed))| (Path::clone(path), indexed.clone())).collect()
    }

    /// Forgets that an object was missing.
    pub fn forget_missing(&self, path: &str) {
        self.missing.0.lock().remove(path);
    }

    /// Notes that the object of a clean name is missing, if the index names it.
    pub(super) fn note_name_missing(&self, path: &Path) {
        let indexed = {
            let names = self.names.read();
            let name = names.name(path).filter(|_| !names.is_dirty(path));
            name.and_then(|name| name.remote.clone())
        };
        if let Some(indexed) = indexed {
            self.note_missing(path, indexed);
        }
    }
}
