//! How many things of a kind are under way.

use std::sync::atomic::{AtomicU64, Ordering};

/// A count of what has begun and not ended.
#[derive(Debug, Default)]
pub(super) struct UnderWay(AtomicU64);

/// One that has begun; it ends when this is dropped, however that comes.
pub(super) struct One<'a>(&'a UnderWay);

impl UnderWay {
    /// Counts one from now on.
    pub(super) fn one(&self) -> One<'_> {
        self.0.fetch_add(1, Ordering::AcqRel);
        One(self)
    }

    /// Returns how many there are. Who sees one gone sees what it did.
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

impl Drop for One<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}
