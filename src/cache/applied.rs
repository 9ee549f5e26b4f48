//! Which version of the index the tree is up to.
//!
//! A process may die between a commit of the index and the note of what was committed. The next
//! one takes the index over then: what is said to it is a version whose every change is noted.

use std::sync::atomic::Ordering;

use super::Cache;
use super::error::Result;
use super::rows::RowOp;

/// The setting that keeps the version for the next process.
pub(super) const APPLIED: &str = "applied-index";

/// What the tree is up to, for this process and for the next.
#[derive(Debug, Default)]
pub(super) struct Applied {
    now: Option<String>,
    /// What is noted; empty: the next process takes the index over anew. `None` before the first
    /// pull.
    noted: Option<String>,
}

impl Applied {
    /// Returns what the process before this one said.
    pub(super) fn read(noted: Option<&String>) -> Self {
        Self { now: noted.filter(|text| !text.is_empty()).cloned(), noted: noted.cloned() }
    }
}

impl Cache {
    /// Returns the version of the index that the tree is up to; `None` if that is not known.
    pub fn applied_fingerprint(&self) -> Option<String> {
        self.applied.lock().now.clone()
    }

    /// Returns whether this machine took over an index at any time.
    pub fn has_pulled(&self) -> bool {
        self.applied.lock().noted.is_some()
    }

    /// Notes which version of the index the tree is up to, with all that is known of it noted.
    pub fn note_applied(&self, fingerprint: Option<&str>) -> Result<()> {
        self.note_both(fingerprint, true)
    }

    /// As [`Cache::note_applied`], but the next process takes the index over anew.
    pub fn note_applied_for_now(&self, fingerprint: Option<&str>) -> Result<()> {
        self.note_both(fingerprint, false)
    }

    /// Keeps for the next process what this one is up to, if all that is known of it is noted.
    pub fn keep_applied(&self, is_noted: impl FnOnce() -> bool) -> Result<()> {
        let mut applied = self.applied.lock();
        // Looked at under the lock: who commits says so before it notes what the index is then.
        if applied.now == applied.noted || self.show_again.load(Ordering::Acquire) || !is_noted() {
            return Ok(());
        }
        let Some(now) = applied.now.clone() else { return Ok(()) };
        self.note_for_later(&mut applied, now)
    }

    fn note_both(&self, fingerprint: Option<&str>, also_later: bool) -> Result<()> {
        let mut applied = self.applied.lock();
        let fingerprint = fingerprint.filter(|_| !self.show_again.load(Ordering::Acquire));
        let later = fingerprint.filter(|_| also_later).unwrap_or_default();
        let is_noted = match &applied.noted {
            Some(noted) => noted == later,
            None => fingerprint.is_none(),
        };
        if !is_noted {
            self.note_for_later(&mut applied, later.to_owned())?;
        }
        applied.now = fingerprint.map(str::to_owned);
        Ok(())
    }

    fn note_for_later(&self, applied: &mut Applied, later: String) -> Result<()> {
        self.catalog.note(&[RowOp::Setting(APPLIED.to_owned(), later.clone())])?;
        applied.noted = Some(later);
        Ok(())
    }
}
