//! The times in the headers of answers: `Date` and `Retry-After`.

use std::time::{Duration, SystemTime};

use time::PrimitiveDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

const HTTP_DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// Returns the time of a header.
pub(super) fn parse(text: &str) -> Option<SystemTime> {
    Some(PrimitiveDateTime::parse(text.trim(), HTTP_DATE).ok()?.assume_utc().into())
}

/// Returns the wait that a `Retry-After` asks for: seconds, or a date.
pub(super) fn wait_asked(text: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    parse(text)?.duration_since(now).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_a_time_and_nonsense_is_none() {
        let expected = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:37 GMT"), Some(expected));
        assert_eq!(parse("yesterday"), None);
    }

    #[test]
    fn a_server_may_ask_to_wait_in_seconds_or_until_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(wait_asked("7", now), Some(Duration::from_secs(7)));
        assert_eq!(wait_asked("Sun, 06 Nov 1994 08:49:47 GMT", now), Some(Duration::from_secs(10)));
        assert_eq!(wait_asked("Sun, 06 Nov 1994 08:00:00 GMT", now), None);
        assert_eq!(wait_asked("soon", now), None);
    }
}
