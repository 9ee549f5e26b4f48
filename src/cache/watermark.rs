//! The dirty watermark: says on disk, before the first byte of any change, that this machine
//! may hold what the bucket does not.
//!
//! Setting it is free when it is set already. Clearing it needs three things: a proof that
//! both sides are equal, no change that began or ended since the sync began, and no change
//! under way. The state is kept in swamp's sidecar format; a damaged sidecar means dirty.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::model::compare::InSyncProof;
use crate::model::fingerprint::Fingerprint;
use crate::model::sidecar::{FingerprintKind, Sidecar};
use crate::model::timestamp::Timestamp;
use crate::os::clock::SharedClock;
use crate::os::crash_point::{Step, reached};
use crate::os::durable_file;

/// The watermark of one cache folder.
#[derive(Clone)]
pub struct Watermark {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    clock: SharedClock,
    state: Mutex<State>,
}

struct State {
    sidecar: Option<Sidecar>,
    counts: Counts,
    alive: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Counts {
    started: u64,
    ended: u64,
}

/// Proof that the watermark says dirty, held while a change is made.
#[must_use = "a change is under way only while its token lives"]
pub struct ChangeToken {
    inner: Option<Arc<Inner>>,
}

impl ChangeToken {
    /// Returns a token for a change that can never reach the bucket: of a machine-local file
    /// or of one that was unlinked.
    pub(super) fn uncounted() -> Self {
        Self { inner: None }
    }
}

impl Drop for ChangeToken {
    fn drop(&mut self) {
        let Some(inner) = &self.inner else { return };
        let mut state = inner.state.lock();
        state.counts.ended += 1;
        state.alive -= 1;
    }
}

/// The moment at which a sync began.
#[derive(Debug, Clone, Copy)]
pub struct SyncTicket {
    counts: Counts,
}

/// What became of an attempt to settle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The watermark says clean.
    Clean,
    /// Something changed since the sync began: still dirty.
    ChangedMeanwhile,
}

impl Watermark {
    /// Opens the watermark whose sidecar is `path`. No sidecar, or a damaged one, means dirty.
    pub fn open(path: &Path, clock: SharedClock) -> io::Result<Self> {
        let sidecar = match std::fs::read(path) {
            Ok(bytes) => Sidecar::parse(&bytes),
            Err(absent) if absent.kind() == io::ErrorKind::NotFound => None,
            Err(failed) => return Err(failed),
        };
        if sidecar.is_none() {
            tracing::debug!(path = %path.display(), "No usable sidecar: everything counts as unverified");
        }
        let state = Mutex::new(State { sidecar, counts: Counts::default(), alive: 0 });
        Ok(Self { inner: Arc::new(Inner { path: path.to_owned(), clock, state }) })
    }

    /// Marks the cache dirty and returns when that is on the disk.
    ///
    /// Fails if it cannot be written; nothing may be changed then.
    pub fn mark_dirty(&self) -> io::Result<ChangeToken> {
        let mut state = self.inner.state.lock();
        if !state.sidecar.as_ref().is_some_and(Sidecar::is_dirty) {
            let dirty = dirtied(state.sidecar.clone());
            durable_file::replace(&self.inner.path, &dirty.to_bytes())?;
            state.sidecar = Some(dirty);
            reached(Step::WatermarkDirty);
        }
        state.counts.started += 1;
        state.alive += 1;
        Ok(ChangeToken { inner: Some(Arc::clone(&self.inner)) })
    }

    /// Returns the moment from which changes count against settling.
    pub fn begin_sync(&self) -> SyncTicket {
        SyncTicket { counts: self.inner.state.lock().counts }
    }

    /// Marks the cache clean at the index version that was compared, unless anything changed
    /// since the ticket was drawn or is changing now.
    pub fn mark_synced(
        &self,
        ticket: SyncTicket,
        proof: InSyncProof,
        fingerprint: &str,
    ) -> io::Result<Settled> {
        let mut state = self.inner.state.lock();
        if state.alive > 0 || state.counts != ticket.counts {
            return Ok(Settled::ChangedMeanwhile);
        }
        drop(proof);
        reached(Step::BeforeSettle);
        let clean = self.verified_at(&Fingerprint::read(fingerprint));
        // A failure may leave either state on the disk: until it is known, the next change
        // must write it anew.
        state.sidecar = None;
        durable_file::replace(&self.inner.path, &clean.to_bytes())?;
        state.sidecar = Some(clean);
        reached(Step::Settled);
        Ok(Settled::Clean)
    }

    fn verified_at(&self, fingerprint: &Fingerprint) -> Sidecar {
        let fresh = Sidecar {
            last_verified_at: Timestamp::from(self.inner.clock.now()).to_string(),
            ..Sidecar::fresh(FingerprintKind::Etag)
        };
        match fingerprint {
            Fingerprint::Document(version) => Sidecar { fingerprint: version.clone(), ..fresh },
            Fingerprint::Shards { commit_seq, .. } => Sidecar { commit_seq: Some(*commit_seq), ..fresh },
        }
    }

    /// Returns whether the cache was proven equal to exactly this state of the index and has
    /// not been changed since. Of shards the sidecar keeps the count of commits only, as swamp's
    /// does: which documents they were the catalog knows.
    pub fn is_clean_at(&self, fingerprint: &str) -> bool {
        let state = self.inner.state.lock();
        let Some(sidecar) = state.sidecar.as_ref().filter(|sidecar| !sidecar.is_dirty()) else {
            return false;
        };
        match Fingerprint::read(fingerprint) {
            Fingerprint::Document(version) => sidecar.usable_fingerprint() == Some(version.as_str()),
            Fingerprint::Shards { commit_seq, .. } => sidecar.commit_seq == Some(commit_seq),
        }
    }

    /// Forgets what was verified, durably: the catalog that it was verified with is lost.
    pub(super) fn forget(&self) -> io::Result<()> {
        let mut state = self.inner.state.lock();
        state.sidecar = None;
        match std::fs::remove_file(&self.inner.path) {
            Err(failed) if failed.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.and_then(|()| durable_file::sync_folder_of(&self.inner.path)),
        }
    }

    /// Returns whether the cache may hold what the bucket does not.
    pub fn is_dirty(&self) -> bool {
        self.inner.state.lock().sidecar.as_ref().is_none_or(Sidecar::is_dirty)
    }
}

fn dirtied(sidecar: Option<Sidecar>) -> Sidecar {
    let known = sidecar.unwrap_or_else(|| Sidecar::fresh(FingerprintKind::Etag));
    Sidecar { local_dirty: true, bulk_invalidated: true, ..known }
}
