//! Times as the index writes them.
//!
//! Swamp compares times as text, so the text must be exactly what JavaScript's `toISOString`
//! gives: three digits of a second, cut off towards the past (also before 1970), `Z`.
//! Reading is lenient, because other tools leave out the fraction or write an offset.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::{Date, Month, OffsetDateTime};

const MS_PER_MINUTE: i64 = 60_000;
/// 0000-01-01T00:00:00.000Z, the first time whose year has four digits.
const MIN_MS: i64 = -62_167_219_200_000;
/// 9999-12-31T23:59:59.999Z, the last time whose year has four digits.
const MAX_MS: i64 = 253_402_300_799_999;

/// A time in whole milliseconds, between the years 0 and 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Returns the time that is `ms` milliseconds after (or before) 1970, moved into range.
    pub fn from_unix_ms(ms: i64) -> Self {
        Self(ms.clamp(MIN_MS, MAX_MS))
    }

    /// Returns the time that is `ns` nanoseconds after (or before) 1970, cut off to milliseconds.
    pub fn from_unix_ns(ns: i64) -> Self {
        Self(ns.div_euclid(1_000_000))
    }

    /// Returns the milliseconds since 1970.
    pub fn as_unix_ms(self) -> i64 {
        self.0
    }

    /// Reads a time, or returns `None` if the text is none.
    ///
    /// Accepts a date alone, a time without seconds or fraction, more digits than three, a
    /// space for `T`, and offsets. A time without an offset is taken as UTC.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = Scanner(text.trim().as_bytes());
        let year = rest.number(4)?;
        rest.skip(b'-')?;
        let month = rest.number(2)?;
        rest.skip(b'-')?;
        let day = rest.number(2)?;
        let (time_ms, offset_ms) = if rest.0.is_empty() { (0, 0) } else { rest.time_of_day()? };
        let date = Date::from_calendar_date(
            i32::try_from(year).ok()?,
            Month::try_from(u8::try_from(month).ok()?).ok()?,
            u8::try_from(day).ok()?,
        );
        let midnight = date.ok()?.midnight().assume_utc().unix_timestamp() * 1000;
        rest.0.is_empty().then(|| Self::from_unix_ms(midnight + time_ms - offset_ms))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let ms = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()).unwrap_or(MAX_MS),
            Err(before) => floor_before_epoch(before.duration()),
        };
        Self::from_unix_ms(ms)
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        let distance = Duration::from_millis(time.0.unsigned_abs());
        if time.0 < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .map_err(|_out_of_range| fmt::Error)?;
        let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
        let (hour, minute, second) = time.to_hms();
        let ms = time.millisecond();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }
}

/// A time together with the text it was read from, so that untouched text stays as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    text: Box<str>,
    time: Option<Timestamp>,
}

impl Stamp {
    /// Returns the stamp with this text, whether or not it is a time.
    pub fn read(text: &str) -> Self {
        Self { text: text.into(), time: Timestamp::parse(text) }
    }

    /// Returns the text as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the time, if the text is one.
    pub fn time(&self) -> Option<Timestamp> {
        self.time
    }
}

impl From<Timestamp> for Stamp {
    fn from(time: Timestamp) -> Self {
        Self { text: time.to_string().into(), time: Some(time) }
    }
}

fn floor_before_epoch(distance: Duration) -> i64 {
    let up = distance.as_nanos().div_ceil(1_000_000);
    i64::try_from(up).map_or(MIN_MS, |ms| -ms)
}

/// What is left of a text that is being read.
struct Scanner<'a>(&'a [u8]);

impl Scanner<'_> {
    fn next_if(&mut self, wanted: impl Fn(u8) -> bool) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        wanted(*first).then(|| {
            self.0 = rest;
            *first
        })
    }

    fn skip(&mut self, byte: u8) -> Option<()> {
        self.next_if(|b| b == byte).map(|_| ())
    }

    fn number(&mut self, digits: usize) -> Option<i64> {
        (0..digits).try_fold(0, |sum, _| {
            let digit = self.next_if(|b| b.is_ascii_digit())?;
            Some(sum * 10 + i64::from(digit - b'0'))
        })
    }

    /// Reads `T09:31[:12[.345…]][offset]`; returns the time and the offset in milliseconds.
    fn time_of_day(&mut self) -> Option<(i64, i64)> {
        self.next_if(|b| matches!(b, b'T' | b't' | b' '))?;
        let hour = self.number(2).filter(|hour| *hour < 24)?;
        self.skip(b':')?;
        let minute = self.number(2).filter(|minute| *minute < 60)?;
        let second = match self.skip(b':') {
            Some(()) => self.number(2).filter(|second| *second < 61)?,
            None => 0,
        };
        let ms = self.fraction()?;
        Some(((hour * 60 + minute) * MS_PER_MINUTE + second * 1000 + ms, self.offset()?))
    }

    fn fraction(&mut self) -> Option<i64> {
        if self.next_if(|b| matches!(b, b'.' | b',')).is_none() {
            return Some(0);
        }
        let mut ms = self.number(1)? * 100;
        for place in [10, 1] {
            ms += self.next_if(|b| b.is_ascii_digit()).map_or(0, |digit| i64::from(digit - b'0') * place);
        }
        while self.next_if(|b| b.is_ascii_digit()).is_some() {}
        Some(ms)
    }

    fn offset(&mut self) -> Option<i64> {
        let Some(sign) = self.next_if(|b| matches!(b, b'Z' | b'z' | b'+' | b'-')) else {
            return Some(0);
        };
        if matches!(sign, b'Z' | b'z') {
            return Some(0);
        }
        let hours = self.number(2)?;
        let colon = self.skip(b':').is_some();
        let minutes = if self.0.is_empty() && !colon { 0 } else { self.number(2)? };
        let ms = (hours * 60 + minutes) * MS_PER_MINUTE;
        Some(if sign == b'-' { -ms } else { ms })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ns(ns: i64) -> String {
        Timestamp::from_unix_ns(ns).to_string()
    }

    #[test]
    fn text_is_what_javascript_writes() {
        assert_eq!(ns(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(ns(1_785_576_672_500_000_000), "2026-08-01T09:31:12.500Z");
        assert_eq!(ns(951_782_400_001_000_000), "2000-02-29T00:00:00.001Z");
        assert_eq!(Timestamp::from_unix_ms(i64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Timestamp::from_unix_ms(i64::MIN).to_string(), "0000-01-01T00:00:00.000Z");
    }

    #[test]
    fn what_is_finer_than_a_millisecond_is_cut_off_towards_the_past() {
        assert_eq!(ns(1_999_999), "1970-01-01T00:00:00.001Z");
        assert_eq!(ns(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(ns(-1_000_001), "1969-12-31T23:59:59.998Z");
        let before = UNIX_EPOCH - Duration::from_nanos(1);
        assert_eq!(Timestamp::from(before).as_unix_ms(), -1);
        assert_eq!(Timestamp::from(UNIX_EPOCH + Duration::from_nanos(999_999)).as_unix_ms(), 0);
    }

    #[test]
    fn reading_is_lenient() {
        let noon = Timestamp::from_unix_ms(1_785_585_600_000);
        for text in [
            "2026-08-01T12:00:00.000Z",
            "2026-08-01T12:00:00Z",
            "2026-08-01T12:00Z",
            "2026-08-01T12:00:00",
            "2026-08-01 12:00:00z",
            "2026-08-01T14:00:00+02:00",
            "2026-08-01T14:00:00.0+0200",
            "2026-08-01T04:30:00.000000001-07:30",
            "2026-08-01T13:00:00+01",
            " 2026-08-01T12:00:00Z ",
        ] {
            assert_eq!(Timestamp::parse(text), Some(noon), "{text}");
        }
        assert_eq!(Timestamp::parse("2026-08-01").map(Timestamp::as_unix_ms), Some(1_785_542_400_000));
        assert_eq!(Timestamp::parse("2026-08-01T12:00:00.12Z").map(|t| t.as_unix_ms() % 1000), Some(120));
    }

    #[test]
    fn what_is_not_a_time_is_none() {
        for text in [
            "",
            "now",
            "2026",
            "2026-13-01",
            "2026-02-30",
            "2026-08-01T25:00:00Z",
            "2026-08-01T12:60:00Z",
            "2026-08-01T12:00:00.Z",
            "2026-08-01T12:00:00Zx",
            "2026-08-01T12:00:00+1:00",
            "2026-08-01T12:00:00+01:",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_stamp_keeps_its_text_also_when_it_is_no_time() {
        assert_eq!(Stamp::read("2026-08-01T12:00:00Z").as_str(), "2026-08-01T12:00:00Z");
        let odd = Stamp::read("yesterday");
        assert_eq!((odd.as_str(), odd.time()), ("yesterday", None));
    }

    proptest! {
        #[test]
        fn writing_and_reading_give_the_same_time(ms in MIN_MS..=MAX_MS) {
            let time = Timestamp::from_unix_ms(ms);
            prop_assert_eq!(Timestamp::parse(&time.to_string()), Some(time));
            prop_assert_eq!(Timestamp::from(SystemTime::from(time)), time);
        }

        #[test]
        fn no_text_makes_reading_panic(text in "\\PC{0,40}") {
            Timestamp::parse(&text);
        }
    }
}
