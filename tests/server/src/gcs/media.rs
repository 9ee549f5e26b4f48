//! Reads of an object's bytes.

use std::ops::Range;

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use super::object::{GcsObject, base64, http_date};
use super::problem::{Kind, Outcome, Problem};

/// Answers with the bytes that the request's `Range` asks for, or with all.
pub(crate) fn answer(object: &GcsObject, request: &HeaderMap) -> Outcome<Response<Bytes>> {
    let size = object.body.len();
    let range = request.get(header::RANGE).and_then(|range| range.to_str().ok()).and_then(parse);
    let range = range.map(|range| range.within(size)).transpose()?;
    let mut answer = Response::new(object.body.slice(range.clone().unwrap_or(0..size)));
    describe(object, answer.headers_mut());
    if let Some(range) = range {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        let content = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        answer.headers_mut().insert(header::CONTENT_RANGE, value(&content));
    }
    Ok(answer)
}

fn describe(object: &GcsObject, headers: &mut HeaderMap) {
    let hashes = match object.md5 {
        Some(md5) => format!("crc32c={},md5={}", base64(&object.crc32c), base64(&md5)),
        None => format!("crc32c={}", base64(&object.crc32c)),
    };
    let written = &object.attributes;
    for (name, text) in [
        ("x-goog-generation", Some(object.generation.to_string())),
        ("x-goog-metageneration", Some(object.metageneration.to_string())),
        ("x-goog-stored-content-length", Some(object.body.len().to_string())),
        (
            "x-goog-stored-content-encoding",
            Some(written.content_encoding.clone().unwrap_or("identity".to_owned())),
        ),
        ("x-goog-storage-class", Some(object.storage_class().to_owned())),
        ("x-goog-hash", Some(hashes)),
        ("x-goog-component-count", object.components.map(|count| count.to_string())),
        ("etag", Some(object.etag())),
        ("last-modified", Some(http_date(object.updated))),
        ("accept-ranges", Some("bytes".to_owned())),
        ("content-type", Some(object.content_type().to_owned())),
        ("content-encoding", written.content_encoding.clone()),
        ("content-disposition", written.content_disposition.clone()),
        ("content-language", written.content_language.clone()),
        ("cache-control", written.cache_control.clone()),
    ] {
        if let Some(text) = text {
            headers.insert(HeaderName::from_static(name), value(&text));
        }
    }
    for (name, text) in &written.meta {
        let name = HeaderName::try_from(format!("x-goog-meta-{name}"));
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(text)) {
            headers.insert(name, value);
        }
    }
}

/// Returns a header's value; what no header can hold is left out.
pub(crate) fn value(text: &str) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

/// A range as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    From(u64),
    /// From the first to the last byte, both included.
    Between(u64, u64),
    Last(u64),
}

/// Reads a range. What is no single range of bytes is ignored, as HTTP wants it.
fn parse(text: &str) -> Option<Asked> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    match (first.parse().ok(), last.parse().ok()) {
        (Some(first), None) if last.is_empty() => Some(Asked::From(first)),
        (Some(first), Some(last)) if first <= last => Some(Asked::Between(first, last)),
        (None, Some(count)) if first.is_empty() => Some(Asked::Last(count)),
        _ => None,
    }
}

impl Asked {
    fn within(self, size: usize) -> Outcome<Range<usize>> {
        let index = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(size);
        let range = match self {
            Self::From(first) => index(first)..size,
            Self::Between(first, last) => index(first)..index(last.saturating_add(1)),
            Self::Last(count) => size - index(count)..size,
        };
        if range.is_empty() {
            return Err(Problem::new(Kind::OutOfRange, "Request range not satisfiable"));
        }
        Ok(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_at_the_end_and_refused_beyond_it() {
        for (text, size, found) in [
            ("bytes=0-3", 10, Some(0..4)),
            ("bytes=8-20", 10, Some(8..10)),
            ("bytes=8-", 10, Some(8..10)),
            ("bytes=-3", 10, Some(7..10)),
            ("bytes=-30", 10, Some(0..10)),
            ("bytes=10-", 10, None),
            ("bytes=-0", 10, None),
            ("bytes=0-0", 0, None),
        ] {
            assert_eq!(parse(text).unwrap().within(size).ok(), found, "{text}");
        }
        for odd in ["bytes=3-1", "bytes=a-b", "lines=1-2", "bytes=0-1,4-5", "bytes=-"] {
            assert_eq!(parse(odd), None, "{odd}");
        }
    }
}
