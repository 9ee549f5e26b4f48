//! How much content came from the bucket and how much was dropped, since the cache was opened.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Cache;

/// What is counted as it happens.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    fetched_bytes: AtomicU64,
    evictions: AtomicU64,
    evicted_bytes: AtomicU64,
}

/// Content that came and went since the cache was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Bytes of files that were fetched, kept or not.
    pub fetched_bytes: u64,
    /// How often the clean content of a file was dropped to make room.
    pub evictions: u64,
    /// How many bytes that freed.
    pub evicted_bytes: u64,
}

impl Traffic {
    pub(super) fn note_fetched(&self, bytes: u64) {
        self.fetched_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn note_evicted(&self, bytes: u64) {
        self.evictions.fetch_add(1, Ordering::Relaxed);
        self.evicted_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Cache {
    /// Returns how much content came and went since the cache was opened.
    pub fn moved(&self) -> Moved {
        let traffic = &self.traffic;
        Moved {
            fetched_bytes: traffic.fetched_bytes.load(Ordering::Relaxed),
            evictions: traffic.evictions.load(Ordering::Relaxed),
            evicted_bytes: traffic.evicted_bytes.load(Ordering::Relaxed),
        }
    }
}
