//! What a writer sends along with the bytes: the JSON resource and checksums.

use std::collections::BTreeMap;

use hyper::HeaderMap;
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
    pub(crate) fn add_checksums(&mut self, json: &[u8]) -> Outcome {
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
fn checksum<const N: usize>(text: &str) -> Outcome<[u8; N]> {
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
