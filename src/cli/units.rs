//! Sizes, durations and shares as people write them, and back.

use std::time::Duration;

use crate::session::options::MinFree;

const UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// Reads a size: plain bytes or a number with a unit (`10GiB`, `1.5 MiB`, `512K`, `2MB`).
///
/// `K`, `KiB` and so on count in 1,024s, `KB` and so on in 1,000s.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let bad = || format!("{text:?} is not a size; write it like 10GiB, 500MB or 4096");
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let factor = factor(unit.trim()).ok_or_else(bad)?;
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let whole: u128 = whole.parse().map_err(|_| bad())?;
    let scale = 10u128.checked_pow(u32::try_from(part.len()).map_err(|_| bad())?).ok_or_else(bad)?;
    let part: u128 = if part.is_empty() { 0 } else { part.parse().map_err(|_| bad())? };
    let bytes =
        whole.checked_mul(factor).and_then(|bytes| bytes.checked_add(part.checked_mul(factor)? / scale));
    bytes.and_then(|bytes| u64::try_from(bytes).ok()).ok_or_else(bad)
}

fn factor(unit: &str) -> Option<u128> {
    let unit = unit.to_ascii_lowercase();
    let (letter, rest) = match unit.chars().next() {
        None => return Some(1),
        Some(letter) => (letter, &unit[letter.len_utf8()..]),
    };
    let power = match letter {
        'b' => return rest.is_empty().then_some(1),
        'k' => 1,
        'm' => 2,
        'g' => 3,
        't' => 4,
        _ => return None,
    };
    match rest {
        "" | "ib" => Some(1024u128.pow(power)),
        "b" => Some(1000u128.pow(power)),
        _ => None,
    }
}

/// Reads a duration: `5s`, `1m30s`, `250ms`, a plain number of seconds, or `0`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let trimmed = text.trim();
    if let Ok(seconds) = trimmed.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    humantime::parse_duration(trimmed)
        .map_err(|_| format!("{text:?} is not a duration; write it like 5s, 1m30s, 250ms or 0"))
}

/// Reads a duration that must not be zero.
pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration.is_zero() { Err("It must be longer than 0".to_owned()) } else { Ok(duration) }
}

/// Reads a share of a disk (`5%`) or a size.
pub(super) fn min_free(text: &str) -> Result<MinFree, String> {
    let Some(percent) = text.trim().strip_suffix('%') else { return size(text).map(MinFree::Bytes) };
    match percent.trim().parse() {
        Ok(percent @ 0..=99) => Ok(MinFree::Percent(percent)),
        _ => Err(format!("{text:?} is not a share of a disk; write it like 5% or 2GiB")),
    }
}

/// Writes a number of bytes for people: `17 bytes`, `3.4 MiB`.
pub(super) fn bytes(bytes: u64) -> String {
    match UNITS.iter().rev().find(|(_, size)| bytes >= *size) {
        #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
        Some((unit, size)) => format!("{:.1} {unit}", bytes as f64 / *size as f64),
        None if bytes == 1 => "1 byte".to_owned(),
        None => format!("{bytes} bytes"),
    }
}

/// Writes a span of time for people: `250ms`, `12s`, `1m 30s`.
pub(super) fn span(span: Duration) -> String {
    let whole = if span < Duration::from_secs(1) { span.as_millis() } else { span.as_millis() / 1000 * 1000 };
    humantime::format_duration(Duration::from_millis(u64::try_from(whole).unwrap_or(u64::MAX))).to_string()
}

/// Writes a count with its noun: `1 file`, `12 files`.
pub(super) fn count(number: u64, noun: &str) -> String {
    match (number, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        (_, None) => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_every_usual_unit() {
        let table = [
            ("0", 0),
            ("4096", 4096),
            ("17b", 17),
            ("1k", 1024),
            ("1KB", 1000),
            ("512 MiB", 512 << 20),
            ("10GiB", 10 << 30),
            ("1.5g", 3 << 29),
            ("0.5KiB", 512),
            ("2TB", 2_000_000_000_000),
        ];
        for (text, expected) in table {
            assert_eq!(size(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused_with_an_example() {
        for text in
            ["", "GiB", "ten", "-1", "1.2.3K", "5 light years", "1e9", "99999999999999TiB", "5%", "1 kö"]
        {
            assert!(size(text).is_err_and(|said| said.contains("10GiB")), "{text}");
        }
    }

    #[test]
    fn durations_are_read_with_and_without_units() {
        let table =
            [("5s", 5_000), ("0", 0), ("60", 60_000), ("1m30s", 90_000), ("1m 30s", 90_000), ("250ms", 250)];
        for (text, milliseconds) in table {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "soon", "-5s", "5 parsecs"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(positive_duration("0s").is_err());
    }

    #[test]
    fn what_stays_free_is_a_share_or_a_size() {
        assert_eq!(min_free("5%"), Ok(MinFree::Percent(5)));
        assert_eq!(min_free("2GiB"), Ok(MinFree::Bytes(2 << 30)));
        for text in ["100%", "-1%", "%", "x%"] {
            assert!(min_free(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_are_told_in_whole_seconds_unless_they_are_shorter() {
        let told = [7, 999, 12_345, 90_000, 3_600_000].map(|ms| span(Duration::from_millis(ms)));
        assert_eq!(told, ["7ms", "999ms", "12s", "1m 30s", "1h"]);
    }

    #[test]
    fn bytes_and_counts_read_like_words() {
        assert_eq!(bytes(0), "0 bytes");
        assert_eq!(bytes(1), "1 byte");
        assert_eq!(bytes(1023), "1023 bytes");
        assert_eq!(bytes(3_565_158), "3.4 MiB");
        assert_eq!(bytes(10 << 30), "10.0 GiB");
        assert_eq!(count(1, "entry"), "1 entry");
        assert_eq!(count(12, "file"), "12 files");
        assert_eq!(count(0, "entry"), "0 entries");
    }
}
