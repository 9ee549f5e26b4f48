//! How much of a large file is asked for: by a reader who finds nothing, and ahead of one.
//!
//! A read in the middle of nowhere asks for one small range. While a reader goes on from where
//! it was the ranges grow, and the next ones are asked for before it gets there, several at once.

use std::num::NonZeroUsize;
use std::ops::Range;

use lru::LruCache;
use parking_lot::Mutex;

use super::rows::ContentId;

/// Smallest range that is asked for (less only at the end of a file), in bytes.
pub(super) const FIRST_WINDOW: u64 = 1 << 20;
/// Largest range that is asked for at once, in bytes.
const LAST_WINDOW: u64 = 8 << 20;
/// How far ahead of a reader is asked for at most, in bytes.
const FURTHEST_AHEAD: u64 = 32 << 20;
/// How far from where it was a reader still goes on: the kernel's requests overtake each other.
const SLACK: u64 = 1 << 20;
/// How many files' readers are remembered.
const REMEMBERED: usize = 256;

/// The readers of files of which something is absent.
pub(super) struct Windows(Mutex<LruCache<ContentId, Window>>);

#[derive(Clone, Copy)]
struct Window {
    /// Where the reader began to go on.
    from: u64,
    /// How far it has read.
    to: u64,
    /// How far was asked for.
    next: u64,
    /// The last range that was asked for, in bytes.
    size: u64,
}

impl Windows {
    pub(super) fn new() -> Self {
        Self(Mutex::new(LruCache::new(NonZeroUsize::new(REMEMBERED).unwrap_or(NonZeroUsize::MIN))))
    }

    /// Returns what to ask for: at least the gap's beginning, more while reads are sequential.
    pub(super) fn wanted(&self, id: &ContentId, gap: &Range<u64>, limit: u64) -> Range<u64> {
        let mut windows = self.0.lock();
        let window = match windows.get(id) {
            Some(window) if window.next == gap.start => {
                Window { to: window.to.max(gap.start), ..window.grown() }
            }
            _ => Window { from: gap.start, to: gap.start, next: gap.start, size: FIRST_WINDOW },
        };
        let end = (gap.start + window.size).min(limit);
        if end == limit {
            windows.pop(id);
        } else {
            windows.put(id.clone(), Window { next: end, ..window });
        }
        gap.start..end
    }

    /// Notes a read; returns what should be asked for beside it, in ranges for one request each.
    pub(super) fn read(&self, id: &ContentId, read: Range<u64>, limit: u64) -> Vec<Range<u64>> {
        let mut windows = self.0.lock();
        let Some(window) = windows.get_mut(id) else { return Vec::new() };
        let goes_on = read.start <= window.to + SLACK && read.end + SLACK >= window.to;
        if !goes_on {
            return Vec::new();
        }
        window.to = window.to.max(read.end);
        let was_read = window.to - window.from;
        let until = (window.to + (was_read * 2).min(FURTHEST_AHEAD)).min(limit);
        let mut ahead = Vec::new();
        while was_read > FIRST_WINDOW && window.next < until {
            let grown = window.grown();
            let end = (window.next + grown.size).min(limit);
            ahead.push(window.next..end);
            *window = Window { next: end, ..grown };
        }
        if window.next == limit && window.to == limit {
            windows.pop(id);
        }
        ahead
    }
}

impl Window {
    fn grown(self) -> Self {
        Self { size: (self.size * 2).min(LAST_WINDOW), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const LIMIT: u64 = 1 << 30;

    fn id() -> ContentId {
        ContentId("c".into())
    }

    #[test]
    fn one_read_asks_for_one_small_range() {
        let windows = Windows::new();
        assert_eq!(windows.wanted(&id(), &(100 * MIB..101 * MIB), LIMIT), 100 * MIB..101 * MIB);
        assert_eq!(windows.read(&id(), 100 * MIB..100 * MIB + 4096, LIMIT), []);
        assert_eq!(windows.wanted(&id(), &(300 * MIB..301 * MIB), LIMIT), 300 * MIB..301 * MIB);
        assert_eq!(windows.read(&id(), 300 * MIB..300 * MIB + 4096, LIMIT), []);
    }

    #[test]
    fn a_reader_that_goes_on_is_kept_ahead_of_and_nothing_is_asked_for_twice() {
        let windows = Windows::new();
        let mut asked = vec![windows.wanted(&id(), &(0..MIB), LIMIT)];
        for n in 0..1024 {
            asked.extend(windows.read(&id(), n * MIB..(n + 1) * MIB, LIMIT));
            let ahead = asked.last().unwrap().end - (n + 1) * MIB;
            assert!(ahead <= FURTHEST_AHEAD + LAST_WINDOW, "{ahead} bytes ahead at {n}");
            assert!(
                n < 16 || ahead >= FURTHEST_AHEAD.min(LIMIT - (n + 1) * MIB),
                "only {ahead} ahead at {n}"
            );
        }
        assert_eq!(asked.first().unwrap().start, 0);
        assert!(asked.windows(2).all(|pair| pair[0].end == pair[1].start), "{asked:?}");
        assert_eq!(asked.last().unwrap().end, LIMIT);
    }

    #[test]
    fn a_reader_whose_reads_were_noted_before_they_found_nothing_is_followed() {
        let windows = Windows::new();
        windows.read(&id(), 0..MIB, LIMIT);
        windows.read(&id(), MIB..2 * MIB, LIMIT);
        windows.wanted(&id(), &(0..MIB), LIMIT);
        windows.wanted(&id(), &(MIB..2 * MIB), LIMIT);
        let ahead = windows.read(&id(), 2 * MIB..3 * MIB, LIMIT);
        assert_eq!(ahead.first().unwrap().start, 3 * MIB);
    }

    #[test]
    fn requests_that_overtake_each_other_are_one_reader() {
        let windows = Windows::new();
        let first = windows.wanted(&id(), &(0..MIB), LIMIT);
        assert_eq!(first, 0..MIB);
        assert_eq!(windows.read(&id(), MIB / 2..MIB, LIMIT), [], "so much may be all");
        assert_eq!(windows.read(&id(), 0..MIB / 2, LIMIT), []);
        let ahead = windows.read(&id(), MIB..MIB + 1, LIMIT);
        assert_eq!((ahead[0].start, ahead[0].end), (MIB, 3 * MIB));
    }
}
