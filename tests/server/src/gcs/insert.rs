//! What a writer sends along with the bytes: the JSON resource, and `multipart/related`.

use std::collections::BTreeMap;

use bytes::Bytes;
use hyper::{HeaderMap, header};
use memchr::memmem;
use serde_json::Value;

use super::object::{Attributes, Expected};
use super::problem::{Outcome, Problem};

/// The JSON resource of an object that is written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resource {
    pub(crate) name: Option<String>,
    pub(crate) attributes: Attributes,
    pub(crate) expected: Expected,
}

impl Resource {
    /// Reads a resource; nothing at all is an empty one.
    pub(crate) fn parse(json: &[u8]) -> Outcome<Self> {
        if json.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        let value = serde_json::from_slice(json).map_err(|_| Problem::invalid("Parse Error"))?;
        Self::of(&value)
    }

    pub(crate) fn of(value: &Value) -> Outcome<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let attributes = Attributes {
            meta: meta(value.get("metadata"))?,
            content_type: text("contentType"),
            content_encoding: text("contentEncoding"),
            content_disposition: text("contentDisposition"),
            content_language: text("contentLanguage"),
            cache_control: text("cacheControl"),
            storage_class: text("storageClass"),
        };
        let expected = Expected {
            crc32c: text("crc32c").map(|sum| checksum(&sum)).transpose()?,
            md5: text("md5Hash").map(|sum| checksum(&sum)).transpose()?,
        };
        Ok(Self { name: text("name"), attributes, expected })
    }

    /// Takes the checksums that follow the bytes.
    fn add_checksums(&mut self, json: &[u8]) -> Outcome {
        let after = Self::parse(json)?.expected;
        self.expected.crc32c = after.crc32c.or(self.expected.crc32c);
        self.expected.md5 = after.md5.or(self.expected.md5);
        Ok(())
    }
}

fn meta(value: Option<&Value>) -> Outcome<BTreeMap<String, String>> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(BTreeMap::new()) };
    let pairs = value.as_object().ok_or_else(|| Problem::invalid("Invalid value for metadata."))?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let pair = |(name, value): (&String, &Value)| Some((name.clone(), text(value)?));
    pairs.iter().map(|one| pair(one).ok_or_else(|| Problem::invalid("Invalid value for metadata."))).collect()
}

/// Reads a checksum in base64.
pub(crate) fn checksum<const N: usize>(text: &str) -> Outcome<[u8; N]> {
    let bytes = base64_simd::STANDARD.decode_to_vec(text).ok();
    let sum = bytes.and_then(|bytes| bytes.try_into().ok());
    sum.ok_or_else(|| Problem::invalid(format!("Invalid checksum '{text}'.")))
}

/// Reads the checksums of an `x-goog-hash` header.
pub(crate) fn header_checksums(headers: &HeaderMap) -> Outcome<Expected> {
    let mut expected = Expected::default();
    for value in headers.get_all("x-goog-hash") {
        let value = value.to_str().map_err(|_| Problem::invalid("Invalid x-goog-hash"))?;
        for sum in value.split(',').map(str::trim) {
            match sum.split_once('=') {
                Some(("crc32c", sum)) => expected.crc32c = Some(checksum(sum)?),
                Some(("md5", sum)) => expected.md5 = Some(checksum(sum)?),
                _ => return Err(Problem::invalid(format!("Invalid x-goog-hash: {sum}"))),
            }
        }
    }
    Ok(expected)
}

/// Takes an upload apart: a resource, the bytes, and perhaps checksums behind them.
pub(crate) fn multipart(headers: &HeaderMap, body: &Bytes) -> Outcome<(Resource, Bytes)> {
    let parts = parts(&boundary(headers)?, body)?;
    let (metadata, media, trailer) = match parts.as_slice() {
        [metadata, media] => (metadata, media, None),
        [metadata, media, trailer] => (metadata, media, Some(trailer)),
        _ => return Err(malformed()),
    };
    let mut resource = Resource::parse(&metadata.body)?;
    if resource.attributes.content_type.is_none() {
        resource.attributes.content_type.clone_from(&media.content_type);
    }
    if let Some(trailer) = trailer {
        resource.add_checksums(&trailer.body)?;
    }
    Ok((resource, media.body.clone()))
}

fn malformed() -> Problem {
    Problem::invalid("Malformed multipart body.")
}

fn boundary(headers: &HeaderMap) -> Outcome<Vec<u8>> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (kind, parameters) = value.split_once(';').unwrap_or((value, ""));
    let boundary = parameters.split(';').find_map(|one| one.trim().strip_prefix("boundary="));
    match boundary {
        Some(boundary) if kind.trim().eq_ignore_ascii_case("multipart/related") => {
            Ok(format!("--{}", boundary.trim_matches(['"', '\''])).into_bytes())
        }
        _ => Err(Problem::invalid("Bad content-type, expected multipart/related with a boundary.")),
    }
}

struct Part {
    content_type: Option<String>,
    body: Bytes,
}

fn parts(boundary: &[u8], body: &Bytes) -> Outcome<Vec<Part>> {
    if !body.starts_with(boundary) {
        return Err(malformed());
    }
    let delimiter = [b"\r\n", boundary].concat();
    let mut from = boundary.len();
    let mut parts = Vec::new();
    loop {
        let rest = body.slice(from..);
        if rest.starts_with(b"--") {
            return Ok(parts);
        }
        let rest = rest.strip_prefix(b"\r\n").ok_or_else(malformed)?;
        let rest = body.slice_ref(rest);
        let end = memmem::find(&rest, &delimiter).ok_or_else(malformed)?;
        parts.push(part(&rest.slice(..end))?);
        from = body.len() - rest.len() + end + delimiter.len();
    }
}

fn part(bytes: &Bytes) -> Outcome<Part> {
    // A part without headers begins with the empty line.
    if let Some(body) = bytes.strip_prefix(b"\r\n") {
        return Ok(Part { content_type: None, body: bytes.slice_ref(body) });
    }
    let end = memmem::find(bytes, b"\r\n\r\n").ok_or_else(malformed)?;
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| malformed())?;
    let content_type =
        head.split("\r\n").filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
            name.trim().eq_ignore_ascii_case("content-type").then(|| value.trim().to_owned())
        });
    Ok(Part { content_type, body: bytes.slice(end + 4..) })
}
