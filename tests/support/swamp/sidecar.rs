//! What a process believes of its machine's sidecar: read once, then only written.
//!
//! Two processes on one machine overwrite each other's; what is not loaded yet is not known.

use std::sync::Arc;

use bayou::model::sidecar::{FingerprintKind, Sidecar};

use super::Process;
use super::machine::{Machine, later_than};
use super::names::is_usable;

/// How many paths are remembered before everything counts as dirty.
const MOST_PATHS: usize = 200;

/// The sidecar as one process knows it.
pub(super) struct State {
    machine: Arc<Machine>,
    loaded: Option<Option<Sidecar>>,
}

impl State {
    pub(super) fn of(machine: &Arc<Machine>) -> Self {
        Self { machine: Arc::clone(machine), loaded: None }
    }

    /// Returns the sidecar, if there is one; reads it at the first time.
    pub(super) fn sidecar(&mut self) -> Option<&Sidecar> {
        let machine = &self.machine;
        let load = || machine.sidecar().and_then(|bytes| Sidecar::parse(&bytes));
        self.loaded.get_or_insert_with(load).as_ref()
    }

    /// Returns whether a lazy pull filled the cache, as far as this process has looked.
    pub(super) fn lazy(&self) -> bool {
        self.loaded.as_ref().and_then(Option::as_ref).is_some_and(|sidecar| sidecar.lazy_pull_active)
    }

    /// Changes the sidecar and writes it.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Sidecar)) {
        self.sidecar();
        let known = self.loaded.as_mut().and_then(Option::as_mut);
        let mut sidecar = known.map_or_else(|| Sidecar::fresh(FingerprintKind::Etag), |known| known.clone());
        change(&mut sidecar);
        self.machine.write_sidecar(sidecar.to_bytes());
        self.loaded = Some(Some(sidecar));
    }
}

impl Process {
    /// Notes that a path, or (without one) anything, is about to change.
    pub(crate) fn mark_dirty(&mut self, path: Option<&str>) {
        let sidecar = self.state.sidecar();
        let is_bulk = sidecar.is_some_and(|sidecar| sidecar.bulk_invalidated);
        let Some(path) = path else {
            if !(is_bulk && sidecar.is_some_and(|sidecar| sidecar.local_dirty)) {
                self.change_and_forget_seq(|sidecar| {
                    (sidecar.bulk_invalidated, sidecar.local_dirty) = (true, true);
                });
            }
            return;
        };
        let paths = sidecar.map_or(&[][..], |sidecar| &sidecar.dirty_paths);
        if is_bulk || paths.iter().any(|known| known == path) {
            return;
        }
        let (is_outside, is_over) = (path.split('/').any(|part| part == ".."), paths.len() >= MOST_PATHS);
        self.change_and_forget_seq(|sidecar| {
            sidecar.local_dirty = true;
            if is_outside || is_over {
                sidecar.bulk_invalidated = true;
                sidecar.dirty_paths_overflowed |= is_over;
            } else {
                sidecar.dirty_paths.push(path.to_owned());
            }
        });
    }

    /// What swamp calls building the state: the sequence number of the shards gets lost.
    fn change_and_forget_seq(&mut self, change: impl FnOnce(&mut Sidecar)) {
        self.state.change(|sidecar| {
            sidecar.commit_seq = None;
            change(sidecar);
        });
    }

    pub(super) fn set_lazy(&mut self, lazy: bool) {
        self.change_and_forget_seq(|sidecar| sidecar.lazy_pull_active = lazy);
    }

    /// Marks the cache clean at a version of the monolith, if its fingerprint is worth something.
    pub(super) fn mark_synced(&mut self, fingerprint: &str) {
        if !is_usable(fingerprint) {
            return;
        }
        let verified_at = later_than(self.machine.index_written(), self.machine.now_ms());
        self.state.change(|sidecar| {
            forget_dirt(sidecar);
            sidecar.fingerprint = fingerprint.to_owned();
            sidecar.last_verified_at = verified_at;
            (sidecar.commit_seq, sidecar.data_key_migrated) = (None, None);
        });
    }

    /// Marks the cache clean at a commit of the shards.
    pub(super) fn mark_clean_at(&mut self, commit_seq: u64) {
        self.state.change(|sidecar| {
            forget_dirt(sidecar);
            stamp(sidecar, commit_seq);
        });
    }

    /// What a two-phase commit of shards does: the flag is cleared, the paths stay.
    pub(super) fn mark_half_clean_at(&mut self, commit_seq: u64) {
        self.state.change(|sidecar| {
            sidecar.local_dirty = false;
            stamp(sidecar, commit_seq);
        });
    }
}

fn forget_dirt(sidecar: &mut Sidecar) {
    sidecar.local_dirty = false;
    sidecar.dirty_paths.clear();
    sidecar.bulk_invalidated = false;
    sidecar.dirty_paths_overflowed = false;
}

fn stamp(sidecar: &mut Sidecar, commit_seq: u64) {
    sidecar.fingerprint.clear();
    sidecar.commit_seq = Some(commit_seq);
}
