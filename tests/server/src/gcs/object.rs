//! Objects as the server holds them, and how they look in each protocol.

use std::collections::BTreeMap;
use std::time::SystemTime;

use bytes::Bytes;
use googleapis_tonic_google_storage_v2::google::storage::v2 as proto;
use s3s::crypto::{Checksum as _, Crc32c, Md5};
use s3s::dto::{Timestamp, TimestampFormat};
use serde_json::{Map, Value, json};

use super::problem::{Outcome, Problem};

/// Most bytes of a custom metadata name, of a value, and of all of both.
const MAX_META_NAME: usize = 1024;
const MAX_META_VALUE: usize = 4096;
const MAX_META: usize = 8192;

/// What a writer says of an object besides its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Custom metadata.
    pub meta: BTreeMap<String, String>,
    /// `Content-Type`; `application/octet-stream` if none.
    pub content_type: Option<String>,
    /// `Content-Encoding`.
    pub content_encoding: Option<String>,
    /// `Content-Disposition`.
    pub content_disposition: Option<String>,
    /// `Content-Language`.
    pub content_language: Option<String>,
    /// `Cache-Control`.
    pub cache_control: Option<String>,
    /// The storage class; `STANDARD` if none.
    pub storage_class: Option<String>,
}

impl Attributes {
    /// Fails with `invalid` if the custom metadata are too large.
    pub(crate) fn check(&self) -> Outcome {
        let all: usize = self.meta.iter().map(|(name, value)| name.len() + value.len()).sum();
        let one = |(name, value): (&String, &String)| {
            name.is_empty() || name.len() > MAX_META_NAME || value.len() > MAX_META_VALUE
        };
        if all > MAX_META || self.meta.iter().any(one) {
            return Err(Problem::invalid("The custom metadata of the object are too large."));
        }
        Ok(())
    }
}

/// What a writer says that the checksums of the bytes are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) crc32c: Option<[u8; 4]>,
    pub(crate) md5: Option<[u8; 16]>,
}

impl Expected {
    /// Fails with `invalid` if the bytes have other checksums.
    pub(crate) fn verify(&self, body: &[u8]) -> Outcome {
        let wrong = |name: &str, said: &[u8], found: &[u8]| {
            let (said, found) = (base64(said), base64(found));
            Problem::invalid(format!(
                "Provided {name} \"{said}\" doesn't match calculated {name} \"{found}\"."
            ))
        };
        if let Some(said) = self.crc32c {
            let found = Crc32c::checksum(body);
            if said != found {
                return Err(wrong("CRC32C", &said, &found));
            }
        }
        if let Some(said) = self.md5 {
            let found = Md5::checksum(body);
            if said != found {
                return Err(wrong("MD5 hash", &said, &found));
            }
        }
        Ok(())
    }
}

/// An object as the server holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcsObject {
    /// Its bytes.
    pub body: Bytes,
    /// Which write of a name this is; grows with every write to the server.
    pub generation: i64,
    /// How often its metadata were written, from 1.
    pub metageneration: i64,
    /// Its CRC32C.
    pub crc32c: [u8; 4],
    /// Its MD5; objects that were composed have none.
    pub md5: Option<[u8; 16]>,
    /// Of how many objects it was composed.
    pub components: Option<i32>,
    /// When it was written.
    pub created: SystemTime,
    /// When its metadata were written.
    pub updated: SystemTime,
    /// What its writer says of it.
    pub attributes: Attributes,
}

impl GcsObject {
    /// Returns a new object, written at this time.
    pub(crate) fn new(body: Bytes, attributes: Attributes, generation: i64, time: SystemTime) -> Self {
        let (crc32c, md5) = (Crc32c::checksum(&body), Some(Md5::checksum(&body)));
        Self {
            body,
            generation,
            metageneration: 1,
            crc32c,
            md5,
            components: None,
            created: time,
            updated: time,
            attributes,
        }
    }

    /// Returns its length in bytes.
    pub(crate) fn size(&self) -> i64 {
        i64::try_from(self.body.len()).expect("no object is that large")
    }

    /// Returns its entity tag.
    pub(crate) fn etag(&self) -> String {
        base64(format!("{}/{}", self.generation, self.metageneration).as_bytes())
    }

    pub(crate) fn content_type(&self) -> &str {
        self.attributes.content_type.as_deref().unwrap_or("application/octet-stream")
    }

    pub(crate) fn storage_class(&self) -> &str {
        self.attributes.storage_class.as_deref().unwrap_or("STANDARD")
    }

    /// Returns its metadata as the JSON API shows them.
    pub(crate) fn to_json(&self, bucket: &str, name: &str) -> Value {
        let mut shown = Map::new();
        let mut show = |name: &str, value: Value| drop(shown.insert(name.to_owned(), value));
        show("kind", json!("storage#object"));
        show("id", json!(format!("{bucket}/{name}/{}", self.generation)));
        show("name", json!(name));
        show("bucket", json!(bucket));
        show("generation", json!(self.generation.to_string()));
        show("metageneration", json!(self.metageneration.to_string()));
        show("contentType", json!(self.content_type()));
        show("storageClass", json!(self.storage_class()));
        show("size", json!(self.size().to_string()));
        show("crc32c", json!(base64(&self.crc32c)));
        show("etag", json!(self.etag()));
        for name in ["timeCreated", "timeFinalized", "timeStorageClassUpdated"] {
            show(name, json!(rfc3339(self.created)));
        }
        show("updated", json!(rfc3339(self.updated)));
        let written = &self.attributes;
        for (name, value) in [
            ("md5Hash", &self.md5.map(|md5| base64(&md5))),
            ("contentEncoding", &written.content_encoding),
            ("contentDisposition", &written.content_disposition),
            ("contentLanguage", &written.content_language),
            ("cacheControl", &written.cache_control),
        ] {
            if let Some(value) = value {
                show(name, json!(value));
            }
        }
        if let Some(components) = self.components {
            show("componentCount", json!(components));
        }
        if !written.meta.is_empty() {
            show("metadata", json!(written.meta));
        }
        Value::Object(shown)
    }

    /// Returns its metadata as the gRPC API shows them.
    pub(crate) fn to_proto(&self, bucket: &str, name: &str) -> proto::Object {
        let written = self.attributes.clone();
        proto::Object {
            name: name.to_owned(),
            bucket: bucket_path(bucket),
            etag: self.etag(),
            generation: self.generation,
            metageneration: self.metageneration,
            storage_class: self.storage_class().to_owned(),
            size: self.size(),
            content_type: self.content_type().to_owned(),
            content_encoding: written.content_encoding.unwrap_or_default(),
            content_disposition: written.content_disposition.unwrap_or_default(),
            content_language: written.content_language.unwrap_or_default(),
            cache_control: written.cache_control.unwrap_or_default(),
            metadata: written.meta.into_iter().collect(),
            component_count: self.components.unwrap_or_default(),
            checksums: Some(proto::ObjectChecksums {
                crc32c: Some(u32::from_be_bytes(self.crc32c)),
                md5_hash: self.md5.map(|md5| Bytes::copy_from_slice(&md5)).unwrap_or_default(),
            }),
            create_time: Some(self.created.into()),
            finalize_time: Some(self.created.into()),
            update_storage_class_time: Some(self.created.into()),
            update_time: Some(self.updated.into()),
            event_based_hold: Some(false),
            ..Default::default()
        }
    }
}

/// Returns a bucket's name as gRPC has it.
pub(crate) fn bucket_path(bucket: &str) -> String {
    format!("projects/_/buckets/{bucket}")
}

/// Returns bytes in base64.
pub(crate) fn base64(bytes: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(bytes)
}

/// Returns a time as JSON has it, in milliseconds.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    formatted(time, TimestampFormat::DateTime)
}

/// Returns a time as HTTP has it, in seconds.
pub(crate) fn http_date(time: SystemTime) -> String {
    formatted(time, TimestampFormat::HttpDate)
}

fn formatted(time: SystemTime, format: TimestampFormat) -> String {
    let mut text = Vec::new();
    Timestamp::from(time).format(format, &mut text).expect("memory can be written to");
    String::from_utf8(text).expect("a date is text")
}
