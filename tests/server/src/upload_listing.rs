//! ListParts and ListMultipartUploads.

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::bucket::{Bucket, Store};
use crate::checksums::{Algorithm, Checksum, Coverage};
use crate::conditions::timestamp;
use crate::listing::Encoding;
use crate::multipart::{self, UploadedPart};
use crate::objects::length;

const MAX_ENTRIES: i32 = 1000;

/// Answers ListParts.
pub(crate) fn list_parts(
    store: &Store,
    request: S3Request<ListPartsInput>,
) -> S3Result<S3Response<ListPartsOutput>> {
    let input = request.input;
    let max_parts = limit(input.max_parts)?;
    let marker = input.part_number_marker.unwrap_or(0);
    store.with(&input.bucket.clone(), |bucket| {
        let upload = multipart::find(bucket, &input.upload_id, &input.key)?;
        let mut parts: Vec<Part> = upload.parts.range(marker.saturating_add(1)..).map(describe).collect();
        let is_truncated = parts.len() > max_parts;
        parts.truncate(max_parts);
        let last = parts.last().and_then(|part| part.part_number);
        let (algorithm, kind) = checksum_fields(upload.checksum);
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            max_parts: i32::try_from(max_parts).ok(),
            part_number_marker: Some(marker),
            next_part_number_marker: last.filter(|_| is_truncated),
            is_truncated: Some(is_truncated),
            parts: Some(parts),
            checksum_algorithm: algorithm,
            checksum_type: kind,
            ..Default::default()
        }))
    })
}

fn describe((number, part): (&i32, &UploadedPart)) -> Part {
    let sums = part.checksum.as_ref().map(Checksum::fields).unwrap_or_default();
    Part {
        part_number: Some(*number),
        size: Some(length(part.body.len())),
        e_tag: Some(ETag::Strong(part.etag.clone())),
        last_modified: Some(timestamp(part.modified)),
        checksum_crc32: sums.checksum_crc32,
        checksum_crc32c: sums.checksum_crc32c,
        checksum_crc64nvme: sums.checksum_crc64nvme,
        checksum_sha1: sums.checksum_sha1,
        checksum_sha256: sums.checksum_sha256,
    }
}

fn checksum_fields(
    agreed: Option<(Algorithm, Coverage)>,
) -> (Option<ChecksumAlgorithm>, Option<ChecksumType>) {
    (
        agreed.map(|(algorithm, _)| ChecksumAlgorithm::from_static(algorithm.name())),
        agreed.map(|(_, coverage)| coverage.dto()),
    )
}

fn limit(asked: Option<i32>) -> S3Result<usize> {
    usize::try_from(asked.unwrap_or(MAX_ENTRIES).min(MAX_ENTRIES))
        .map_err(|_| s3_error!(InvalidArgument, "Argument must be an integer between 0 and 2147483647"))
}

/// Answers ListMultipartUploads.
pub(crate) fn list_uploads(
    store: &Store,
    request: S3Request<ListMultipartUploadsInput>,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let input = request.input;
    if input.delimiter.as_ref().is_some_and(|delimiter| !delimiter.is_empty()) {
        return Err(s3_error!(NotImplemented, "Folding of uploads at a delimiter is not implemented"));
    }
    let max_uploads = limit(input.max_uploads)?;
    let encode = Encoding::of(input.encoding_type.as_ref());
    let mut uploads = store.with(&input.bucket, |bucket| Ok(in_order(bucket)))?;
    let prefix = input.prefix.clone().unwrap_or_default();
    uploads.retain(|upload| upload.key.starts_with(&prefix));
    if let Some(key) = &input.key_marker {
        let id = input.upload_id_marker.as_deref();
        uploads.retain(|upload| {
            upload.key > *key || (upload.key == *key && id.is_some_and(|id| upload.id.as_str() > id))
        });
    }
    let is_truncated = uploads.len() > max_uploads;
    uploads.truncate(max_uploads);
    let last = uploads.last().filter(|_| is_truncated).cloned();
    Ok(S3Response::new(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        prefix: Some(encode.apply(prefix)),
        encoding_type: input.encoding_type,
        key_marker: input.key_marker.map(|key| encode.apply(key)),
        upload_id_marker: input.upload_id_marker,
        max_uploads: i32::try_from(max_uploads).ok(),
        is_truncated: Some(is_truncated),
        next_key_marker: last.as_ref().map(|upload| encode.apply(upload.key.clone())),
        next_upload_id_marker: last.map(|upload| upload.id),
        uploads: Some(uploads.into_iter().map(|upload| upload.entry(encode)).collect()),
        ..Default::default()
    }))
}

#[derive(Debug, Clone)]
struct Begun {
    key: String,
    id: String,
    at: Timestamp,
    checksum: Option<(Algorithm, Coverage)>,
}

impl Begun {
    fn entry(self, encode: Encoding) -> MultipartUpload {
        let (algorithm, kind) = checksum_fields(self.checksum);
        MultipartUpload {
            key: Some(encode.apply(self.key)),
            upload_id: Some(self.id),
            initiated: Some(self.at),
            checksum_algorithm: algorithm,
            checksum_type: kind,
            ..Default::default()
        }
    }
}

/// Returns the uploads by key, then by id.
fn in_order(bucket: &Bucket) -> Vec<Begun> {
    let begun = |(id, upload): (&String, &multipart::Upload)| Begun {
        key: upload.key.clone(),
        id: id.clone(),
        at: timestamp(upload.begun),
        checksum: upload.checksum,
    };
    let mut uploads: Vec<Begun> = bucket.uploads.iter().map(begun).collect();
    uploads.sort_by(|a, b| (&a.key, &a.id).cmp(&(&b.key, &b.id)));
    uploads
}
