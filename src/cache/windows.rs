//! How much of a large file is asked for: by a reader who finds nothing, and ahead of one.
//!
//! A read in the middle of nowhere asks for one small range. While a reader goes on from where
//! it was the ranges grow, and the next ones are asked for before it gets there, several at once.
//! Several readers of one file are told apart by where they are. Nobody is interested any more in
//! what is ahead of a reader who went elsewhere, or closed the file.

use std::num::NonZeroUsize;
use std::ops::Range;

use lru::LruCache;
use parking_lot::Mutex;

use super::rows::ContentId;
use super::sequence::Interest;

/// Smallest range that is asked for (less only at the end of a file), in bytes.
pub(super) const FIRST_WINDOW: u64 = 1 << 20;
/// Largest range that is asked for at once, in bytes.
const LAST_WINDOW: u64 = 4 << 20;
/// How far ahead of a reader is asked for at most, in bytes: as one connection gives only so much,
/// this is a dozen of them.
const FURTHEST_AHEAD: u64 = 48 << 20;
/// How many times what it has read a reader is kept ahead of, up to that.
const FORESIGHT: u64 = 4;
/// How far from where it was a reader still goes on: the kernel's requests overtake each other.
const SLACK: u64 = 1 << 20;
/// How many files' readers are remembered.
const REMEMBERED: usize = 256;
/// How many readers of one file are told apart.
const MOST_READERS: usize = 8;
/// How many reads of a file elsewhere end a reader.
const PATIENCE: u64 = 128;

/// The readers of files of which something is absent.
pub(super) struct Windows(Mutex<LruCache<ContentId, Readers>>);

/// What should be fetched ahead of a reader, in ranges for one request each.
pub(super) struct Ahead {
    pub(super) ranges: Vec<Range<u64>>,
    pub(super) interest: Interest,
}

#[derive(Default)]
struct Readers {
    windows: Vec<Window>,
    reads: u64,
}

struct Window {
    /// Where the reader began to go on.
    from: u64,
    /// How far it has read.
    to: u64,
    /// How far was asked for.
    next: u64,
    /// The last range that was asked for, in bytes.
    size: u64,
    /// When it went on, in reads of the file.
    used: u64,
    interest: Interest,
}

impl Windows {
    pub(super) fn new() -> Self {
        Self(Mutex::new(LruCache::new(NonZeroUsize::new(REMEMBERED).unwrap_or(NonZeroUsize::MIN))))
    }

    /// Returns what to ask for: at least the gap's beginning, more while reads are sequential.
    pub(super) fn wanted(&self, id: &ContentId, gap: &Range<u64>, limit: u64) -> Range<u64> {
        let mut files = self.0.lock();
        if let Some(readers) = files.get_mut(id)
            && let Some(window) = readers.windows.iter_mut().find(|window| window.asked(gap.start))
        {
            return window.ask(gap.start, limit);
        }
        let end = (gap.start + FIRST_WINDOW).min(limit);
        if end < limit {
            files.get_or_insert_mut(id.clone(), Readers::default).add(gap.start, end);
        }
        gap.start..end
    }

    /// Notes a read; returns what should be asked for beside it.
    pub(super) fn read(&self, id: &ContentId, read: Range<u64>, limit: u64) -> Option<Ahead> {
        let mut files = self.0.lock();
        let readers = files.get_mut(id)?;
        readers.reads += 1;
        let now = readers.reads;
        readers.windows.retain(|window| window.used + PATIENCE > now);
        let near = readers.windows.iter_mut().filter(|window| window.goes_on(&read));
        let window = near.min_by_key(|window| window.to.abs_diff(read.start))?;
        window.used = now;
        window.to = window.to.max(read.end);
        let ranges = window.ahead(limit);
        let interest = Interest::clone(&window.interest);
        (!ranges.is_empty()).then_some(Ahead { ranges, interest })
    }

    /// Forgets all readers of a file.
    pub(super) fn forget(&self, id: &ContentId) {
        self.0.lock().pop(id);
    }
}

impl Readers {
    fn add(&mut self, from: u64, next: u64) {
        if self.windows.len() == MOST_READERS
            && let Some(oldest) = (0..MOST_READERS).min_by_key(|&at| self.windows[at].used)
        {
            self.windows.swap_remove(oldest);
        }
        let (used, interest) = (self.reads, Interest::default());
        self.windows.push(Window { from, to: from, next, size: FIRST_WINDOW, used, interest });
    }
}

impl Window {
    /// Returns whether what follows on `start` was asked for, or would be next.
    fn asked(&self, start: u64) -> bool {
        (self.from..=self.next).contains(&start)
    }

    /// Returns what to ask for where nothing is: more each time at the end of what was asked for,
    /// little where something was asked for and did not come.
    fn ask(&mut self, start: u64, limit: u64) -> Range<u64> {
        if start < self.next {
            return start..(start + FIRST_WINDOW).min(self.next);
        }
        self.to = self.to.max(start);
        self.advance(limit)
    }

    fn advance(&mut self, limit: u64) -> Range<u64> {
        self.size = (self.size * 2).min(LAST_WINDOW);
        let start = self.next;
        self.next = (start + self.size).min(limit);
        start..self.next
    }

    fn goes_on(&self, read: &Range<u64>) -> bool {
        read.start <= self.to + SLACK && read.end + SLACK >= self.to
    }

    fn ahead(&mut self, limit: u64) -> Vec<Range<u64>> {
        let was_read = self.to - self.from;
        let until = (self.to + (was_read * FORESIGHT).min(FURTHEST_AHEAD)).min(limit);
        let mut ahead = Vec::new();
        while was_read > FIRST_WINDOW && self.next < until {
            ahead.push(self.advance(limit));
        }
        ahead
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

    /// Returns what is asked for beside a read.
    fn read(windows: &Windows, read: Range<u64>) -> Vec<Range<u64>> {
        windows.read(&id(), read, LIMIT).map(|ahead| ahead.ranges).unwrap_or_default()
    }

    #[test]
    fn one_read_asks_for_one_small_range() {
        let windows = Windows::new();
        assert_eq!(windows.wanted(&id(), &(100 * MIB..101 * MIB), LIMIT), 100 * MIB..101 * MIB);
        assert_eq!(read(&windows, 100 * MIB..100 * MIB + 4096), []);
        assert_eq!(windows.wanted(&id(), &(300 * MIB..301 * MIB), LIMIT), 300 * MIB..301 * MIB);
        assert_eq!(read(&windows, 300 * MIB..300 * MIB + 4096), []);
    }

    #[test]
    fn a_reader_that_goes_on_is_kept_ahead_of_and_nothing_is_asked_for_twice() {
        let windows = Windows::new();
        let mut asked = vec![windows.wanted(&id(), &(0..MIB), LIMIT)];
        for n in 0..1024 {
            asked.extend(read(&windows, n * MIB..(n + 1) * MIB));
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
        read(&windows, 0..MIB);
        read(&windows, MIB..2 * MIB);
        windows.wanted(&id(), &(0..MIB), LIMIT);
        windows.wanted(&id(), &(MIB..2 * MIB), LIMIT);
        assert_eq!(read(&windows, 2 * MIB..3 * MIB).first().unwrap().start, 3 * MIB);
    }

    #[test]
    fn requests_that_overtake_each_other_are_one_reader() {
        let windows = Windows::new();
        let first = windows.wanted(&id(), &(0..MIB), LIMIT);
        assert_eq!(first, 0..MIB);
        assert_eq!(read(&windows, MIB / 2..MIB), [], "so much may be all");
        assert_eq!(read(&windows, 0..MIB / 2), []);
        let ahead = read(&windows, MIB..MIB + 1);
        assert_eq!((ahead[0].start, ahead[0].end), (MIB, 3 * MIB));
    }

    #[test]
    fn two_readers_of_one_file_do_not_end_each_other() {
        let windows = Windows::new();
        let mut asked = Vec::new();
        for n in 0..64 {
            for start in [n * MIB, 512 * MIB + n * MIB] {
                asked.extend(read(&windows, start..start + MIB));
                if !asked.iter().any(|range: &Range<u64>| range.contains(&start)) {
                    asked.push(windows.wanted(&id(), &(start..start + MIB), LIMIT));
                }
            }
        }
        asked.sort_by_key(|range| range.start);
        assert!(asked.windows(2).all(|pair| pair[0].end <= pair[1].start), "{asked:?}");
        assert!(asked.len() < 64, "{} requests", asked.len());
    }

    #[test]
    fn nobody_is_interested_in_what_is_ahead_of_a_reader_that_left() {
        let left_by: [fn(&Windows); 2] = [
            |windows| (0..=PATIENCE).for_each(|n| drop(read(windows, n * 3 * MIB..n * 3 * MIB + 1))),
            |windows| windows.forget(&id()),
        ];
        for leave in left_by {
            let windows = Windows::new();
            windows.wanted(&id(), &(600 * MIB..601 * MIB), LIMIT);
            let ahead = windows.read(&id(), 600 * MIB..602 * MIB, LIMIT).unwrap();
            let interest = std::sync::Arc::downgrade(&ahead.interest);
            drop(ahead);
            assert!(interest.upgrade().is_some());
            leave(&windows);
            assert!(interest.upgrade().is_none());
        }
    }
}
