//! How much of the cache's size one content file is.
//!
//! A content file may be dropped while somebody still changes it; what is changed then counts
//! no more. Whoever holds any other lock may count: nothing else is locked here.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// The bytes that one content file was counted as; `None` once it was dropped.
#[derive(Debug)]
pub(super) struct Counted(Mutex<Option<u64>>);

impl Counted {
    pub(super) fn nothing() -> Self {
        Self(Mutex::new(Some(0)))
    }

    /// Counts the content as `bytes` from now on.
    pub(super) fn replace(&self, bytes: u64, total: &AtomicU64) {
        let mut counted = self.0.lock();
        let Some(before) = counted.replace(bytes) else {
            *counted = None;
            return;
        };
        if bytes >= before {
            total.fetch_add(bytes - before, Ordering::Relaxed);
        } else {
            total.fetch_sub(before - bytes, Ordering::Relaxed);
        }
    }

    /// Returns the bytes that it counts as; `None` once it was dropped.
    pub(super) fn bytes(&self) -> Option<u64> {
        *self.0.lock()
    }

    /// Takes the content out of the total for good.
    pub(super) fn end(&self, total: &AtomicU64) {
        if let Some(bytes) = self.0.lock().take() {
            total.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dropped_counts_no_more_whatever_is_written_to_it() {
        let total = AtomicU64::new(100);
        let counted = Counted::nothing();
        counted.replace(30, &total);
        counted.replace(10, &total);
        assert_eq!(total.load(Ordering::Relaxed), 110);
        counted.end(&total);
        counted.replace(50, &total);
        counted.end(&total);
        assert_eq!(total.load(Ordering::Relaxed), 100);
    }
}
