//! How keys and versions are written in S3's headers and listings.
//!
//! A listing is XML that cannot hold control characters,
//! the source of a copy is a part of a URL: each has its own escape, and all of them are here.

use std::borrow::Cow;
use std::time::SystemTime;

use aws_sdk_s3::primitives::DateTime;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::store::{Condition, UploadedPart, Version};

/// What is escaped in the source of a copy: all but what RFC 3986 calls unreserved, and `/`.
const COPY_SOURCE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// Returns the source of a copy.
pub(super) fn copy_source(bucket: &str, key: &str) -> String {
    format!("{bucket}/{}", utf8_percent_encode(key, COPY_SOURCE))
}

/// Returns a key of a listing that was asked for with `encoding-type=url`, where a space may
/// be a `+`. `None` if it is not UTF-8.
pub(super) fn decode_listed_key(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(Cow::into_owned)
}

/// Returns a version as conditions want to see it.
pub(super) fn quoted(version: &Version) -> String {
    format!("\"{version}\"")
}

/// Returns the values of `If-Match` and `If-None-Match`.
pub(super) fn match_headers(condition: &Condition) -> (Option<String>, Option<String>) {
    match condition {
        Condition::Always => (None, None),
        Condition::IfAbsent => (None, Some("*".to_owned())),
        Condition::IfVersion(version) => (Some(quoted(version)), None),
    }
}

/// Returns the CRC-32 of a body as S3 wants to see it.
pub(super) fn checksum(body: &[u8]) -> String {
    aws_smithy_types::base64::encode(crc32fast::hash(body).to_be_bytes())
}

/// Returns the part as it is remembered: its ETag and, behind a blank, its checksum.
pub(super) fn part_tag(number: u32, etag: &str, checksum: Option<&str>) -> UploadedPart {
    let tag = match checksum {
        Some(checksum) => format!("{etag} {checksum}"),
        None => etag.to_owned(),
    };
    UploadedPart { number, tag }
}

/// Returns the ETag and the checksum of a remembered part.
pub(super) fn split_part_tag(part: &UploadedPart) -> (&str, Option<&str>) {
    match part.tag.split_once(' ') {
        Some((etag, checksum)) => (etag, Some(checksum)),
        None => (&part.tag, None),
    }
}

/// Returns a time of an answer; the epoch if there is none.
pub(super) fn system_time(time: Option<&DateTime>) -> SystemTime {
    time.and_then(|time| SystemTime::try_from(*time).ok()).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// What `Content-Range: bytes 5-9/20` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ContentRange {
    /// Where the body begins.
    pub(super) start: u64,
    /// Where the body ends (exclusive).
    pub(super) end: u64,
    /// The size of the whole object.
    pub(super) size: u64,
}

impl ContentRange {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (range, size) = text.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let end = last.parse::<u64>().ok()?.checked_add(1)?;
        Some(Self { start: first.parse().ok()?, end, size: size.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_key_in_a_copy_source_is_ascii_and_decodes_to_itself(key in ".{1,40}") {
            let source = copy_source("bucket", &key);
            prop_assert!(source.is_ascii() && !source.contains(['+', '?', ' ']));
            let decoded = percent_decode_str(&source).decode_utf8().unwrap();
            prop_assert_eq!(decoded.strip_prefix("bucket/"), Some(key.as_str()));
        }
    }

    #[test]
    fn listed_keys_are_decoded_whichever_way_a_space_is_written() {
        assert_eq!(decode_listed_key("a+b%20c%2Bd%252F%0A").as_deref(), Some("a b c+d%2F\n"));
        assert_eq!(decode_listed_key("%FF"), None);
    }

    #[test]
    fn a_part_is_remembered_with_its_checksum() {
        let part = part_tag(3, "\"abc\"", Some("AAAA=="));
        assert_eq!(split_part_tag(&part), ("\"abc\"", Some("AAAA==")));
        assert_eq!(split_part_tag(&part_tag(3, "\"abc\"", None)), ("\"abc\"", None));
        assert_eq!(checksum(b"123456789"), "y/Q5Jg==");
    }

    #[test]
    fn content_range_is_understood_or_refused() {
        assert_eq!(ContentRange::parse("bytes 5-9/20"), Some(ContentRange { start: 5, end: 10, size: 20 }));
        for bad in ["", "bytes */20", "bytes 5-9/*", "bytes 5/20", "5-9", "bytes -1-2/3"] {
            assert_eq!(ContentRange::parse(bad), None, "{bad}");
        }
    }
}
