//! Multipart uploads until they are completed: begun, filled with parts, listed, given up.

use std::collections::BTreeMap;
use std::time::SystemTime;

use bytes::Bytes;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

use crate::bucket::{Attributes, Bucket, Store, now};
use crate::checksums::{self, Algorithm, Checksum, Coverage};
use crate::conditions::{ReadCondition, timestamp};
use crate::objects;
use crate::options::PartChecksums;

const MAX_PART_NUMBER: i32 = 10_000;

/// An upload that was begun and neither completed nor given up.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    pub(crate) key: String,
    pub(crate) attributes: Attributes,
    /// The checksum that every part must carry, and what the object's will cover.
    pub(crate) checksum: Option<(Algorithm, Coverage)>,
    pub(crate) parts: BTreeMap<i32, UploadedPart>,
    pub(crate) begun: SystemTime,
}

/// A part that has arrived.
#[derive(Debug, Clone)]
pub(crate) struct UploadedPart {
    pub(crate) body: Bytes,
    pub(crate) md5: [u8; 16],
    pub(crate) etag: String,
    pub(crate) checksum: Option<Checksum>,
    pub(crate) modified: SystemTime,
}

impl UploadedPart {
    fn new(store: &Store, body: Bytes, checksum: Option<Checksum>) -> Self {
        Self { md5: Md5::checksum(&body), etag: store.etag(&body), checksum, modified: now(), body }
    }

    fn fields(&self) -> s3s::dto::Checksum {
        self.checksum.as_ref().map(Checksum::fields).unwrap_or_default()
    }
}

/// Returns an upload of this bucket.
///
/// Fails with `NoSuchUpload`, also if the upload is for another key.
pub(crate) fn find<'a>(bucket: &'a mut Bucket, id: &str, key: &str) -> S3Result<&'a mut Upload> {
    bucket.uploads.get_mut(id).filter(|upload| upload.key == key).ok_or_else(|| {
        s3_error!(
            NoSuchUpload,
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."
        )
    })
}

/// Answers CreateMultipartUpload.
pub(crate) fn create(
    store: &Store,
    request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let input = request.input;
    let checksum = agreed_checksum(input.checksum_algorithm.as_ref(), input.checksum_type.as_ref())?;
    let upload = Upload {
        key: input.key.clone(),
        attributes: objects::attributes(input.metadata, input.content_type)?,
        checksum,
        parts: BTreeMap::new(),
        begun: now(),
    };
    let id = uuid::Uuid::new_v4().simple().to_string();
    store.with(&input.bucket, |bucket| {
        bucket.uploads.insert(id.clone(), upload);
        Ok(())
    })?;
    Ok(S3Response::new(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(id),
        checksum_algorithm: checksum.map(|(algorithm, _)| ChecksumAlgorithm::from_static(algorithm.name())),
        checksum_type: checksum.map(|(_, coverage)| coverage.dto()),
        ..Default::default()
    }))
}

fn agreed_checksum(
    algorithm: Option<&ChecksumAlgorithm>,
    kind: Option<&ChecksumType>,
) -> S3Result<Option<(Algorithm, Coverage)>> {
    let Some(asked) = algorithm else { return Ok(None) };
    let algorithm = Algorithm::named(asked.as_str()).ok_or_else(|| {
        s3_error!(InvalidRequest, "Checksum algorithm provided is unsupported: {}", asked.as_str())
    })?;
    let coverage = match kind.map(ChecksumType::as_str) {
        None if algorithm == Algorithm::Crc64Nvme => Coverage::FullObject,
        None | Some(ChecksumType::COMPOSITE) => Coverage::Composite,
        Some(_) => Coverage::FullObject,
    };
    let possible = match coverage {
        Coverage::FullObject => !matches!(algorithm, Algorithm::Sha1 | Algorithm::Sha256),
        Coverage::Composite => algorithm != Algorithm::Crc64Nvme,
    };
    if possible { Ok(Some((algorithm, coverage))) } else { Err(impossible_checksum(algorithm)) }
}

fn impossible_checksum(algorithm: Algorithm) -> S3Error {
    s3_error!(
        InvalidRequest,
        "The checksum type cannot be used with the {} checksum algorithm.",
        algorithm.name()
    )
}

/// Answers UploadPart.
pub(crate) async fn upload_part(
    store: &Store,
    mut request: S3Request<UploadPartInput>,
) -> S3Result<S3Response<UploadPartOutput>> {
    let body = request.input.body.take();
    let received = checksums::receive(body, request.input.content_length, &request).await?;
    let input = request.input;
    let number = part_number(input.part_number)?;
    let part = UploadedPart::new(store, received.bytes, received.checksum);
    let (etag, sums) = (part.etag.clone(), part.fields());
    store.with(&input.bucket, |bucket| {
        let upload = find(bucket, &input.upload_id, &input.key)?;
        agree(upload.checksum, part.checksum.as_ref().map(|sum| sum.algorithm), store.part_checksums)?;
        upload.parts.insert(number, part);
        Ok(())
    })?;
    Ok(S3Response::new(UploadPartOutput {
        e_tag: Some(ETag::Strong(etag)),
        checksum_crc32: sums.checksum_crc32,
        checksum_crc32c: sums.checksum_crc32c,
        checksum_crc64nvme: sums.checksum_crc64nvme,
        checksum_sha1: sums.checksum_sha1,
        checksum_sha256: sums.checksum_sha256,
        ..Default::default()
    }))
}

fn part_number(number: i32) -> S3Result<i32> {
    if (1..=MAX_PART_NUMBER).contains(&number) {
        return Ok(number);
    }
    Err(s3_error!(InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive"))
}

/// Fails unless a part carries the checksum that was agreed on when the upload began.
fn agree(
    agreed: Option<(Algorithm, Coverage)>,
    actual: Option<Algorithm>,
    unasked: PartChecksums,
) -> S3Result {
    let fits = match (agreed, actual) {
        (Some((expected, _)), Some(actual)) => expected == actual,
        (Some((_, coverage)), None) => coverage == Coverage::FullObject,
        (None, Some(_)) => unasked == PartChecksums::Any,
        (None, None) => true,
    };
    if fits {
        return Ok(());
    }
    let name =
        |algorithm: Option<Algorithm>| algorithm.map_or("null".to_owned(), |a| a.name().to_lowercase());
    Err(s3_error!(
        InvalidRequest,
        "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
        name(agreed.map(|(algorithm, _)| algorithm)),
        name(actual)
    ))
}

/// Answers UploadPartCopy.
pub(crate) fn upload_part_copy(
    store: &Store,
    request: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let input = request.input;
    let number = part_number(input.part_number)?;
    let (from_bucket, from_key) = objects::source(&input.copy_source)?;
    let original = store.get(from_bucket, from_key)?;
    let condition = ReadCondition {
        if_match: input.copy_source_if_match,
        if_none_match: input.copy_source_if_none_match,
        if_modified_since: input.copy_source_if_modified_since,
        if_unmodified_since: input.copy_source_if_unmodified_since,
    };
    condition.judge_source(&original)?;
    let bytes = match input.copy_source_range.as_deref() {
        Some(range) => copied_range(range, &original.body)?,
        None => original.body,
    };
    let (etag, modified, sums) = store.with(&input.bucket, |bucket| {
        let upload = find(bucket, &input.upload_id, &input.key)?;
        let checksum = upload.checksum.map(|(algorithm, _)| Checksum::of(algorithm, &bytes));
        let part = UploadedPart::new(store, bytes, checksum);
        let told = (part.etag.clone(), part.modified, part.fields());
        upload.parts.insert(number, part);
        Ok(told)
    })?;
    let result = CopyPartResult {
        e_tag: Some(ETag::Strong(etag)),
        last_modified: Some(timestamp(modified)),
        checksum_crc32: sums.checksum_crc32,
        checksum_crc32c: sums.checksum_crc32c,
        checksum_crc64nvme: sums.checksum_crc64nvme,
        checksum_sha1: sums.checksum_sha1,
        checksum_sha256: sums.checksum_sha256,
    };
    Ok(S3Response::new(UploadPartCopyOutput { copy_part_result: Some(result), ..Default::default() }))
}

/// Unlike a read's range, a copied one must lie inside the object and have both ends.
fn copied_range(range: &str, body: &Bytes) -> S3Result<Bytes> {
    let invalid = || {
        s3_error!(InvalidArgument, "The x-amz-copy-source-range value must be of the form bytes=first-last")
    };
    match Range::parse(range).map_err(|_| invalid())? {
        Range::Int { first, last: Some(last) } if last < body.len() as u64 => {
            let index = |offset: u64| usize::try_from(offset).expect("the range is inside a body in memory");
            Ok(body.slice(index(first)..=index(last)))
        }
        Range::Int { last: Some(_), .. } => {
            Err(s3_error!(InvalidRange, "The range specified is not valid for the source object"))
        }
        _ => Err(invalid()),
    }
}

/// Answers AbortMultipartUpload.
pub(crate) fn abort(
    store: &Store,
    request: S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let input = request.input;
    store.with(&input.bucket, |bucket| {
        find(bucket, &input.upload_id, &input.key)?;
        bucket.uploads.remove(&input.upload_id);
        Ok(())
    })?;
    Ok(S3Response::with_status(AbortMultipartUploadOutput::default(), hyper::StatusCode::NO_CONTENT))
}
