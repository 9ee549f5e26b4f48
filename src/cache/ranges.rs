//! Sets of byte ranges: which parts of a content file are present.
//!
//! Ranges are half open, kept sorted, never touch each other and are never empty.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// A set of bytes, as sorted disjoint ranges.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RangeSet(Vec<(u64, u64)>);

impl RangeSet {
    /// Returns the set of all bytes below `end`.
    pub fn up_to(end: u64) -> Self {
        let mut set = Self::default();
        set.insert(0..end);
        set
    }

    /// Adds a range.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let first = self.0.partition_point(|&(_, end)| end < range.start);
        let last = self.0.partition_point(|&(start, _)| start <= range.end);
        let start = self.0[first..last].first().map_or(range.start, |r| r.0.min(range.start));
        let end = self.0[first..last].last().map_or(range.end, |r| r.1.max(range.end));
        self.0.splice(first..last, [(start, end)]);
    }

    /// Removes a range.
    pub fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let first = self.0.partition_point(|&(_, end)| end <= range.start);
        let last = self.0.partition_point(|&(start, _)| start < range.end);
        if first >= last {
            return;
        }
        let (start, end) = (self.0[first].0, self.0[last - 1].1);
        let rest = [(start, range.start), (range.end, end)].into_iter().filter(|r| r.0 < r.1);
        self.0.splice(first..last, rest);
    }

    /// Removes the smallest ranges until there are `most` or fewer.
    pub fn keep_largest(&mut self, most: usize) {
        if self.0.len() > most {
            let mut sizes: Vec<u64> = self.0.iter().map(|r| r.1 - r.0).collect();
            // Half of them, so that it is done seldom.
            let (_, least, _) = sizes.select_nth_unstable_by(most / 2, |a, b| b.cmp(a));
            let least = *least;
            self.0.retain(|r| r.1 - r.0 > least);
        }
    }

    /// Removes all bytes from `start` on.
    pub fn cut_from(&mut self, start: u64) {
        self.0.retain(|r| r.0 < start);
        if let Some(last) = self.0.last_mut() {
            last.1 = last.1.min(start);
        }
    }

    /// Returns the parts of `range` that are not in the set, in order.
    pub fn missing(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = range.start;
        let first = self.0.partition_point(|&(_, end)| end <= range.start);
        for &(start, end) in &self.0[first..] {
            if at >= range.end || start >= range.end {
                break;
            }
            if start > at {
                gaps.push(at..start);
            }
            at = at.max(end);
        }
        if at < range.end {
            gaps.push(at..range.end);
        }
        gaps
    }

    /// Returns whether every byte of `range` is in the set.
    pub fn covers(&self, range: Range<u64>) -> bool {
        range.is_empty() || self.missing(range).is_empty()
    }

    /// Returns whether any byte of `range` is in the set.
    pub fn meets(&self, range: &Range<u64>) -> bool {
        let first = self.0.partition_point(|&(_, end)| end <= range.start);
        !range.is_empty() && self.0.get(first).is_some_and(|&(start, _)| start < range.end)
    }

    /// Returns the ranges, in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.0.iter().map(|&(start, end)| start..end)
    }

    /// Returns the number of bytes in the set.
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|r| r.1 - r.0).sum()
    }

    /// Returns whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes every byte.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn touching_ranges_become_one() {
        let mut set = RangeSet::default();
        set.insert(0..10);
        set.insert(20..30);
        set.insert(10..20);
        assert_eq!(set, RangeSet::up_to(30));
    }

    #[test]
    fn missing_names_the_gaps_only() {
        let mut set = RangeSet::default();
        set.insert(10..20);
        set.insert(30..40);
        assert_eq!(set.missing(0..50), vec![0..10, 20..30, 40..50]);
        assert_eq!(set.missing(12..18), Vec::<Range<u64>>::new());
        assert_eq!(set.missing(15..35), vec![20..30]);
    }

    #[test]
    fn the_largest_ranges_are_kept() {
        let mut set = RangeSet::default();
        for n in 0..10 {
            set.insert(n * 100..n * 100 + n + 1);
        }
        set.keep_largest(10);
        assert_eq!(set.iter().count(), 10);
        set.keep_largest(8);
        assert_eq!(set.iter().collect::<Vec<_>>(), vec![600..607, 700..708, 800..809, 900..910]);
    }

    proptest! {
        #[test]
        fn behaves_like_a_set_of_bytes(ops in proptest::collection::vec((0u64..64, 0u64..20, 0..3), 0..40)) {
            let mut set = RangeSet::default();
            let mut model = [false; 96];
            for (start, len, what) in ops {
                let range = start as usize..(start + len) as usize;
                prop_assert_eq!(set.meets(&(start..start + len)), model[range.clone()].contains(&true));
                match what {
                    0 => {
                        set.cut_from(start);
                        model[start as usize..].fill(false);
                    }
                    1 => {
                        set.remove(start..start + len);
                        model[range].fill(false);
                    }
                    _ => {
                        set.insert(start..start + len);
                        model[range].fill(true);
                    }
                }
            }
            prop_assert!(set.iter().all(|range| !range.is_empty()));
            let missing: Vec<u64> = set.missing(0..96).into_iter().flatten().collect();
            let expected: Vec<u64> = (0..96).filter(|&i| !model[i as usize]).collect();
            prop_assert_eq!(missing, expected);
            prop_assert_eq!(set.bytes(), model.iter().filter(|&&b| b).count() as u64);
        }
    }
}
