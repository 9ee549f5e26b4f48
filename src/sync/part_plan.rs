//! Of which parts a large file is put together in the bucket.
//!
//! What the bucket has already it copies, the rest is sent: as few bytes as the sizes allow that
//! parts may have. Each part but the last has a least size, so around a small change more is sent
//! than was changed.

use std::ops::Range;

use crate::cache::ranges::RangeSet;

/// Where the bytes of a part come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// From this machine.
    Here,
    /// From the object that the file derives from.
    Object,
}

/// One part of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub range: Range<u64>,
    pub from: From,
}

/// How large parts are, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// The least size of a part but the last.
    pub least: u64,
    /// The usual size of a part that is sent.
    pub sent: u64,
    /// The usual size of a part that is copied.
    pub copied: u64,
    /// The largest number of parts.
    pub most_parts: u64,
}

/// Returns the parts of a file of which all is sent.
pub(super) fn all_sent(size: u64, limits: Limits) -> Vec<Part> {
    cut_evenly(size, limits.sent.max(size.div_ceil(limits.most_parts)))
}

/// Returns the parts of a file of which all is sent, each of this size but the last.
pub(super) fn cut_evenly(size: u64, part: u64) -> Vec<Part> {
    let part = part.max(1);
    let ranges = (0..size.div_ceil(part)).map(|n| n * part..((n + 1) * part).min(size));
    ranges.map(|range| Part { range, from: From::Here }).collect()
}

/// Returns the parts of a file of which the bucket has these bytes; `None` if none of them can be
/// copied.
pub(super) fn with_copies(size: u64, same: &RangeSet, limits: Limits) -> Option<Vec<Part>> {
    let copied = what_to_copy(size, same, limits.least);
    if copied.is_empty() {
        return None;
    }
    let mut limits = limits;
    loop {
        let parts = cut(size, &copied, limits);
        if parts.len() as u64 <= limits.most_parts {
            return Some(parts);
        }
        if limits.sent >= size && limits.copied >= size {
            return None;
        }
        (limits.sent, limits.copied) = (limits.sent.saturating_mul(2), limits.copied.saturating_mul(2));
    }
}

/// Returns the ranges to copy, so that they and what is between them are large enough for a part.
fn what_to_copy(size: u64, same: &RangeSet, least: u64) -> Vec<Range<u64>> {
    let mut copied: Vec<Range<u64>> = Vec::new();
    for run in same.iter().map(|run| run.start.min(size)..run.end.min(size)) {
        let before = copied.last().map_or(0, |last| last.end);
        // What is sent before it takes what it lacks from this one, or else from the one before.
        let sent = run.start - before;
        let lacks = if sent == 0 { 0 } else { least.saturating_sub(sent) };
        if fits(run.start + lacks..run.end, size, least) {
            copied.push(run.start + lacks..run.end);
        } else if fits(run.clone(), size, least)
            && let Some(last) = copied.last_mut()
            && last.end - last.start >= least + lacks
        {
            last.end -= lacks;
            copied.push(run);
        }
    }
    copied
}

/// Returns whether a range may be a part.
fn fits(range: Range<u64>, size: u64, least: u64) -> bool {
    range.start < range.end && (range.end == size || range.end - range.start >= least)
}

/// Cuts what is copied, and what is sent between, into parts of about the usual size.
fn cut(size: u64, copied: &[Range<u64>], limits: Limits) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut add = |range: Range<u64>, from: From, usual: u64| {
        let len = range.end - range.start;
        let count = (len / usual.max(1)).max(u64::from(len > 0));
        let bound = |n: u64| {
            range.start
                + u64::try_from(u128::from(len) * u128::from(n) / u128::from(count.max(1))).unwrap_or(len)
        };
        parts.extend((0..count).map(|n| Part { range: bound(n)..bound(n + 1), from }));
    };
    let mut at = 0;
    for range in copied {
        add(at..range.start, From::Here, limits.sent.max(limits.least));
        add(range.clone(), From::Object, limits.copied.max(limits.least));
        at = range.end;
    }
    add(at..size, From::Here, limits.sent.max(limits.least));
    parts
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;
    const LIMITS: Limits = Limits { least: 5 * MIB, sent: 8 * MIB, copied: 64 * MIB, most_parts: 10_000 };

    fn unchanged_but(size: u64, changed: &[Range<u64>]) -> RangeSet {
        let mut same = RangeSet::up_to(size);
        changed.iter().for_each(|range| same.remove(range.clone()));
        same
    }

    fn sent(parts: &[Part]) -> u64 {
        let sent = parts.iter().filter(|part| part.from == From::Here);
        sent.map(|part| part.range.end - part.range.start).sum()
    }

    fn plan(size: u64, changed: &[Range<u64>]) -> Vec<Part> {
        with_copies(size, &unchanged_but(size, changed), LIMITS).unwrap()
    }

    #[test]
    fn of_one_byte_in_256_mib_one_part_is_sent() {
        for at in [0, 1, 3 * MIB, 100 * MIB, 253 * MIB, 256 * MIB - 1] {
            let parts = plan(256 * MIB, from_ref(&(at..at + 1)));
            assert!(sent(&parts) <= 5 * MIB, "{at}: {parts:?}");
            assert!(parts.len() <= 6, "{at}: {parts:?}");
        }
    }

    #[test]
    fn what_is_appended_is_the_last_part() {
        let same = RangeSet::up_to(64 * MIB);
        let parts = with_copies(64 * MIB + 1, &same, LIMITS).unwrap();
        assert_eq!(parts, [part(0..64 * MIB, From::Object), part(64 * MIB..64 * MIB + 1, From::Here)]);
        let shorter = with_copies(50 * MIB, &same, LIMITS).unwrap();
        assert_eq!(shorter, [part(0..50 * MIB, From::Object)], "of what was cut nothing is sent");
    }

    #[test]
    fn a_change_takes_what_it_lacks_from_where_there_is_enough() {
        // 5 MiB follow it: with less than all of them it would have nothing to take.
        let parts = plan(60 * MIB, &[20 * MIB..21 * MIB, 26 * MIB..40 * MIB]);
        assert_eq!(parts[1], part(16 * MIB..21 * MIB, From::Here));
        assert_eq!(parts[2], part(21 * MIB..26 * MIB, From::Object));
    }

    #[test]
    fn nothing_is_planned_where_nothing_can_be_copied() {
        assert_eq!(with_copies(20 * MIB, &RangeSet::default(), LIMITS), None);
        assert_eq!(
            with_copies(20 * MIB, &unchanged_but(20 * MIB, from_ref(&(4 * MIB..20 * MIB))), LIMITS),
            None
        );
        assert_eq!(with_copies(0, &RangeSet::up_to(10), LIMITS), None);
    }

    #[test]
    fn a_huge_file_has_no_more_parts_than_it_may() {
        let limits = Limits { most_parts: 10, ..LIMITS };
        let parts = with_copies(100 * 64 * MIB, &RangeSet::up_to(100 * 64 * MIB), limits).unwrap();
        assert!(parts.len() <= 10 && parts.iter().all(|part| part.from == From::Object));
        assert_eq!(all_sent(100 * MIB, limits).len(), 10);
    }

    fn part(range: Range<u64>, from: From) -> Part {
        Part { range, from }
    }

    proptest! {
        #[test]
        fn parts_are_all_of_the_file_in_order_and_of_sizes_that_parts_may_have(
            size in 1u64..400,
            changed in proptest::collection::vec((0u64..400, 1u64..40), 0..8),
        ) {
            let changed: Vec<_> = changed.into_iter().map(|(at, len)| at..at + len).collect();
            let same = unchanged_but(size, &changed);
            let limits = Limits { least: 5, sent: 8, copied: 30, most_parts: 10_000 };
            let Some(parts) = with_copies(size, &same, limits) else { return Ok(()) };
            let mut at = 0;
            for part in &parts {
                prop_assert_eq!(part.range.start, at);
                prop_assert!(part.range.end > at);
                at = part.range.end;
                prop_assert!(at == size || at - part.range.start >= 5);
                prop_assert!(at - part.range.start < 60);
                prop_assert!(part.from == From::Here || same.covers(part.range.clone()));
            }
            prop_assert_eq!(at, size);
            let differ: u64 = same.missing(0..size).iter().map(|gap| gap.end - gap.start).sum();
            // Around each change no more is sent than two parts' least size.
            prop_assert!(sent(&parts) <= differ + 2 * 5 * (1 + changed.len() as u64));
        }
    }
}
